"""Every kind of model a run can start from, tiny, in the official layouts; and a step of training without training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "checkpoints"))

from official_checkpoints import AV, BEATS, CLIP, MISTRAL, QWEN2, write_base, write_plain_llm

from videollama2.training import parts, start
from videollama2.training.recipe import Recipe, from_dict

__all__ = ["AV", "BEATS", "CLIP", "MISTRAL", "QWEN2", "compose", "learn", "make", "write_base", "write_plain_llm"]


def make(model: dict[str, Any], train: dict[str, Any], **fields: Any) -> Recipe:
    """A recipe in fp32 unless said otherwise."""
    return from_dict({"name": "t", "model": model, "train": train, "precision": "fp32", **fields})


def compose(llm: Path, **more: Any) -> dict[str, Any]:
    """The tiny CLIP and a connector on a plain language model."""
    return {
        "compose": {
            "language_model": str(llm),
            "vision_tower": str(CLIP),
            "connector": "stc_connector",
            "num_frames": 8,
            **more,
        }
    }


@torch.no_grad()
def learn(started: start.Started) -> None:
    """Moves every weight that learns a little, as training would."""
    generator = torch.Generator().manual_seed(0)
    for pairs in parts.trained(started.parts).values():
        for _, parameter in pairs:
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
