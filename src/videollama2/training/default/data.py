"""Feature shards -> training batches. Random access, order a pure function of seed and step."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class ClipBatch:
    """Features of B clips: grid_BTND, tags_BTC, audio_BAD with audio_length_B, and each clip's questions."""

    grid: Tensor
    tags: Tensor
    audio: Tensor
    audio_length: Tensor
    questions: list[list[dict]]


class FeatureStore:
    """All shards of one split, memory-mapped; clip `i` is row `i % n` of shard `i // n`."""

    def __init__(self, root: Path, split: str, limit: int | None = None):
        """Open every finished shard under root/split (at most `limit` of them)."""
        folders = sorted(p for p in (root / split).iterdir() if not p.name.startswith("."))[:limit]
        if not folders:
            raise FileNotFoundError(f"no feature shards under {root / split}; run the `features` command first")
        self.grid = [np.load(f / "grid.npy", mmap_mode="r") for f in folders]
        self.tags = [np.load(f / "tags.npy", mmap_mode="r") for f in folders]
        self.audio = [np.load(f / "audio.npy", mmap_mode="r") for f in folders]
        self.audio_length = [np.load(f / "audio_length.npy") for f in folders]
        self.questions = [json.loads((f / "questions.json").read_text()) for f in folders]
        self.shard_clips = len(self.audio_length[0])

    def __len__(self) -> int:
        """Number of clips."""
        return len(self.grid) * self.shard_clips

    def batch(self, indices: np.ndarray) -> ClipBatch:
        """The clips of `indices`, float32 features."""
        where = [(int(i) // self.shard_clips, int(i) % self.shard_clips) for i in indices]

        def gather(arrays: list[np.ndarray]) -> Tensor:
            return torch.from_numpy(np.stack([arrays[s][r] for s, r in where]).astype(np.float32))

        return ClipBatch(
            grid=gather(self.grid),
            tags=gather(self.tags),
            audio=gather(self.audio),
            audio_length=torch.tensor([int(self.audio_length[s][r]) for s, r in where]),
            questions=[self.questions[s][r] for s, r in where],
        )


def balanced_indices(store: FeatureStore, batch: int, step: int, seed: int) -> np.ndarray:
    """Clip indices of one step, half of them from shards made with sound where there are both kinds."""
    with_sound = np.repeat([bool(lengths.any()) for lengths in store.audio_length], store.shard_clips)
    sound, silent = np.flatnonzero(with_sound), np.flatnonzero(~with_sound)
    if len(sound) < batch or len(silent) < batch:
        return step_indices(len(store), batch, step, seed)
    half = batch // 2
    return np.concatenate(
        [
            sound[step_indices(len(sound), batch - half, step, seed)],
            silent[step_indices(len(silent), half, step, seed)],
        ]
    )


def step_indices(num_clips: int, batch: int, step: int, seed: int) -> np.ndarray:
    """Clip indices of one step: epochs are seeded permutations, a step never straddles two epochs."""
    per_epoch = num_clips // batch
    epoch, position = divmod(step, per_epoch)
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(num_clips)
    return order[position * batch : (position + 1) * batch]


def short_answer(text: str) -> str:
    """'A red ball.' -> 'red ball', 'to the left' -> 'left': the words a token is asked to carry in the warm-up."""
    text = text.strip().rstrip(".").lower()
    for lead in ("a ", "an ", "the ", "some ", "to the ", "on the ", "at the ", "it stays "):
        if text.startswith(lead):
            return text[len(lead) :]
    return text
