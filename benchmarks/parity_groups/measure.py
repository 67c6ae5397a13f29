"""Rows of the parity table, and the comparisons that fill them.

A row collects all cases of one quantity. Integers, texts and refusals must be equal (the deviation is the number of
cases that differ); numbers may deviate up to the row's tolerance, which is the golden README's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor

from videollama2.errors import VideoLLaMA2Error

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
Scale = Literal["absolute", "relative", "bf16 steps", "cases differing", "information"]

MODULE = 1e-5  # single modules in fp32, relative to the tensor's largest magnitude
MODEL = 1e-4  # whole model: logits, losses, gradient norms
PIXELS = 2e-3  # absolute, on normalised pixels
FBANK = 2e-3  # absolute, before bf16


@dataclass
class Row:
    """One line of the table.

    Attributes:
        group: Part of the golden data.
        quantity: What is compared.
        scale: Unit of the deviation.
        tolerance: Largest deviation that passes.
        cases: Comparisons made.
        not_shipped: Comparisons left out because their media are not in the repository.
        deviation: Largest seen.
        worst: Case of the largest deviation.
    """

    group: str
    quantity: str
    scale: Scale
    tolerance: float
    cases: int = 0
    not_shipped: int = 0
    deviation: float = 0.0
    worst: str = ""

    @property
    def verdict(self) -> str:
        """PASS, FAIL, "info" (nothing is demanded) or "none" (no case could be compared)."""
        if self.scale == "information":
            return "info"
        if self.cases == 0:
            return "none"
        return "PASS" if self.deviation <= self.tolerance else "FAIL"

    def add(self, case: str, deviation: float) -> None:
        """Take one comparison in; what is not a number counts as infinitely far off."""
        self.cases += 1
        deviation = float("inf") if deviation != deviation else deviation
        if deviation > self.deviation:
            self.deviation, self.worst = deviation, case


@dataclass
class Table:
    """All rows, in the order in which they came up, and the folder of media that are not shipped."""

    media: Path | None = None
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)

    def row(self, group: str, quantity: str, scale: Scale = "cases differing", tolerance: float = 0.0) -> Row:
        """The row of this name, made on first use."""
        return self.rows.setdefault((group, quantity), Row(group, quantity, scale, tolerance))

    def equal(self, group: str, quantity: str, case: str, ours: Any, golden: Any) -> None:
        """Compare integers or texts: they are the same or not."""
        same = torch.equal(ours, golden) if isinstance(ours, Tensor) else ours == golden
        row = self.row(group, quantity)
        row.add(case, row.deviation + 1 if not same else 0.0)

    def close(
        self, group: str, quantity: str, case: str, ours: Any, golden: Any, tolerance: float, scale: Scale = "relative"
    ) -> None:
        """Compare numbers; shapes must be equal."""
        self.row(group, quantity, scale, tolerance).add(case, deviation(ours, golden, scale))

    def refuses(self, group: str, case: str, call: Callable[[], Any]) -> None:
        """Where the official code raises, ours must raise an error of its own kind."""
        try:
            call()
        except VideoLLaMA2Error:
            refused = True
        else:
            refused = False
        self.equal(group, "refused where the official code fails", case, refused, True)

    def crashed(self, group: str, error: BaseException) -> None:
        """A group that could not be compared to its end is a failure."""
        self.row(group, f"stopped by {type(error).__name__}").add(str(error)[:200], 1.0)

    def find(self, name: str) -> Path | None:
        """A golden media file, or None where it is not shipped and no folder for it was given."""
        if not name.startswith("official:"):
            return GOLDEN / name
        if self.media is None:
            return None
        path = self.media / name.rsplit("/", 1)[-1]
        return path if path.exists() else None

    @property
    def failed(self) -> list[Row]:
        """Rows beyond their tolerance."""
        return [row for row in self.rows.values() if row.verdict == "FAIL"]


def deviation(ours: Any, golden: Any, scale: Scale = "relative") -> float:
    """Largest difference of two tensors (or lists of numbers) of one shape, on a scale; infinite if shapes differ."""
    if scale == "bf16 steps":
        if ours.shape != golden.shape:
            return float("inf")
        return float((bf16_steps(ours) - bf16_steps(golden)).abs().max())
    a, b = (torch.as_tensor(x).detach().double() for x in (ours, golden))
    if a.shape != b.shape:
        return float("inf")
    difference = float((a - b).abs().max())
    if scale != "relative":
        return difference
    largest = float(b.abs().max())
    return difference / largest if largest > 0 else difference


def bf16_steps(values: Tensor) -> Tensor:
    """Number each bf16 value so that neighbours differ by one."""
    bits = values.bfloat16().view(torch.int16).int()
    return torch.where(bits >= 0, bits, -(bits & 0x7FFF))


@cache
def golden_json(name: str) -> Any:
    """A parsed JSON file of the golden folder."""
    return json.loads((GOLDEN / name).read_text())


@cache
def golden_tensors(name: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file of the golden folder."""
    return load_file(GOLDEN / name)
