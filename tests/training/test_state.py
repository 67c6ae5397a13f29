"""States on disk: whole or not there, for any number of processes, and only for the model that wrote them."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videollama2.errors import CheckpointError
from videollama2.training import state
from videollama2.training.processes import Processes
from videollama2.training.state import SavedState, Slice

TENSORS = {
    "weights/a": torch.arange(12.0).reshape(4, 3),
    "exp_avg/a": torch.arange(12.0).reshape(4, 3).to(torch.bfloat16),
    "weights/b": torch.tensor(3.5),
    "step/a": torch.tensor([7.0]),
}


def save(folder: Path, step: int = 5, **document: Any) -> Path:
    slices = [Slice(name=name, tensor=tensor, shape=tuple(tensor.shape)) for name, tensor in TENSORS.items()]
    return state.write(folder, step, slices, document, Processes())


class Together(Processes):
    """A process whose agreements are made by the test, one process after the other."""

    def any(self, flag: bool) -> bool:
        return flag


@contextmanager
def file_size_limit(num_bytes: int) -> Iterator[None]:
    """What a full disk does: a write beyond fails (the signal that comes with it is ignored by Python)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_reads_back_what_was_written(tmp_path: Path) -> None:
    saved = SavedState(save(tmp_path, 5, model="tiny", seed=3))
    assert saved.step == 5
    assert saved.document["model"] == "tiny"
    for name, tensor in TENSORS.items():
        assert torch.equal(saved.read(name), tensor)
        assert saved.read(name).dtype == tensor.dtype
    assert torch.equal(saved.read("weights/a", 1, 3), TENSORS["weights/a"][1:3])
    assert not saved.has("exp_avg/b")
    with pytest.raises(CheckpointError, match="holds no exp_avg/b"):
        saved.read("exp_avg/b")


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 11), writers=st.integers(1, 4), readers=st.integers(1, 5))
def test_slices_of_any_number_of_processes_are_read_by_any_other(
    rows: int, writers: int, readers: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("state")
    whole = torch.arange(rows * 2.0).reshape(rows, 2)
    partial = folder / ".partial-checkpoint-00000001"
    partial.mkdir()
    chunk = -(-rows // writers)
    for rank in range(writers):
        start = min(rank * chunk, rows)
        part = Slice(name="weights/a", tensor=whole[start : start + chunk], shape=(rows, 2), start=start, cut=True)
        state._write_slices(partial, [part], Together(rank=rank, size=writers))
    files = {path.name: path.stat().st_size for path in partial.iterdir()}
    (partial / "state.json").write_text(json.dumps({"format": 1, "step": 1, "files": files}))
    saved = SavedState(partial.rename(folder / "checkpoint-00000001"))
    chunk = -(-rows // readers)
    found = [
        saved.read("weights/a", min(r * chunk, rows), min((r + 1) * chunk, rows))
        for r in range(readers)
        if r * chunk < rows
    ]
    assert torch.equal(torch.cat(found), whole)


def test_only_whole_folders_are_states_and_the_newest_is_taken(tmp_path: Path) -> None:
    assert state.latest(tmp_path / "nowhere") is None
    for step in (5, 40, 100):
        save(tmp_path, step)
    (tmp_path / "checkpoint-00000200").mkdir()
    (tmp_path / ".partial-checkpoint-00000300").mkdir()
    assert state.latest(tmp_path) == tmp_path / "checkpoint-00000100"
    assert state.incomplete(tmp_path) == {"checkpoint-00000200": "state.json is missing"}
    with pytest.raises(CheckpointError, match=r"not a whole training state: state.json is missing"):
        SavedState(tmp_path / "checkpoint-00000200")


@pytest.mark.parametrize("file", ["state.json", "process-00000-of-00001.json", "process-00000-of-00001.safetensors"])
@pytest.mark.parametrize("harm", ["remove", "cut", "empty"])
def test_a_folder_that_lost_something_is_no_state(file: str, harm: str, tmp_path: Path) -> None:
    save(tmp_path, 4)
    path = save(tmp_path, 8) / file
    if harm == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 if harm == "cut" else 0])
    assert state.latest(tmp_path) == tmp_path / "checkpoint-00000004"
    assert "checkpoint-00000008" in state.incomplete(tmp_path)


def test_a_changed_byte_is_found_when_it_is_read(tmp_path: Path) -> None:
    path = save(tmp_path) / "process-00000-of-00001.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    saved = SavedState(path.parent)
    with pytest.raises(CheckpointError, match=r"is damaged \(.* has another checksum\); remove"):
        _ = [saved.read(name) for name in TENSORS]


@pytest.mark.parametrize("limit", [0, 100, 400])
def test_a_full_disk_leaves_nothing_that_is_taken_for_a_state(limit: int, tmp_path: Path) -> None:
    save(tmp_path, 5)
    with file_size_limit(limit), pytest.raises(CheckpointError, match=r"could not be saved: .*free some space"):
        save(tmp_path, 9)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-00000005"]
    assert torch.equal(SavedState(tmp_path / "checkpoint-00000005").read("weights/a"), TENSORS["weights/a"])
    assert save(tmp_path, 9) == state.latest(tmp_path)


@pytest.mark.parametrize("call", ["os.rename", "os.fsync", "save_file", "_digest"])
def test_a_failure_at_any_point_of_a_save_is_the_same(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(f"videollama2.training.state.{call}", fail)
        with pytest.raises(CheckpointError, match="No space left on device"):
            save(tmp_path, 9)
    assert state.latest(tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_killed_while_saving_over_and_over_every_state_is_whole(tmp_path: Path) -> None:
    script = (
        "import sys, itertools, torch\nfrom pathlib import Path\nfrom videollama2.training import state\n"
        "from videollama2.training.processes import Processes\n"
        "x = torch.arange(200000.0)\n"
        "for step in itertools.count(int(sys.argv[2])):\n"
        "    s = state.Slice(name='weights/a', tensor=x + step, shape=(200000,))\n"
        "    state.write(Path(sys.argv[1]), step, [s], {}, Processes())\n"
        "    state.prune(Path(sys.argv[1]), 3)\n"
        "    print(step, flush=True)\n"
    )
    first = 1
    for wait in (0.003, 0.011, 0.029):
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), str(first)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(4):
            done = int(process.stdout.readline())
        time.sleep(wait)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        newest = state.latest(tmp_path)
        assert newest is not None
        saved = SavedState(newest)
        assert saved.step >= done
        assert torch.equal(saved.read("weights/a"), torch.arange(200000.0) + saved.step)
        assert not state.incomplete(tmp_path)
        first = saved.step + 1
    state.prune(tmp_path, 2)
    assert len(list(tmp_path.iterdir())) == 2


def test_pruned_by_count_and_leftovers_go(tmp_path: Path) -> None:
    for step in range(1, 6):
        save(tmp_path, step)
    (tmp_path / ".partial-checkpoint-00000009").mkdir()
    (tmp_path / "log.jsonl").write_text("kept")
    removed = state.prune(tmp_path, 2)
    assert [path.name for path in removed] == [f"checkpoint-{n:08d}" for n in (1, 2, 3)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-00000004", "checkpoint-00000005", "log.jsonl"]


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ({"a": (4, 3), "b": (), "c": (2,)}, "it lacks c"),
        ({"a": (4, 3)}, "it has b, which this run does not train"),
        ({"a": (4, 4), "b": ()}, r"a is \(4, 3\) there and \(4, 4\) here"),
    ],
)
def test_the_state_of_another_model_is_refused_by_name(
    shapes: dict[str, tuple[int, ...]], said: str, tmp_path: Path
) -> None:
    saved = SavedState(save(tmp_path, model="VideoLLaMA2-7B"))
    saved.require({"a": (4, 3), "b": ()})
    with pytest.raises(CheckpointError, match=rf"another model or recipe \(VideoLLaMA2-7B\): {said}"):
        saved.require(shapes)


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path) / "state.json"
    path.write_text(path.read_text().replace('"format": 1', '"format": 9'))
    with pytest.raises(CheckpointError, match="has format 9 and this version reads 1"):
        SavedState(path.parent)


def test_tied_weights_and_views_are_saved(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    slices = [Slice(name=f"weights/{n}", tensor=base[n : n + 4], shape=(4,)) for n in range(2)]
    saved = SavedState(state.write(tmp_path, 1, slices, {}, Processes()))
    assert saved.read("weights/1").tolist() == [1, 2, 3, 4]
