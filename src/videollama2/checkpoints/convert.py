"""Converting checkpoints: official -> ours, ours -> official, and pickles -> safetensors under the same names."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from videollama2.checkpoints.detect import BEATS, detect
from videollama2.checkpoints.files import WeightSet, list_full_weights
from videollama2.checkpoints.hub import Progress
from videollama2.checkpoints.load import load_checkpoint
from videollama2.checkpoints.write import (
    MAX_SHARD_BYTES,
    check_written,
    export_official,
    new_folder,
    save_checkpoint,
    write_weights,
)
from videollama2.errors import CheckpointError

FORMS = ("ours", "official", "safetensors")


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    *,
    to: str,
    dtype: torch.dtype | str | None = None,
    parts: Mapping[str, str | Path] | None = None,
    offline: bool | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Writes a checkpoint in another format.

    Args:
        source: Folder or hub id, of any kind that loads (LoRA and Base become full ones).
        target: The folder to make.
        to: `ours`, `official`, or `safetensors` (the same folder with its `.bin` weights as safetensors; names,
            config and other files as they are).
        dtype: Of the new checkpoint; None: as on disk. Not for `safetensors`, which keeps every bit.
        parts: Places of towers and language model, see `load_checkpoint`.
        offline: No downloads; None: as HF_HUB_OFFLINE says.
        max_shard_bytes: Largest weight file, in bytes.
        overwrite: Replace a folder that is there.
        progress: Told of what is done.

    Returns:
        The new folder.

    Raises:
        CheckpointError: If the source does not load, the target cannot hold it, or it is there already.
    """
    if to not in FORMS:
        raise CheckpointError(f"Unknown format {to!r}; choose one of {', '.join(FORMS)}.")
    target = Path(target)
    if to == "safetensors":
        if dtype is not None:
            raise CheckpointError("Converting to safetensors keeps every bit; leave dtype out, or convert to ours.")
        return _to_safetensors(Path(source), target, max_shard_bytes=max_shard_bytes, overwrite=overwrite)
    loaded = load_checkpoint(source, dtype=dtype, parts=parts, offline=offline, progress=progress)
    write = save_checkpoint if to == "ours" else export_official
    return write(loaded, target, max_shard_bytes=max_shard_bytes, overwrite=overwrite)


def _to_safetensors(source: Path, target: Path, *, max_shard_bytes: int, overwrite: bool) -> Path:
    detected = detect(source)
    if detected.kind == BEATS:
        raise CheckpointError(f"{source} is a BEATs file, which has sizes beside its tensors; it stays as it is.")
    listed = list_full_weights(source)
    if listed.missing:
        raise CheckpointError(f"{source} lacks {', '.join(listed.missing)}; download them first.")
    if not listed.files or listed.files[0].suffix == ".safetensors":
        raise CheckpointError(f"{source} has no pytorch_model.bin to convert.")
    weights = WeightSet.open(listed.files, index=listed.index)
    left_out = {*listed.files, *([listed.index] if listed.index is not None else [])}
    with new_folder(target, overwrite=overwrite) as folder:
        for path in source.iterdir():
            if path.is_file() and path not in left_out:
                shutil.copyfile(path, folder / path.name)
        tensors = {name: weights.load(name) for name in weights}
        write_weights(folder, tensors, max_shard_bytes=max_shard_bytes)
        check_written(folder, tensors)
    return target
