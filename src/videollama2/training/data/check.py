"""`data check`: every row and every file of a data set looked at once, in parallel, before a run spends hours on it.

What it finds is what training would put into its ledger, and more: rows twice, rows that would be cut, files that lie
elsewhere in the folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from videollama2.errors import RequestError
from videollama2.training.data.check_report import CheckReport, Finding
from videollama2.training.data.encode import EncodeOptions, RowEncoder
from videollama2.training.data.examine import Examiner, Medium, Seen
from videollama2.training.data.parallel import each
from videollama2.training.data.rows import RowFault
from videollama2.training.data.sources import Sources, open_sources

Progress = Callable[[str, int, int], None]

# Rows and files from which on several processes pay for being started.
_MANY = 1000
# A folder in which more than half of the files are not found is most likely another one.
_MOST = 0.5


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """How a data set will be used.

    Attributes:
        labels: "chat" or "plain", as in a recipe.
        num_frames: Frames of a video; None takes the model's, or 8.
        max_tokens: Positions of a row after the splice; needs a model.
        sound_of_video: Videos carry their sound.
        decode: Also read the frames and sound that training would.
        ignore_keys: Keys that rows may have besides the known ones.
        timeout: Seconds for each file.
    """

    labels: str = "chat"
    num_frames: int | None = None
    max_tokens: int = 2048
    sound_of_video: bool = False
    decode: bool = False
    ignore_keys: tuple[str, ...] = ()
    timeout: float = 60.0

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.labels not in ("chat", "plain"):
            raise RequestError(f"labels is {self.labels!r}; use 'chat' or 'plain'.")
        if self.max_tokens < 1:
            raise RequestError(f"max_tokens is {self.max_tokens}; give 1 or more.")


def check_data(
    paths: Sequence[str | os.PathLike[str]],
    *,
    folder: str | os.PathLike[str] | None = None,
    options: CheckOptions | None = None,
    processor: Any = None,
    config: Any = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> CheckReport:
    """Look at every row and file.

    Args:
        paths: Files of rows.
        folder: Joined in front of their media; None: each file's own folder.
        options: How the data will be used.
        processor: `VideoLLaMA2Processor` of the model to be trained; without it lengths are not known.
        config: Its `VideoLLaMA2Config`.
        workers: Processes; None takes one for each core where there is much to do, 1 stays in this one.
        progress: Told of rows and files done.

    Raises:
        RequestError: A file of rows or the folder is missing, or a file is not JSON.
    """
    options = options or CheckOptions()
    if not paths:
        raise RequestError("No data file is named; give at least one.")
    entries = [{"path": path, "folder": folder, "ignore_keys": options.ignore_keys} for path in paths]
    sources = open_sources(entries, captions=options.labels == "plain")
    frames = options.num_frames or int(getattr(config, "num_frames", None) or 8)
    encoder = None
    if processor is not None:
        settings = EncodeOptions(
            labels=options.labels,  # type: ignore[arg-type]
            num_frames=frames,
            sound_of_video=options.sound_of_video,
            max_tokens=options.max_tokens,
        )
        encoder = RowEncoder(processor, config, settings)
    examiner = Examiner(sources, encoder, replace(options, num_frames=frames))
    workers = _num_workers(workers, len(sources), options.decode)

    seen = each(examiner.look_at_row, range(len(sources)), workers, _told(progress, "rows", len(sources)))
    rows: list[Seen] = [entry for entry in seen if isinstance(entry, Seen)]
    media = sorted({entry.medium for entry in rows if entry.medium is not None})
    told = _told(progress, "files", len(media))
    results = dict(zip(media, each(examiner.look_at_file, media, workers, told, on_crash=_crashed)))
    return _report(sources, rows, results, options, encoder is not None)


def write_clean(report: CheckReport, out: str | os.PathLike[str]) -> int:
    """Write the rows without a fault, as they were, to a new file: `.json` an array, `.jsonl` lines.

    Returns:
        How many.

    Raises:
        RequestError: The file is there already, has another ending, or cannot be written.
    """
    return report.write_clean(Path(out))


def _report(
    sources: Sources, rows: list[Seen], results: dict[Medium, Any], options: CheckOptions, has_model: bool
) -> CheckReport:
    findings: list[Finding] = []
    first: dict[bytes, int] = {}
    elsewhere = _Elsewhere(sources)
    num_missing = 0
    for entry in rows:
        faults = list(entry.faults)
        if entry.digest is not None and first.setdefault(entry.digest, entry.number) != entry.number:
            original = sources.place(first[entry.digest])
            faults.append(RowFault(kind="duplicate", text=f"the same as {original}", fix="remove one of them"))
        fault = results.get(entry.medium) if entry.medium is not None else None
        if fault is not None:
            if fault.kind == "missing":
                num_missing += 1
                fault = elsewhere.explain(Path(entry.medium.path), fault) if entry.medium else fault
            faults.append(fault)
        findings += [Finding.of(sources, entry, fault) for fault in faults]
    notes = []
    if not has_model:
        notes.append("lengths were not checked: give the model (--model)")
    if not options.decode:
        notes.append("files were checked by their headers alone: --decode reads frames and sound")
    with_media = sum(entry.medium is not None for entry in rows)
    if with_media >= 4 and num_missing > _MOST * with_media:
        folders = ", ".join(sorted({str(source.folder) for source in sources.sources}))
        notes.insert(0, f"{num_missing} of {with_media} files are not there: is {folders} the right folder?")
    modalities = [entry.modality for entry in rows if entry.modality is not None]
    return CheckReport(
        sources=sources,
        num_media=len(results),
        modalities={name: modalities.count(name) for name in sorted(set(modalities))},
        positions=tuple(entry.num_positions for entry in rows if entry.num_positions is not None),
        findings=tuple(findings),
        notes=tuple(notes),
    )


class _Elsewhere:
    """Looks for missing files of the same name elsewhere in their folder; the folder is listed once, if at all."""

    def __init__(self, sources: Sources) -> None:
        self._folders = list(dict.fromkeys(source.folder for source in sources.sources))
        self._listed: dict[str, list[Path]] | None = None

    def explain(self, path: Path, fault: RowFault) -> RowFault:
        """The fault, or a better one where the file was found."""
        if self._listed is None:
            self._listed = {}
            for folder in self._folders:
                for place, _, names in os.walk(folder):
                    for name in names:
                        self._listed.setdefault(name, []).append(Path(place, name))
        found = self._listed.get(path.name, [])
        if not found:
            return fault
        best = max(found, key=lambda other: (_common_end(other, path), str(other)))
        text = f"{path} does not exist, but {best} does"
        return RowFault(kind="wrong_folder", text=text, fix="correct the path in the row, or give the folder above it")


def _common_end(one: Path, other: Path) -> int:
    pairs = zip(reversed(one.parts), reversed(other.parts))
    return next((number for number, (a, b) in enumerate(pairs) if a != b), 0)


def _crashed(medium: Medium) -> RowFault:
    text = f"{medium.path} ends the process that reads it"
    return RowFault(kind="damaged", text=text, fix="make or download the file again")


def _num_workers(workers: int | None, num_rows: int, decode: bool) -> int:
    if workers is None:
        return (os.cpu_count() or 1) if decode or num_rows >= _MANY else 1
    if workers < 0:
        raise RequestError(f"workers is {workers}; give 0 or more processes.")
    return max(workers, 1)


def _told(progress: Progress | None, what: str, total: int) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if progress is not None:
            progress(f"Checking {what}", done, total)

    return tell
