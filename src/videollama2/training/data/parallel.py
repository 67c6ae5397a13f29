"""Calling a function for many items in several processes, also where an item ends the process that works on it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Items that travel together.
_CHUNK = 32
# Imported once by the process that others are forked from, and not by each of them.
_PRELOADED = ("videollama2.training.data.worker", "transformers")

# What the processes of a pool were started with; set in them, never in the main process.
_function: Callable[[Any], Any] | None = None


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    tell: Callable[[int], None],
    *,
    on_crash: Callable[[Item], Result] | None = None,
) -> list[Result]:
    """Results for items, in order.

    Args:
        function: Copied once to every process.
        items: What to call it with.
        workers: Processes; 1 works in this one.
        tell: Told how many are done.
        on_crash: The result for an item that ends its process (a decoder may); None lets the error through.
    """
    if workers <= 1 or len(items) <= _CHUNK:
        results = []
        for number, item in enumerate(items, 1):
            results.append(function(item))
            tell(number)
        return results
    chunks = [range(begin, min(begin + _CHUNK, len(items))) for begin in range(0, len(items), _CHUNK)]
    found: dict[int, Any] = {}
    while chunks:
        done, left = _attempt(function, items, chunks, workers, tell, len(found))
        found |= done
        if not left:
            break
        if on_crash is None:
            raise BrokenProcessPool("a worker process ended")
        # One of those that were in hand ended its process: called in turn, it is the first that is not done.
        in_hand = left[: 2 * workers + 1]
        done, again = _attempt(function, items, in_hand, 1, tell, len(found))
        found |= done
        culprit = again[0] if again else range(0)
        if len(culprit) == 1:
            found[culprit[0]] = on_crash(items[culprit[0]])
        half = len(culprit) // 2
        chunks = [part for part in (culprit[:half], culprit[half:]) if len(culprit) > 1]
        chunks += [*again[1:], *left[len(in_hand) :]]
    tell(len(found))
    return [found[number] for number in range(len(items))]


def _attempt(
    function: Callable[[Any], Any],
    items: Sequence[Any],
    chunks: Sequence[range],
    workers: int,
    tell: Callable[[int], None],
    before: int,
) -> tuple[dict[int, Any], list[range]]:
    """Results by number, and in order the chunks that were not finished when a process ended."""
    found: dict[int, Any] = {}
    broken: set[int] = set()
    with ProcessPoolExecutor(workers, mp_context=context(), initializer=_begin, initargs=(function,)) as pool:
        futures = {pool.submit(_call, [items[number] for number in chunk]): chunk for chunk in chunks}
        for future in as_completed(futures):
            try:
                found.update(zip(futures[future], future.result()))
            except BrokenProcessPool:
                broken.add(futures[future][0])
            tell(before + len(found))
    return found, [chunk for chunk in chunks if chunk[0] in broken]


def context() -> Any:
    """How processes are started: not forked from this one, whose threads and devices a copy could not use."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(list(_PRELOADED))
    return forkserver


def _begin(function: Callable[[Any], Any]) -> None:
    global _function
    _function = function
    import torch

    torch.set_num_threads(1)


def _call(items: list[Any]) -> list[Any]:
    assert _function is not None
    return [_function(item) for item in items]
