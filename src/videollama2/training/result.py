"""What a finished run leaves: a checkpoint that `VideoLLaMA2.from_pretrained` reads.

    full    the language model itself (or the vision tower) learned: everything, in our format
    lora    LoRA on the language model: the official LoRA folder, with safetensors
    parts   only connectors or the audio tower learned: those files, as an official pre-training checkpoint has them

`lora` and `parts` lie on what the run started from and name it; `videollama2 merge` makes a whole one of them and
`videollama2 convert --to official` the official format. Each appears whole or not at all, read back and compared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from videollama2.errors import CheckpointError
from videollama2.training import parts as model_parts
from videollama2.training.recipe import Recipe, to_yaml
from videollama2.training.start import Started, core_of

FULL, LORA, PARTS = "full", "lora", "parts"
# Beside the weights, so that nobody has to ask how they came about.
RECIPE_FILE = "training_recipe.yaml"
_PART_FILES = {
    "connector": "mm_projector.safetensors",
    "audio_projector": "mm_projector_a.safetensors",
    "audio_tower": "audio_tower.safetensors",
}
_WRAPPED = "base_model.model."


def layout(started: Started, recipe: Recipe) -> str:
    """Which of the three a run leaves: `full`, `lora` or `parts`."""
    if recipe.lora is not None:
        return LORA
    small = set(recipe.train) <= set(_PART_FILES)
    return PARTS if small and _is_official(started) else FULL


def write(
    started: Started,
    recipe: Recipe,
    folder: str | Path,
    *,
    weights: Iterable[tuple[str, Tensor]] | Mapping[str, Tensor] | None = None,
    overwrite: bool = False,
) -> Path:
    """Writes a run's result; one process does it.

    Args:
        started: What the run started from, and its model.
        recipe: The recipe.
        folder: The folder to make.
        weights: Every weight that learned, whole, by its plain name; None: as the model of `started` has them (whole
            on this process).
        overwrite: Replace a folder that is there.

    Returns:
        The folder.

    Raises:
        CheckpointError: The folder is there, the disk is full, or what was written does not read back.
    """
    given = dict(weights.items() if isinstance(weights, Mapping) else weights or _learned(started))
    folder = Path(folder)
    kind = layout(started, recipe)
    try:
        if kind == FULL:
            _write_full(started, recipe, given, folder, overwrite)
        else:
            _write_small(started, recipe, given, folder, overwrite, kind)
    except (OSError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"The result {folder} cannot be written ({reason}); make room on the disk.") from error
    return folder


def _learned(started: Started) -> list[tuple[str, Tensor]]:
    return [pair for pairs in model_parts.trained(started.parts).values() for pair in pairs]


def _is_official(started: Started) -> bool:
    from videollama2.checkpoints.compose import is_official

    return is_official(started.resolved)


def _write_full(started: Started, recipe: Recipe, given: Mapping[str, Tensor], folder: Path, overwrite: bool) -> None:
    """Everything: what did not learn is read from where it came from once more, so shards need not be gathered."""
    from videollama2.checkpoints.compose import fresh_connectors
    from videollama2.checkpoints.load import load_resolved
    from videollama2.checkpoints.write import save_checkpoint

    loaded = load_resolved(
        started.resolved, started.base, dtype=started.loaded.config.dtype, amend=fresh_connectors(recipe.seed, [])
    )
    loaded.config.num_frames = started.config.num_frames
    targets = loaded.model.state_dict()
    with torch.no_grad():
        for name, tensor in given.items():
            targets[name].copy_(tensor)
    save_checkpoint(loaded, folder, overwrite=overwrite, whole_towers=True)
    (folder / RECIPE_FILE).write_text(to_yaml(recipe), encoding="utf-8")


def _write_small(
    started: Started, recipe: Recipe, given: Mapping[str, Tensor], folder: Path, overwrite: bool, kind: str
) -> None:
    """A LoRA or parts folder, on top of `started.base`."""
    from videollama2.checkpoints import inspect_checkpoint
    from videollama2.checkpoints.write import new_folder, write_json

    official = _is_official(started)
    held = _held_parts(started, recipe, given, kind)
    with new_folder(folder, overwrite=overwrite) as scratch:
        write_json(scratch / "config.json", _config(started, held, kind, official))
        if kind == LORA:
            factors = {name: tensor for name, tensor in given.items() if ".lora_" in name}
            adapter = {_WRAPPED + _factor_name(name, official): tensor for name, tensor in factors.items()}
            write_tensors(scratch / "adapter_model.safetensors", adapter)
            write_json(scratch / "adapter_config.json", _adapter_config(recipe, factors, started.base, official))
            others = {_WRAPPED + name: tensor for part in held.values() for name, tensor in part.items()}
            if others:
                write_tensors(scratch / "non_lora_trainables.safetensors", others)
        else:
            for part, tensors in held.items():
                write_tensors(scratch / _PART_FILES[part], tensors)
        (scratch / RECIPE_FILE).write_text(to_yaml(recipe), encoding="utf-8")
    parts = {key: place for key, place in recipe.model.parts.items() if key != "language_model"}
    inspection = inspect_checkpoint(folder, parts=parts, content=False)
    if not inspection.ok:
        raise CheckpointError(f"The result {folder} was written but would not load: {inspection.verdict}")


def _held_parts(
    started: Started, recipe: Recipe, given: Mapping[str, Tensor], kind: str
) -> dict[str, dict[str, Tensor]]:
    """Part -> official (or our) name -> weight, of the parts beside the language model that the result must hold."""
    from videollama2.checkpoints.keymaps import to_official
    from videollama2.checkpoints.write import carried_weights

    unused, sources = carried_weights(started.loaded), started.loaded.sources
    wanted = (set(recipe.train) | started.own) - {"language_model"}
    if kind == LORA and "connector" in started.parts:
        # The official LoRA folder always has it.
        wanted.add("connector")
    tower = getattr(core_of(started.model).model, "audio_tower", None)
    # BEATs' official names repeat its shared bias in each layer.
    layers = len(getattr(getattr(tower, "encoder", None), "layers", ()))
    held: dict[str, dict[str, Tensor]] = {}
    for part in sorted(wanted & set(started.parts)):
        tensors: dict[str, Tensor] = {}
        prefixes = model_parts.PREFIXES[part]
        if part in recipe.train:
            weights = {name: given[name] for name, _ in started.parts[part]}
            weights |= {name: tensor for name, tensor in unused.items() if name.startswith(prefixes)}
        else:
            # From the files: on this process the model may hold a slice of them.
            assert sources is not None
            weights = {name: sources.load(name) for name in sources.table if name.startswith(prefixes)}
        for name, tensor in weights.items():
            tensors.update(to_official(name, tensor, num_audio_layers=layers))
        held[part] = tensors
    return held


def _config(started: Started, held: Mapping[str, Any], kind: str, official: bool) -> dict[str, Any]:
    from videollama2.checkpoints.load import PROMPT_KEY
    from videollama2.checkpoints.resolve import find_local

    config = started.config
    if not official:
        return config.to_dict() | {PROMPT_KEY: started.loaded.model_type, "_name_or_path": started.base}
    flat = config.to_official()
    flat.pop(PROMPT_KEY, None)
    flat.pop("quantization_config", None)
    flat["model_type"] = started.loaded.model_type
    flat["_name_or_path"] = started.base
    for key in ("mm_vision_tower", "mm_audio_tower"):
        local = find_local(str(flat[key]), started.loaded.path) if flat.get(key) else None
        if local is not None:
            flat[key] = str(local.absolute())
    flat["tune_mm_mlp_adapter"] = kind == PARTS and "connector" in held
    if "audio_projector" in started.parts:
        flat["tune_mm_mlp_adapter_a"] = kind == PARTS and "audio_projector" in held
    return flat


def _factor_name(name: str, official: bool) -> str:
    """Name of a LoRA factor in an adapter's file."""
    name = re.sub(r"\.lora_magnitude_vector\.default\.weight$", ".lora_magnitude_vector", name)
    name = name.replace(".default.weight", ".weight")
    return name.replace("model.language_model.", "model.", 1) if official else name


def _adapter_config(recipe: Recipe, factors: Mapping[str, Tensor], base: str, official: bool) -> dict[str, Any]:
    """`adapter_config.json` as peft writes it; the layers are told by a pattern, so that towers are not meant too."""
    lora = recipe.lora
    assert lora is not None
    modules = {_factor_name(name, official).partition(".lora_")[0] for name in factors}
    leaves = sorted({module.rpartition(".")[2] for module in modules})
    stem = r"model\.layers" if official else r"model\.language_model\.layers"
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "use_dora": lora.dora,
        "use_rslora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": rf"{stem}\.\d+\.\w+\.({'|'.join(leaves)})",
    }


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes a safetensors file, flushes it to the disk, reads it back and compares.

    Raises:
        CheckpointError: If it reads back different.
        OSError: If it cannot be written; a SafetensorError where safetensors says so.
    """
    from safetensors.torch import save_file

    from videollama2.checkpoints.files import WeightSet

    copies = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(copies, path, {"format": "pt"})
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    written = WeightSet.open([path])
    for name, tensor in copies.items():
        if name not in written or not torch.equal(written.load(name), tensor):
            raise CheckpointError(f"{name} was written to {path} but reads back different; is the disk full?")
