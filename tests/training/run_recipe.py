"""Runs recipes in a process of its own, as a launcher does: `run_recipe.py RECIPE.yaml [key=value ...] [+ RECIPE ...]`.

Prints each outcome as a JSON line. `--slow SECONDS` sleeps after each step, so that a test finds time to kill it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import groupby


def main() -> None:
    """Train, one recipe after the other in one group of processes."""
    arguments = sys.argv[1:]
    slow = 0.0
    if arguments[0] == "--slow":
        slow, arguments = float(arguments[1]), arguments[2:]
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    from videollama2.training import engine
    from videollama2.training.log import RunLog
    from videollama2.training.recipe import load

    if slow:
        step = RunLog.step

        def slow_step(self: RunLog, record: dict) -> None:
            step(self, record)
            time.sleep(slow)

        RunLog.step = slow_step  # type: ignore[method-assign,assignment]
    jobs = [list(words) for is_plus, words in groupby(arguments, lambda word: word == "+") if not is_plus]
    if len(jobs) > 1 and "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")
    for recipe, *overrides in jobs:
        outcome = engine.train(load(recipe, overrides), quiet=True)
        print(json.dumps(engine.summary_of(outcome)), flush=True)


if __name__ == "__main__":
    main()
