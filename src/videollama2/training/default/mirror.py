"""More clips out of the same features: mirrored, played backwards, with noise and missing channels.

Features of a frame mirrored left to right are nearly the mirrored features, and a clip played backwards is exactly the
reversed frames; questions and answers change with them, so every answer stays true.
"""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import torch

from videollama2.training.default.data import ClipBatch
from videollama2.world.wording import ARROW_FAMILIES

SIDE = 7
_MIRROR = {"left": "right", "right": "left"}
_BACKWARDS = {**_MIRROR, "upwards": "downwards", "downwards": "upwards"}
_WHEN_BACKWARDS = {"first": "last", "last": "first", "second": "third", "third": "second"}
_MOTION_FAMILIES = ("direction", "caption", "av_caption")


def swap_words(text: str, pairs: dict[str, str]) -> str:
    """Exchange whole words: 'to the left' -> 'to the right'."""
    return re.sub(r"\b(" + "|".join(pairs) + r")\b", lambda match: pairs[match.group()], text)


def mirrored(questions: list[dict]) -> list[dict]:
    """The questions of the clip mirrored left to right."""
    return [
        {
            **q,
            "answer": swap_words(q["answer"], _MIRROR),
            "options": [swap_words(option, _MIRROR) for option in q["options"]],
        }
        if q["modality"] != "audio"
        else q
        for q in questions
    ]


def backwards(questions: list[dict]) -> list[dict]:
    """The questions of the clip played backwards (its sound is not): those that cannot be turned round are left out."""
    ordered = any(q["family"] in ARROW_FAMILIES for q in questions)
    ends = {(q["family"], q["form"]): q["answer"] for q in questions if q["family"] in ("first", "last")}
    turned = []
    for q in questions:
        family = q["family"]
        if family in ("first", "last"):
            other = ends.get(("last" if family == "first" else "first", q["form"]))
            if other is not None:
                turned.append({**q, "answer": other})
        elif family == "order":
            if q["form"] == "choice":
                turned.append({**q, "answer": next(option for option in q["options"] if option != q["answer"])})
        elif family == "when":
            options = [swap_words(option, _WHEN_BACKWARDS) for option in q["options"]]
            turned.append({**q, "answer": swap_words(q["answer"], _WHEN_BACKWARDS), "options": options})
        elif family in ARROW_FAMILIES or (family in ("caption", "av_caption") and ordered):
            continue
        elif family in _MOTION_FAMILIES and _moves(q["answer"]):
            options = [swap_words(option, _BACKWARDS) for option in q["options"]]
            turned.append({**q, "answer": swap_words(q["answer"], _BACKWARDS), "options": options})
        else:
            turned.append(q)
    return turned


def _moves(answer: str) -> bool:
    """Whether an answer speaks of motion rather than of a place ('on the left')."""
    return bool(re.search(r"\b(to the (left|right)|upwards|downwards)\b", answer))


def augmented(batch: ClipBatch, rng: np.random.Generator) -> ClipBatch:
    """Each clip mirrored and reversed with probability one half; a tenth of the channels dropped, all shifted."""
    grid, tags = batch.grid.clone(), batch.tags.clone()
    questions = list(batch.questions)
    for row in range(len(grid)):
        if rng.random() < 0.5:
            grid[row] = grid[row].unflatten(1, (SIDE, SIDE)).flip(2).flatten(1, 2)
            questions[row] = mirrored(questions[row])
        if rng.random() < 0.5:
            grid[row], tags[row] = grid[row].flip(0), tags[row].flip(0)
            questions[row] = backwards(questions[row])
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    keep = (torch.rand(len(grid), 1, 1, grid.shape[-1], generator=generator) > 0.1).float()
    gain = 1 + 0.15 * torch.randn(len(grid), 1, 1, 1, generator=generator)
    offset = 0.05 * torch.randn(len(grid), 1, 1, grid.shape[-1], generator=generator)
    return replace(batch, grid=grid.mul_(keep * gain).add_(offset * keep), tags=tags, questions=questions)
