"""Read the variables of a CTranslate2 `model.bin`: the format in which the default model's audio encoder is published.

The file is a flat list: version, name of the model's specification, then each variable's name, shape, element type and
bytes, then aliases (second names of a variable). All integers are little endian, strings are length-prefixed and end in
a zero byte.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from videollama2.errors import CheckpointError

_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_VERSION = 6


def read_ctranslate2(path: str | Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Return the variables whose names start with `prefix` (aliases resolved), in their stored element types.

    Raises:
        CheckpointError: not such a file, another version, an unknown element type, or truncated.
    """
    data = memoryview(Path(path).read_bytes())
    try:
        return _parse(data, Path(path), prefix)
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is truncated or damaged; delete it and fetch it again.") from error


def _parse(data: memoryview, path: Path, prefix: str) -> dict[str, np.ndarray]:
    position = 0

    def number(code: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from("<" + code, data, position)
        position += struct.calcsize("<" + code)
        return value

    def string() -> str:
        nonlocal position
        length = number("H")
        raw = bytes(data[position : position + length])
        position += length
        return raw.rstrip(b"\0").decode("utf-8")

    version = number("I")
    if version != _VERSION:
        raise CheckpointError(f"{path} is not a CTranslate2 model of version {_VERSION} (it says {version}).")
    string()  # name of the specification
    number("I")  # its revision
    variables: dict[str, np.ndarray] = {}
    for _ in range(number("I")):
        name = string()
        shape = tuple(number("I") for _ in range(number("B")))
        type_id, num_bytes = number("B"), number("I")
        if type_id not in _DTYPES:
            raise CheckpointError(f"{path}: variable {name} has the unknown element type {type_id}.")
        if name.startswith(prefix):
            dtype = np.dtype(_DTYPES[type_id])
            values = np.frombuffer(data, dtype, count=num_bytes // dtype.itemsize, offset=position)
            variables[name] = values.reshape(shape)
        position += num_bytes
    for _ in range(number("I")):
        alias, target = string(), string()
        if alias.startswith(prefix) and target in variables:
            variables[alias] = variables[target]
    return variables
