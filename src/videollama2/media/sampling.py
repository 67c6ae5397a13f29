"""Which frames to take: pure functions from counts, rates and times to frame numbers. No file is touched here.

The uniform, fps and bounds rules are those of the official code (the released models were trained with them).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from ..errors import MediaError, RequestError

OFFICIAL_NUM_FRAMES = 8
OFFICIAL_MAX_FRAMES = 32
OFFICIAL_FRAMES_PER_SECOND = 1.0
OFFICIAL_FOLDER_FPS = 3.0
OFFICIAL_GIF_FPS = 25.0


def uniform_indices(num_source_frames: int, num_frames: int) -> list[int]:
    """Middle frame of each of `num_frames` equal segments (official uniform rule, "v1").

    Args:
        num_source_frames: D, usable frames, at least 1.
        num_frames: T, frames wanted, at least 1.

    Returns:
        T numbers in [0, D-1], never falling; repeated where D < T.
    """
    _at_least_one("num_frames", num_frames)
    _has_frames(num_source_frames)
    # Halves fall upwards by the small addend; with round-half-even they would depend on the parity of the frame number.
    step = (num_source_frames - 1) / num_frames
    return [round((i + 0.5) * step + 1e-6) for i in range(num_frames)]


def fps_indices(
    num_source_frames: int, source_fps: float, frames_per_second: float = OFFICIAL_FRAMES_PER_SECOND
) -> list[int]:
    """Middle frame of every segment of floor(source_fps / frames_per_second) frames (official fps rule at 1.0).

    A source slower than the wanted rate gives every frame (the official code fails there).

    Args:
        num_source_frames: D, usable frames, at least 1.
        source_fps: Frames per second of the source, above 0.
        frames_per_second: Rate wanted, above 0.

    Returns:
        At least one number in [0, D-1], rising.
    """
    _has_frames(num_source_frames)
    for name, rate in (("source_fps", source_fps), ("fps", frames_per_second)):
        if not (rate > 0 and math.isfinite(rate)):
            raise RequestError(f"{name}={rate!r} is not a rate above 0; give frames per second.")
    segment = min(max(int(source_fps // frames_per_second), 1), num_source_frames)
    return list(range(segment // 2, num_source_frames, segment))


def time_indices(frame_times: Sequence[float], times: Sequence[float], duration: float) -> list[int]:
    """The frame that is on the screen at each of `times`: the last one that starts at or before it.

    Args:
        frame_times: Start of every frame in seconds, rising.
        times: Wanted times in seconds, in any order.
        duration: Seconds of the source; later times are refused.

    Raises:
        RequestError: No time given, or one that is not a number of seconds from 0 on.
        MediaError: A time after the end of the source.
    """
    _has_frames(len(frame_times))
    if not len(times):
        raise RequestError("times is empty; give at least one time in seconds.")
    indices = []
    for time in times:
        if not (math.isfinite(time) and time >= 0):
            raise RequestError(f"times holds {time!r}; give seconds from 0 on.")
        if time > max(duration, frame_times[-1]) + 1e-3:
            raise MediaError(
                f"Time {time:g} s lies after the end of the clip ({duration:.2f} s); give an earlier time."
            )
        # Container clocks are coarse (1/90000 s, 1/1000 s): a time given with 3 decimals must find its own frame.
        indices.append(max(bisect_right(frame_times, time + 1e-3) - 1, 0))
    return indices


def ordered_bounds(start: float | None, end: float | None) -> tuple[float | None, float | None, list[str]]:
    """Bring clip bounds into order as the official code does, and say what was changed.

    Where both are given: negative ones become 0, swapped ones are swapped back, equal ones give one second. Alone, a
    bound is left as it is.

    Returns:
        start, end, events.
    """
    for name, value in (("start", start), ("end", end)):
        if value is not None and not math.isfinite(value):
            raise RequestError(f"{name}={value!r} is not a number of seconds; give a finite number or leave it out.")
    if start is None or end is None:
        return start, end, []
    events = []
    if start < 0 or end < 0:
        events.append(f"clip bounds {start:g} to {end:g} s: negative ones were set to 0")
        start, end = max(start, 0.0), max(end, 0.0)
    if start > end:
        events.append(f"clip bounds {start:g} and {end:g} s were swapped")
        start, end = end, start
    elif start == end:
        events.append(f"clip bounds were both {start:g} s: one second is taken")
        end = start + 1
    return start, end, events


def clip_bounds(num_source_frames: int, fps: float, start: float | None, end: float | None) -> tuple[int, int]:
    """First and last frame (both inclusive) between two bounds in seconds, by average frame rate (official rule).

    First max(int(start * fps) - 1, 0), last min(int(end * fps) - 1, N - 1); `ordered_bounds` comes before.

    Raises:
        MediaError: No frame lies between the bounds.
    """
    _has_frames(num_source_frames)
    first = 0 if start is None else max(int(start * fps) - 1, 0)
    last = num_source_frames - 1 if end is None else min(int(end * fps) - 1, num_source_frames - 1)
    if first > last:
        duration = num_source_frames / fps if fps else 0.0
        raise MediaError(
            f"No frame lies between start={start} and end={end} s of a clip of {num_source_frames} frames "
            f"({duration:.2f} s); give bounds inside the clip."
        )
    return first, last


def _at_least_one(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise RequestError(f"{name}={value!r} is not a whole number from 1 on; give one.")


def _has_frames(count: int) -> None:
    if count < 1:
        raise MediaError("The source holds no frames; give a video with at least one frame.")
