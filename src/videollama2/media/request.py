"""What a caller wants from a video, and the frame numbers that follow from it. Pure: no file is touched here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import MediaError, RequestError
from .sampling import (
    OFFICIAL_MAX_FRAMES,
    OFFICIAL_NUM_FRAMES,
    clip_bounds,
    fps_indices,
    ordered_bounds,
    time_indices,
    uniform_indices,
)

Bounds = Literal["official", "exact"]


@dataclass(frozen=True, kw_only=True)
class FrameRequest:
    """Which frames to take. `times` goes before `fps`, `fps` before `num_frames`.

    Attributes:
        num_frames: Frames spread uniformly (1 or more); `None` for one frame per second.
        fps: Frames to take per second of the source, above 0.
        times: Explicit times in seconds.
        start: Beginning of the clip in seconds; `None` for the beginning of the source.
        end: End of the clip in seconds; `None` for the end of the source.
        bounds: "official" turns start and end into frame numbers by the average frame rate; "exact" by true times.
        max_frames: Frames beyond this many are cut off the end (official: 32); `None` for no cut.
    """

    num_frames: int | None = OFFICIAL_NUM_FRAMES
    fps: float | None = None
    times: Sequence[float] | None = None
    start: float | None = None
    end: float | None = None
    bounds: Bounds = "official"
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
        if self.bounds not in ("official", "exact"):
            raise RequestError(f"bounds={self.bounds!r} is unknown; choose 'official' or 'exact'.")

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
        first, last = 0, num_source_frames - 1
        if start is not None or end is not None:
            first, last = self._bounds(num_source_frames, source_fps, frame_times, start, end, events)
        count = last - first + 1
        if self.fps is not None or self.num_frames is None:
            rate = self.fps if self.fps is not None else 1.0
            chosen = fps_indices(count, source_fps, rate)
            step = max(int(source_fps // rate), 1)
            if abs(source_fps / step - rate) > 0.25 * rate and count > 1:
                events.append(
                    f"{rate:g} frames per second were asked for: one of {step} frames at {source_fps:g} a second gives "
                    f"{source_fps / step:.2f}"
                )
        else:
            chosen = uniform_indices(count, self.num_frames)
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

    def _bounds(
        self,
        num_source_frames: int,
        source_fps: float,
        frame_times: Sequence[float],
        start: float | None,
        end: float | None,
        events: list[str],
    ) -> tuple[int, int]:
        low = -math.inf if start is None else start
        high = math.inf if end is None else end
        if self.bounds == "exact":
            inside = [i for i, time in enumerate(frame_times) if low <= time < high]
            if not inside:
                raise MediaError(
                    f"No frame lies between start={start} and end={end} s of a clip of {duration_text(frame_times)}; "
                    "give bounds inside the clip."
                )
            return inside[0], inside[-1]
        first, last = clip_bounds(num_source_frames, source_fps, start, end)
        if end is not None and end > frame_times[-1] + 2 / source_fps:
            events.append(f"end={end:g} s lies after the end of the clip: frames up to its end are used")
        slack = 2 / source_fps + 0.1
        if (start is not None and abs(frame_times[first] - low) > slack and low > 0) or (
            end is not None and last < num_source_frames - 1 and abs(frame_times[last] - high) > slack
        ):
            events.append(
                f"frames do not come at an even rate: the official bounds rule took {frame_times[first]:.2f} to "
                f"{frame_times[last]:.2f} s (bounds='exact' goes by true times)"
            )
        return first, last


def duration_text(frame_times: Sequence[float]) -> str:
    """How many frames up to which time, for messages."""
    return f"{len(frame_times)} frames up to {frame_times[-1]:.2f} s"
