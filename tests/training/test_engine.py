"""Runs in one process: their course, stops and continuations, and what must end them."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from videollama2.errors import CheckpointError, RequestError
from videollama2.training import engine, state
from videollama2.training.log import LOG_FILE, RunLog, read_log
from videollama2.training.recipe import Recipe, load

from . import runs

ALL = {"connector": 1.0e-3, "language_model": 1.0e-3}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.write_rows(tmp_path_factory.mktemp("data"))


@pytest.fixture
def recipe_of(rows: Path, tmp_path: Path) -> Callable[..., Recipe]:
    """A recipe on the tiny checkpoint whose run is in a folder of this test."""

    def make(folder: str = "run", *overrides: str, **fields: Any) -> Recipe:
        return load(runs.write_recipe(tmp_path / folder, rows, **fields), overrides)

    return make


def at_step(monkeypatch: pytest.MonkeyPatch, number: int, action: Callable[[], None]) -> None:
    """Do something once the run has told of a step."""
    step = RunLog.step

    def then(self: RunLog, record: dict[str, Any]) -> None:
        step(self, record)
        if record["step"] == number:
            action()

    monkeypatch.setattr(RunLog, "step", then)


def steps_of(recipe: Recipe) -> list[dict[str, Any]]:
    return [line for line in read_log(recipe.folder / LOG_FILE) if "step" in line]


def train(recipe: Recipe) -> engine.TrainingResult:
    return engine.train(recipe, quiet=True)


def test_a_run_from_beginning_to_end(recipe_of: Callable[..., Recipe]) -> None:
    recipe = load(recipe_of().folder.parent / "recipe.yaml", ["save.keep=2"])
    outcome = train(recipe)
    assert (outcome.steps, outcome.num_steps, outcome.stopped) == (6, 6, None)
    assert outcome.loss_last < outcome.loss_first
    names = sorted(path.name for path in recipe.folder.iterdir())
    assert names == ["checkpoint-00000004", "checkpoint-00000006", "log.jsonl", "result"]
    lines = steps_of(recipe)
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[0]["loss"] == outcome.loss_first
    assert lines[0]["lr"] == {"connector": 0.0, "language_model": 0.0}
    assert lines[2]["lr"]["connector"] == pytest.approx(1e-3)
    assert all(line["samples"] == 6 and line["skipped"] == 0 for line in lines)
    for name in ("tokens", "labels", "tokens_per_second", "mfu", "memory_gb", "seconds", "grad_norm"):
        assert all(math.isfinite(line[name]) and line[name] > 0 for line in lines), name
    assert all(0 <= line["data_wait_share"] <= 1 for line in lines)
    # Every sample of an epoch once: 18 rows in steps of 6.
    saved = state.SavedState(recipe.folder / "checkpoint-00000006")
    assert saved.document["model"].endswith("VideoLLaMA2.1-tiny-qwen2-16F")
    assert saved.document["recipe"]["seed"] == 42

    from videollama2.checkpoints import load_checkpoint

    assert outcome.model is not None
    loaded = dict(load_checkpoint(outcome.model, device="cpu", dtype=torch.float32).model.named_parameters())
    for name, tensor in runs.weights_of(recipe.folder).items():
        assert torch.equal(loaded[name.removeprefix("weights/")], tensor), name


def test_a_finished_run_is_not_made_again(recipe_of: Callable[..., Recipe]) -> None:
    recipe = recipe_of(schedule={"max_steps": 1})
    train(recipe)
    again = train(recipe)
    assert (again.steps, math.isnan(again.loss_first)) == (1, True)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"batch": {"samples": 6, "micro": 1, "packing": True, "group_by_length": False}, "max_tokens": 256},
        {"train": {"connector": 1e-3, "language_model": {"lr": 1e-2, "lora": {"r": 4, "dropout": 0.2}}}},
        {"workers": 1, "precision": "bf16", "gradient_checkpointing": True},
    ],
    ids=["plain", "packing", "lora-dropout", "worker-bf16"],
)
def test_stopped_anywhere_and_continued_gives_the_same_bits(
    fields: dict[str, Any], recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = recipe_of("whole", **fields)
    train(whole)
    halting = recipe_of("halting", **fields)
    for number in (1, 4):
        with monkeypatch.context() as patch:
            at_step(patch, number, lambda: os.kill(os.getpid(), signal.SIGTERM))
            outcome = train(halting)
        assert (outcome.stopped, outcome.steps, outcome.model) == ("SIGTERM", number, None)
    before = signal.getsignal(signal.SIGTERM)
    assert train(halting).steps == 6
    assert signal.getsignal(signal.SIGTERM) is before
    assert runs.largest_difference(runs.weights_of(halting.folder), runs.weights_of(whole.folder)) == 0
    keys = ("step", "loss", "grad_norm", "samples", "tokens", "labels")
    assert [[s[k] for k in keys] for s in steps_of(halting)] == [[s[k] for k in keys] for s in steps_of(whole)]


def test_lines_of_steps_that_are_made_again_are_dropped(
    recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of()

    def crash() -> None:
        raise RuntimeError("a crash")

    with monkeypatch.context() as patch:
        at_step(patch, 3, crash)
        with pytest.raises(RuntimeError, match="a crash"):
            train(recipe)
    assert state.latest(recipe.folder) == recipe.folder / "checkpoint-00000002"
    train(recipe)
    assert [line["step"] for line in steps_of(recipe)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seed=7"], "seed was 42 and is 7"),
        (["train.connector.lr=2e-3"], r"train.connector.lr was 0.001 and is 0.002"),
        (["schedule.max_steps=9"], "schedule.max_steps was 6 and is 9"),
        (["batch.samples=4", "num_frames=6"], "batch.samples was 6 and is 4; num_frames was 4 and is 6"),
        (
            [f"model.from={runs.GOLDEN}/checkpoints/VideoLLaMA2-tiny-mistral"],
            "model.from_? was '.*qwen2-16F' and is '.*",
        ),
    ],
)
def test_the_state_of_another_run_is_refused(
    overrides: list[str], said: str, recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of()
    at_step(monkeypatch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    train(recipe)
    with pytest.raises(CheckpointError, match=f"is the state of another run: {said}"):
        train(load(recipe.folder.parent / "recipe.yaml", overrides))


def test_other_rows_than_it_was_trained_on_are_refused(
    rows: Path, recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    other = rows.with_name("other.json")
    other.write_text(rows.read_text())
    recipe = recipe_of(data=[{"path": str(other), "folder": str(rows.parent)}])
    at_step(monkeypatch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    train(recipe)
    other.write_text(json.dumps(json.loads(rows.read_text())[1:]))
    with pytest.raises(CheckpointError, match=r"other.json is not the file that .* was trained on"):
        train(recipe)


def test_a_full_disk_ends_the_run_and_leaves_the_older_state(
    recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    at_step(monkeypatch, 3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard)))
    try:
        with pytest.raises(CheckpointError, match=r"checkpoint-00000004 could not be saved: .*older states are"):
            train(recipe)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in state.states(recipe.folder)] == ["checkpoint-00000002"]
    assert not list(recipe.folder.glob(".partial*"))


def damaged(rows: Path, folder: Path) -> Path:
    """The rows with one video that cannot be read and one row without an answer."""
    content = json.loads(rows.read_text())
    content[0]["video"] = str(folder / "broken.mp4")
    (folder / "broken.mp4").write_bytes(b"no video at all")
    content[8]["conversations"] = content[8]["conversations"][:1]
    path = folder / "damaged.json"
    path.write_text(json.dumps(content))
    return path


def test_damaged_samples_go_to_the_ledger_and_their_place_stays_empty(
    rows: Path, tmp_path: Path, recipe_of: Callable[..., Recipe]
) -> None:
    data = [{"path": str(damaged(rows, tmp_path)), "folder": str(rows.parent)}]
    recipe = recipe_of(data=data, schedule={"max_steps": 3}, faults={"max_share": 0.5, "max_count": 5})
    outcome = train(recipe)
    assert sum(outcome.faults.values()) == 2
    lines = steps_of(recipe)
    assert sum(line["samples"] for line in lines) == 16
    assert sum(line["skipped"] for line in lines) == 2
    entries = [json.loads(line) for line in (recipe.folder / engine.LEDGER_FILE).read_text().splitlines()]
    assert sorted(entry["stage"] for entry in entries) == ["media", "row"]
    assert sorted(entry["number"] for entry in entries) == [0, 8]
    assert all(entry["reason"] and entry["fix"] for entry in entries)


def test_too_many_damaged_samples_stop_the_run_with_a_state(
    rows: Path, tmp_path: Path, recipe_of: Callable[..., Recipe]
) -> None:
    data = [{"path": str(damaged(rows, tmp_path)), "folder": str(rows.parent)}]
    recipe = recipe_of(data=data, faults={"max_share": 0.5, "max_count": 1})
    with pytest.raises(RequestError, match=r"2 of 18 rows cannot be used"):
        train(recipe)
    told = len(steps_of(recipe))
    newest = state.latest(recipe.folder)
    assert (0 if newest is None else state.SavedState(newest).step) == told


def test_a_run_that_diverges_ends(recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_BAD_STEPS", 2)
    monkeypatch.setattr("torch.nn.utils.clip_grad_norm_", lambda *a, **k: torch.tensor(math.inf))
    with pytest.raises(RequestError, match="diverged; lower the learning rate"):
        train(recipe_of())


@pytest.mark.parametrize("lora", [{"r": 4}, {"r": 4, "dora": True}, {"r": 4, "quantize": "nf4"}])
def test_lora_dora_and_qlora_train_and_load_again(lora: dict[str, Any], recipe_of: Callable[..., Recipe]) -> None:
    train_parts = {"connector": 1e-3, "language_model": {"lr": 1e-2, "lora": lora}}
    recipe = recipe_of(train=train_parts, precision="bf16" if "quantize" in lora else "fp32")
    outcome = train(recipe)
    assert outcome.loss_last < outcome.loss_first
    assert outcome.model is not None
    names = {path.name for path in outcome.model.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json"} <= names

    from videollama2.checkpoints import load_checkpoint

    loaded = load_checkpoint(outcome.model, device="cpu", dtype=torch.float32)
    assert not loaded.report.missing


def test_several_processes_need_a_way_to_work_together(
    recipe_of: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RequestError, match="2 processes were started but the recipe says parallel: none"):
        train(recipe_of())


def test_features_of_towers_are_kept_and_change_nothing(
    recipe_of: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = {"connector": 1e-3}
    plain = recipe_of("plain", train=connector)
    cached = recipe_of("cached", train=connector, cache_features=str(tmp_path / "features"))
    train(plain)
    train(cached)
    assert len(list((tmp_path / "features").rglob("*.safetensors"))) == 7
    assert runs.largest_difference(runs.weights_of(cached.folder), runs.weights_of(plain.folder)) < 1e-5
    # The second run neither decodes nor encodes.
    monkeypatch.setattr("videollama2.training.data.encode.load_video", None)
    monkeypatch.setattr("videollama2.training.features.TowerFeatures._see", None)
    train(recipe_of("again", train=connector, cache_features=str(tmp_path / "features")))
