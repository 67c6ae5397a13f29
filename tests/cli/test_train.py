"""`videollama2 train`: lists, plans, trains a tiny model, and says what is wrong in one sentence."""

from __future__ import annotations

import json

import pytest

from videollama2.checkpoints import inspect_checkpoint
from videollama2.training import recipe as recipes

from .conftest import GOLDEN, MODEL


@pytest.fixture(autouse=True)
def golden_folder(monkeypatch):
    """The golden configs name their towers relative to this folder."""
    monkeypatch.chdir(GOLDEN)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.delenv("RANK", raising=False)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    turns = [
        [{"from": "human", "value": f"say {n} words"}, {"from": "gpt", "value": "word " * (n + 1)}] for n in range(8)
    ]
    path.write_text("".join(json.dumps({"id": n, "conversations": turn}) + "\n" for n, turn in enumerate(turns)))
    return path


def test_list(run):
    code, out, _ = run("train", "--list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == recipes.names()
    code, out, _ = run("train", "--list", "--json")
    assert json.loads(out)["videollama2.1-7b/video-2"].startswith("Stage 2 of VideoLLaMA2.1-7B-16F")


def test_show_is_a_recipe_again(run, tmp_path):
    code, out, _ = run("train", "tiny/video-2", "schedule.epochs=3", "--show")
    assert code == 0
    (tmp_path / "shown.yaml").write_text(out)
    assert recipes.load(tmp_path / "shown.yaml") == recipes.load("tiny/video-2", ["schedule.epochs=3"])


def test_dry_run(run, rows):
    words = ("train", "tiny/video-2", f"model.from={MODEL}", f"data.0.path={rows}", "--dry-run")
    code, out, err = run(*words)
    assert (code, err) == (0, "")
    assert "language_model" in out
    assert "steps            1 " in out
    plain = json.loads(run(*words, "--json", "--processes", "2")[1])
    assert (plain["rows"], plain["steps"], plain["processes"]) == (8, 1, 2)
    assert plain["parameters"]["audio_tower"]["trained"] == 0


def test_a_released_model_is_planned_without_its_files(run):
    code, out, _ = run("train", "videollama2.1-7b/video-2-qlora-24gb", "--dry-run", "--offline")
    assert code == 0
    assert "sizes known by name" in out
    assert "7,777,097,216" in out  # the language model with its LoRA


def test_a_run_and_its_result(run, rows, tmp_path):
    words = ("train", "tiny/video-2-lora", f"model.from={MODEL}", f"data.0.path={rows}", f"save.folder={tmp_path}/run")
    code, out, _ = run(*words, "schedule.epochs=2", "--json")
    assert code == 0, out
    outcome = json.loads(out[out.index("{") :])
    assert (outcome["steps"], outcome["num_steps"]) == (2, 2)
    assert outcome["model"] == f"{tmp_path}/run/result"
    assert inspect_checkpoint(outcome["model"]).ok
    code, out, _ = run("merge", outcome["model"], tmp_path / "merged")
    assert code == 0
    assert "logits of the reloaded model equal" in out
    code, out, _ = run("convert", tmp_path / "merged", tmp_path / "ours", "--to", "ours")
    assert code == 0
    code, out, _ = run("ask", "hello", "-m", tmp_path / "ours", "--max-new-tokens", "2")
    assert code == 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "videollama2 train --list"),
        (("tiny/vidio-1",), 2, "did you mean tiny/video-1?"),
        (("tiny/video-1", "schedule.epoch=2"), 2, "did you mean schedule.epochs?"),
        (("tiny/video-1", "epochs"), 2, "is not key=value"),
        (("tiny/video-1", "train.connector.lora.r=2"), 2, "LoRA is for the language model"),
        (("tiny/video-1",), 2, "names no data"),
        (("tiny/video-1", "--dry-run"), 4, "There is nothing at MODEL"),
        (
            ("tiny/audio-1", f"model.from={GOLDEN}/checkpoints/VideoLLaMA2-tiny-mistral", "--dry-run"),
            2,
            "no audio_projector",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(run, words, code, message):
    found, out, err = run("train", *words)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
