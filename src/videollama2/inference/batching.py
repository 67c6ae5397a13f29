"""Many requests: every prompt is read alone, answers are decoded together, and what fails fails alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from videollama2.errors import RequestError, VideoLLaMA2Error
from videollama2.inference.answer import Answer, FailedAnswer
from videollama2.inference.core import Core, Reading
from videollama2.inference.device import available_memory
from videollama2.inference.request import Request

# A batch holds the prompts' own keys and values, their padded copy, and one more copy while a step grows it.
COPIES = 3
MEMORY_SHARE = 0.25


def answer_batch(
    core: Core, requests: Sequence[Any], batch_size: int | None, memory: int | None
) -> list[Answer | FailedAnswer]:
    """See `VideoLLaMA2.ask_batch`."""
    if isinstance(requests, (str, bytes, Mapping)) or not isinstance(requests, Sequence):
        raise RequestError("requests must be a list, for example [{'question': '...', 'video': 'a.mp4'}]")
    if batch_size is not None and batch_size < 1:
        raise RequestError(f"batch_size is {batch_size}: give 1 or more")
    budget = int(available_memory(core.device) * MEMORY_SHARE) if memory is None else memory
    results: list[Answer | FailedAnswer | None] = [None] * len(requests)
    waiting: list[tuple[int, Reading]] = []

    def flush() -> None:
        answers = core.generate([reading for _, reading in waiting]) if waiting else []
        for (place, _), (answer, _) in zip(waiting, answers, strict=True):
            results[place] = answer
        waiting.clear()

    for place, item in enumerate(requests):
        try:
            reading = core.read(Request.coerce(item))
        except Exception as error:
            # Whatever one item brings about is reported with that item; the others are answered.
            results[place] = failed_answer(item, place, error)
            continue
        if waiting and batch_bytes([*(held for _, held in waiting), reading]) > budget:
            flush()
        waiting.append((place, reading))
        if batch_size is not None and len(waiting) >= batch_size:
            flush()
    flush()
    assert all(result is not None for result in results)
    return [result for result in results if result is not None]


def batch_bytes(readings: Sequence[Reading]) -> int:
    """Bytes of keys and values that decoding these together takes at most."""
    longest = max(reading.prompt.prefix.length + reading.sampling.max_new_tokens for reading in readings)
    first = readings[0].prompt.prefix
    return COPIES * len(readings) * longest * (first.num_bytes // max(first.length, 1))


def failed_answer(item: Any, place: int, error: Exception) -> FailedAnswer:
    """What a batch says about an item that cannot be answered."""
    question = item.get("question", "") if isinstance(item, Mapping) else getattr(item, "question", item)
    code, message = "internal", f"a fault of the program ({type(error).__name__}): {error}"
    if isinstance(error, VideoLLaMA2Error):
        code, message = error.code, str(error)
    return FailedAnswer(
        question=question if isinstance(question, str) else "", error_code=code, error_message=message, index=place
    )
