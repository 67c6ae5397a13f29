"""What the engine is made of beside steps and states: schedule, signals, log, counts of operations."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from videollama2.errors import CheckpointError, RequestError
from videollama2.training import flops
from videollama2.training.log import LOG_FILE, RunLog, read_log
from videollama2.training.objective import set_modes
from videollama2.training.resuming import FREE, check_same_run
from videollama2.training.schedule import rate
from videollama2.training.stop import listening

from .tiny import golden_model, recipe_of


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from(["cosine", "linear", "constant"]))
def test_rates_rise_and_fall_between_zero_and_one(num_steps: int, warmup: float, kind: str) -> None:
    rates = [rate(step, num_steps, warmup_ratio=warmup, kind=kind) for step in range(num_steps)]
    top = math.ceil(warmup * num_steps)
    assert all(0 <= value <= 1 for value in rates)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    if top < num_steps:
        assert rates[top] == 1


def test_cosine_is_that_of_transformers() -> None:
    from transformers import get_cosine_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = get_cosine_schedule_with_warmup(optimizer, num_warmup_steps=3, num_training_steps=100)
    for step in range(100):
        assert rate(step, 100, warmup_ratio=0.03, kind="cosine") == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(RequestError, match="choose cosine, linear or constant"):
        rate(5, 10, warmup_ratio=0, kind="cosin")


def test_a_signal_is_remembered_and_a_second_interrupt_ends_at_once() -> None:
    before = signal.getsignal(signal.SIGINT)
    with listening() as request:
        assert not request
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.signal_name == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_other_threads_listen_to_nothing_and_still_train() -> None:
    found: list[bool] = []

    def run() -> None:
        with listening() as request:
            found.append(bool(request))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False]


def record(step: int, loss: float = 1.0) -> dict[str, Any]:
    rates = {"connector": 1e-3}
    return {"step": step, "loss": loss, "grad_norm": 1.0, "tokens_per_second": 9.0, "data_wait_share": 0.0, "lr": rates}


def test_the_log_goes_on_from_a_step_and_survives_a_cut_line(tmp_path: Path) -> None:
    with RunLog(tmp_path, step=0, num_steps=9, quiet=True) as log:
        log.event("starting", device="cpu")
        for step in range(1, 6):
            log.step(record(step))
    path = tmp_path / LOG_FILE
    path.write_text(path.read_text() + '{"step": 6, "lo')
    with RunLog(tmp_path, step=3, num_steps=9, quiet=True) as log:
        log.step(record(4, loss=7.0))
    lines = read_log(path)
    assert [line.get("step", line.get("event")) for line in lines] == ["starting", 1, 2, 3, 4]
    assert lines[-1]["loss"] == 7.0
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_lines_are_told_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    with RunLog(tmp_path, step=0, num_steps=7, every=3, quiet=True) as log:
        for step in range(1, 8):
            log.step(record(step))
    assert [line["step"] for line in read_log(tmp_path / LOG_FILE)] == [3, 6, 7]


def test_tensorboard_gets_every_number_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float, int]] = []

    class Board:
        def add_scalar(self, *values: Any) -> None:
            told.append(values)

        def close(self) -> None:
            told.append(("closed", 0.0, 0))

    monkeypatch.setattr("videollama2.training.log._board", lambda folder: Board())
    with RunLog(tmp_path, step=0, num_steps=1, tensorboard=True, quiet=True) as log:
        log.step(record(1))
    assert ("training/lr/connector", 1e-3, 1) in told
    assert ("training/loss", 1.0, 1) in told
    assert told[-1][0] == "closed"
    monkeypatch.setattr("videollama2.training.log._board", lambda folder: None)
    with RunLog(tmp_path / "b", step=0, num_steps=1, tensorboard=True, quiet=True):
        pass
    assert "tensorboard is not installed" in read_log(tmp_path / "b" / LOG_FILE)[0]["event"]


def test_operations_are_six_a_weight_and_position_and_less_for_what_is_frozen() -> None:
    model = golden_model("VideoLLaMA2.1-tiny-qwen2-16F")
    model.requires_grad_(True)
    whole = flops.counter_of(model)
    layers = sum(p.numel() for n, p in model.model.language_model.named_parameters() if "embed" not in n)
    assert whole.count(positions=10, lengths=[], labels=0) == 6 * 10 * layers
    model.requires_grad_(False)
    model.model.mm_projector.requires_grad_(True)
    assert flops.counter_of(model).count(positions=10, lengths=[], labels=0) == 4 * 10 * layers
    model.model.mm_projector.requires_grad_(False)
    forward = flops.counter_of(model)
    assert forward.count(positions=10, lengths=[], labels=0) == 2 * 10 * layers
    tower = sum(p.numel() for p in model.model.vision_tower.parameters())
    assert forward.count(positions=0, lengths=[], labels=0, frames=3) == 2 * 3 * 49 * tower
    assert whole.count(positions=0, lengths=[8], labels=0) == 4 * whole.count(positions=0, lengths=[4], labels=0)


def test_a_cpu_has_a_measured_peak() -> None:
    peak = flops.peak_flops(torch.device("cpu"), torch.float32)
    assert peak is not None
    assert 1e8 < peak < 1e15


def test_frozen_towers_do_not_waver_and_trained_ones_do() -> None:
    model = golden_model("VideoLLaMA2.1-tiny-AV")
    model.requires_grad_(False)
    model.model.audio_tower.requires_grad_(True)
    set_modes(model)
    assert model.model.language_model.training
    assert model.model.audio_tower.training
    assert not any(module.training for module in model.model.vision_tower.modules())


def test_how_a_run_is_computed_may_change_and_what_it_learns_may_not(tmp_path: Path) -> None:
    from videollama2.training.recipe import to_dict

    recipe = recipe_of({"connector": 1e-3})
    document = {"recipe": to_dict(recipe), "data": {}}
    other = recipe_of({"connector": 1e-3}, parallel="fsdp2", workers=3, gradient_checkpointing=True, name="b")
    check_same_run(document, other, {}, tmp_path)
    assert {key.partition(".")[0] for key in FREE} <= to_dict(recipe).keys()
    with pytest.raises(CheckpointError, match=r"model.from was 'tiny' and is 'huge'"):
        check_same_run(document, recipe_of({"connector": 1e-3}, model={"from": "huge"}), {}, tmp_path)
