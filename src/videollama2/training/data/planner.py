"""Plans of the next steps, made in a thread while the model computes: lengths need every row's text tokenised."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from videollama2.training.data.encode import RowEncoder
from videollama2.training.data.plan import Grouping, StepOrder, share
from videollama2.training.data.rows import RowFault, RowFaultError
from videollama2.training.data.sources import Sources

# Steps that are planned before they are asked for.
_AHEAD = 3


@dataclass(frozen=True, kw_only=True)
class Task:
    """One micro-batch to make.

    Attributes:
        rows: Row numbers of the samples of each of its rows; empty: a filler.
    """

    rows: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PlannedStep:
    """One process' part of a step.

    Attributes:
        micro_batches: In order.
        faults: Rows of the whole step that cannot be used, found while looking at their text; ready for the ledger.
    """

    micro_batches: tuple[Task, ...]
    faults: tuple[dict[str, Any], ...] = ()


class Planner:
    """Plans steps ahead; a context manager.

    Args:
        sources: The rows.
        encoder: Rows to tensors, of which only the text is used.
        order: Samples of each step.
        grouping: Micro-batches of a step.
        rank: This process.
        world_size: All of them.
    """

    def __init__(
        self,
        sources: Sources,
        encoder: RowEncoder,
        order: StepOrder,
        grouping: Grouping,
        rank: int,
        world_size: int,
    ) -> None:
        self.order, self.grouping, self.rank, self.world_size = order, grouping, rank, world_size
        # A tokenizer must not be used by two threads at once, nor an open file of rows.
        self.sources, self.encoder = copy.deepcopy(sources), copy.copy(encoder)
        self.encoder.tokenizer = copy.deepcopy(encoder.tokenizer)
        # -1: not known yet.
        self._lengths = np.full(len(sources), -1, dtype=np.int32)
        self._faults: dict[int, dict[str, Any]] = {}
        self._plans: dict[int, Future[PlannedStep]] = {}
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="videollama2-plan")

    def __enter__(self) -> Planner:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop; plans nobody waits for are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def tasks(self, steps: Iterable[int]) -> Iterator[Task]:
        """Micro-batches of this process over steps, in order."""
        for step in steps:
            yield from self._future(step).result().micro_batches

    def plan(self, step: int) -> PlannedStep:
        """The plan of a step; steps before it are forgotten."""
        plan = self._future(step).result()
        for past in [number for number in self._plans if number < step]:
            del self._plans[past]
        return plan

    def _future(self, step: int) -> Future[PlannedStep]:
        for number in range(step, step + _AHEAD):
            if number not in self._plans:
                self._plans[number] = self._pool.submit(self._make, number)
        return self._plans[step]

    def _make(self, step: int) -> PlannedStep:
        _, rows = self.order.rows(step)
        numbers = [int(row) for row in rows]
        if not self.grouping.needs_lengths:
            batches = self.grouping.micro_batches([1] * len(numbers), self.world_size)
            return PlannedStep(micro_batches=self._tasks(batches, numbers))
        lengths = [self._length(number) for number in numbers]
        usable = [number for number, length in zip(numbers, lengths) if length]
        batches = self.grouping.micro_batches([length for length in lengths if length], self.world_size)
        faults = {number: self._faults[number] for number, length in zip(numbers, lengths) if not length}
        return PlannedStep(micro_batches=self._tasks(batches, usable), faults=tuple(faults.values()))

    def _tasks(self, batches: list[list[list[int]]], numbers: list[int]) -> tuple[Task, ...]:
        own = share(batches, self.rank, self.world_size)
        return tuple(Task(rows=tuple(tuple(numbers[n] for n in row) for row in batch)) for batch in own)

    def _length(self, number: int) -> int:
        """Positions of a row, 0 where it cannot be used. Kept: epochs after the first tokenise nothing."""
        if self._lengths[number] < 0:
            fault = None
            row, faults = self.sources.parse(number)
            if row is None:
                fault = fault_entry(self.sources, number, "row", None, faults[0])
            else:
                try:
                    self._lengths[number] = self.encoder.text(row).num_positions
                except RowFaultError as error:
                    fault = fault_entry(self.sources, number, "text", row.id, error.fault)
            if fault is not None:
                self._lengths[number], self._faults[number] = 0, fault
        return int(self._lengths[number])


def fault_entry(sources: Sources, number: int, stage: str, row_id: str | None, fault: RowFault) -> dict[str, Any]:
    """The fields of a ledger entry that do not depend on the step."""
    place = sources.place(number)
    return {
        "row": row_id or place,
        "place": place,
        "number": number,
        "stage": stage,
        "kind": fault.kind,
        "reason": fault.text,
        "fix": fault.fix,
    }
