"""Files of rows that are not held as objects: JSON, JSON lines and Parquet, each row found by its number.

A text file is mapped into memory and only the place of each row is kept (16 bytes a row), so millions of rows cost
little, and a decode worker that gets a copy of the object opens the file again for itself.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np

from videollama2.errors import MissingDependencyError, RequestError

SUFFIXES = (".json", ".jsonl", ".ndjson", ".parquet")


class BadLineError(ValueError):
    """One line of a file of JSON lines is not JSON; the other lines are of use."""


class RowFile:
    """Base of the three kinds; made by `open_rows`.

    Attributes:
        path: The file.
        name: What messages call it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def __len__(self) -> int:
        """Rows."""
        raise NotImplementedError

    def read(self, number: int) -> Any:
        """The row as decoded; BadLineError where its line is not JSON."""
        raise NotImplementedError

    def line(self, number: int) -> int:
        """Its line in the file, from 1."""
        return number + 1

    def digest(self) -> str:
        """SHA-256 of the file's bytes, so that a run is continued with the data it began with."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class TextRows(RowFile):
    """Rows of a JSON array or of JSON lines.

    Args:
        path: The file.
        begins: Byte where each row begins, int64 [N].
        ends: Byte after it, int64 [N].
        lines: Line of each, int64 [N].
    """

    def __init__(self, path: Path, begins: np.ndarray, ends: np.ndarray, lines: np.ndarray) -> None:
        super().__init__(path)
        self._begins, self._ends, self._lines = begins, ends, lines
        self._map: mmap.mmap | None = None

    def __len__(self) -> int:
        """Rows."""
        return len(self._begins)

    def read(self, number: int) -> Any:
        """The row as decoded; BadLineError where its line is not JSON."""
        if self._map is None:
            with self.path.open("rb") as file:
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            return json.loads(self._map[int(self._begins[number]) : int(self._ends[number])])
        except ValueError as error:
            raise BadLineError(str(error)) from error

    def line(self, number: int) -> int:
        """Its line in the file, from 1."""
        return int(self._lines[number])

    def __getstate__(self) -> dict[str, Any]:
        """Without the mapping, which the copy makes again."""
        return {**self.__dict__, "_map": None}


class ParquetRows(RowFile):
    """Rows of a Parquet file; empty columns of a row are left out of it.

    `conversations` may be a list of structs or JSON text.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file: Any = None
        self._group: tuple[int, list[Any]] | None = None
        metadata = self._open().metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._ends = np.cumsum(sizes, dtype=np.int64)

    def __len__(self) -> int:
        """Rows."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, number: int) -> Any:
        """The row as decoded; BadLineError where its conversations are text that is not JSON."""
        group = int(np.searchsorted(self._ends, number, side="right"))
        if self._group is None or self._group[0] != group:
            self._group = group, self._open().read_row_group(group).to_pylist()
        begin = int(self._ends[group - 1]) if group else 0
        row = {key: value for key, value in self._group[1][number - begin].items() if value is not None}
        if isinstance(row.get("conversations"), str):
            try:
                row["conversations"] = json.loads(row["conversations"])
            except ValueError as error:
                raise BadLineError(f"conversations: {error}") from error
        return row

    def _open(self) -> Any:
        if self._file is None:
            try:
                import pyarrow
                import pyarrow.parquet
            except ImportError as error:
                raise MissingDependencyError(
                    f"Reading {self.name} needs pyarrow; install it: pip install 'videollama2[train]'."
                ) from error
            try:
                self._file = pyarrow.parquet.ParquetFile(self.path)
            except (pyarrow.ArrowException, OSError) as error:
                raise RequestError(f"{self.path} is not a Parquet file ({error}); write it again.") from error
        return self._file

    def __getstate__(self) -> dict[str, Any]:
        """Without the open file and the rows read last."""
        return {**self.__dict__, "_file": None, "_group": None}


def open_rows(path: str | os.PathLike[str]) -> RowFile:
    """Open a file of rows; its kind is told by its ending, and a `.json` that holds JSON lines is read as such.

    Raises:
        RequestError: Missing, empty, of another kind, or not JSON.
        MissingDependencyError: A Parquet file, and pyarrow is not installed.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise RequestError(f"The data file {path} {what}; give a file of rows ({', '.join(SUFFIXES)}).")
    if path.suffix not in SUFFIXES:
        raise RequestError(f"The data file {path} has another ending than {', '.join(SUFFIXES)}; rename or convert it.")
    if path.suffix == ".parquet":
        return ParquetRows(path)
    with path.open("rb") as file:
        if not (head := file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()):
            raise RequestError(f"The data file {path} is empty; give a file with rows.")
    return _index_array(path) if path.suffix == ".json" and head[:1] == b"[" else _index_lines(path)


def _index_lines(path: Path) -> TextRows:
    begins, ends, lines = [], [], []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin, line, size = 3 if data[:3] == b"\xef\xbb\xbf" else 0, 0, len(data)
        while begin < size:
            line += 1
            stop = data.find(b"\n", begin)
            stop = size if stop < 0 else stop
            if not data[begin:stop].isspace() and stop > begin:
                begins.append(begin)
                ends.append(stop)
                lines.append(line)
            begin = stop + 1
    return TextRows(path, np.array(begins, np.int64), np.array(ends, np.int64), np.array(lines, np.int64))


def _index_array(path: Path) -> TextRows:
    """Places of the elements of one JSON array; each is decoded once and forgotten."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(f"{path} is not UTF-8 text ({error}); save it as UTF-8.") from error
    decoder = json.JSONDecoder()
    begins, ends, lines = [], [], []
    at, line = text.index("[") + 1, 1 + text.count("\n", 0, text.index("[") + 1)

    def skip(begin: int, characters: str) -> int:
        while begin < len(text) and text[begin] in characters:
            begin += 1
        return begin

    try:
        at = skip(at, " \t\r\n")
        line += text.count("\n", text.index("[") + 1, at)
        while at < len(text) and text[at] != "]":
            _, stop = decoder.raw_decode(text, at)
            begins.append(at)
            ends.append(stop)
            lines.append(line)
            following = skip(stop, " \t\r\n")
            if following < len(text) and text[following] == ",":
                following = skip(following + 1, " \t\r\n")
            elif following >= len(text) or text[following] != "]":
                raise json.JSONDecodeError("expecting ',' or ']'", text, following)
            line += text.count("\n", at, following)
            at = following
        if at >= len(text):
            raise json.JSONDecodeError("the array is not closed", text, len(text))
    except json.JSONDecodeError as error:
        raise RequestError(
            f"{path} is not sound JSON (line {error.lineno}: {error.msg}); repair that line, or write JSON lines, where"
            " one bad row spoils no other."
        ) from error
    mark = 3 if data[:3] == b"\xef\xbb\xbf" else 0
    return TextRows(path, _bytes_of(text, begins, mark), _bytes_of(text, ends, mark), np.array(lines, np.int64))


def _bytes_of(text: str, characters: list[int], mark: int) -> np.ndarray:
    """Byte numbers of character numbers (rising), behind `mark` bytes."""
    if text.isascii():
        return np.array(characters, np.int64) + mark
    places, before, total = [], 0, mark
    for character in characters:
        total += len(text[before:character].encode())
        before = character
        places.append(total)
    return np.array(places, np.int64)
