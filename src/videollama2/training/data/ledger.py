"""The ledger of rows that could not be used: JSON lines, one a row, and the threshold that stops a run.

A damaged sample is never replaced by another (the official code does so): its place stays empty, and it stands here.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from videollama2.errors import RequestError

# In fewer rows a single one would be a large share.
SHARE_FROM = 100
# How many lines the error shows.
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A row that was left out.

    Attributes:
        row: Its id.
        place: File and line.
        number: Its number among all rows of the run.
        stage: "row" (its form), "text" (its labels), "media" (its file).
        kind: A word of `FAULT_KINDS`.
        reason: What was found.
        fix: What to do about it.
        epoch: Epoch in which it was met, from 0.
        step: Step in which it was met, from 0.
    """

    row: str
    place: str
    number: int
    stage: str
    kind: str
    reason: str
    fix: str
    epoch: int
    step: int


class TooManyFaultsError(RequestError):
    """More rows cannot be used than the recipe allows."""

    code = "data_faults"


class Ledger:
    """Counts rows that could not be used, each once, however often it is met.

    Several processes may write to one file; each takes the others' lines into account.

    Args:
        path: File to append to; None keeps entries in memory alone.
        max_share: Largest share of the rows of an epoch, 0 to 1; of fewer than 100 rows it is not looked at.
        max_count: Most rows.
    """

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, max_share: float = 0.01, max_count: int = 100
    ) -> None:
        self.path = Path(path) if path is not None else None
        self.max_share, self.max_count = max_share, max_count
        self.entries: dict[int, Entry] = {}
        self._read_until = 0
        self._ends_in_half_line = False
        self._read()

    def __len__(self) -> int:
        """Different rows that could not be used."""
        return len(self.entries)

    @property
    def counts(self) -> dict[str, int]:
        """Rows by kind of fault."""
        return dict(Counter(entry.kind for entry in self.entries.values()).most_common())

    def record(self, entry: Entry) -> None:
        """Write a row down, unless it stands here already."""
        self._read()
        if entry.number in self.entries:
            return
        self.entries[entry.number] = entry
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # One write of one line: lines of several processes do not mix.
            with self.path.open("ab", buffering=0) as file:
                line = json.dumps(asdict(entry), ensure_ascii=False).encode() + b"\n"
                file.write(b"\n" + line if self._ends_in_half_line else line)

    def check(self, num_rows: int) -> None:
        """Stop where too many rows were left out.

        Args:
            num_rows: Rows of an epoch, of which `max_share` may be left out.

        Raises:
            TooManyFaultsError: With the first lines.
        """
        self._read()
        allowed = self.max_count
        if num_rows >= SHARE_FROM:
            allowed = min(allowed, int(self.max_share * num_rows))
        if len(self.entries) <= allowed:
            return
        first = list(self.entries.values())[:SHOWN]
        lines = "; ".join(f"{entry.place} ({entry.kind}): {entry.reason}" for entry in first)
        more = f" and {len(self.entries) - SHOWN} more" if len(self.entries) > SHOWN else ""
        where = f" in {self.path}" if self.path is not None else ""
        raise TooManyFaultsError(
            f"{len(self.entries)} of {num_rows} rows cannot be used, more than the {allowed} that faults.max_share"
            f" {self.max_share:g} and faults.max_count {self.max_count} allow: {lines}{more}{where}. Run 'videollama2"
            " data check', repair the data, or raise the limits."
        )

    def _read(self) -> None:
        """Take in the lines that were added since the last look, by this run's beginning or by other processes."""
        if self.path is None or not self.path.is_file() or self.path.stat().st_size <= self._read_until:
            return
        with self.path.open("rb") as file:
            file.seek(self._read_until)
            added = file.read()
        whole = added.rfind(b"\n") + 1
        self._ends_in_half_line = whole < len(added)
        self._read_until += whole
        for line in added[:whole].splitlines():
            entry = _entry(line)
            if entry is not None:
                self.entries.setdefault(entry.number, entry)


def _entry(line: bytes) -> Entry | None:
    """An entry of a line; a line that was cut by a crash holds none."""
    try:
        fields: Any = json.loads(line)
        return Entry(**fields)
    except (ValueError, TypeError):
        return None
