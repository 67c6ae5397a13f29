"""Weight files of a folder: which there are, whether they are whole, and their tensors one at a time.

Nothing but headers is read until a tensor is asked for, and safetensors are memory-mapped, so a 7B checkpoint never
lies in memory twice. Safetensors come before pickles where a folder holds both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from videollama2.checkpoints.headers import TensorEntry, read_safetensors_header
from videollama2.checkpoints.pickles import read_pickle, tensors_of
from videollama2.errors import CheckpointError, MissingFilesError

# In the order of preference. Each: index of shards, single file.
FULL_WEIGHTS = (
    ("model.safetensors.index.json", "model.safetensors"),
    ("pytorch_model.bin.index.json", "pytorch_model.bin"),
)
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<total>\d{5})\.(?P<suffix>safetensors|bin)$")


@dataclass(frozen=True, kw_only=True)
class WeightFileList:
    """The weight files of a folder.

    Attributes:
        files: Paths, in order.
        index: The shard index, if there is one.
        missing: Names of files that belong to the set and are not there.
        notes: What was seen and left aside, in sentences.
    """

    files: tuple[Path, ...] = ()
    index: Path | None = None
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def some_names(names: Iterable[str], count: int = 5) -> str:
    """The first few names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - count} more" if len(listed) > count else ""
    return ", ".join(listed[:count]) + more


def read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON object from a file.

    Raises:
        CheckpointError: If it is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{path.name} is not valid JSON ({error}); copy or download it again ({path})."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} is not a JSON object; copy or download it again ({path}).")
    return content


def index_files(index: Path) -> dict[str, str]:
    """Tensor name -> file name of a shard index.

    Raises:
        CheckpointError: If the index has no `weight_map`, or one that points outside its folder.
    """
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index.name} has no weight_map; copy or download it again ({index}).")
    for file_name in set(weight_map.values()):
        if not isinstance(file_name, str) or Path(file_name).name != file_name:
            raise CheckpointError(f"{index.name} points to {file_name!r}, which is not a file of its folder ({index}).")
    return weight_map


def list_full_weights(folder: Path) -> WeightFileList:
    """Finds the weights of a full checkpoint (or of a plain LLM or tower) in a folder.

    Args:
        folder: The folder.

    Returns:
        Its files; empty if there are none.

    Raises:
        CheckpointError: If two sets of the same kind lie side by side, so that it is not clear which is meant.
    """
    found: list[WeightFileList] = []
    for index_name, single_name in FULL_WEIGHTS:
        suffix = single_name.rsplit(".", 1)[1]
        index, single = folder / index_name, folder / single_name
        if index.is_file() and single.is_file():
            raise CheckpointError(
                f"{folder} holds both {index_name} (shards) and {single_name}: two checkpoints are mixed up; "
                "remove the one that does not belong."
            )
        if index.is_file():
            names = sorted(set(index_files(index).values()))
            present = tuple(folder / name for name in names if (folder / name).is_file())
            missing = tuple(name for name in names if not (folder / name).is_file())
            found.append(WeightFileList(files=present, index=index, missing=missing))
        elif single.is_file():
            found.append(WeightFileList(files=(single,)))
        elif (shards := _shards_without_index(folder, suffix)) is not None:
            found.append(shards)
    if not found:
        return WeightFileList()
    first, *others = found
    notes = tuple(f"{other.files[0].name} and its like are left aside: safetensors come first" for other in others)
    return WeightFileList(files=first.files, index=first.index, missing=first.missing, notes=first.notes + notes)


def _shards_without_index(folder: Path, suffix: str) -> WeightFileList | None:
    sets: dict[tuple[str, int], dict[int, Path]] = {}
    for path in sorted(folder.glob(f"*-of-*.{suffix}")):
        if (match := _SHARD.match(path.name)) is not None:
            sets.setdefault((match["stem"], int(match["total"])), {})[int(match["number"])] = path
    if not sets:
        return None
    if len(sets) > 1:
        names = ", ".join(f"{stem}-*-of-{total:05d}" for stem, total in sets)
        raise CheckpointError(f"{folder} holds shards of more than one checkpoint ({names}); remove those not meant.")
    (stem, total), shards = next(iter(sets.items()))
    missing = tuple(f"{stem}-{n:05d}-of-{total:05d}.{suffix}" for n in range(1, total + 1) if n not in shards)
    note = "the shard index is not there; the shards were found by their names"
    return WeightFileList(files=tuple(shards[n] for n in sorted(shards)), missing=missing, notes=(note,))


NO_FILES = WeightFileList()


@dataclass
class WeightSet(Mapping[str, TensorEntry]):
    """Tensors of one or more files by name. Entries come from headers; `load` reads one tensor.

    A name may be in one file only. Pickles are opened at construction (mapped), safetensors at the first `load`.

    Attributes:
        entries: Tensor name -> what its header says.
        extras: Pickle -> what it holds beside its tensors, such as the `cfg` of BEATs.
    """

    entries: dict[str, TensorEntry] = field(default_factory=dict)
    extras: dict[Path, dict[str, Any]] = field(default_factory=dict)
    _open: dict[Path, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, files: Iterable[Path], *, index: Path | None = None) -> WeightSet:
        """Reads the headers of files.

        Args:
            files: `.safetensors`, `.bin`, `.pt` or `.pth` files.
            index: Shard index; if given, every tensor it lists must be in the file it says.

        Raises:
            CheckpointError: If a file is damaged, holds no tensors, or repeats a name of another file.
            MissingFilesError: If a file is not there.
        """
        weights = cls()
        for path in files:
            if not path.is_file():
                raise MissingFilesError(f"Missing file: {path}; download or copy it.")
            weights._add(path)
        if index is not None:
            weights._check_index(index)
        return weights

    def _add(self, path: Path) -> None:
        if path.suffix == ".safetensors":
            entries = read_safetensors_header(path)
        else:
            content = read_pickle(path)
            tensors = tensors_of(path, content)
            self.extras[path] = {
                key: value for key, value in content.items() if value is not tensors and key not in tensors
            }
            self._open[path] = tensors
            entries = {
                name: TensorEntry(name=name, shape=tuple(tensor.shape), dtype=tensor.dtype, file=path)
                for name, tensor in tensors.items()
            }
        for name, entry in entries.items():
            if name in self.entries:
                raise CheckpointError(
                    f"{name} is in both {self.entries[name].file.name} and {path.name}: two checkpoints are mixed up "
                    f"in {path.parent}; remove the files that do not belong."
                )
            self.entries[name] = entry

    def _check_index(self, index: Path) -> None:
        weight_map = index_files(index)
        lost = [
            name
            for name, file_name in weight_map.items()
            if name not in self.entries or self.entries[name].file.name != file_name
        ]
        if lost:
            raise CheckpointError(
                f"{index.name} lists {len(lost)} tensors that are not in their files ({some_names(lost)}): index and "
                f"shards are of different checkpoints; download the folder again ({index.parent})."
            )

    def load(self, name: str) -> torch.Tensor:
        """Reads one tensor to the CPU, in the dtype on disk.

        Raises:
            CheckpointError: If the file cannot be read any more.
        """
        path = self.entries[name].file
        if path not in self._open:
            try:
                self._open[path] = safe_open(str(path), framework="pt", device="cpu")
            except SafetensorError as error:
                raise CheckpointError(
                    f"{path.name} is damaged ({error}); download or copy it again ({path})."
                ) from error
        source = self._open[path]
        return source[name] if isinstance(source, dict) else source.get_tensor(name)

    def renamed(self, names: Mapping[str, str]) -> dict[str, TensorEntry]:
        """Entries under new names; `names` maps new to old."""
        return {new: self.entries[old] for new, old in names.items()}

    def __getitem__(self, name: str) -> TensorEntry:
        return self.entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)
