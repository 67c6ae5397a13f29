"""What a run tells while it goes on: JSON lines, TensorBoard where it is installed, a line of progress."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOG_FILE = "log.jsonl"
# Seconds between lines of progress where the output is no terminal.
_LINE_EVERY = 10.0


class RunLog:
    """Writes `log.jsonl` and its like; one process of a run has one.

    A run that goes on after a stop drops the lines of the steps that it makes again, so that the file reads as if it
    had never stopped.

    Args:
        folder: Of the run.
        step: Updates made already.
        num_steps: Of the whole run.
        every: Steps between lines.
        tensorboard: Write TensorBoard files too, where it is installed.
        quiet: No progress on the terminal.
    """

    def __init__(
        self, folder: Path, *, step: int, num_steps: int, every: int = 1, tensorboard: bool = False, quiet: bool = False
    ) -> None:
        self.path = folder / LOG_FILE
        self.num_steps, self.every, self.quiet = num_steps, every, quiet
        folder.mkdir(parents=True, exist_ok=True)
        _keep_until(self.path, step)
        self._file = self.path.open("a", encoding="utf-8")
        self._board: Any = _board(folder) if tensorboard else None
        self._bar: Any = None
        self._told = 0.0
        if tensorboard and self._board is None:
            self.event("no TensorBoard files: tensorboard is not installed (pip install 'videollama2[train]')")

    def __enter__(self) -> RunLog:
        """Show progress."""
        if not self.quiet and sys.stderr.isatty():
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
            self._bar = Progress(*columns, transient=False)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.num_steps)
        return self

    def __exit__(self, *_: object) -> None:
        """Close everything."""
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()
        self._file.close()

    def step(self, record: Mapping[str, Any]) -> None:
        """Tell of a step: `step` counts updates made, from 1; other values are numbers, or numbers by name."""
        step = int(record["step"])
        if step % self.every and step != self.num_steps:
            return
        self._write(record)
        if self._board is not None:
            for name, value in _flat(record).items():
                self._board.add_scalar(f"training/{name}", value, step)
        self._show(step, record)

    def event(self, text: str, **values: Any) -> None:
        """Tell of something that is no step: a start, a saved state, a stop."""
        self._write({"event": text, **values})
        if not self.quiet:
            self._print(text)

    def _write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps({**record, "time": round(time.time(), 3)}, ensure_ascii=False)
        self._file.write(line + "\n")
        self._file.flush()

    def _show(self, step: int, record: Mapping[str, Any]) -> None:
        if self.quiet:
            return
        text = describe(record)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        elif time.monotonic() - self._told > _LINE_EVERY or step == self.num_steps:
            self._told = time.monotonic()
            self._print(f"step {step}/{self.num_steps}  {text}")

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)


def describe(record: Mapping[str, Any]) -> str:
    """A step in one line."""
    mfu = record.get("mfu")
    parts = [
        f"loss {record['loss']:.4f}",
        f"grad {record['grad_norm']:.2f}",
        f"{record['tokens_per_second']:.0f} tokens/s",
        f"MFU {mfu:.0%}" if mfu is not None else "",
        f"waiting for data {record['data_wait_share']:.0%}",
        f"{record['skipped']} skipped" if record.get("skipped") else "",
    ]
    return "  ".join(part for part in parts if part)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, steps and events; one that a crash cut off is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def _keep_until(path: Path, step: int) -> None:
    lines = read_log(path)
    kept = [line for line in lines if line.get("step", 0) <= step]
    if len(kept) == len(lines) and (not path.is_file() or path.read_bytes()[-1:] in (b"\n", b"")):
        return
    fresh = path.with_suffix(".partial")
    fresh.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept), encoding="utf-8")
    os.replace(fresh, path)


def _flat(record: Mapping[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            flat.update({f"{name}/{inner}": number for inner, number in _flat(value).items()})
        elif isinstance(value, (int, float)) and not isinstance(value, bool) and name != "step":
            flat[name] = value
    return flat


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(log_dir=str(folder / "tensorboard"))
