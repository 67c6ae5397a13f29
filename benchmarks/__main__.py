"""Speed and memory: each fast path against its plain version, one JSON line each.

`python -m benchmarks [NAME ...] [--full] [--runs N] [--cache DIR]`. Both sides are compared before they are timed, and
timed in turns. `--full` takes the sizes of the released models with random weights (minutes and up to 20 GB).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

from .machine import command, machine, versions
from .speed import inference, media, model
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
    "connector": model.connector,
    "beats": model.beats,
    "second-question": inference.second_question,
    "choose": inference.choose,
    "batch": inference.batch,
}


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks; a comparison that fails is a line with "error", and the exit code is 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; all where none is given")
    parser.add_argument("--full", action="store_true", help="sizes of the released models, random weights")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each side (at most 3 for whole towers)")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "videollama2-benchmarks")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(BENCHMARKS)}")
    logging.getLogger("transformers").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="transformers")
    settings = Settings(runs=options.runs, full=options.full, cache=options.cache)
    where = {"machine": machine(), "versions": versions(), "command": command()}
    failed = False
    for name in options.names or BENCHMARKS:
        try:
            for result in BENCHMARKS[name](settings):
                print(json.dumps({**result.to_dict(), **where}), flush=True)
        except AssertionError as error:
            failed = True
            print(json.dumps({"benchmark": name, "error": str(error), **where}), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
