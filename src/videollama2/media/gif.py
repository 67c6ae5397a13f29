"""GIFs and other animated images (WebP, PNG) as videos, by Pillow.

The official code takes every GIF at 25 frames per second when it turns bounds into frame numbers, and takes each
sampled number once (so short GIFs give fewer frames, filled up with black ones). Both rules are kept; the times are
the true ones from the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .deadline import Deadline
from .image import open_image, to_rgb
from .limits import Limits
from .source import Source

# What browsers show for a frame whose stored delay is 0 or 10 ms.
_SHORTEST_DELAY_MS = 20
_DEFAULT_DELAY_MS = 100


@dataclass(frozen=True, kw_only=True)
class AnimationIndex:
    """Frames of an animation: start times in seconds [N], total duration in seconds, size."""

    times: tuple[float, ...]
    duration: float
    width: int
    height: int

    def __len__(self) -> int:
        return len(self.times)


def is_animated(source: Source, limits: Limits) -> bool:
    """Whether an image file holds more than one frame."""
    with open_image(source, limits) as image:
        return getattr(image, "n_frames", 1) > 1


def index_animation(source: Source, limits: Limits, deadline: Deadline) -> AnimationIndex:
    """Count the frames and read their delays."""
    times: list[float] = []
    clock = 0.0
    with open_image(source, limits) as image:
        limits.check_frames(getattr(image, "n_frames", 1), source.name)
        for number in range(getattr(image, "n_frames", 1)):
            deadline.check()
            image.seek(number)
            delay = float(image.info.get("duration", 0) or 0)
            times.append(clock)
            clock += (delay if delay >= _SHORTEST_DELAY_MS else _DEFAULT_DELAY_MS) / 1000
        return AnimationIndex(times=tuple(times), duration=clock, width=image.width, height=image.height)


def decode_animation(
    source: Source,
    indices: list[int],
    limits: Limits,
    deadline: Deadline,
    on_frame: Callable[[int, np.ndarray], None] | None = None,
) -> tuple[dict[int, np.ndarray], list[str]]:
    """Decode frames by number; returns number -> uint8 [H, W, 3] RGB, and events. `on_frame` is given each at once."""
    frames: dict[int, np.ndarray] = {}
    events: list[str] = []
    with open_image(source, limits) as image:
        for number in sorted(set(indices)):
            deadline.check()
            image.seek(number)
            frames[number], notes = to_rgb(image)
            if on_frame is not None:
                on_frame(number, frames[number])
            events += [note for note in notes if note not in events]
    return frames, events
