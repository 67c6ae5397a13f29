"""Which seconds of a sound are used: pure window policies by name.

official-file   over `seconds` long: one window at a random place drawn from a seed; else all of it.
official-video  8 clips of 2 s, spread evenly over the whole sound, overlapping where it is short.
first           the first `seconds`.
centre          the middle `seconds`.
uniform         pieces of 2 s spread evenly, `seconds` in all; all of it where it is shorter.
full            everything, in consecutive windows of `seconds`.
"""

from __future__ import annotations

import math
import random
from fractions import Fraction
from typing import Literal, get_args

from ..errors import MediaError, RequestError

Policy = Literal["official-file", "official-video", "first", "centre", "uniform", "full"]
POLICIES: tuple[str, ...] = get_args(Policy)

OFFICIAL_SECONDS = 30.0
OFFICIAL_CLIPS = 8
OFFICIAL_CLIP_SECONDS = 2
PIECE_SECONDS = 2.0

Window = tuple[float, float]


def check_policy(policy: str, seconds: float) -> None:
    """Raise RequestError for an unknown policy or a length that is no number above 0."""
    if policy not in POLICIES:
        raise RequestError(f"Window policy {policy!r} is unknown; choose one of {', '.join(POLICIES)}.")
    if not (isinstance(seconds, int | float) and seconds > 0 and math.isfinite(seconds)):
        raise RequestError(f"seconds={seconds!r} is not a length above 0; give seconds.")


def official_file_start(num_samples: int, window_samples: int, seed: int | None) -> int:
    """First sample of the official random window; 0 where the sound is not longer than the window.

    The draw is `randint(0, num_samples - window_samples)` of Python's generator seeded with `seed`, as the official
    code draws after `random.seed(seed)`.

    Raises:
        RequestError: A draw is needed and no seed was given.
    """
    if num_samples <= window_samples:
        return 0
    if seed is None:
        raise RequestError(
            "Policy 'official-file' draws a random window from sound this long; give seed=, or use 'first' or 'centre'."
        )
    return random.Random(seed).randint(0, num_samples - window_samples)


def official_video_clips(duration: float) -> list[tuple[Fraction, Fraction]]:
    """Start and end seconds of the 8 official clips as exact fractions.

    The starts divide the possible range into 8 steps, so the last clip ends one step before `duration`.
    """
    latest = Fraction(max(duration - OFFICIAL_CLIP_SECONDS, 0))
    step = latest / OFFICIAL_CLIPS
    return [(step * i, step * i + OFFICIAL_CLIP_SECONDS) for i in range(OFFICIAL_CLIPS)]


def plan_windows(policy: str, first: float, last: float, seconds: float) -> list[Window]:
    """Windows of a deterministic policy between two times.

    Args:
        policy: "first", "centre", "uniform" or "full".
        first: Where the usable sound begins, in seconds.
        last: Where it ends, in seconds.
        seconds: Length taken in all ("full": length of each window).

    Returns:
        (start, end) in seconds, rising, within [first, last], not overlapping.
    """
    check_policy(policy, seconds)
    length = last - first
    if policy == "full":
        count = max(math.ceil(round(length / seconds, 6)), 1)
        return [(first + i * seconds, min(first + (i + 1) * seconds, last)) for i in range(count)]
    if length <= seconds:
        return [(first, last)]
    if policy == "first":
        return [(first, first + seconds)]
    if policy == "centre":
        middle = (first + last) / 2
        return [(middle - seconds / 2, middle + seconds / 2)]
    if policy == "uniform":
        count = max(int(seconds // PIECE_SECONDS), 1)
        piece = seconds / count
        step = (length - piece) / max(count - 1, 1)
        starts = [first + i * step for i in range(count)] if count > 1 else [first + (length - piece) / 2]
        return [(start, start + piece) for start in starts]
    raise RequestError(
        f"Policy {policy!r} does not give windows between bounds; choose first, centre, uniform or full."
    )


def sound_bounds(duration: float, start: float | None, end: float | None, name: str) -> tuple[Window, list[str]]:
    """The usable part of a sound between optional bounds, and events.

    Raises:
        MediaError: No sound lies between the bounds.
        RequestError: A bound that is no finite number.
    """
    events = []
    for key, value in (("start", start), ("end", end)):
        if value is not None and not math.isfinite(value):
            raise RequestError(f"{key}={value!r} is not a number of seconds; give a finite number or leave it out.")
    if start is not None and end is not None and start > end:
        events.append(f"sound bounds {start:g} and {end:g} s were swapped")
        start, end = end, start
    first = 0.0 if start is None else max(start, 0.0)
    last = duration if end is None else min(end, duration)
    if first >= last:
        raise MediaError(
            f"No sound of {name} lies between start={start} and end={end} s (it lasts {duration:.2f} s); "
            "give bounds inside it."
        )
    if end is not None and end > duration + 0.1:
        events.append(f"end={end:g} s lies after the end of the sound ({duration:.2f} s)")
    return (first, last), events
