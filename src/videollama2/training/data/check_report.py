"""What `data check` found: counts, a list, JSON, and the rows that are sound."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.errors import RequestError
from videollama2.training.data.rows import FAULT_KINDS, RowFault
from videollama2.training.data.sources import Sources


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault of one row.

    Attributes:
        number: Number of the row among all rows, from 0.
        row: Its id.
        place: File and line.
        kind: A word of `FAULT_KINDS`.
        text: What was found.
        fix: What to do about it.
    """

    number: int
    row: str
    place: str
    kind: str
    text: str
    fix: str

    @classmethod
    def of(cls, sources: Sources, entry: Any, fault: RowFault) -> Finding:
        """A fault with its place."""
        place = sources.place(entry.number)
        return cls(number=entry.number, row=entry.id, place=place, kind=fault.kind, text=fault.text, fix=fault.fix)


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What was looked at and found.

    Attributes:
        sources: The rows.
        num_media: Different files they name.
        modalities: Readable rows of each modality.
        positions: Positions after the splice of each row whose length is known.
        findings: Faults in order of rows.
        notes: What was not checked, and what the faults have in common.
    """

    sources: Sources
    num_media: int
    modalities: dict[str, int]
    positions: tuple[int, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def num_faulty(self) -> int:
        """Rows with a fault."""
        return len({finding.number for finding in self.findings})

    @property
    def counts(self) -> dict[str, int]:
        """Faults by kind, in the order of `FAULT_KINDS`."""
        counted = Counter(finding.kind for finding in self.findings)
        return {kind: counted[kind] for kind in FAULT_KINDS if counted[kind]}

    def lengths(self) -> dict[str, int]:
        """Shortest, median, 95th percentile and longest row in positions; empty without a model."""
        ordered = sorted(self.positions)
        if not ordered:
            return {}
        places = {"min": 0.0, "median": 0.5, "p95": 0.95, "max": 1.0}
        return {name: ordered[round(share * (len(ordered) - 1))] for name, share in places.items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "ok": self.ok,
            "files": [str(source.file.path) for source in self.sources.sources],
            "rows": len(self.sources),
            "faulty_rows": self.num_faulty,
            "media_files": self.num_media,
            "modalities": self.modalities,
            "positions": self.lengths(),
            "counts": self.counts,
            "faults": [finding.__dict__ for finding in self.findings],
            "notes": list(self.notes),
        }

    def render(self, show: int = 50) -> str:
        """The report for people, with the first `show` faults."""
        modalities = ", ".join(f"{count} {name}" for name, count in self.modalities.items())
        lines = [f"{len(self.sources)} rows ({modalities}), {self.num_media} media files"]
        if lengths := self.lengths():
            lines.append("positions: " + ", ".join(f"{name} {value}" for name, value in lengths.items()))
        lines.append(f"{self.num_faulty} rows with faults" if self.findings else "no faults")
        width = max((len(kind) for kind in self.counts), default=0)
        lines += [f"  {kind:<{width}}  {count:>6}  {FAULT_KINDS[kind]}" for kind, count in self.counts.items()]
        for finding in self.findings[:show]:
            lines.append(f"{finding.place}  {finding.kind}: {finding.text}; {finding.fix}")
        if len(self.findings) > show:
            lines.append(f"... and {len(self.findings) - show} more (--show, or --json for all)")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def write_clean(self, out: Path) -> int:
        """See `check.write_clean`."""
        if out.exists():
            raise RequestError(f"{out} exists already; name a new file for the cleaned rows.")
        if out.suffix not in (".json", ".jsonl"):
            raise RequestError(f"{out} must end with .json or .jsonl.")
        faulty = {finding.number for finding in self.findings}
        kept = [number for number in range(len(self.sources)) if number not in faulty]
        array = out.suffix == ".json"
        try:
            handle, temporary = tempfile.mkstemp(dir=out.parent, prefix=".partial-")
        except OSError as error:
            raise RequestError(f"{out} cannot be written ({error.strerror}); name another place.") from error
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write("[\n" if array else "")
                for place, number in enumerate(kept):
                    end = ",\n" if array and place < len(kept) - 1 else "\n"
                    file.write(json.dumps(self.sources.raw(number), ensure_ascii=False) + end)
                file.write("]\n" if array else "")
            os.replace(temporary, out)
        except OSError as error:
            raise RequestError(f"{out} cannot be written ({error.strerror}); make room or name another.") from error
        finally:
            Path(temporary).unlink(missing_ok=True)
        return len(kept)
