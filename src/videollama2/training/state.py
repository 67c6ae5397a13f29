"""The training state on disk: weights that learn, moments, position, recipe, in safetensors and JSON.

A state is a folder `checkpoint-00000500`. Each process writes one safetensors file with its slices and an index with a
checksum of each; the first one then writes `state.json`. All of it happens in a folder of another name, is flushed,
read back and compared, and renamed at the very end, so that a folder of the right name is whole: a kill or a full disk
leaves nothing that is taken for a state. Slices carry their place in the whole tensor; any number of processes reads
them back.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from videollama2.errors import CheckpointError
from videollama2.training.processes import Processes

FORMAT = 1
_NAME = re.compile(r"checkpoint-(\d{8,})")
_PARTIAL, _REMOVED = ".partial-", ".removed-"


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Rows of a tensor that one process holds.

    Attributes:
        name: Of the tensor, `weights/...`, `exp_avg/...`.
        tensor: The rows (or all of a tensor that is not cut).
        shape: Of the whole tensor.
        start: Number of the first row.
        cut: Whether other processes hold other rows; else all hold the same, and the first one writes it.
    """

    name: str
    tensor: Tensor
    shape: tuple[int, ...]
    start: int = 0
    cut: bool = False


def folder_of(folder: Path, step: int) -> Path:
    """Where the state after `step` updates is or will be."""
    return folder / f"checkpoint-{step:08d}"


def write(folder: Path, step: int, slices: Iterable[Slice], document: Mapping[str, Any], processes: Processes) -> Path:
    """Write a state; every process of the run calls this.

    Args:
        folder: Of the run.
        step: Updates made.
        slices: What this process holds.
        document: What else to keep: JSON values.
        processes: Who takes part.

    Returns:
        The state's folder. One that is there already is left as it is.

    Raises:
        CheckpointError: It could not be written (the disk is full, say); what was written is removed, older states
            are as they were.
    """
    target = folder_of(folder, step)
    if processes.any(target.is_dir()):
        return target
    partial = folder / f"{_PARTIAL}{target.name}"
    with _together(processes, partial, target):
        if processes.is_first:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
    with _together(processes, partial, target):
        _write_slices(partial, slices, processes)
    with _together(processes, partial, target):
        if processes.is_first:
            files = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
            body = {**document, "format": FORMAT, "step": step, "files": files}
            _write_text(partial / "state.json", json.dumps(body, indent=1))
            _flush_folder(partial)
            os.rename(partial, target)
            _flush_folder(folder)
    return target


@contextmanager
def _together(processes: Processes, partial: Path, target: Path) -> Iterator[None]:
    """A block that succeeds on all processes or fails on all of them; where it fails, what was written goes."""
    error: Exception | None = None
    try:
        yield
    except (OSError, SafetensorError, CheckpointError) as caught:
        error = caught
    if not processes.any(error is not None):
        return
    if processes.is_first:
        shutil.rmtree(partial, ignore_errors=True)
    why = "another process could not write its part" if error is None else str(error)
    raise CheckpointError(
        f"{target} could not be saved: {why}; free some space (older states are untouched) and start the run again, it"
        " goes on from the newest of them."
    ) from error


def _write_slices(partial: Path, slices: Iterable[Slice], processes: Processes) -> None:
    tensors: dict[str, Tensor] = {}
    index: dict[str, Any] = {}
    for part in slices:
        if not (part.cut or processes.is_first) or (part.cut and part.tensor.numel() == 0 and part.start > 0):
            continue
        # A copy of its own: safetensors refuses tensors that share memory, as tied weights do.
        tensor = part.tensor.detach().to("cpu", copy=True).contiguous()
        tensors[part.name] = tensor
        index[part.name] = {"shape": list(part.shape), "start": part.start, "sha256": _digest(tensor)}
    stem = f"process-{processes.rank:05d}-of-{processes.size:05d}"
    path = partial / f"{stem}.safetensors"
    save_file(tensors, path)
    _flush_file(path)
    _write_text(partial / f"{stem}.json", json.dumps(index))
    with safe_open(path, framework="pt") as file:
        for name, entry in index.items():
            if _digest(file.get_tensor(name)) != entry["sha256"]:
                raise CheckpointError(f"{path.name} reads back otherwise than it was written ({name})")


class SavedState:
    """A state on disk, opened for reading.

    Args:
        path: Its folder.

    Attributes:
        document: What `write` was given, with `step`.

    Raises:
        CheckpointError: It is not a whole state.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        reason = _incomplete(path)
        if reason is not None:
            raise CheckpointError(f"{path} is not a whole training state: {reason}; remove the folder.")
        self.document: dict[str, Any] = json.loads((path / "state.json").read_text(encoding="utf-8"))
        if self.document.get("format") != FORMAT:
            raise CheckpointError(
                f"{path} has format {self.document.get('format')} and this version reads {FORMAT}; continue with the"
                " version that wrote it, or start in another save.folder."
            )
        self._places: dict[str, list[tuple[int, str, str]]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        for name in sorted(self.document["files"]):
            if name.endswith(".json"):
                for tensor, entry in json.loads((path / name).read_text(encoding="utf-8")).items():
                    place = (entry["start"], f"{name[:-5]}.safetensors", entry["sha256"])
                    self._places.setdefault(tensor, []).append(place)
                    self.shapes[tensor] = tuple(entry["shape"])

    @property
    def step(self) -> int:
        """Updates made."""
        return int(self.document["step"])

    def has(self, name: str) -> bool:
        """Whether a tensor was saved."""
        return name in self._places

    def read(self, name: str, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows of a tensor, from as many files as they lie in.

        Args:
            name: Of the tensor.
            start: First row.
            stop: Row after the last; None: to the end (or the whole of a tensor without rows).

        Raises:
            CheckpointError: It is not there, or damaged.
        """
        shape = self.shapes.get(name)
        if shape is None:
            raise CheckpointError(f"{self.path} holds no {name}; it is the state of another model or recipe.")
        stop = (shape[0] if shape else 1) if stop is None else stop
        pieces = []
        for first, file_name, digest in sorted(self._places[name]):
            tensor = self._read_checked(file_name, name, digest)
            if not shape:
                return tensor
            low, high = max(start, first), min(stop, first + tensor.shape[0])
            if low < high:
                pieces.append(tensor[low - first : high - first])
        found = torch.cat(pieces) if len(pieces) != 1 else pieces[0]
        if found.shape != (stop - start, *shape[1:]):
            raise CheckpointError(f"{self.path} lacks rows of {name}; remove the folder to go on from the one before.")
        return found

    def require(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Check that the saved weights are those of a model, by name and shape.

        Raises:
            CheckpointError: Naming what differs.
        """
        saved = {n.removeprefix("weights/"): s for n, s in self.shapes.items() if n.startswith("weights/")}
        missing, surplus = sorted(shapes.keys() - saved.keys()), sorted(saved.keys() - shapes.keys())
        other = [name for name in sorted(shapes.keys() & saved.keys()) if tuple(shapes[name]) != saved[name]]
        said = [
            f"it lacks {_some(missing)}" if missing else "",
            f"it has {_some(surplus)}, which this run does not train" if surplus else "",
            f"{other[0]} is {saved[other[0]]} there and {tuple(shapes[other[0]])} here" if other else "",
        ]
        if any(said):
            model = self.document.get("model", "another model")
            raise CheckpointError(
                f"{self.path} is the state of another model or recipe ({model}): {'; '.join(filter(None, said))};"
                " start in another save.folder, or with the model and recipe it was written by."
            )

    def _read_checked(self, file_name: str, name: str, digest: str) -> Tensor:
        try:
            with safe_open(self.path / file_name, framework="pt") as file:
                tensor = file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{self.path / file_name} cannot be read: {error}; remove {self.path}.") from error
        if _digest(tensor) != digest:
            raise CheckpointError(
                f"{self.path / file_name} is damaged ({name} has another checksum); remove {self.path} to go on from"
                " the state before it."
            )
        return tensor


def states(folder: Path) -> list[Path]:
    """Whole states of a run, oldest first; what is not whole is left out."""
    return [path for path in _named(folder) if _incomplete(path) is None]


def latest(folder: Path) -> Path | None:
    """The newest whole state of a run, or None."""
    return next(reversed(states(folder)), None)


def incomplete(folder: Path) -> dict[str, str]:
    """Folders with the name of a state that are none, and why."""
    reasons = {path.name: _incomplete(path) for path in _named(folder)}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def prune(folder: Path, keep: int) -> list[Path]:
    """Remove all but the newest `keep` states, and what an earlier run left half-written or half-removed.

    Returns:
        The states removed.
    """
    old = states(folder)[:-keep]
    for path in old:
        # Out of sight in one step first: a kill in the middle leaves no half state.
        os.rename(path, path.with_name(_REMOVED + path.name))
    for leftover in [*folder.glob(f"{_REMOVED}*"), *folder.glob(f"{_PARTIAL}*")]:
        shutil.rmtree(leftover, ignore_errors=True)
    return old


def _named(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def _incomplete(path: Path) -> str | None:
    try:
        files = json.loads((path / "state.json").read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return "state.json is missing"
    except (OSError, ValueError, KeyError, TypeError):
        return "state.json cannot be read"
    for name, size in files.items():
        try:
            found = (path / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if found != size:
            return f"{name} has {found} bytes instead of {size}"
    return None


def _digest(tensor: Tensor) -> str:
    digest = hashlib.sha256()
    if tensor.numel():
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _flush_file(path)


def _flush_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
