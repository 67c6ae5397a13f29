"""All files of a run as one numbered set of rows, with the folder, weight and limit of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.errors import RequestError
from videollama2.training.data.mixture import Mixture, weights_of
from videollama2.training.data.row_files import BadLineError, RowFile, open_rows
from videollama2.training.data.rows import Row, RowFault, parse_row


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file of rows.

    Attributes:
        file: The rows.
        folder: Joined in front of the paths of their media.
        weight: How often each row is seen in an epoch, above 0.
        limit: Only the first so many rows are used; None uses all.
        ignore_keys: Keys that rows may have besides the known ones.
    """

    file: RowFile
    folder: Path
    weight: float = 1.0
    limit: int | None = None
    ignore_keys: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Rows that are used."""
        return len(self.file) if self.limit is None else min(self.limit, len(self.file))


class Sources:
    """Rows of several files, numbered through.

    Args:
        sources: In order.
        captions: All rows must have the form of pre-training (`labels: plain`).
    """

    def __init__(self, sources: Sequence[Source], *, captions: bool = False) -> None:
        if not sources:
            raise RequestError("No data file is named; give at least one.")
        self.sources = tuple(sources)
        self.captions = captions
        self._ends: list[int] = []
        for source in self.sources:
            self._ends.append(len(source) + (self._ends[-1] if self._ends else 0))

    def __len__(self) -> int:
        """Rows of all files."""
        return self._ends[-1]

    def locate(self, row: int) -> tuple[Source, int]:
        """The source of a row, and its number there."""
        begin = 0
        for source, end in zip(self.sources, self._ends):
            if row < end:
                return source, row - begin
            begin = end
        raise IndexError(f"there are {len(self)} rows, no row {row}")

    def place(self, row: int) -> str:
        """File and line of a row."""
        source, number = self.locate(row)
        return f"{source.file.name}:{source.file.line(number)}"

    def raw(self, row: int) -> Any:
        """The row as decoded; BadLineError where its line is not JSON."""
        source, number = self.locate(row)
        return source.file.read(number)

    def parse(self, row: int) -> tuple[Row | None, tuple[RowFault, ...]]:
        """The row, or everything that is wrong with it."""
        source, number = self.locate(row)
        try:
            raw = source.file.read(number)
        except BadLineError as error:
            text = f"the line is not JSON ({error})"
            return None, (RowFault(kind="not_json", text=text, fix="repair the line, or remove it"),)
        return parse_row(
            raw,
            source=source.file.name,
            line=source.file.line(number),
            folder=source.folder,
            captions=self.captions,
            ignore_keys=source.ignore_keys,
        )

    def mixture(self, seed: int) -> Mixture:
        """The order in which a run takes the rows."""
        weights = weights_of([source.weight for source in self.sources])
        return Mixture(counts=tuple(len(source) for source in self.sources), weights=weights, seed=seed)

    def digests(self) -> dict[str, str]:
        """SHA-256 of every file, by its path as given."""
        return {str(source.file.path): source.file.digest() for source in self.sources}


def open_sources(entries: Sequence[Any], *, captions: bool = False) -> Sources:
    """Open the files of a recipe.

    Args:
        entries: Mappings or objects with `path` and perhaps `folder` (None: the file's own), `weight`, `limit`,
            `ignore_keys`.
        captions: See `Sources`.

    Raises:
        RequestError: A file or folder is missing, or a number makes no sense.
        MissingDependencyError: A Parquet file, and pyarrow is not installed.
    """
    return Sources([_source(entry) for entry in entries], captions=captions)


def _source(entry: Any) -> Source:
    path, folder = _field(entry, "path"), _field(entry, "folder")
    if not path:
        raise RequestError("A data entry has no path; give the file of rows.")
    if folder is not None and not Path(folder).is_dir():
        raise RequestError(f"The media folder {folder} of {path} does not exist; correct `folder`.")
    limit, weight = _field(entry, "limit"), _field(entry, "weight")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        raise RequestError(f"The limit of {path} is {limit!r}; give a whole number from 1 on.")
    return Source(
        file=open_rows(path),
        folder=Path(folder) if folder is not None else Path(path).parent,
        weight=1.0 if weight is None else float(weight),
        limit=limit,
        ignore_keys=tuple(_field(entry, "ignore_keys") or ()),
    )


def _field(entry: Any, name: str) -> Any:
    return entry.get(name) if isinstance(entry, Mapping) else getattr(entry, name, None)
