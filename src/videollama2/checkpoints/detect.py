"""What a folder (or file) is: which of the checkpoint formats, of which family, with which modalities.

Only names of files, `config.json` and headers are looked at. What cannot be loaded is told apart from what can, in the
user's words: a plain LLM, a lone tower, two checkpoints in one folder, an empty folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.checkpoints.files import ADAPTER_WEIGHTS, NO_FILES, WeightFileList, list_full_weights, read_json
from videollama2.errors import CheckpointError, MissingFilesError

# Kinds of checkpoints. The words are part of `inspect --json`.
OFFICIAL = "official"
OFFICIAL_BASE = "official-base"
OFFICIAL_LORA = "official-lora"
OURS = "ours"
OURS_LORA = "ours-lora"
BEATS = "beats"
KINDS = (OFFICIAL, OFFICIAL_BASE, OFFICIAL_LORA, OURS, OURS_LORA, BEATS)

# Official model_type -> backbone. `videollama2` is the name older files have.
BACKBONES = {
    "videollama2": "mistral",
    "videollama2_mistral": "mistral",
    "videollama2_mixtral": "mixtral",
    "videollama2_qwen2": "qwen2",
    "videollama2_llama": "llama",
    "videollama2_gemma2": "gemma2",
    "videollama2_phi3": "phi3",
}
# What the default model's config.json says of itself, and what it is called.
DEFAULT_MODEL_NAME = "videollama2-default"
DEFAULT_MODEL_FAMILY = "videollama2-default, the small demonstration model"
CONNECTOR_FILES = ("mm_projector.bin", "mm_projector_a.bin")
# Parts that a stage trained alone, beside the connectors: the official audio stage leaves its tower so.
PART_FILES = (*CONNECTOR_FILES, "audio_tower.bin")
NON_LORA = "non_lora_trainables.bin"
PICKLE_SUFFIXES = (".pt", ".bin", ".pth")


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What was found at a path.

    Attributes:
        kind: One of `KINDS`.
        path: The folder; for BEATs the file.
        config: `config.json` as it is; empty where the kind has none.
        model_type: Official model_type, or that of ours.
        family: `VideoLLaMA2`, `VideoLLaMA2.1`, `VideoLLaMA2.1-AV`, or `VideoLLaMA2 (custom)`.
        backbone: Language model family.
        modalities: Of text, image, video, audio: what the model takes.
        weights: Files of the full weights.
        connectors: `mm_projector.bin`, `mm_projector_a.bin`, `audio_tower.bin` (or safetensors), those that are there.
        adapter: The LoRA weights.
        adapter_config: `adapter_config.json`.
        non_lora: `non_lora_trainables.bin` (or safetensors).
        notes: What was seen and left aside.
    """

    kind: str
    path: Path
    config: dict[str, Any]
    model_type: str = ""
    family: str = ""
    backbone: str = ""
    modalities: tuple[str, ...] = ()
    weights: WeightFileList = NO_FILES
    connectors: tuple[Path, ...] = ()
    adapter: Path | None = None
    adapter_config: dict[str, Any] | None = None
    non_lora: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[Path, ...]:
        """All weight files in the folder that the kind uses."""
        extra = tuple(path for path in (self.adapter, self.non_lora) if path is not None)
        return self.weights.files + self.connectors + extra

    @property
    def base_name(self) -> str | None:
        """Name or path of the model a Base or LoRA checkpoint sits on, as its files give it."""
        if self.kind in (OFFICIAL_BASE, OFFICIAL_LORA):
            name = self.config.get("_name_or_path") or (self.adapter_config or {}).get("base_model_name_or_path")
        elif self.kind == OURS_LORA:
            name = (self.adapter_config or {}).get("base_model_name_or_path")
        else:
            name = None
        return str(name) if name else None


def detect(path: Path) -> Detected:
    """Finds out what lies at a local path.

    Args:
        path: Folder of a checkpoint, or a BEATs file.

    Raises:
        MissingFilesError: If the path, or `config.json`, or all weights are missing.
        CheckpointError: If it is something else, or more than one checkpoint mixed up.
    """
    if not path.exists():
        raise MissingFilesError(f"There is nothing at {path}; check the path, or give a hub id such as org/name.")
    if path.is_file():
        return _detect_file(path)
    if not any(path.iterdir()):
        raise MissingFilesError(f"The folder {path} is empty; download a checkpoint into it.")
    adapter = next((path / name for name in ADAPTER_WEIGHTS if (path / name).is_file()), None)
    adapter_config_path = path / "adapter_config.json"
    if adapter is not None or adapter_config_path.is_file():
        return _detect_lora(path, adapter, adapter_config_path)
    config_path = path / "config.json"
    if not config_path.is_file():
        found = ", ".join(sorted(p.name for p in path.iterdir())[:6])
        raise MissingFilesError(f"No config.json in {path} (it holds: {found}); copy it from the checkpoint.")
    config = read_json(config_path)
    model_type = str(config.get("model_type", ""))
    if not model_type.startswith("videollama2"):
        raise CheckpointError(_not_ours(path, config, model_type))
    weights = list_full_weights(path)
    connectors = tuple(file for name in PART_FILES if (file := find_either(path, name)) is not None)
    notes = weights.notes
    if weights.files or weights.missing:
        kind = OURS if is_our_config(config) else OFFICIAL
        if connectors:
            names = " and ".join(file.name for file in connectors)
            notes += (f"{names} is left aside: the full weights hold the same parts",)
            connectors = ()
    elif connectors:
        kind = OFFICIAL_BASE
    elif config.get("tune_mm_mlp_adapter") or config.get("tune_mm_mlp_adapter_a"):
        name = CONNECTOR_FILES[0 if config.get("tune_mm_mlp_adapter") else 1]
        raise MissingFilesError(
            f"No {name} in {path}, which config.json says is a pre-training checkpoint; download it."
        )
    else:
        raise MissingFilesError(
            f"No weights in {path}: model.safetensors (or its shards with model.safetensors.index.json) or "
            "pytorch_model.bin is needed; download them."
        )
    return Detected(
        kind=kind, path=path, config=config, weights=weights, connectors=connectors, notes=notes, **describe(config)
    )


def find_either(folder: Path, name: str) -> Path | None:
    """A part's file in a folder, as safetensors or, failing that, under its official name; None without either."""
    names = (Path(name).with_suffix(".safetensors").name, name)
    return next((folder / each for each in names if (folder / each).is_file()), None)


def is_our_config(config: dict[str, Any]) -> bool:
    """Whether a `config.json` was written by this package (nested) and not by the official code (flat)."""
    return isinstance(config.get("text_config"), dict)


def describe(config: dict[str, Any]) -> dict[str, Any]:
    """model_type, family, backbone and modalities a config stands for."""
    model_type = str(config.get("model_type", ""))
    text_config = config.get("text_config")
    backbone = BACKBONES.get(model_type, "")
    if isinstance(text_config, dict):
        backbone = str(text_config.get("model_type", backbone))
    elif model_type not in BACKBONES:
        raise CheckpointError(
            f"model_type {model_type!r} in config.json is not known; known are {', '.join(BACKBONES)}."
        )
    has_vision = bool(config.get("mm_vision_tower") or config.get("vision_config"))
    has_audio = bool(config.get("mm_audio_tower") or config.get("audio_config"))
    modalities = ("text", *(("image", "video") if has_vision else ()), *(("audio",) if has_audio else ()))
    connector = config.get("mm_projector_type")
    if connector is None and isinstance(config.get("connector_config"), dict):
        connector = config["connector_config"].get("type")
    if config.get("mm_model_name") == DEFAULT_MODEL_NAME:
        family = DEFAULT_MODEL_FAMILY
    elif has_audio:
        family = "VideoLLaMA2.1-AV"
    else:
        family = "VideoLLaMA2.1" if connector == "stc_connector_v35" else "VideoLLaMA2"
    return {"model_type": model_type, "family": family, "backbone": backbone, "modalities": modalities}


def _detect_file(path: Path) -> Detected:
    from videollama2.checkpoints.files import WeightSet

    if path.suffix not in (*PICKLE_SUFFIXES, ".safetensors"):
        raise CheckpointError(f"{path} is not a checkpoint; give a folder, a hub id or a BEATs .pt file.")
    weights = WeightSet.open([path])
    if any(name.startswith("encoder.layers.0.self_attn") for name in weights) and "patch_embedding.weight" in weights:
        files = WeightFileList(files=(path,))
        return Detected(kind=BEATS, path=path, config={}, family="BEATs", modalities=("audio",), weights=files)
    raise CheckpointError(
        f"{path.name} holds weights but is no whole model; give the folder it is from, with its config.json ({path})."
    )


def _detect_lora(path: Path, adapter: Path | None, adapter_config_path: Path) -> Detected:
    if adapter is None:
        raise MissingFilesError(f"No {' or '.join(ADAPTER_WEIGHTS)} in the LoRA checkpoint {path}; download it.")
    if not adapter_config_path.is_file():
        raise MissingFilesError(f"No adapter_config.json in the LoRA checkpoint {path}; download it.")
    full = list_full_weights(path)
    if full.files:
        raise CheckpointError(
            f"{path} holds both a LoRA ({adapter.name}) and full weights ({full.files[0].name}): two checkpoints are "
            "mixed up; put them into folders of their own."
        )
    adapter_config = read_json(adapter_config_path)
    notes: tuple[str, ...] = ()
    if all((path / name).is_file() for name in ADAPTER_WEIGHTS):
        notes = (f"{ADAPTER_WEIGHTS[1]} is left aside: safetensors come first",)
    non_lora = find_either(path, NON_LORA)
    config_path = path / "config.json"
    config = read_json(config_path) if config_path.is_file() else {}
    common: dict[str, Any] = {"path": path, "config": config, "adapter": adapter, "adapter_config": adapter_config}
    common["non_lora"] = non_lora
    if not config or is_our_config(config):
        described = describe(config) if config else {}
        return Detected(kind=OURS_LORA, notes=notes, **common, **described)
    if not str(config.get("model_type", "")).startswith("videollama2"):
        raise CheckpointError(
            f"The LoRA in {path} is for model_type {config.get('model_type')!r}, not for VideoLLaMA 2; "
            "give a LoRA that was trained on a VideoLLaMA 2 model."
        )
    if non_lora is None:
        raise MissingFilesError(
            f"No {NON_LORA} in the LoRA checkpoint {path}: it holds the trained connector; download it."
        )
    return Detected(kind=OFFICIAL_LORA, notes=notes, **common, **describe(config))


def _not_ours(path: Path, config: dict[str, Any], model_type: str) -> str:
    if model_type in ("clip", "clip_vision_model", "siglip", "siglip_vision_model", "whisper"):
        what = f"a lone tower ({model_type})"
        fix = (
            "give the folder of a whole VideoLLaMA 2 checkpoint; this one can be its part: parts={'vision_tower': ...}"
        )
    elif config.get("architectures") and str(config["architectures"][0]).endswith("ForCausalLM"):
        what = f"a plain language model ({model_type or config['architectures'][0]}), without towers or connector"
        fix = "give a VideoLLaMA 2 checkpoint; a Base or LoRA one takes this as parts={'language_model': ...}"
    else:
        what = f"not a VideoLLaMA 2 checkpoint (model_type {model_type!r})"
        fix = f"known model types are {', '.join(BACKBONES)}"
    return f"{path} is {what}; {fix}."
