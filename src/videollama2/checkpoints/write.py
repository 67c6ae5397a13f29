"""Writing checkpoints: ours, and the official format that the official code loads.

A checkpoint appears whole or not at all: it is written into a temporary folder beside its place, read back and
compared, then renamed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from videollama2.checkpoints import keymaps
from videollama2.checkpoints.detect import BACKBONES
from videollama2.checkpoints.files import WeightSet, list_full_weights
from videollama2.checkpoints.fill import tied_names
from videollama2.checkpoints.load import AUDIO_PREPROCESSING_FILE, PREPROCESSING_FILE, PROMPT_KEY, LoadedCheckpoint
from videollama2.checkpoints.tokenizer import ALL_TOKENIZER_FILES
from videollama2.errors import CheckpointError

MAX_SHARD_BYTES = 5 * 10**9
# Unused weights of these parts are carried over into an official export, so that its towers are whole.
_CARRIED = (keymaps.VISION, keymaps.AUDIO)


def save_checkpoint(
    loaded: LoadedCheckpoint,
    path: str | Path,
    *,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    overwrite: bool = False,
    whole_towers: bool = False,
) -> Path:
    """Writes a checkpoint in our format: nested config, our names, all parts in one folder; needs nothing else to load.

    Args:
        loaded: The model and what belongs to it.
        path: The folder to make.
        max_shard_bytes: Largest weight file, in bytes.
        overwrite: Replace a folder that is there.
        whole_towers: Carry weights of the towers that are not used too, so that an official export has them.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the model is quantised, the folder is there, or what was written does not read back equal.
    """
    config = loaded.config.to_dict()
    config[PROMPT_KEY] = loaded.model_type
    config["architectures"] = [type(loaded.model).__name__]
    extra = {}
    if loaded.preprocessor_config is not None:
        extra[PREPROCESSING_FILE] = loaded.preprocessor_config
    if loaded.audio_preprocessing is not None:
        extra[AUDIO_PREPROCESSING_FILE] = loaded.audio_preprocessing
    weights = model_weights(loaded.model)
    if whole_towers:
        weights = carried_weights(loaded) | weights
    return _write(loaded, Path(path), config, weights, extra, max_shard_bytes=max_shard_bytes, overwrite=overwrite)


def export_official(
    loaded: LoadedCheckpoint, path: str | Path, *, max_shard_bytes: int = MAX_SHARD_BYTES, overwrite: bool = False
) -> Path:
    """Writes a checkpoint in the official format: flat config, official names.

    Weights of the towers that are not used (upper vision layers, pooling head) are carried over from the files the
    model was loaded from, where those have them.

    Args:
        loaded: The model and what belongs to it.
        path: The folder to make.
        max_shard_bytes: Largest weight file, in bytes.
        overwrite: Replace a folder that is there.

    Returns:
        The folder.

    Raises:
        CheckpointError: If the official format cannot hold the model (other towers, another backbone, tag tokens), it
            is quantised, the folder is there, or what was written does not read back equal.
    """
    config = loaded.config
    _check_exportable(config)
    layers = len(loaded.model.model.audio_tower.encoder.layers) if config.audio_config is not None else 0
    weights: dict[str, torch.Tensor] = {}
    for name, tensor in model_weights(loaded.model).items():
        weights.update(keymaps.to_official(name, tensor, num_audio_layers=layers))
    for name, tensor in carried_weights(loaded).items():
        for official, value in keymaps.to_official(name, tensor).items():
            weights.setdefault(official, value)
    flat = config.to_official()
    flat.pop(PROMPT_KEY, None)
    flat["model_type"] = loaded.model_type if loaded.model_type in BACKBONES else config.official_model_type
    backbone = BACKBONES[flat["model_type"]]
    flat["architectures"] = [f"Videollama2{backbone.capitalize()}ForCausalLM"]
    flat["tune_mm_mlp_adapter"] = False
    extra: dict[str, Any] = {}
    if backbone == "gemma2":
        # Without it the official code (transformers 4) takes a cache that Gemma2 there goes wrong with.
        generation = {"cache_implementation": "hybrid", **loaded.generation_config.to_diff_dict()}
        extra["generation_config.json"] = generation
    return _write(loaded, Path(path), flat, weights, extra, max_shard_bytes=max_shard_bytes, overwrite=overwrite)


def model_weights(model: Any) -> dict[str, torch.Tensor]:
    """All weights of a model by our names, without those that only repeat another (a tied head).

    Raises:
        CheckpointError: If the model is quantised or wrapped by peft.
    """
    if getattr(model, "is_quantized", False):
        raise CheckpointError("A quantised model cannot be written as a checkpoint; load it with quantization=None.")
    if hasattr(model, "peft_config"):
        raise CheckpointError("The model's LoRA is kept apart; load it with merge_lora=True to write it whole.")
    tied = tied_names(model)
    return {name: tensor.detach() for name, tensor in model.state_dict().items() if name not in tied}


def carried_weights(loaded: LoadedCheckpoint) -> dict[str, torch.Tensor]:
    """Weights of the towers that the model does not use, by canonical name, in the model's dtype.

    Upper vision layers and pooling heads: an official folder has them. The text side of a whole CLIP is left out.
    """
    if loaded.sources is None:
        return {}
    names = [
        name
        for name, why in loaded.report.unused.items()
        if name.startswith(_CARRIED)
        and why != keymaps.TEXT_SIDE
        and not name.endswith("relative_attention_bias.weight")
    ]
    tensors = {name: loaded.sources.load(name) for name in names}
    dtype = _dtype_of(loaded.model)
    return {name: t.to(dtype) if t.dtype.is_floating_point else t for name, t in tensors.items()}


@contextmanager
def new_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well, and vanishes when it does not.

    Raises:
        CheckpointError: If `path` is there and not to be overwritten.
    """
    path = path.expanduser().absolute()
    if path.exists() and (not overwrite or not path.is_dir()):
        raise CheckpointError(f"{path} is there already; choose another place, or pass overwrite=True.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{path.name}.old.", dir=path.parent))
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_weights(folder: Path, weights: Mapping[str, torch.Tensor], *, max_shard_bytes: int) -> list[Path]:
    """Writes tensors as `model.safetensors`, or as shards with an index where they are larger than one may be.

    Returns:
        The weight files.
    """
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in weights.items():
        nbytes = tensor.numel() * tensor.element_size()
        if shards[-1] and size + nbytes > max_shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += nbytes
    total = len(shards)
    names = (
        ["model.safetensors"] if total == 1 else [f"model-{i + 1:05d}-of-{total:05d}.safetensors" for i in range(total)]
    )
    for file_name, keys in zip(names, shards):
        # Clones: the format holds no two tensors in one storage, and mapped files share theirs.
        save_file({key: weights[key].cpu().contiguous().clone() for key in keys}, folder / file_name, {"format": "pt"})
    if total > 1:
        weight_map = {key: file_name for file_name, keys in zip(names, shards) for key in keys}
        total_size = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
        write_json(
            folder / "model.safetensors.index.json", {"metadata": {"total_size": total_size}, "weight_map": weight_map}
        )
    return [folder / name for name in names]


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a JSON file, keys sorted."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True, default=str) + "\n", encoding="utf-8")


def check_written(folder: Path, weights: Mapping[str, torch.Tensor]) -> None:
    """Reads weight files back and compares them bit for bit.

    Raises:
        CheckpointError: If anything differs.
    """
    listed = list_full_weights(folder)
    written = WeightSet.open(listed.files, index=listed.index)
    if set(written) != set(weights):
        raise CheckpointError(f"What was written to {folder} lacks weights or has others; is the disk full?")
    for name, tensor in weights.items():
        if not _same_bits(written.load(name), tensor.cpu()):
            raise CheckpointError(f"{name} was written to {folder} but reads back different; is the disk sound?")


def _write(
    loaded: LoadedCheckpoint,
    path: Path,
    config: dict[str, Any],
    weights: Mapping[str, torch.Tensor],
    extra: Mapping[str, Mapping[str, Any]],
    *,
    max_shard_bytes: int,
    overwrite: bool,
) -> Path:
    with new_folder(path, overwrite=overwrite) as folder:
        write_json(folder / "config.json", config)
        write_json(folder / "generation_config.json", loaded.generation_config.to_diff_dict())
        for name, content in extra.items():
            write_json(folder / name, content)
        copy_tokenizer(loaded, folder)
        write_weights(folder, weights, max_shard_bytes=max_shard_bytes)
        check_written(folder, weights)
    return path


def copy_tokenizer(loaded: LoadedCheckpoint, folder: Path) -> None:
    """Puts the tokenizer into a folder: its own files as they are, or written anew where there are none."""
    source = loaded.tokenizer_folder
    if source is None:
        loaded.tokenizer.save_pretrained(folder)
        return
    for name in ALL_TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def _check_exportable(config: Any) -> None:
    backbone = config.text_config.model_type
    if backbone not in BACKBONES.values():
        known_backbones = ", ".join(sorted(set(BACKBONES.values())))
        raise CheckpointError(f"The official format has no {backbone} language model; it has {known_backbones}.")
    for tower, known in ((config.vision_config, ("clip", "siglip")), (config.audio_config, ("beats",))):
        if tower is not None and tower.get("tower") not in known:
            raise CheckpointError(
                f"The official format has no {tower.get('tower')} tower ({', '.join(known)} only); save it as ours."
            )
    if config.mm_use_tags or config.mm_connector_width or config.mm_connector_depth:
        raise CheckpointError("The official format has neither tag tokens nor other connector sizes; save it as ours.")
    if config.vision_config is not None and not config.mm_vision_tower:
        raise CheckpointError("The official format names its vision tower; set config.mm_vision_tower to its hub id.")


def _dtype_of(model: Any) -> torch.dtype:
    return next(model.parameters()).dtype


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
