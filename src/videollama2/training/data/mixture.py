"""The order of training samples, as a pure function of seed, epoch and position.

Nothing is drawn from a generator whose stream a library may change: rows are sorted by a hash of (seed, epoch, number),
so a run continues with the same samples on any machine, with any number of workers or processes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from videollama2.errors import RequestError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Several sources of rows as one, each with a weight.

    Rows are numbered through: source 0 first. A source of n rows and weight w gives round(n * w) samples an epoch:
    whole copies, and for the fraction a part that moves on from epoch to epoch, so that no row is left out for ever.

    Attributes:
        counts: Rows of each source, 0 or more.
        weights: Weight of each, above 0; 1.0 is every row once an epoch.
        seed: Any whole number.
    """

    counts: tuple[int, ...]
    weights: tuple[float, ...]
    seed: int = 42

    def __post_init__(self) -> None:
        """Check the numbers."""
        if len(self.counts) != len(self.weights) or not self.counts:
            raise RequestError(f"{len(self.counts)} sources have {len(self.weights)} weights; give one for each.")
        for weight in self.weights:
            if not (weight > 0 and math.isfinite(weight)):
                raise RequestError(f"A source has weight {weight!r}; give a number above 0, or leave the source out.")
        for count, weight, samples in zip(self.counts, self.weights, self.samples_of_sources):
            if count and not samples:
                raise RequestError(
                    f"A source of {count} rows and weight {weight} gives none of its rows; raise the weight."
                )
        if self.epoch_size == 0:
            raise RequestError("The data hold no rows; give files with rows.")

    @property
    def samples_of_sources(self) -> tuple[int, ...]:
        """Samples of each source in an epoch."""
        return tuple(round(count * weight) for count, weight in zip(self.counts, self.weights))

    @property
    def epoch_size(self) -> int:
        """Samples in an epoch."""
        return sum(self.samples_of_sources)

    def order(self, epoch: int) -> np.ndarray:
        """Row numbers of an epoch in training order, int64 [epoch_size]."""
        return _order(self, epoch)

    def row(self, epoch: int, position: int) -> int:
        """The row at a position of an epoch."""
        return int(self.order(epoch)[position])

    def source_of(self, row: int) -> tuple[int, int]:
        """Source of a row, and its number there."""
        for source, count in enumerate(self.counts):
            if row < count:
                return source, row
            row -= count
        raise IndexError("there is no such row")


@lru_cache(maxsize=4)
def _order(mixture: Mixture, epoch: int) -> np.ndarray:
    offset, parts = 0, []
    for source, (count, wanted) in enumerate(zip(mixture.counts, mixture.samples_of_sources)):
        copies, rest = divmod(wanted, count) if count else (0, 0)
        rows = np.arange(offset, offset + count, dtype=np.int64)
        parts += [rows] * copies
        if rest:
            # A window that walks over one fixed shuffle of the source, from where the last epoch ended.
            shuffled = shuffle(rows, mixture.seed, -1 - source)
            begin = epoch * rest % count
            parts.append(np.concatenate([shuffled, shuffled])[begin : begin + rest])
        offset += count
    order = shuffle(np.concatenate(parts), mixture.seed, epoch)
    order.setflags(write=False)
    return order


def shuffle(values: np.ndarray, *key: int) -> np.ndarray:
    """`values` in an order that depends on the whole numbers `key` alone."""
    keys = mix(np.arange(len(values), dtype=np.uint64) * _GOLDEN + np.uint64(fold(*key)))
    return values[np.argsort(keys, kind="stable")]


def fold(*key: int) -> int:
    """One 64-bit number of several whole numbers, in order."""
    state = 0
    for part in key:
        state = int(mix(np.array([(state * 31 + part + int(_GOLDEN)) & _MASK], dtype=np.uint64))[0])
    return state


def mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014) on uint64; one to one."""
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def weights_of(given: Sequence[float | None]) -> tuple[float, ...]:
    """Weights with 1.0 where none is given."""
    return tuple(1.0 if weight is None else float(weight) for weight in given)
