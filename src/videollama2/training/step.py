"""One optimiser step: micro-batches in, one update out, the same for any cut into micro-batches and processes.

The summed losses of all micro-batches of all processes are divided by their labels. What is random in a step (dropout)
is seeded by the run's seed, the step, the process and the micro-batch, so that a run that was stopped goes on exactly.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch

from videollama2.training import schedule
from videollama2.training.loss import num_labels
from videollama2.training.objective import Batch, modalities_of, nothing_to_learn, to_device
from videollama2.training.processes import Processes
from videollama2.training.recipe import Recipe
from videollama2.training.strategies import Strategy

_MODALITIES = ("audio", "visual")


@dataclass(frozen=True, kw_only=True)
class StepReport:
    """What a step did, over all processes.

    Attributes:
        loss: Mean cross-entropy of its labels; nan where there was none.
        grad_norm: Of the gradients, before clipping.
        rates: Learning rate of each part.
        labels: Label positions.
        events: What was out of the ordinary.
    """

    loss: float
    grad_norm: float
    rates: dict[str, float]
    labels: int
    events: tuple[str, ...] = field(default=())

    @property
    def applied(self) -> bool:
        """Whether the weights were updated."""
        return not self.events


class Stepper:
    """Makes optimiser steps.

    Args:
        strategy: Model and optimiser.
        recipe: Schedule, precision, clip, seed.
        processes: Who takes part.
        num_steps: Of the whole run, for the schedule.
    """

    def __init__(self, strategy: Strategy, recipe: Recipe, processes: Processes, num_steps: int) -> None:
        self.strategy = strategy
        self.recipe = recipe
        self.processes = processes
        self.num_steps = num_steps

    def __call__(self, number: int, micro_batches: Sequence[Batch]) -> StepReport:
        """Make step `number` (from 0) with this process's micro-batches; all processes call it."""
        micro_batches = list(micro_batches)
        counted = [num_labels(b["labels"], b.get("segment_ids")) for b in micro_batches]
        labels = int(self.processes.sum([sum(counted)])[0])
        factors = self._factors(number)
        rates = {g["part"]: g["lr"] * f for g, f in zip(self.strategy.groups(), factors)}
        if labels == 0:
            # Known to all processes, so all leave the step out.
            event = "no sample of this step has anything to learn; nothing was updated"
            return StepReport(loss=math.nan, grad_norm=0.0, rates=rates, labels=0, events=(event,))
        micro_batches, empty = self._level(micro_batches)
        scale = self.processes.size / labels  # gradients are averaged over processes
        total = torch.zeros((), dtype=torch.float64)
        for place, batch in enumerate(micro_batches):
            last = place == len(micro_batches) - 1
            seed_step(self.recipe.seed, number, self.processes.rank, place)
            with self.strategy.accumulating(last=last):
                with self._autocast():
                    loss = self.strategy.run(to_device(batch, self.processes.device), empty[place])
                self.strategy.backward(loss * scale, last=last)
            total += loss.detach().double().cpu()
        loss_sum = self.processes.sum([float(total)])[0]
        norm = self.strategy.update(
            [g["lr"] * f for g, f in zip(self.strategy.groups(), factors)], self.recipe.schedule.clip
        )
        events = () if math.isfinite(norm) else (f"the gradient's norm is {norm}; nothing was updated",)
        return StepReport(loss=loss_sum / labels, grad_norm=norm, rates=rates, labels=labels, events=events)

    def _factors(self, number: int) -> list[float]:
        plan = self.recipe.schedule
        factor = schedule.rate(number, self.num_steps, warmup_ratio=plan.warmup_ratio, kind=plan.kind)
        return [factor] * len(self.strategy.groups())

    def _level(self, micro_batches: list[Batch]) -> tuple[list[Batch], list[frozenset[str]]]:
        """Fill up to the number of micro-batches and the modalities that other processes run at the same time."""
        if not micro_batches:
            micro_batches = [nothing_to_learn()]
        none: list[frozenset[str]] = [frozenset()] * len(micro_batches)
        if not self.strategy.in_step or self.processes.size == 1:
            return micro_batches, none
        count = int(self.processes.max([float(len(micro_batches))])[0])
        micro_batches = micro_batches + [nothing_to_learn()] * (count - len(micro_batches))
        here = [modalities_of(batch) for batch in micro_batches]
        flags = self.processes.max([float(name in present) for present in here for name in _MODALITIES])
        anywhere = [
            frozenset(name for name, flag in zip(_MODALITIES, flags[2 * i : 2 * i + 2]) if flag) for i in range(count)
        ]
        return micro_batches, [everyone - mine for everyone, mine in zip(anywhere, here)]

    def _autocast(self) -> Any:
        if self.recipe.precision != "bf16":
            return nullcontext()
        return torch.autocast(self.processes.device.type, torch.bfloat16)


def seed_step(*numbers: int) -> None:
    """Seed torch's generators by a hash of some numbers: a run's seed, step, process, micro-batch."""
    digest = hashlib.sha256(",".join(map(str, numbers)).encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
