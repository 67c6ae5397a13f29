"""The resume matrix: runs killed at random moments and continued, against runs that were not.

`python -m benchmarks.resume_matrix [CASE ...] [--kills N] [--seed N] [--folder DIR]`. A tiny model learns from tiny
clips; SIGKILL falls on all processes at once, in the middle of steps and of saves alike. Same layout: the weights must
be equal to the last bit. Another number of processes or another strategy: within 1e-4. One JSON line each, then a
table.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from videollama2.training import state
from videollama2.training.log import LOG_FILE, read_log
from videollama2.training.mini import clips, parts

from .machine import command, machine, versions

STEPS = 16
CLIPS = 24
TOLERANCE = 1e-4
# Seconds after the first state in which the blow may fall; the rest of the run takes about as long.
WINDOW = 1.2
PACKED = ["batch.packing=true", "batch.group_by_length=false", "batch.micro=2", "max_tokens=128"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a leg of a run is computed."""

    processes: int = 1
    parallel: str = "none"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run to kill: the layouts it has in turns, one a leg, and what else is special about it."""

    legs: tuple[Layout, ...]
    overrides: tuple[str, ...] = field(default=())

    @property
    def is_exact(self) -> bool:
        """Whether the layout stays, so that the bits must too."""
        return len(set(self.legs)) == 1


ONE, DDP, FSDP = Layout(), Layout(processes=2, parallel="ddp"), Layout(processes=2, parallel="fsdp2")
CASES = {
    "plain": Case(legs=(ONE,)),
    "packing": Case(legs=(ONE,), overrides=tuple(PACKED)),
    "workers": Case(legs=(ONE,), overrides=("workers=2",)),
    "packing+workers": Case(legs=(ONE,), overrides=(*PACKED, "workers=2")),
    "ddp": Case(legs=(DDP,)),
    "1->2 processes": Case(legs=(ONE, DDP)),
    "2->1 processes, packing": Case(legs=(DDP, ONE), overrides=tuple(PACKED)),
    "fsdp2": Case(legs=(FSDP,)),
    "fsdp2, packing+workers": Case(legs=(FSDP,), overrides=(*PACKED, "workers=1")),
    "1->fsdp2->ddp": Case(legs=(ONE, FSDP, DDP)),
}


def prepare(folder: Path) -> Path:
    """Parts, clips and the recipe; the recipe's file."""
    parts.write_language_model(folder / "language_model")
    parts.write_vision_tower(folder / "vision_tower")
    rows = clips.write_rows(folder / "clips", clips.write_clips(folder / "clips", CLIPS, seed=1))
    compose = {"language_model": str(folder / "language_model"), "vision_tower": str(folder / "vision_tower")}
    recipe = {
        "name": "resume",
        "model": {"compose": {**compose, "num_frames": 4}},
        "train": {"connector": 1e-3, "language_model": 1e-3},
        "data": [{"path": str(rows[name]), "folder": str(folder / "clips")} for name in ("video-questions", "joint")],
        "num_frames": 4,
        "batch": {"samples": 12, "micro": 4},
        "schedule": {"max_steps": STEPS},
        "precision": "fp32",
        "gradient_checkpointing": False,
        "workers": 0,
        "save": {"every": 1, "keep": 2},
        "log": {"tensorboard": False},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def start(recipe: Path, run: Path, layout: Layout, overrides: tuple[str, ...]) -> list[subprocess.Popen[str]]:
    """Start the processes of a leg, as torchrun does."""
    words = [sys.executable, "-m", "videollama2.cli", "train", str(recipe), *overrides]
    words += [f"parallel={layout.parallel}", f"save.folder={run}", "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    many = {"WORLD_SIZE": str(layout.processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [
        subprocess.Popen(
            words,
            env={**environment, **({**many, "RANK": str(n), "LOCAL_RANK": str(n)} if layout.processes > 1 else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        for n in range(layout.processes)
    ]


def finish(processes: list[subprocess.Popen[str]]) -> None:
    """Wait for a leg that must end well."""
    outputs = [process.communicate(timeout=600) for process in processes]
    said = "\n".join(errors[-2000:] for _, errors in outputs)
    assert all(process.returncode == 0 for process in processes), said


def kill(processes: list[subprocess.Popen[str]], run: Path, wait: float) -> int | None:
    """Let a leg make a state of its own, and kill it `wait` seconds later; updates saved, None where it was done."""
    before = state.latest(run)
    while state.latest(run) == before:
        if any(process.poll() is not None for process in processes):
            finish(processes)
            return None
        time.sleep(0.005)
    time.sleep(wait)
    ended = all(process.poll() == 0 for process in processes)
    for process in processes:
        # Its decode workers too: they are of its session.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    for process in processes:
        process.communicate()
    newest = state.latest(run)
    assert newest is not None
    return None if ended else state.SavedState(newest).step


def compare(ours: Path, reference: Path) -> tuple[float, float]:
    """Largest difference of the weights, and of the losses told on the way."""
    found, wanted = (state.SavedState(state.latest(run) or run) for run in (ours, reference))
    assert found.step == wanted.step == STEPS
    names = [name for name in wanted.shapes if name.startswith("weights/")]
    assert set(names) == {name for name in found.shapes if name.startswith("weights/")}
    weights = max(float((found.read(n).double() - wanted.read(n).double()).abs().max()) for n in names)
    losses = [{s["step"]: s["loss"] for s in read_log(run / LOG_FILE) if "step" in s} for run in (ours, reference)]
    assert losses[0].keys() == losses[1].keys() == set(range(1, STEPS + 1))
    return weights, max(abs(losses[0][step] - loss) for step, loss in losses[1].items())


def run_case(name: str, recipe: Path, folder: Path, kills: int, rng: random.Random) -> dict[str, Any]:
    """One line of the matrix."""
    case, place = CASES[name], folder / name.replace(" ", "_").replace(">", "")
    shutil.rmtree(place, ignore_errors=True)
    # Against the first leg's own layout: that is what "not killed" would have been.
    finish(start(recipe, place / "whole", case.legs[0], case.overrides))
    killed_after: list[int] = []
    window = WINDOW
    while not killed_after:
        # A run that was through before the blow shows nothing: once more, and sooner.
        shutil.rmtree(place / "killed", ignore_errors=True)
        for number in range(max(kills, len(case.legs) - 1)):
            leg = case.legs[min(number, len(case.legs) - 1)]
            processes = start(recipe, place / "killed", leg, case.overrides)
            step = kill(processes, place / "killed", rng.uniform(0.0, window))
            if step is None or step >= STEPS:
                break
            killed_after.append(step)
        window /= 2
    finish(start(recipe, place / "killed", case.legs[-1], case.overrides))
    weights, losses = compare(place / "killed", place / "whole")
    allowed = 0.0 if case.is_exact else TOLERANCE
    return {
        "case": name,
        "killed_after": killed_after,
        "largest_difference": weights,
        "loss_difference": losses,
        "allowed": allowed,
        "ok": weights <= allowed,
    }


def table(lines: list[dict[str, Any]]) -> str:
    """The matrix for people."""
    rows = ["| run | killed after steps | largest difference of weights | allowed | |", "|---|---|---|---|---|"]
    for line in lines:
        steps = ", ".join(map(str, line["killed_after"]))
        verdict = "as it must be" if line["ok"] else "WRONG"
        rows.append(
            f"| {line['case']} | {steps} | {line['largest_difference']:.1e} | {line['allowed']:g} | {verdict} |"
        )
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    """Make the matrix; exit code 1 where a run came out otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.resume_matrix", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {'; '.join(CASES)}; all where none is given")
    parser.add_argument("--kills", type=int, default=2, help="blows a run")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, help="where runs are kept; a temporary folder where none is given")
    options = parser.parse_args(arguments)
    unknown = set(options.cases) - CASES.keys()
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {'; '.join(CASES)}")
    where = {"machine": machine(), "versions": versions(), "command": command()}
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        recipe = prepare(folder)
        for name in options.cases or CASES:
            rng = random.Random(f"{options.seed} {name}")
            lines.append(run_case(name, recipe, folder, options.kills, rng))
            print(json.dumps({**lines[-1], **where}), flush=True)
    print(table(lines))
    return 0 if all(line["ok"] for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
