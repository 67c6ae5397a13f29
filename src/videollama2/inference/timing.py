"""Seconds by stage of one request, measured where the work is done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("decode", "preprocess", "encode", "prefill", "generate")


class StageTimer:
    """Adds up wall seconds by stage; stages may be entered many times, not nested.

    On CUDA and MPS work is queued: pass `device` so that a stage waits for its own work before its clock stops.
    """

    def __init__(self, device: object | None = None) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        self._device = device

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time inside the block to stage `name`."""
        assert name in self.seconds, name
        start = time.perf_counter()
        try:
            yield
        finally:
            self._synchronise()
            self.seconds[name] += time.perf_counter() - start

    def rounded(self) -> dict[str, float]:
        """Seconds by stage, to a tenth of a millisecond."""
        return {name: round(seconds, 4) for name, seconds in self.seconds.items()}

    def _synchronise(self) -> None:
        kind = getattr(self._device, "type", "cpu")
        if kind == "cpu":
            return
        import torch

        if kind == "cuda":
            torch.cuda.synchronize(self._device)  # type: ignore[arg-type]
        elif kind == "mps":
            torch.mps.synchronize()
