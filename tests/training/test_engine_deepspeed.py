"""DeepSpeed ZeRO-2 and ZeRO-3 against one process, from the start and from a state; `make test-deepspeed`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from videollama2.training import engine
from videollama2.training.recipe import load

from . import runs

pytestmark = pytest.mark.deepspeed
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs by name: `one*` in this process, the others by two processes under DeepSpeed."""
    folder = tmp_path_factory.mktemp("runs")
    rows = runs.write_rows(folder / "data")

    def recipe(name: str, **fields: Any) -> str:
        save = {"every": 3, "keep": 9, "folder": str(folder / name / "run")}
        return str(runs.write_recipe(folder / name, rows, save=save, **fields))

    connector: dict[str, Any] = {"train": {"connector": 1.0e-3}}
    engine.train(load(recipe("one")), quiet=True)
    engine.train(load(recipe("one-connector", **connector)), quiet=True)
    jobs = []
    for word in ("zero2", "zero3"):
        jobs += [[recipe(word), f"parallel={word}"], [recipe(f"{word}-continues"), f"parallel={word}"]]
        shutil.copytree(folder / "one/run/checkpoint-00000003", folder / f"{word}-continues/run/checkpoint-00000003")
    jobs.append([recipe("zero3-connector", gradient_checkpointing=True, **connector), "parallel=zero3"])
    words = [word for job in jobs for word in ["+", *job]][1:]
    runs.finish(runs.start(words[0], *words[1:], processes=2), timeout=900)
    return folder


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("zero2", "one"),
        ("zero2-continues", "one"),
        ("zero3", "one"),
        ("zero3-continues", "one"),
        ("zero3-connector", "one-connector"),
    ],
)
def test_two_processes_equal_one(name: str, reference: str, folder: Path) -> None:
    ours, other = runs.weights_of(folder / name / "run"), runs.weights_of(folder / reference / "run")
    assert runs.largest_difference(ours, other) < TOLERANCE
    result, wanted = (runs.result_tensors(folder / which / "run" / "result") for which in (name, reference))
    assert runs.largest_difference(result, wanted) < TOLERANCE


@pytest.mark.parametrize("word", ["zero2", "zero3"])
def test_one_process_goes_on_from_it(word: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / word / "run/checkpoint-00000003", tmp_path / "run/checkpoint-00000003")
    engine.train(load(folder / word / "recipe.yaml", [f"save.folder={tmp_path / 'run'}"]), quiet=True)
    assert runs.largest_difference(runs.weights_of(tmp_path / "run"), runs.weights_of(folder / "one/run")) < TOLERANCE
