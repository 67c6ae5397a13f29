"""The content hash of anything a user may hand in, before it is decoded, and no second time for an unchanged file."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from videollama2.media import Limits
from videollama2.media.deadline import Deadline
from videollama2.media.folder import FrameList, folder_frames, given_frames
from videollama2.media.source import Source, open_source, source_name


@dataclass(frozen=True)
class Opened:
    """A source that can be read more than once, and its content hash.

    Attributes:
        source: What the loaders of the media room take (a file object was read into it).
        digest: SHA-256 hex of the content.
    """

    source: Any
    digest: str


class ContentHasher:
    """Opens sources and hashes them; remembers files by path, size and time of change.

    Args:
        limits: Sizes that are refused.
        max_files: Files remembered.
    """

    def __init__(self, limits: Limits, max_files: int = 1024) -> None:
        self.limits = limits
        self.max_files = max_files
        self.num_hashed = 0
        self._known: OrderedDict[tuple[Any, ...], str] = OrderedDict()

    def open(self, source: Any, timeout: float | None) -> Opened:
        """Opens a path, bytes, file object, folder, list, array, PIL image or (samples, rate).

        Raises:
            MediaError: Missing, empty, or not media.
            MediaLimitError: Too large.
            MediaTimeoutError: Not done in `timeout` seconds.
            RequestError: Nothing that can be a source.
        """
        deadline = Deadline(timeout, source_name(source))
        if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray):
            digest = FrameList([source[0]], "array", self.limits).content_hash(deadline)
            return Opened(source, hashlib.sha256(f"{digest} {source[1]}".encode()).hexdigest())
        if isinstance(source, (list, tuple)) or (isinstance(source, np.ndarray) and source.ndim == 4):
            return Opened(source, given_frames(source, self.limits).content_hash(deadline))
        if isinstance(source, np.ndarray) or _is_pil(source):
            return Opened(source, FrameList([source], "array", self.limits).content_hash(deadline))
        opened = open_source(source, self.limits, deadline)
        if opened.is_folder:
            return Opened(opened, folder_frames(opened, self.limits, deadline).content_hash(deadline))
        return Opened(opened, self._file_hash(opened, deadline))

    def _file_hash(self, opened: Source, deadline: Deadline) -> str:
        if opened.path is None:
            return opened.content_hash(deadline)
        facts = os.stat(opened.path)
        key = (os.path.abspath(opened.path), facts.st_size, facts.st_mtime_ns, facts.st_ino)
        if key not in self._known:
            self.num_hashed += 1
            self._known[key] = opened.content_hash(deadline)
            if len(self._known) > self.max_files:
                self._known.popitem(last=False)
        return self._known[key]


def _is_pil(source: Any) -> bool:
    from PIL import Image

    return isinstance(source, Image.Image)
