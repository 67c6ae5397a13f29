"""Speed and memory: each fast path against its plain version, one JSON line each.

`python -m benchmarks [NAME ...] [--full] [--runs N] [--cache DIR] [--markdown FILE]`. Both sides are compared before
they are timed, and timed in turns. `--full` takes the released models' sizes with random weights (minutes, 20 GB).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from .machine import command, machine, versions
from .report import page
from .speed import inference, media, model, train_data, world
from .speed.timing import Benchmark, Settings

BENCHMARKS: dict[str, Benchmark] = {
    "import": inference.import_time,
    "decode": media.decode,
    "decode-and-pixels": media.decode_and_pixels,
    "pixels": media.pixels,
    "fbank": media.fbank,
    "long-file": media.long_file,
    "tower": model.tower_layers,
    "image": model.image_once,
    "video-encode": model.video_encode,
    "connector": model.connector,
    "beats": model.beats,
    "second-question": inference.second_question,
    "choose": inference.choose,
    "batch": inference.batch,
    "packing": train_data.packing,
    "packing-positions": train_data.packing_positions,
    "kept-features": train_data.kept_features,
    "data-wait": train_data.data_wait,
    "world-clips": world.clips,
    "world-films": world.films,
}


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks; a comparison that fails is a line with "error", and the exit code is 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all where none is given")
    parser.add_argument("--full", action="store_true", help="sizes of the released models, random weights")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side (at most 3 for whole towers)")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "videollama2-benchmarks")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a page with the table to this file too")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="transformers")
    settings = Settings(runs=options.runs, full=options.full, cache=options.cache)
    where = {"machine": machine(), "versions": versions(), "command": command()}
    lines: list[dict[str, Any]] = []

    def tell(line: dict[str, Any]) -> None:
        lines.append(line)
        print(json.dumps({**line, **where}), flush=True)

    for name in options.names or BENCHMARKS:
        try:
            for result in BENCHMARKS[name](settings):
                tell(result.to_dict())
        except AssertionError as error:
            tell({"benchmark": name, "error": str(error)})
    if options.markdown is not None:
        options.markdown.write_text(page(lines, where))
    return 1 if any("error" in line for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
