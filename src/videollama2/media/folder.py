"""Frames that come one by one: a folder of images, a list of paths, PIL images or arrays, one array [T, H, W, 3]."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import MediaError, RequestError
from .deadline import Deadline
from .image import check_array, open_image, to_rgb
from .limits import Limits
from .sniff import HEAD_BYTES, sniff
from .source import Source, open_source


class FrameList:
    """Frames that can be had by number, hashed over their full content, each decoded only when asked for.

    Args:
        items: One entry a frame: a path, `Source`, bytes, file object, PIL image or array.
        name: Short human name of the whole.
        limits: Checked for every frame when it is decoded.
        events: What was left out on the way here.
    """

    def __init__(
        self, items: Sequence[Any] | np.ndarray, name: str, limits: Limits, events: Sequence[str] = ()
    ) -> None:
        if not len(items):
            raise MediaError(f"{name} holds no frames; give at least one image.")
        limits.check_frames(len(items), name)
        self.items = items
        self.name = name
        self.limits = limits
        self.events = list(events)

    def __len__(self) -> int:
        return len(self.items)

    def decode(
        self, indices: Sequence[int], deadline: Deadline, on_frame: Callable[[int, np.ndarray], None] | None = None
    ) -> dict[int, np.ndarray]:
        """Frame number -> uint8 [H, W, 3] RGB. `on_frame` is given each at once, if it is within the limits."""
        frames: dict[int, np.ndarray] = {}
        total = 0
        for number in sorted(set(indices)):
            deadline.check()
            frames[number] = self._frame(number, deadline)
            height, width = frames[number].shape[:2]
            total += frames[number].nbytes
            self.limits.check_pixels(width, height, self.name)
            self.limits.check_sampled(1 + total // (width * height * 3), width, height, self.name)
            if on_frame is not None:
                on_frame(number, frames[number])
        return frames

    def _frame(self, number: int, deadline: Deadline) -> np.ndarray:
        item = self.items[number]
        what = f"frame {number} of {self.name}"
        if isinstance(item, np.ndarray):
            return check_array(item, what)
        if _is_pil(item):
            self.limits.check_pixels(item.width, item.height, what)
            array, events = to_rgb(item)
        else:
            source = open_source(item, self.limits, deadline)
            with open_image(source, self.limits) as image:
                array, events = to_rgb(image)
        self.events += [event for event in events if event not in self.events]
        return array

    def content_hash(self, deadline: Deadline) -> str:
        """SHA-256 over all frames: names and bytes of files, shape, dtype and bytes of arrays."""
        digest = hashlib.sha256()
        for number, item in enumerate(self.items):
            deadline.check()
            if isinstance(item, np.ndarray) or _is_pil(item):
                array = np.ascontiguousarray(item)
                digest.update(f"array {array.shape} {array.dtype} ".encode())
                digest.update(array.view(np.uint8).data if array.size else b"")
            else:
                source = open_source(item, self.limits, deadline)
                digest.update(f"file {source.name if source.path else number} ".encode(errors="surrogateescape"))
                digest.update(bytes.fromhex(source.content_hash(deadline)))
        return digest.hexdigest()


def folder_frames(source: Source, limits: Limits, deadline: Deadline) -> FrameList:
    """The images of a folder in lexicographic order of their names (official rule: 1, 10, 11, ..., 2)."""
    paths, passed_over, total = [], [], 0
    for name in sorted(os.listdir(str(source.path))):
        deadline.check()
        path = os.path.join(str(source.path), name)
        if name.startswith(".") or not os.path.isfile(path) or not _is_image_file(path):
            passed_over.append(name)
            continue
        total += os.path.getsize(path)
        limits.check_bytes(total, source.name)
        paths.append(path)
    if not paths:
        raise MediaError(f"The folder {source.name} holds no images; give a folder of frames.")
    events = []
    if passed_over:
        shown = ", ".join(passed_over[:3]) + (", ..." if len(passed_over) > 3 else "")
        events.append(f"{len(passed_over)} entries of the folder are no images and were passed over ({shown})")
    return FrameList(paths, source.name, limits, events)


def given_frames(frames: Any, limits: Limits) -> FrameList:
    """Frames handed in as an array [T, H, W, 3] or a list of paths, PIL images or arrays.

    Raises:
        MediaError: No frames.
        RequestError: An array of another dtype or shape.
    """
    if isinstance(frames, np.ndarray):
        if frames.ndim != 4:
            raise RequestError(f"The array of frames has shape {list(frames.shape)}; give [T, H, W, 3], uint8.")
        if len(frames):
            check_array(frames[0], "the array of frames")
        return FrameList(frames, "array", limits)
    for number, item in enumerate(frames):
        known = isinstance(item, str | os.PathLike | bytes | bytearray | memoryview | Source | np.ndarray)
        if not (known or _is_pil(item) or hasattr(item, "read")):
            raise RequestError(
                f"Frame {number} of the list is a {type(item).__name__}; give paths, PIL images or arrays."
            )
    return FrameList(frames, "list", limits)


def _is_pil(item: Any) -> bool:
    from PIL import Image

    return isinstance(item, Image.Image)


def _is_image_file(path: str) -> bool:
    with open(path, "rb") as stream:
        return sniff(stream.read(HEAD_BYTES))[0] in ("image", "gif")
