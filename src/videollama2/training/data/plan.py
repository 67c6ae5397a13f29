"""Steps: which samples an optimiser step sees, which of them pass together, and which process takes them. All pure.

A step is so many consecutive samples of the epoch's order, whatever the number of processes and however they are
packed: neither changes what is learnt from at a step, only who computes it. So packing and grouping happen inside it.

    Micro-batch: a list of rows of a batch. Row: a list of samples, one without packing. Sample: its place in the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from videollama2.errors import RequestError
from videollama2.training.data.mixture import Mixture
from videollama2.training.data.packing import by_length, in_order, pack, split_packs

MicroBatch = list[list[int]]


@dataclass(frozen=True, kw_only=True)
class StepOrder:
    """Samples of each step.

    Attributes:
        mixture: Order of the rows.
        samples: Samples of a step, 1 or more; the last step of an epoch may have fewer.
    """

    mixture: Mixture
    samples: int

    def __post_init__(self) -> None:
        """Check the number."""
        if self.samples < 1:
            raise RequestError(f"batch.samples is {self.samples}; give 1 or more.")

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every sample of an epoch is seen once."""
        return math.ceil(self.mixture.epoch_size / self.samples)

    def rows(self, step: int) -> tuple[int, np.ndarray]:
        """Epoch and row numbers of a step, from 0 on; a pure function of the two."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return epoch, self.mixture.order(epoch)[place * self.samples : (place + 1) * self.samples]


def num_steps(epoch_size: int, samples: int, *, epochs: float | None, max_steps: int | None) -> int:
    """Steps of a run; `max_steps` goes before `epochs`, which may be a fraction.

    Raises:
        RequestError: Neither is given, or they come to nothing.
    """
    steps = max_steps
    if steps is None and epochs is not None:
        steps = math.ceil(epochs * math.ceil(epoch_size / samples))
    if steps is None or steps < 1:
        raise RequestError(f"epochs {epochs!r} and max_steps {max_steps!r} make no step; give one of them, above 0.")
    return steps


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """How the samples of a step become micro-batches.

    Attributes:
        micro: Rows of a micro-batch, 1 or more: samples, or packs where they are packed.
        max_tokens: Positions of a row.
        packing: Several samples in one row.
        by_length: Without packing: samples of like lengths together.
    """

    micro: int
    max_tokens: int
    packing: bool = False
    by_length: bool = True

    @property
    def needs_lengths(self) -> bool:
        """Whether lengths decide anything."""
        return self.packing or self.by_length

    def micro_batches(self, lengths: Sequence[int], world_size: int = 1) -> list[MicroBatch]:
        """Divide a step's samples.

        The number of micro-batches is a multiple of `world_size` wherever there are samples enough, and rows are
        divided evenly among them.

        Args:
            lengths: Positions of each sample; only their number matters unless `needs_lengths`.
            world_size: Processes.
        """
        count = len(lengths)
        if count == 0:
            return []
        if not self.packing:
            wanted = _multiple(math.ceil(count / self.micro), world_size)
            order = [
                n for group in (by_length(lengths, count) if self.by_length else in_order(count, count)) for n in group
            ]
            return [[[n] for n in part] for part in _evenly(order, wanted)]
        packs = pack(lengths, self.max_tokens)
        wanted = _multiple(math.ceil(len(packs) / self.micro), world_size)
        packs = split_packs(packs, lengths, wanted)
        return _evenly(packs, wanted)


def share(micro_batches: Sequence[MicroBatch], rank: int, world_size: int) -> list[MicroBatch]:
    """Micro-batches of one process; all get equally many and at least one, an empty one where there is none left.

    They are dealt out in turns, so that at the same moment all processes compute batches of like sizes.
    """
    longest = max(math.ceil(len(micro_batches) / world_size), 1)
    own = list(micro_batches[rank::world_size])
    return own + [[] for _ in range(longest - len(own))]


def _multiple(count: int, of: int) -> int:
    return math.ceil(count / of) * of


def _evenly(items: Sequence, parts: int) -> list[list]:
    """Consecutive parts whose sizes differ by at most one; never an empty one."""
    parts = min(parts, len(items))
    bounds = [len(items) * number // parts for number in range(parts + 1)]
    return [list(items[begin:end]) for begin, end in pairwise(bounds)]
