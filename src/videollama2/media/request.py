"""What a caller wants from a video, and the frame numbers that follow from it. Pure: no file is touched here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from ..errors import MediaError, RequestError
from .sampling import (
    OFFICIAL_FRAMES_PER_SECOND,
    OFFICIAL_MAX_FRAMES,
    OFFICIAL_NUM_FRAMES,
    clip_bounds,
    fps_indices,
    ordered_bounds,
    time_indices,
    uniform_indices,
)

Bounds = Literal["auto", "official", "exact"]

# How far, in seconds, frames may be from an even rate for the official rules (which assume one) to be used.
_EVEN_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class FrameRequest:
    """Which frames to take. `times` goes before `fps`, `fps` before `num_frames`.

    Attributes:
        num_frames: Frames spread uniformly (1 or more); `None` for one frame per second.
        fps: Frames to take per second of the source, above 0.
        times: Explicit times in seconds.
        start: Beginning of the clip in seconds; `None` for the beginning of the source.
        end: End of the clip in seconds; `None` for the end of the source.
        bounds: How start, end and fps become frame numbers. "official": by the average frame rate. "exact": by the true
            times. "auto": official where frames come at an even rate, else exact (with an event).
        max_frames: Frames beyond this many are cut off the end (official: 32); `None` for no cut.
    """

    num_frames: int | None = OFFICIAL_NUM_FRAMES
    fps: float | None = None
    times: Sequence[float] | None = None
    start: float | None = None
    end: float | None = None
    bounds: Bounds = "auto"
    max_frames: int | None = OFFICIAL_MAX_FRAMES

    def __post_init__(self) -> None:
        for name in ("num_frames", "max_frames"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise RequestError(f"{name}={value!r} is not a whole number from 1 on; give one, or None.")
        if self.fps is not None and not (
            isinstance(self.fps, int | float) and self.fps > 0 and math.isfinite(self.fps)
        ):
            raise RequestError(f"fps={self.fps!r} is not a rate above 0; give frames per second.")
        if self.bounds not in get_args(Bounds):
            raise RequestError(f"bounds={self.bounds!r} is unknown; choose 'auto', 'official' or 'exact'.")

    @property
    def is_plain(self) -> bool:
        """Nothing that needs times was asked for."""
        return self.fps is None and self.times is None and self.start is None and self.end is None

    def choose(
        self, num_source_frames: int, source_fps: float, frame_times: Sequence[float], duration: float
    ) -> tuple[list[int], list[str]]:
        """Frame numbers to take, after bounds, rate and cut, and events.

        Args:
            num_source_frames: N, frames of the source.
            source_fps: The rate the official rules use for this source (folder 3, GIF 25, video: average rate).
            frame_times: Start of every frame in seconds, rising.
            duration: Seconds of the source.
        """
        start, end, events = ordered_bounds(self.start, self.end)
        if self.times is not None:
            self._check_times(start, end)
            indices = time_indices(frame_times, list(self.times), duration)
            return self.cut(indices, events)
        by_rate = self.num_frames is None or self.fps is not None
        exact = self.bounds == "exact"
        if self.bounds == "auto" and (by_rate or start is not None or end is not None):
            exact = not _even(frame_times, source_fps)
            if exact:
                events.append("frames do not come at an even rate: bounds and fps go by their true times")
        first, last = 0, num_source_frames - 1
        if exact:
            first, last = _exact_bounds(frame_times, start, end)
        elif start is not None or end is not None:
            first, last = clip_bounds(num_source_frames, source_fps, start, end)
        if end is not None and end > duration + 0.1:
            events.append(f"end={end:g} s lies after the end of the clip ({duration:.2f} s)")
        if not by_rate:
            chosen = uniform_indices(last - first + 1, self.num_frames or 1)
            return self.cut([first + i for i in chosen], events)
        rate = self.fps if self.fps is not None else OFFICIAL_FRAMES_PER_SECOND
        if exact:
            low, high = max(start or 0.0, frame_times[first]), min(duration if end is None else end, duration)
            grid = [low + (i + 0.5) / rate for i in range(max(int((high - low) * rate), 1))]
            return self.cut(time_indices(frame_times, [min(time, high) for time in grid], duration), events)
        chosen = fps_indices(last - first + 1, source_fps, rate)
        step = max(int(source_fps // rate), 1)
        if abs(source_fps / step - rate) > 0.25 * rate and len(chosen) > 1:
            events.append(
                f"{rate:g} frames per second were asked for: one of {step} frames at {source_fps:g} a second gives "
                f"{source_fps / step:.2f}"
            )
        return self.cut([first + i for i in chosen], events)

    def cut(self, indices: list[int], events: list[str]) -> tuple[list[int], list[str]]:
        """Keep the first `max_frames` (official rule: the rest is dropped, not spread) and say so."""
        if self.max_frames is None or len(indices) <= self.max_frames:
            return indices, events
        event = f"only the first {self.max_frames} of {len(indices)} chosen frames are used (max_frames)"
        return indices[: self.max_frames], [*events, event]

    def _check_times(self, start: float | None, end: float | None) -> None:
        for time in self.times or ():
            if (start is not None and time < start) or (end is not None and time > end):
                raise RequestError(
                    f"Time {time:g} s lies outside start={start} and end={end}; give times between them."
                )


def _even(frame_times: Sequence[float], source_fps: float) -> bool:
    times = np.asarray(frame_times)
    slack = max(_EVEN_SECONDS, 1.5 / source_fps)
    return bool(np.abs(times - times[0] - np.arange(len(times)) / source_fps).max() <= slack)


def _exact_bounds(frame_times: Sequence[float], start: float | None, end: float | None) -> tuple[int, int]:
    """First and last frame that is on the screen between two times."""
    times = np.asarray(frame_times)
    first = 0 if start is None else max(int(np.searchsorted(times, start, side="right")) - 1, 0)
    last = len(times) - 1 if end is None else int(np.searchsorted(times, end, side="left")) - 1
    if first > last or (start is not None and start > times[-1] + 1):
        raise MediaError(
            f"No frame lies between start={start} and end={end} s of a clip whose {len(times)} frames begin up to "
            f"{times[-1]:.2f} s; give bounds inside the clip."
        )
    return first, last
