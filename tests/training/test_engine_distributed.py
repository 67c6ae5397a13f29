"""Two processes against one, and runs that were killed: the same weights.

All runs of two processes are made by one pair, one after the other: starting it costs more than the runs do.
"""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from videollama2.training import engine, state
from videollama2.training.log import LOG_FILE, read_log
from videollama2.training.recipe import load

from . import runs

# fp32: gradients of two processes add up in another order, and Adam divides by their size.
TOLERANCE = 1e-4
CONNECTOR = {"connector": 1.0e-3}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def folder(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs by name: `one` and `one-connector` in this process, the others by two processes."""
    folder = tmp_path_factory.mktemp("runs")
    save = {"every": 3, "keep": 9}

    def recipe(name: str, **fields: Any) -> str:
        saved = {**save, "folder": str(folder / name / "run")}
        return str(runs.write_recipe(folder / name, rows, save=saved, **fields))

    engine.train(load(recipe("one")), quiet=True)
    engine.train(load(recipe("one-connector", train=CONNECTOR)), quiet=True)
    recipe("ddp-continues")
    shutil.copytree(folder / "one/run/checkpoint-00000003", folder / "ddp-continues/run/checkpoint-00000003")
    jobs = [
        [recipe("ddp"), "parallel=ddp"],
        [str(folder / "ddp-continues/recipe.yaml"), "parallel=ddp"],
        [recipe("fsdp2", gradient_checkpointing=True), "parallel=fsdp2"],
        [recipe("fsdp2-connector", train=CONNECTOR), "parallel=fsdp2"],
    ]
    words = [word for job in jobs for word in ["+", *job]][1:]
    runs.finish(runs.start(words[0], *words[1:], processes=2))
    return folder


@pytest.mark.distributed
@pytest.mark.parametrize(
    ("name", "reference"),
    [("ddp", "one"), ("ddp-continues", "one"), ("fsdp2", "one"), ("fsdp2-connector", "one-connector")],
)
def test_two_processes_equal_one(name: str, reference: str, folder: Path) -> None:
    ours, other = runs.weights_of(folder / name / "run"), runs.weights_of(folder / reference / "run")
    assert runs.largest_difference(ours, other) < TOLERANCE
    losses, expected = (
        {line["step"]: line["loss"] for line in read_log(folder / which / "run" / LOG_FILE) if "step" in line}
        for which in (name, reference)
    )
    assert len(losses) == (3 if name == "ddp-continues" else 6)
    for step, loss in losses.items():
        assert loss == pytest.approx(expected[step], rel=TOLERANCE)
    result, wanted = (runs.result_tensors(folder / which / "run" / "result") for which in (name, reference))
    assert runs.largest_difference(result, wanted) < TOLERANCE


@pytest.mark.distributed
def test_each_process_writes_its_slices(folder: Path) -> None:
    saved = folder / "fsdp2/run/checkpoint-00000003"
    sizes = [path.stat().st_size for path in sorted(saved.glob("*.safetensors"))]
    assert len(sizes) == 2
    assert min(sizes) > 0.8 * max(sizes)
    alone = sum(path.stat().st_size for path in (folder / "one/run/checkpoint-00000003").glob("*.safetensors"))
    assert sum(sizes) < 1.1 * alone


@pytest.mark.distributed
def test_one_process_goes_on_from_the_slices_of_two(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "fsdp2/run/checkpoint-00000003", tmp_path / "run/checkpoint-00000003")
    recipe = load(folder / "fsdp2/recipe.yaml", [f"save.folder={tmp_path / 'run'}"])
    assert engine.train(recipe, quiet=True).steps == 6
    assert runs.largest_difference(runs.weights_of(tmp_path / "run"), runs.weights_of(folder / "one/run")) < TOLERANCE


def test_killed_without_warning_and_continued_gives_the_same_bits(folder: Path, rows: Path, tmp_path: Path) -> None:
    recipe = runs.write_recipe(tmp_path, rows, save={"every": 1, "keep": 2, "folder": str(tmp_path / "run")})
    (process,) = runs.start(recipe, slow=0.3)
    deadline = time.monotonic() + 120
    while state.latest(tmp_path / "run") is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    newest = state.latest(tmp_path / "run")
    assert newest is not None
    assert state.SavedState(newest).step < 6
    engine.train(load(recipe), quiet=True)
    assert runs.largest_difference(runs.weights_of(tmp_path / "run"), runs.weights_of(folder / "one/run")) == 0
