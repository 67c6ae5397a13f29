"""Read tensors and metadata of a GGUF file: the format in which the default model's language model is published.

Only what such a file of a small Llama-like model needs is here: versions 2 and 3, little endian, and the tensor
types F32, F16, BF16, Q8_0, Q4_0 and Q4_1, each undone in one vectorised step. Anything else is refused by name.

Shape legend: R rows, D columns (the contiguous axis), K blocks.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videollama2.errors import CheckpointError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_QUANT_GROUP = 32  # values that share one scale in every quantised type read here


@dataclass(frozen=True, kw_only=True)
class GGUFTensor:
    """Where one tensor lies.

    Attributes:
        name: name in the file, for example ``blk.0.attn_q.weight``.
        shape: numpy order (rows first; the file stores the reverse).
        type_id: number of the storage type in the format.
        offset: bytes from the start of the file.
    """

    name: str
    shape: tuple[int, ...]
    type_id: int
    offset: int


class GGUFFile:
    """An open GGUF file: `metadata` (a dict), `tensors` (name -> GGUFTensor), `read(name)` (float32 array).

    Raises:
        CheckpointError: the file is not GGUF, of another version, truncated, or holds an unknown type.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with self.path.open("rb") as file:
            try:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            except ValueError as error:
                raise CheckpointError(f"{self.path} is empty; delete it and fetch it again.") from error
        self._position = 0
        self.metadata: dict[str, Any] = {}
        self.tensors: dict[str, GGUFTensor] = {}
        try:
            self._read_header()
        except (struct.error, UnicodeDecodeError, IndexError) as error:
            raise CheckpointError(f"{self.path} is truncated or damaged; delete it and fetch it again.") from error

    def _read_header(self) -> None:
        if self._bytes[:4] != b"GGUF":
            raise CheckpointError(f"{self.path} is not a GGUF file; delete it and fetch it again.")
        self._position = 4
        version = self._scalar("I")
        if version not in (2, 3):
            raise CheckpointError(f"{self.path} is GGUF version {version}; versions 2 and 3 can be read.")
        num_tensors, num_entries = self._scalar("Q"), self._scalar("Q")
        for _ in range(num_entries):
            key = self._string()
            self.metadata[key] = self._value(self._scalar("I"))
        found = []
        for _ in range(num_tensors):
            name = self._string()
            reversed_shape = [self._scalar("Q") for _ in range(self._scalar("I"))]
            found.append((name, tuple(reversed(reversed_shape)), self._scalar("I"), self._scalar("Q")))
        alignment = int(self.metadata.get("general.alignment", 32))
        start = -(-self._position // alignment) * alignment
        for name, shape, type_id, offset in found:
            self.tensors[name] = GGUFTensor(name=name, shape=shape, type_id=type_id, offset=start + offset)

    def _scalar(self, code: str) -> Any:
        (value,) = struct.unpack_from("<" + code, self._bytes, self._position)
        self._position += struct.calcsize("<" + code)
        return value

    def _string(self) -> str:
        length = self._scalar("Q")
        raw = self._bytes[self._position : self._position + length]
        if len(raw) != length:
            raise IndexError("a string runs past the end of the file")
        self._position += length
        return raw.decode("utf-8")

    def _value(self, type_id: int) -> Any:
        if type_id == _STRING:
            return self._string()
        if type_id == _ARRAY:
            item_type, length = self._scalar("I"), self._scalar("Q")
            return [self._value(item_type) for _ in range(length)]
        if type_id not in _SCALARS:
            raise CheckpointError(f"{self.path} holds metadata of the unknown type {type_id}; fetch the file again.")
        return self._scalar(_SCALARS[type_id])

    def read(self, name: str) -> np.ndarray:
        """Return one tensor as float32, in its true shape.

        Raises:
            CheckpointError: no such tensor, an unknown storage type, or data past the end of the file.
        """
        if name not in self.tensors:
            raise CheckpointError(f"{self.path} holds no tensor {name}; it is not the file this model is made of.")
        tensor = self.tensors[name]
        if tensor.type_id not in _READERS:
            raise CheckpointError(
                f"{self.path}: tensor {name} is stored as type {tensor.type_id}; types {sorted(_READERS)} can be read."
            )
        bytes_per_group, group, undo = _READERS[tensor.type_id]
        num_values = int(np.prod(tensor.shape, dtype=np.int64))
        num_bytes = num_values // group * bytes_per_group
        if tensor.offset + num_bytes > len(self._bytes):
            raise CheckpointError(f"{self.path} ends inside tensor {name}; delete it and fetch it again.")
        raw = np.frombuffer(self._bytes, dtype=np.uint8, count=num_bytes, offset=tensor.offset)
        return undo(raw).reshape(tensor.shape)


def _halves(blocks_kb: np.ndarray, start: int) -> np.ndarray:
    """The fp16 number at byte `start` of every block, as float32 [K, 1]."""
    return np.ascontiguousarray(blocks_kb[:, start : start + 2]).view(np.float16).astype(np.float32)


def _nibbles(bytes_kb: np.ndarray) -> np.ndarray:
    """Two values a byte: all low halves first, then all high halves; uint8 [K, 32]."""
    return np.concatenate([bytes_kb & 0x0F, bytes_kb >> 4], axis=1)


def _undo_q8_0(raw: np.ndarray) -> np.ndarray:
    blocks = raw.reshape(-1, 34)
    return _halves(blocks, 0) * blocks[:, 2:].view(np.int8)


def _undo_q4_0(raw: np.ndarray) -> np.ndarray:
    blocks = raw.reshape(-1, 18)
    return _halves(blocks, 0) * (_nibbles(blocks[:, 2:]).astype(np.int8) - 8)


def _undo_q4_1(raw: np.ndarray) -> np.ndarray:
    blocks = raw.reshape(-1, 20)
    return _halves(blocks, 0) * _nibbles(blocks[:, 4:]) + _halves(blocks, 2)


def _undo_bf16(raw: np.ndarray) -> np.ndarray:
    return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


# storage type -> (bytes of a group, values of a group, raw bytes -> float32)
_READERS: dict[int, tuple[int, int, Callable[[np.ndarray], np.ndarray]]] = {
    0: (4, 1, lambda raw: raw.view(np.float32).copy()),
    1: (2, 1, lambda raw: raw.view(np.float16).astype(np.float32)),
    2: (18, _QUANT_GROUP, _undo_q4_0),
    3: (20, _QUANT_GROUP, _undo_q4_1),
    8: (34, _QUANT_GROUP, _undo_q8_0),
    30: (2, 1, _undo_bf16),
}
