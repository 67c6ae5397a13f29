"""Features of media that were encoded already, found again by content: in memory, and on disk where asked.

A key covers everything the features depend on (content, sampling, preprocessing, weights, dtype), so a hit is always
right, whatever the file is called. A damaged file on disk is never used: it is removed and counted.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from videollama2.inference.answer import json_safe

DEFAULT_MEMORY_BYTES = 512 << 20
DEFAULT_DISK_BYTES = 4 << 30


@dataclass(frozen=True, kw_only=True)
class CachedFeatures:
    """Features of one media item.

    Attributes:
        features: [N, D] tensor on the CPU, as the connector gave it.
        record: What the answer says about the item (JSON-safe): frames, windows, statuses, events.
    """

    features: torch.Tensor
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_bytes(self) -> int:
        """Bytes of the features."""
        return self.features.numel() * self.features.element_size()


def feature_key(**parts: Any) -> str:
    """SHA-256 hex over named parts; equal parts in any order give equal keys, None and absent differ."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class FeatureCache:
    """Least-recently-used features, bounded by bytes, safe to share between threads.

    Args:
        max_bytes: Bytes kept in memory; 0 keeps none.
        directory: Folder for the disk part, None for memory alone. Files are written whole or not at all.
        max_disk_bytes: Bytes kept on disk; the oldest used files go first.
    """

    def __init__(
        self,
        max_bytes: int = DEFAULT_MEMORY_BYTES,
        directory: str | os.PathLike[str] | None = None,
        max_disk_bytes: int = DEFAULT_DISK_BYTES,
    ) -> None:
        self.max_bytes = max_bytes
        self.max_disk_bytes = max_disk_bytes
        self.directory = Path(directory) if directory is not None else None
        self.hits = 0
        self.misses = 0
        self.num_damaged = 0
        self._items: OrderedDict[str, CachedFeatures] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Bytes of features in memory."""
        return self._num_bytes

    def __len__(self) -> int:
        """Items in memory."""
        return len(self._items)

    def get(self, key: str) -> CachedFeatures | None:
        """The features under a key, from memory or disk, or None."""
        with self._lock:
            item = self._items.get(key)
            if item is not None:
                self._items.move_to_end(key)
            else:
                item = self._read(key)
                if item is not None:
                    self._keep(key, item)
            if item is None:
                self.misses += 1
            else:
                self.hits += 1
            return item

    def put(self, key: str, item: CachedFeatures) -> None:
        """Keeps features under a key, in memory and (where there is a folder) on disk."""
        kept = CachedFeatures(features=item.features.detach().cpu(), record=json_safe(item.record))
        with self._lock:
            self._keep(key, kept)
            self._write(key, kept)

    def clear(self) -> None:
        """Forgets what is in memory; files stay."""
        with self._lock:
            self._items.clear()
            self._num_bytes = 0

    def _keep(self, key: str, item: CachedFeatures) -> None:
        old = self._items.pop(key, None)
        self._num_bytes -= old.num_bytes if old else 0
        if item.num_bytes > self.max_bytes:
            return
        self._items[key] = item
        self._num_bytes += item.num_bytes
        while self._num_bytes > self.max_bytes:
            _, oldest = self._items.popitem(last=False)
            self._num_bytes -= oldest.num_bytes

    def _path(self, key: str) -> Path | None:
        return self.directory / f"{key}.safetensors" if self.directory is not None else None

    def _read(self, key: str) -> CachedFeatures | None:
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                features = file.get_tensor("features")
            damaged = metadata.get("sha256") != _digest(features)
            record = json.loads(metadata.get("record", "{}"))
        except (SafetensorError, OSError, ValueError):
            damaged = True
        if damaged:
            self.num_damaged += 1
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return CachedFeatures(features=features, record=record)

    def _write(self, key: str, item: CachedFeatures) -> None:
        path = self._path(key)
        if path is None or path.is_file():
            return
        features = item.features.contiguous()
        metadata = {"sha256": _digest(features), "record": json.dumps(item.record)}
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(save({"features": features}, metadata=metadata))
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._trim_disk(path.parent)

    def _trim_disk(self, directory: Path) -> None:
        entries = sorted((path.stat().st_mtime, path) for path in directory.glob("*.safetensors"))
        total = sum(path.stat().st_size for _, path in entries)
        for _, path in entries:
            if total <= self.max_disk_bytes:
                return
            total -= path.stat().st_size
            path.unlink(missing_ok=True)


def _digest(tensor: torch.Tensor) -> str:
    raw = tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return hashlib.sha256(raw).hexdigest()
