"""The learning rate over a run. Pure."""

from __future__ import annotations

import math

from videollama2.errors import RequestError


def rate(step: int, num_steps: int, *, warmup_ratio: float, kind: str) -> float:
    """Factor on every part's peak learning rate at an optimiser step.

    It rises from 0 over the first `ceil(warmup_ratio * num_steps)` steps, then falls (official: cosine, 3 %).

    Args:
        step: Number of the step, 0 for the first.
        num_steps: Steps of the whole run.
        warmup_ratio: 0 to 1.
        kind: "cosine" and "linear" end at 0, "constant" stays.

    Raises:
        RequestError: An unknown kind.
    """
    warmup = math.ceil(warmup_ratio * num_steps)
    if step < warmup:
        return step / max(1, warmup)
    done = (step - warmup) / max(1, num_steps - warmup)
    if kind == "cosine":
        return max(0.0, 0.5 * (1.0 + math.cos(math.pi * done)))
    if kind == "linear":
        return max(0.0, 1.0 - done)
    if kind == "constant":
        return 1.0
    raise RequestError(f"schedule.kind is {kind!r}; choose cosine, linear or constant.")
