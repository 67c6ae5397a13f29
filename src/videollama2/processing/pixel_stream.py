"""Frames become pixels while the next ones are still being decoded: a few threads, each frame into its place.

Decoding, resizing and writing out all let go of the interpreter lock, so on two cores the pixels cost little more time
than the decoding alone. The numbers are those of `preprocess_frames`, which is made of the same parts.

Shape letters: T frames, H W pixels of the source, S side of the tower's square input.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from videollama2.media.types import VideoClip
from videollama2.processing.frame_pixels import memory_key, normalise_into, resize_frame, rgb_arrays
from videollama2.processing.pixel_spec import PixelSpec


class PixelStream:
    """Turns frames into the tower's input as they come. A `FrameSink` of `load_video`; used in a `with` block.

    Args:
        spec: The tower's preprocessing.
        pad: Pad each frame to a square with `spec.background` first.
    """

    def __init__(self, spec: PixelSpec, *, pad: bool = False) -> None:
        self.spec = spec
        self.pad = pad
        self._rows = np.empty((0, 3, spec.image_size, spec.image_size), dtype=np.float32)
        self._taken: dict[int, np.ndarray] = {}
        self._pending: list[Future[None]] = []
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> PixelStream:
        """Start; no thread runs before the first frame."""
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what is waiting, let the threads end."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def expect(self, num_frames: int) -> None:
        """Make room for T frames; what was taken before is dropped."""
        self._wait()
        self._taken.clear()
        # NumPy, because it asks the system for large pages: this is often the largest piece of memory of a request.
        self._rows = np.empty((num_frames, *self._rows.shape[1:]), dtype=np.float32)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(_num_threads(), thread_name_prefix="videollama2-pixels")

    def take(self, place: int, frame: np.ndarray) -> None:
        """Start on a frame [H, W, 3] that will probably stand at `place`; a second one there is left to the end."""
        if place not in self._taken:
            self._taken[place] = frame
            self._submit(place, frame)

    def pixels(self, frames: Sequence[Any] | np.ndarray) -> torch.Tensor:
        """Finish: pixels of these frames, of which those taken are already done, or nearly.

        Args:
            frames: T frames, each uint8 [H, W, 3] RGB (array or tensor) or a Pillow image; sizes may differ. The same
                pixels in memory are worked on once.

        Returns:
            float32 [T, 3, S, S].

        Raises:
            RequestError: A frame is not RGB uint8, or there is none.
            Exception: Whatever happened in a thread.
        """
        arrays = rgb_arrays(frames)
        if len(arrays) != len(self._rows):
            self.expect(len(arrays))
        self._wait()
        first_of: dict[tuple[Any, ...], int] = {}
        first = [first_of.setdefault(memory_key(array), place) for place, array in enumerate(arrays)]
        left = [place for place in first_of.values() if self._taken.get(place) is not arrays[place]]
        if len(left) == 1:
            self._work(self._rows[left[0]], arrays[left[0]])
        else:
            for place in left:
                self._submit(place, arrays[place])
            self._wait()
        for place, origin in enumerate(first):
            if origin != place:
                self._rows[place] = self._rows[origin]
        return torch.from_numpy(self._rows)

    def _submit(self, place: int, frame: np.ndarray) -> None:
        assert self._pool is not None, "expect() comes first"
        self._pending.append(self._pool.submit(self._work, self._rows[place], frame))

    def _work(self, row: np.ndarray, frame: np.ndarray) -> None:
        normalise_into(row, resize_frame(frame, self.spec, self.pad), self.spec)

    def _wait(self) -> None:
        """Until nothing is under way; the first failure is raised."""
        pending, self._pending = self._pending, []
        for future in pending:
            future.result()


def load_with_pixels(
    load: Callable[..., VideoClip], spec: PixelSpec, *, pad: bool = False
) -> tuple[VideoClip, torch.Tensor]:
    """Load a clip and make its pixels meanwhile.

    Args:
        load: Loads it, given the keyword `sink`.
        spec: The tower's preprocessing.
        pad: See `PixelStream`.

    Returns:
        The clip, and float32 [T, 3, S, S].
    """
    with PixelStream(spec, pad=pad) as stream:
        clip = load(sink=stream)
        return clip, stream.pixels(clip.frames)


def _num_threads() -> int:
    """Threads this process may use: its CPU affinity where the system tells it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
