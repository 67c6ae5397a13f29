"""Small models and batches for the tests of training: the golden ones, and others made on the spot."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration
from videollama2.training import parts
from videollama2.training.objective import Objective, set_modes
from videollama2.training.processes import Processes
from videollama2.training.recipe import Recipe, from_dict
from videollama2.training.step import Stepper
from videollama2.training.strategies import Plain

GOLDEN = Path(__file__).parents[1] / "golden"
CHECKPOINTS = ("VideoLLaMA2-tiny-mistral", "VideoLLaMA2.1-tiny-qwen2-16F", "VideoLLaMA2.1-tiny-AV")


def recipe_of(train: dict[str, Any], **fields: Any) -> Recipe:
    """A recipe for a model that is built here."""
    base: dict[str, Any] = {
        "name": "test",
        "model": {"from": "tiny"},
        "train": train,
        "precision": "fp32",
        "gradient_checkpointing": False,
        "workers": 0,
        "schedule": {"warmup_ratio": 0.0, "kind": "constant", "clip": 0.0},
    }
    return from_dict({**base, **fields})


def stepper_of(
    model: torch.nn.Module, recipe: Recipe, *, num_steps: int = 10, chunk: int | None = 8
) -> tuple[Stepper, torch.nn.Module]:
    """A stepper in this process around a model, and the model with its freeze set (and LoRA) put on."""
    model = parts.apply(model, recipe)
    set_modes(model)
    strategy = Plain(Objective(model, chunk=chunk), recipe, Processes())
    return Stepper(strategy, recipe, Processes(), num_steps), model


@cache
def golden_record(name: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Recorded results and tensors of a golden checkpoint."""
    record = json.loads((GOLDEN / "model" / f"{name}.json").read_text())
    return record, load_file(GOLDEN / "model" / f"{name}.safetensors")


def golden_model(name: str) -> VideoLLaMA2ForConditionalGeneration:
    """A golden checkpoint, loaded by `checkpoints/`."""
    from videollama2.checkpoints import load_checkpoint

    loaded = load_checkpoint(GOLDEN / "checkpoints" / name, device="cpu", dtype=torch.float32)
    return loaded.model


def golden_batch(name: str, case: str) -> dict[str, Tensor]:
    """A recorded training batch as arguments of the objective."""
    record, tensors = golden_record(name)
    batch = {key: tensors[f"{case}.{key}"] for key in ("input_ids", "attention_mask", "labels")}
    frames, counts, flags, sounds = [], [], [], []
    for entry in record["cases"][case]["media"]:
        medium = entry[0]
        if medium == "zeros3d":  # the official dummy of rows without media
            continue
        names = medium if isinstance(medium, dict) else {"audio" if medium.startswith("audio") else "video": medium}
        if "video" in names:
            frames.append(tensors[f"in.{names['video']}"].float() / 127.5 - 1)
            counts.append(len(frames[-1]))
            flags.append("audio" in names)
        if "audio" in names:
            sounds.append(tensors[f"in.{names['audio']}"].float())
    if frames:
        batch |= {"pixel_values": torch.cat(frames), "num_frames": torch.tensor(counts)}
        batch |= {"video_has_audio": torch.tensor(flags)}
    if sounds:
        batch |= {"audio_values": torch.cat(sounds), "audio_lengths": torch.tensor([s.shape[1] for s in sounds])}
    return batch


def golden_cases() -> list[tuple[str, str]]:
    """Every recorded training batch."""
    return [
        (name, case) for name in CHECKPOINTS for case in golden_record(name)[0]["cases"] if case.startswith("batch")
    ]


def rows_of(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """A batch cut into one batch for each row, without its padding."""
    rows, visual, audio = [], 0, 0
    frame_ends = batch["num_frames"].cumsum(0).tolist() if "num_frames" in batch else []
    for row in range(len(batch["input_ids"])):
        length = int(batch["attention_mask"][row].sum())
        ids = batch["input_ids"][row, :length]
        part = {key: batch[key][row : row + 1, :length] for key in ("input_ids", "attention_mask", "labels")}
        num_visual = int(((ids == -200) | (ids == -201)).sum())
        num_audio = int((ids == -202).sum())
        if num_visual:
            stop = visual + num_visual
            num_audio += int(batch["video_has_audio"][visual:stop].sum())
            first = frame_ends[visual - 1] if visual else 0
            part["pixel_values"] = batch["pixel_values"][first : frame_ends[stop - 1]]
            part["num_frames"] = batch["num_frames"][visual:stop]
            part["video_has_audio"] = batch["video_has_audio"][visual:stop]
            visual = stop
        if num_audio:
            part["audio_values"] = batch["audio_values"][audio : audio + num_audio]
            part["audio_lengths"] = batch["audio_lengths"][audio : audio + num_audio]
            audio += num_audio
        rows.append(part)
    return rows


def packed(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Rows laid end to end into one."""
    batch: dict[str, Tensor] = {key: torch.cat([r[key] for r in rows], dim=1) for key in ("input_ids", "labels")}
    batch["attention_mask"] = torch.ones_like(batch["input_ids"])
    segments = [torch.full_like(r["input_ids"], n + 1) for n, r in enumerate(rows)]
    batch["segment_ids"] = torch.cat(segments, dim=1)
    for key in ("pixel_values", "num_frames", "video_has_audio", "audio_values", "audio_lengths"):
        if any(key in r for r in rows):
            batch[key] = torch.cat([r[key] for r in rows if key in r])
    return batch
