"""The loader: the same samples for any number of workers and processes, from any step on; faults in the ledger."""

import json
import os
import signal
import time
from types import SimpleNamespace

import pytest
import torch

from training.data_world import NUM_FRAMES, make_row, talk, tiny_config, tiny_processor, write_json, write_lines
from videollama2.errors import RequestError
from videollama2.training.data import worker
from videollama2.training.data.ledger import Entry, Ledger, TooManyFaultsError
from videollama2.training.data.loader import build_loader

NUM_ROWS = 19


def make_recipe(path, folder, **changes):
    """What the loader reads of a recipe."""
    fields = {
        "data": [SimpleNamespace(path=path, folder=folder, weight=1.0, limit=None, ignore_keys=())],
        "labels": "chat",
        "branch": "main",
        "pad_frames": True,
        "sound_of_video": True,
        "num_frames": NUM_FRAMES,
        "max_tokens": 400,
        "workers": 0,
        "seed": 3,
        "packing": False,
        "group_by_length": True,
        "samples": 6,
        "micro": 2,
        "epochs": 2.0,
        "max_steps": None,
        "max_share": 1.0,
        "max_count": 100,
        **changes,
    }
    parts = {"batch": ("samples", "micro", "packing", "group_by_length"), "schedule": ("epochs", "max_steps")}
    parts["faults"] = ("max_share", "max_count")
    groups = {part: SimpleNamespace(**{name: fields.pop(name) for name in names}) for part, names in parts.items()}
    return SimpleNamespace(**fields, **groups)


@pytest.fixture(scope="session")
def rows_file(tmp_path_factory, media):
    return write_json(tmp_path_factory.mktemp("rows") / "rows.json", [make_row(n) for n in range(NUM_ROWS)])


@pytest.fixture(scope="session")
def tiny():
    config = tiny_config()
    return tiny_processor(config), config


@pytest.fixture
def load(rows_file, media, tiny):
    def build(rank=0, world_size=1, start_step=0, ledger=None, features=None, path=rows_file, **changes):
        recipe = make_recipe(path, media, **changes)
        where = {"rank": rank, "world_size": world_size, "start_step": start_step}
        return build_loader(recipe, *tiny, **where, ledger=ledger, features=features)

    return build


def same(one, other):
    """Whether two steps hold the same values."""
    assert (one.number, one.epoch, one.rows, one.events) == (other.number, other.epoch, other.rows, other.events)
    assert len(one.micro_batches) == len(other.micro_batches)
    for first, second in zip(one.micro_batches, other.micro_batches):
        assert first.keys() == second.keys()
        for name, value in first.items():
            assert torch.equal(value, second[name]), name
    counts = ("num_label_tokens", "num_tokens", "num_samples", "num_padded_positions", "num_faults")
    return [getattr(one, name) for name in counts] == [getattr(other, name) for name in counts]


def numbers_of(step):
    return sorted(row for rows in step.rows for row in rows)


@pytest.mark.parametrize("packing", [False, True])
def test_going_on_is_the_tail_of_going_through(load, packing):
    whole = list(load(packing=packing))
    assert len(whole) == load(packing=packing).num_steps == 8
    for epoch in (0, 1):
        seen = [row for step in whole[4 * epoch : 4 * epoch + 4] for row in numbers_of(step)]
        assert sorted(seen) == list(range(NUM_ROWS))
    assert whole[-1].epoch == 2.0
    for start in (3, 5, 8):
        rest = load(packing=packing, start_step=start)
        assert len(rest) == 8 - start
        assert all(same(*pair) for pair in zip(rest, whole[start:], strict=True))


@pytest.mark.parametrize(("workers", "packing"), [(1, True), (2, False), (2, True)])
def test_workers_change_nothing(load, workers, packing):
    alone = list(load(packing=packing, epochs=1.0))
    helped = list(load(packing=packing, epochs=1.0, workers=workers, start_step=1))
    assert all(same(*pair) for pair in zip(helped, alone[1:], strict=True))
    assert all(step.wait_seconds > 0 for step in helped)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("grouped", [False, True])
def test_processes_share_the_steps(load, packing, grouped):
    settings = {"packing": packing, "group_by_length": grouped, "epochs": 1.0}
    alone = list(load(**settings))
    for world_size in (2, 3, 4):
        ranks = [list(load(rank, world_size, **settings)) for rank in range(world_size)]
        for step, parts in zip(alone, zip(*ranks, strict=True), strict=True):
            assert sorted(row for part in parts for row in numbers_of(part)) == numbers_of(step)
            assert len({len(part.micro_batches) for part in parts}) == 1
            for name in ("num_label_tokens", "num_tokens", "num_samples"):
                assert sum(getattr(part, name) for part in parts) == getattr(step, name)


def test_packing_computes_fewer_positions_for_the_same_tokens(load):
    padded = list(load(group_by_length=False, epochs=1.0, sound_of_video=False))
    packed = list(load(packing=True, epochs=1.0, sound_of_video=False))
    for one, other in zip(padded, packed):
        assert numbers_of(one) == numbers_of(other)
        assert (one.num_tokens, one.num_label_tokens) == (other.num_tokens, other.num_label_tokens)
    assert sum(step.num_padded_positions for step in packed) < sum(step.num_padded_positions for step in padded)


def test_counts_are_those_of_the_batches(load):
    for step in load(epochs=1.0, packing=True):
        labels = sum(int((batch["labels"] != -100).sum()) for batch in step.micro_batches)
        assert step.num_label_tokens == labels
        assert step.num_samples == sum(int(batch["segment_ids"].amax(-1).sum()) for batch in step.micro_batches)


@pytest.fixture
def faulty(tmp_path, media):
    """Rows of which four cannot be used, each for another reason, at three stages."""
    (media / "noise.mp4").write_bytes(b"\x07noise" * 500)
    rows = [make_row(number) for number in range(12)]
    rows[2] = {**rows[2], "extra": 1}
    rows[5] = {"id": "far", "video": "gone.mp4", "conversations": talk("<video>\na", "b")}
    rows[7] = {"id": "noise", "video": "noise.mp4", "conversations": talk("<video>\na", "b")}
    rows[9] = {"id": "long", "conversations": talk("Why? " * 400, "So.")}
    return write_lines(tmp_path / "faulty.jsonl", rows)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("workers", [0, 1])
def test_faults_leave_their_place_empty_and_stand_in_the_ledger(load, faulty, tmp_path, grouped, workers):
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, max_share=1.0)
    settings = {"path": faulty, "group_by_length": grouped, "workers": workers, "samples": 4}
    steps = list(load(ledger=ledger, **settings))
    for epoch in (0, 1):
        seen = sorted(row for step in steps[3 * epoch : 3 * epoch + 3] for row in numbers_of(step))
        assert seen == [0, 1, 3, 4, 6, 8, 10, 11]
    # Met twice, written once.
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted((line["number"], line["stage"], line["kind"]) for line in lines) == [
        (2, "row", "unknown_key"),
        (5, "media", "missing"),
        (7, "media", "damaged"),
        (9, "text", "all_masked"),
    ]
    by_number = {line["number"]: line for line in lines}
    assert by_number[7]["place"] == "faulty.jsonl:8"
    assert by_number[7]["row"] == "noise"
    assert "noise.mp4" in by_number[7]["reason"]
    assert all(line["epoch"] == 0 and line["step"] < 3 and line["fix"] for line in lines)
    assert sum(step.num_faults for step in steps) == 8
    assert ledger.counts == {"unknown_key": 1, "missing": 1, "damaged": 1, "all_masked": 1}


def test_too_many_faults_stop_the_run_with_the_first_lines(load, faulty, tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl", max_count=2)
    with pytest.raises(TooManyFaultsError, match=r"3 of 12 rows cannot be used, more than the 2 .*faulty\.jsonl:\d"):
        list(load(ledger=ledger, path=faulty, samples=2))


def test_a_step_without_any_usable_row_is_a_filler(load, tmp_path):
    path = write_json(tmp_path / "bad.json", [{"id": 1}, {"id": 2}, make_row(3)])
    steps = list(load(path=path, samples=1, epochs=1.0))
    assert sorted(step.num_samples for step in steps) == [0, 0, 1]
    empty = next(step for step in steps if not step.num_samples)
    assert (empty.micro_batches[0]["labels"] == -100).all()
    assert (empty.num_label_tokens, empty.rows) == (0, ((),))


def entry(number, kind="missing"):
    return Entry(
        row=str(number),
        place=f"x:{number}",
        number=number,
        stage="media",
        kind=kind,
        reason="r",
        fix="f",
        epoch=0,
        step=0,
    )


def test_processes_share_a_ledger(tmp_path):
    one, other = (Ledger(tmp_path / "ledger.jsonl", max_share=0.02) for _ in range(2))
    one.record(entry(1))
    other.record(entry(2))
    other.record(entry(1))
    one.check(100)
    assert len(one) == 2
    with (tmp_path / "ledger.jsonl").open("a") as file:
        file.write('{"row": "cut by a cra')
    other.check(100)
    assert len(Ledger(tmp_path / "ledger.jsonl")) == 2
    # Of fewer than 100 rows, only the number counts.
    Ledger(tmp_path / "ledger.jsonl", max_share=0.0).check(99)
    with pytest.raises(TooManyFaultsError, match=r"2 of 100 rows .* than the 1 .*x:1 \(missing\): r; x:2"):
        Ledger(tmp_path / "ledger.jsonl", max_share=0.01).check(100)


def test_the_last_half_line_of_a_crash_is_ended(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps(entry(1).__dict__) + '\n{"row": "cut by a cra')
    Ledger(path).record(entry(2))
    assert set(Ledger(path).entries) == {1, 2}


class Sleepy:
    """A maker that hangs, or ends its process."""

    def __init__(self, dies):
        self.dies = dies

    def __getitem__(self, task):
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


@pytest.mark.parametrize("dies", [True, False])
def test_a_worker_that_dies_or_hangs_stops_the_run(dies):
    with pytest.raises(RequestError, match="A decode worker died or hung"):
        next(worker.delivered(Sleepy(dies), iter([None] * 4), workers=1, prefetch=2, deadline=60.0 if dies else 3.0))


class Echo:
    """A maker that gives its task back."""

    def __getitem__(self, task):
        return task


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_only_so_many_tasks_are_taken_ahead(workers):
    taken = []

    def tasks():
        for number in range(50):
            taken.append(number)
            yield number

    for number, made in enumerate(worker.delivered(Echo(), tasks(), workers, prefetch=3, deadline=60.0)):
        assert made == number
        assert len(taken) <= number + 1 + 3 * workers
    assert len(taken) == 50


def test_a_loader_can_be_left_in_the_middle(load):
    loader = load(workers=1, epochs=30.0, packing=True)
    iterator = iter(loader)
    assert [next(iterator).number for _ in range(2)] == [0, 1]
    iterator.close()
    assert len(loader) == loader.num_steps == 120


def test_wrong_places(load):
    for rank, world_size, start, words in ((2, 2, 0, "rank 2"), (0, 1, 99, "start_step 99")):
        with pytest.raises(RequestError, match=words):
            load(rank, world_size, start)
