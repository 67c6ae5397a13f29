"""Timing two ways of computing the same thing, in turns, after their results were compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How to measure.

    Attributes:
        runs: Timed runs of each side, taken in turns so that both see the same disturbances.
        full: Use the released models' sizes (random weights) instead of reduced ones.
        cache: Folder in which synthesised clips are kept.
    """

    runs: int = 5
    full: bool = False
    cache: Path


@dataclass(frozen=True)
class Run:
    """Seconds of one run: on the clock, and of this process on all its processors."""

    wall_s: float
    cpu_s: float


@dataclass
class Result:
    """One line of output: what was compared and timed.

    Attributes:
        name: Name of the benchmark.
        sizes: Sizes and types of the input and model.
        check: How far apart both results are, in which unit, and what was allowed.
        fast: Timed runs of the project's path.
        plain: Timed runs of the plain path; empty where there is none.
        extra: Further figures.
    """

    name: str
    sizes: dict[str, Any]
    check: dict[str, Any]
    fast: list[Run] = field(default_factory=list)
    plain: list[Run] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The line as JSON values: medians, spread (fastest and slowest run), ratios of the medians.

        CPU seconds add up over threads and say what the work costs on a machine that is busy with other things.
        """
        line: dict[str, Any] = {"benchmark": self.name, "sizes": self.sizes, "check": self.check}
        for side, runs in (("fast", self.fast), ("plain", self.plain)):
            if runs:
                wall = [run.wall_s for run in runs]
                line[f"{side}_s"] = round(median(wall), 5)
                line[f"{side}_spread_s"] = [round(min(wall), 5), round(max(wall), 5)]
                line[f"{side}_cpu_s"] = round(median(run.cpu_s for run in runs), 5)
        if self.fast and self.plain:
            line["ratio"] = ratio(self.plain, self.fast)
            line["cpu_ratio"] = round(median(r.cpu_s for r in self.plain) / median(r.cpu_s for r in self.fast), 2)
            line["runs"] = len(self.fast)
        return {**line, **self.extra}


Benchmark = Callable[[Settings], Iterator[Result]]


def in_turns(
    name: str,
    fast: Callable[[], Any],
    plain: Callable[[], Any],
    *,
    runs: int,
    tolerance: float,
    sizes: dict[str, Any],
    unit: str = "relative",
) -> Result:
    """Compare the results of both sides, then time them in turns.

    The first run of each side is its warm-up and gives the result that is compared.

    Args:
        name: Name of the benchmark.
        fast: The project's path; gives a tensor.
        plain: The plain path; gives a tensor.
        runs: Timed runs of each.
        tolerance: Largest deviation of the results.
        sizes: What to say about the input.
        unit: "relative" to the largest magnitude, or "absolute".

    Raises:
        AssertionError: The results differ by more.
    """
    with torch.inference_mode():
        deviation = difference(fast(), plain(), unit)
        assert deviation <= tolerance, f"{name}: results differ by {deviation:.2e} ({unit}), allowed are {tolerance:g}"
        result = Result(name, sizes, {"deviation": float(f"{deviation:.2g}"), "tolerance": tolerance, "unit": unit})
        for _ in range(runs):
            result.fast.append(timed(fast))
            result.plain.append(timed(plain))
    return result


def timed(call: Callable[[], Any]) -> Run:
    """Seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return Run(time.perf_counter() - wall, time.process_time() - cpu)


def ratio(slow: list[Run], quick: list[Run]) -> float:
    """How many times longer the median of one side's runs takes, on the clock."""
    return round(median(run.wall_s for run in slow) / median(run.wall_s for run in quick), 2)


def difference(ours: Tensor, reference: Tensor, unit: str = "relative") -> float:
    """Largest difference of two tensors of one shape."""
    assert ours.shape == reference.shape, f"shapes {tuple(ours.shape)} and {tuple(reference.shape)} differ"
    a, b = ours.double(), reference.double()
    largest = (a - b).abs().max().item()
    return largest if unit == "absolute" else largest / max(b.abs().max().item(), 1e-30)
