"""Deviation from the official implementation: one table over all golden reference data.

`python -m benchmarks.parity [--markdown docs/parity.md] [--media DIR] [--only GROUP ...]`. Ends with 1 if anything is
beyond its tolerance; the last line is JSON with machine, versions and command.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from .machine import command, machine, versions
from .parity_groups import media, model, modules, text
from .parity_groups.measure import Row, Table

GROUPS: dict[str, Callable[[Table], None]] = {
    "sampling": media.sampling,
    "media": media.media,
    "audio": media.audio,
    "prompts": text.prompts,
    "training": text.training,
    "connectors": modules.connectors,
    "beats": modules.beats,
    "model": model.models,
}


def main(arguments: list[str] | None = None) -> int:
    """Compare, print, and say by the exit code whether all is within tolerance."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parity", description=__doc__)
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table to this file too")
    parser.add_argument("--media", type=Path, metavar="DIR", help="folder with the official example media")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS), help="groups to compare")
    options = parser.parse_args(arguments)
    table = compare(options.only, options.media)
    text_of_table = markdown(list(table.rows.values()))
    print(text_of_table)
    if options.markdown is not None:
        options.markdown.write_text(page(text_of_table))
    summary = {
        "parity": "FAIL" if table.failed else "PASS",
        "rows": len(table.rows),
        "failed": [asdict(row) for row in table.failed],
        "comparisons": sum(row.cases for row in table.rows.values()),
        "not_shipped": sum(row.not_shipped for row in table.rows.values()),
        "machine": machine(),
        "versions": versions(),
        "command": command(),
    }
    print(json.dumps(summary))
    return 1 if table.failed else 0


def compare(groups: list[str], media_folder: Path | None = None) -> Table:
    """Run groups into one table; a group that stops by an error is a failed row, and its traceback is printed."""
    table = Table(media=media_folder)
    for name in groups:
        try:
            GROUPS[name](table)
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            table.crashed(name, error)
    return table


def markdown(rows: list[Row]) -> str:
    """The table as Markdown."""
    lines = [
        "| group | quantity | cases | largest deviation | tolerance | unit | verdict |",
        "|---|---|---:|---:|---:|---|---|",
    ]
    for row in rows:
        exact = row.scale in ("cases differing", "information")
        deviation = f"{row.deviation:.0f}" if exact else f"{row.deviation:.1e}"
        tolerance = "" if row.scale == "information" else "0" if exact else f"{row.tolerance:g}"
        cases = f"{row.cases}" + (f" (+{row.not_shipped} not shipped)" if row.not_shipped else "")
        unit = "cases" if exact else row.scale
        lines.append(f"| {row.group} | {row.quantity} | {cases} | {deviation} | {tolerance} | {unit} | {row.verdict} |")
    return "\n".join(lines)


def page(table: str) -> str:
    """The documentation page around the table."""
    details = versions()
    return f"""# Parity with the official implementation

Written by `{command()}`. Both sides compute in fp32 on a CPU with the tiny seeded weights
and recorded inputs of `tests/golden` (see `tests/golden/README.md`); the official side was recorded once.

- *relative*: largest absolute difference over the largest magnitude of the golden tensor. *absolute*: largest absolute
  difference. *bf16 steps*: neighbouring bf16 numbers in between. *cases*: how many cases are not exactly equal.
- Tolerances are those of the golden data: 1e-5 for single modules, 1e-4 for the whole model, 2e-3 for pixels and fbank
  (in levels of 0..255: {media.LEVELS:g}), one bf16 step, none for integers and texts.
- *info* rows demand nothing. Sound of videos: builds of FFmpeg decode lossy sound to slightly different floats, so that
  a few samples in ten thousand round to the neighbouring 16-bit level; what such a step explains in a filterbank window
  is counted there instead of failing the row below it.
- *refused where the official code fails*: ours raises an error of its own kind there.
- Media named `official:` are not in this repository: `--media DIR` takes them in.

{table}

Measured with {", ".join(f"{name} {number}" for name, number in details.items())}.
"""


if __name__ == "__main__":
    sys.exit(main())
