"""Which samples share a row: best-fit packing, or batches of like lengths. Pure functions of lengths."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence

from videollama2.errors import RequestError

# Rows that are packed together; more would fill little better and delay the first batch.
WINDOW = 1024


def pack(lengths: Sequence[int], max_tokens: int, *, window: int = WINDOW) -> list[list[int]]:
    """Best-fit decreasing: each sample, longest first, goes where it leaves least room.

    Args:
        lengths: Positions of each sample, 1 to `max_tokens`.
        max_tokens: Most positions of a pack.
        window: Samples looked at together; each window of so many is packed by itself.

    Returns:
        Packs of sample numbers, rising within a pack; fullest packs of a window first. O(n log n).

    Raises:
        RequestError: A sample is longer than a pack, or has no length.
    """
    packs: list[list[int]] = []
    for begin in range(0, len(lengths), window):
        packs += _pack_window(lengths, range(begin, min(begin + window, len(lengths))), max_tokens)
    return packs


def _pack_window(lengths: Sequence[int], numbers: range, max_tokens: int) -> list[list[int]]:
    room: list[tuple[int, int]] = []  # (positions left, pack), rising
    packs: list[list[int]] = []
    for number in sorted(numbers, key=lambda n: (-lengths[n], n)):
        length = lengths[number]
        if not 1 <= length <= max_tokens:
            raise RequestError(
                f"A sample of {length} positions does not fit into a pack of {max_tokens}; cut it first."
            )
        at = bisect_left(room, (length, -1))
        if at < len(room):
            left, place = room.pop(at)
            packs[place].append(number)
        else:
            left, place = max_tokens, len(packs)
            packs.append([number])
        if left > length:
            insort(room, (left - length, place))
    packs.sort(key=lambda members: (-sum(lengths[n] for n in members), members))
    return [sorted(members) for members in packs]


def split_packs(packs: list[list[int]], lengths: Sequence[int], count: int) -> list[list[int]]:
    """Divide packs until there are `count`, the fullest with several samples first; fewer where samples run out."""
    packs = [list(members) for members in packs]
    while len(packs) < count:
        divisible = [i for i, members in enumerate(packs) if len(members) > 1]
        if not divisible:
            break
        chosen = max(divisible, key=lambda i: (sum(lengths[n] for n in packs[i]), -i))
        packs[chosen : chosen + 1] = _halves(packs[chosen], lengths)
    return sorted(packs, key=lambda members: (-sum(lengths[n] for n in members), members))


def _halves(members: list[int], lengths: Sequence[int]) -> list[list[int]]:
    halves: list[list[int]] = [[], []]
    for number in sorted(members, key=lambda n: (-lengths[n], n)):
        lighter = min((sum(lengths[n] for n in half), side) for side, half in enumerate(halves))[1]
        halves[lighter].append(number)
    return [sorted(half) for half in halves]


def by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    """Batches of `size` samples of like lengths, longest first: little is padded, and memory runs out at once."""
    order = sorted(range(len(lengths)), key=lambda n: (-lengths[n], n))
    return [order[begin : begin + size] for begin in range(0, len(order), size)]


def in_order(count: int, size: int) -> list[list[int]]:
    """Batches of `size` samples as they come."""
    return [list(range(begin, min(begin + size, count))) for begin in range(0, count, size)]


def padded_positions(rows: Sequence[Sequence[int]], lengths: Sequence[int]) -> tuple[int, int]:
    """Positions that hold something, and positions computed, of one batch whose rows are these samples."""
    sums = [sum(lengths[n] for n in row) for row in rows]
    return sum(sums), max(sums, default=0) * len(sums)
