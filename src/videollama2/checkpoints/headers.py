"""Safetensors headers, read and checked by hand before any tensor is touched.

A safetensors file is: 8 bytes header length, a JSON header with dtype, shape and byte range of every tensor, then the
bytes. Reading the header alone says whether the file is whole, so a cut download is found in milliseconds, with the
number of bytes it lacks, and not after minutes of loading.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from videollama2.errors import CheckpointError

# A 100 MB header is the limit of the format's own library.
MAX_HEADER_BYTES = 100_000_000

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor in one file, known from the file's header.

    Attributes:
        name: Key in the file.
        shape: Sizes.
        dtype: Torch dtype on disk.
        file: The file that holds it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    file: Path

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.numel * self.dtype.itemsize


def disguised_as(path: Path) -> str | None:
    """Says what a file is that only pretends to hold weights (LFS pointer, web page), or None."""
    with path.open("rb") as stream:
        start = stream.read(64).lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer, not the file itself; run `git lfs pull` in its folder"
    if start.startswith((b"<!doctype", b"<html")):
        return "a web page, saved in place of the file; download the file again"
    return None


def read_safetensors_header(path: Path) -> dict[str, TensorEntry]:
    """Reads and checks the header of one safetensors file.

    Args:
        path: The file.

    Returns:
        Tensor name -> entry, in the file's order.

    Raises:
        CheckpointError: If the file is empty, cut, or its header is not sound. The message has the file name, the
            offset of the fault where there is one, and how to repair it.
    """

    def damaged(what: str, offset: int | None = None) -> CheckpointError:
        where = "" if offset is None else f" at byte {offset}"
        return CheckpointError(f"{path.name} is damaged{where}: {what}; download or copy this file again ({path}).")

    size = path.stat().st_size
    if size == 0:
        raise damaged("the file is empty")
    if (disguise := disguised_as(path)) is not None:
        raise CheckpointError(f"{path.name} is {disguise} ({path}).")
    if size < 8:
        raise damaged(f"{size} bytes are too few for a safetensors file", 0)
    with path.open("rb") as stream:
        header_bytes = int.from_bytes(stream.read(8), "little")
        if header_bytes > MAX_HEADER_BYTES:
            raise damaged(f"the header says it is {header_bytes} bytes long, so this is not a safetensors file", 0)
        if header_bytes > size - 8:
            raise damaged(f"the header needs {header_bytes} bytes, the file ends after {size - 8}", 8)
        raw = stream.read(header_bytes)
    try:
        header = json.loads(raw)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise damaged("the header is not JSON", 8) from error
    if not isinstance(header, dict):
        raise damaged("the header is not a JSON object", 8)

    data_start = 8 + header_bytes
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, fields in header.items():
        if name == "__metadata__":
            continue
        try:
            dtype_name, shape, (begin, end) = fields["dtype"], tuple(fields["shape"]), fields["data_offsets"]
            sizes_ok = all(isinstance(n, int) and n >= 0 for n in (*shape, begin, end))
        except (TypeError, KeyError, ValueError) as error:
            raise damaged(f"the header's entry for {name} has no dtype, shape or offsets", 8) from error
        if dtype_name not in DTYPES:
            raise CheckpointError(f"{path.name}: {name} has dtype {dtype_name!r}, known are {', '.join(DTYPES)}.")
        entry = TensorEntry(name=name, shape=shape, dtype=DTYPES[dtype_name], file=path)
        if not sizes_ok or end - begin != entry.nbytes:
            raise damaged(
                f"{name} has shape {list(shape)} in {dtype_name}, its byte range is {begin}:{end}", data_start
            )
        entries[name] = entry
        spans.append((begin, end, name))

    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            raise damaged(
                f"the bytes of {name} start at {begin} where {position} was expected", data_start + min(begin, position)
            )
        position = end
    if data_start + position > size:
        raise damaged(f"it is cut: {data_start + position} bytes are expected, {size} are there", size)
    if data_start + position < size:
        raise damaged(
            f"{size - data_start - position} bytes follow the last tensor, so it is not the file its header says",
            data_start + position,
        )
    return entries
