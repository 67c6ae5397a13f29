"""Clips of the world -> features of the frozen towers, in shards: training never decodes or encodes twice.

A shard is a folder with `grid.npy` [n, T, h*w, D], `tags.npy` [n, T, C] and `audio.npy` [n, A, Da], all float16,
`audio_length.npy` [n] and `questions.json`. Shards are pure functions of (split, seed, shard number), written
atomically, and skipped when they exist.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videollama2.training.default.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Towers:
    """The frozen parts that turn a clip into features, with their preprocessing."""

    vision: torch.nn.Module
    audio: torch.nn.Module
    pixel_spec: Any


def load_towers() -> Towers:
    """Towers and preprocessing of the default model, as they are in the assembled checkpoint."""
    from videollama2.training.default.parts import frozen_towers

    return frozen_towers()


@torch.inference_mode()
def encode_clip(towers: Towers, frames: np.ndarray, waveform: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """uint8 [T, H, W, 3] and 16 kHz [S] -> grid [T, h*w, D], tags [T, C], audio [A, Da] (empty without sound)."""
    from videollama2.processing.log_mel import whisper_log_mel
    from videollama2.processing.pixels import preprocess_frames

    pixels = preprocess_frames(list(frames), towers.pixel_spec)
    features = towers.vision(pixels.to(next(towers.vision.parameters()).dtype))
    grid, tags = features.grid, features.tags
    grid = grid.flatten(1, 2).to(torch.float16).numpy()
    tags = tags.to(torch.float16).numpy()
    if waveform is None or not np.any(waveform):
        return grid, tags, np.zeros((0, 384), np.float16)
    mel = whisper_log_mel(torch.from_numpy(np.asarray(waveform, np.float32)))
    audio = towers.audio(mel[None], torch.tensor([mel.shape[0]]))[0].to(torch.float16).numpy()
    return grid, tags, audio


def write_shard(
    root: Path, split: str, shard: int, recipe: Recipe, towers: Towers, sound: bool = True, mix: str = "plain"
) -> Path:
    """Make one shard of features; returns its folder (existing shards are left as they are).

    The clips' numbers follow from the shard's, and clips of one number and kind are equal in all mixes: give shards of
    another mix numbers of their own.
    """
    from videollama2.world.dataset import sample

    target = root / split / f"{shard:05d}"
    if target.exists():
        return target
    grids, tags, audios, lengths, questions = [], [], [], [], []
    for index in range(shard * recipe.shard_clips, (shard + 1) * recipe.shard_clips):
        _scene, frames, waveform, clip_questions = sample(split, recipe.seed, index, mix=mix)
        grid, tag, audio = encode_clip(towers, frames, waveform if sound else None)
        padded = np.zeros((recipe.max_audio_tokens, 384), np.float16)
        length = min(len(audio), recipe.max_audio_tokens)
        padded[:length] = audio[:length]
        grids.append(grid)
        tags.append(tag)
        audios.append(padded)
        lengths.append(length)
        questions.append(clip_questions)
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    np.save(scratch / "grid.npy", np.stack(grids))
    np.save(scratch / "tags.npy", np.stack(tags))
    np.save(scratch / "audio.npy", np.stack(audios))
    np.save(scratch / "audio_length.npy", np.asarray(lengths))
    (scratch / "questions.json").write_text(json.dumps(questions))
    scratch.rename(target)
    return target


def _worker(job: tuple[str, str, list[int], Recipe, bool, str]) -> int:
    root, split, shards, recipe, sound, mix = job
    torch.set_num_threads(1)
    towers = load_towers()
    towers.vision.to(torch.bfloat16)  # what inference on a CPU computes in, and half the time
    for shard in shards:
        write_shard(Path(root), split, shard, recipe, towers, sound, mix)
        print(f"{split} shard {shard} done", flush=True)
    return len(shards)


def build_features(
    root: Path,
    split: str,
    shards: range,
    recipe: Recipe,
    num_workers: int = 2,
    sound: bool = True,
    mix: str = "plain",
) -> None:
    """Make the numbered shards of a split with `num_workers` processes; safe to stop and start again.

    Without `sound` the clips count as silent films: a third of the time, for what is learned from pictures alone. `mix`
    names the kinds of scenes (`videollama2.world.scene.MIXES`).
    """
    import multiprocessing

    (root / split).mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    jobs = [(str(root), split, list(shards[w::num_workers]), recipe, sound, mix) for w in range(num_workers)]
    workers = [context.Process(target=_worker, args=(job,)) for job in jobs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    # A killed worker must end the command with an error; a pool would wait for it for ever.
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a worker died; run the same command again, finished shards are kept")
