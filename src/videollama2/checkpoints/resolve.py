"""Path or hub id -> every local file a checkpoint needs, or one error that names all that are missing.

An official folder names its towers by hub id or by a path; a Base or LoRA checkpoint names its language model so. Each
is looked for in this order: given in `parts`, beside the checkpoint (its folder and the two above), in the working
directory, in the hub cache, on the hub. A tower whose weights the folder holds needs only its sizes, and those are
known by name for the released ones. Nothing is downloaded in silence, and nothing at all when offline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videollama2.checkpoints import facts, hub
from videollama2.checkpoints.detect import (
    BEATS,
    OFFICIAL_BASE,
    OFFICIAL_LORA,
    OURS,
    OURS_LORA,
    Detected,
    detect,
)
from videollama2.checkpoints.files import NO_FILES, WeightFileList, WeightSet, index_files, list_full_weights, read_json
from videollama2.checkpoints.tokenizer import has_tokenizer
from videollama2.errors import CheckpointError, MissingFilesError
from videollama2.model.presets import vision_preset

PARTS = ("vision_tower", "audio_tower", "language_model", "tokenizer")


@dataclass(frozen=True, kw_only=True)
class TowerPart:
    """A tower a checkpoint refers to.

    Attributes:
        name: As the config has it.
        config: Its sizes: `vision_config` of transformers, or BEATs' `cfg`. None: read them off the shapes.
        preprocessor: Its pixel rules (vision only).
        weights: Its own weight files; empty where the checkpoint holds its weights.
        source: Where its config is from, in words.
    """

    name: str
    config: dict[str, Any] | None = None
    preprocessor: dict[str, Any] | None = None
    weights: WeightFileList = NO_FILES
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """All local files of a checkpoint.

    Attributes:
        detected: What the checkpoint itself is.
        vision: Its vision tower, for official kinds.
        audio: Its audio tower, for official kinds that hear.
        base: The checkpoint beneath a LoRA, if that is a whole VideoLLaMA 2 checkpoint.
        language_model: Weights of the plain LLM beneath a Base or LoRA checkpoint.
        tokenizer_folder: Where the tokenizer is.
        generation_config: `generation_config.json` as it is, or empty.
        notes: What was chosen or left aside.
    """

    detected: Detected
    vision: TowerPart | None = None
    audio: TowerPart | None = None
    base: Resolved | None = None
    language_model: WeightFileList = NO_FILES
    tokenizer_folder: Path | None = None
    generation_config: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def all_files(self) -> tuple[Path, ...]:
        """Every weight file, of all parts."""
        towers = tuple(f for part in (self.vision, self.audio) if part is not None for f in part.weights.files)
        below = self.base.all_files if self.base is not None else self.language_model.files
        return below + towers + self.detected.files


@dataclass
class Search:
    """One search: where to look, and what was missed on the way.

    Attributes:
        folder: Of the checkpoint.
        parts: Part -> its place, before any other.
        offline: No downloads.
        progress: Told of downloads.
        missing: What was not found.
        notes: What was chosen or left aside.
    """

    folder: Path
    parts: Mapping[str, str | Path]
    offline: bool
    progress: hub.Progress | None
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def find(self, part: str, name: str, *, config_only: bool = False) -> Path | None:
        """Local path of a part, or None with a note in `missing`."""
        if part in self.parts:
            given = Path(self.parts[part]).expanduser()
            if given.exists():
                return given
            self.missing.append(f"{given} (given as {part})")
            return None
        local = find_local(name, self.folder)
        if local is not None:
            return local
        if hub.looks_like_hub_id(name):
            if (snapshot := hub.cached(name)) is not None:
                return snapshot
            if not self.offline:
                return hub.fetch(name, config_only=config_only, progress=self.progress)
        self.missing.append(f"{name} ({part.replace('_', ' ')})")
        return None

    def raise_missing(self, what: str) -> None:
        """Raises, with every name, if anything was not found.

        Raises:
            MissingFilesError: See above.
        """
        if self.missing:
            how = "Downloads are off; run once without --offline" if self.offline else "Download or copy them"
            raise MissingFilesError(
                f"{len(self.missing)} files are missing for {what}: {'; '.join(self.missing)}. "
                f"{how}, or give their places with `parts`."
            )


def find_local(name: str, folder: Path) -> Path | None:
    """Finds a part named by path: beside the checkpoint, in the two folders above it, or in the working directory."""
    path = Path(name).expanduser()
    if path.is_absolute():
        return path if path.exists() else None
    places = (folder, folder.parent, folder.parent.parent, Path.cwd())
    return next((place / path for place in places if (place / path).exists()), None)


def resolve(
    path_or_id: str | Path,
    *,
    offline: bool | None = None,
    parts: Mapping[str, str | Path] | None = None,
    progress: hub.Progress | None = None,
) -> Resolved:
    """Finds every file a checkpoint needs.

    Args:
        path_or_id: Local folder (or BEATs file), or hub id.
        offline: No downloads; None: as HF_HUB_OFFLINE says.
        parts: Paths for `vision_tower`, `audio_tower`, `language_model`, `tokenizer`, before any other place.
        progress: Told of downloads.

    Raises:
        MissingFilesError: With the names of all missing files.
        CheckpointError: If the checkpoint is unknown, damaged or mixed up.
    """
    parts = dict(parts or {})
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise CheckpointError(f"Unknown parts: {', '.join(unknown)}; known are {', '.join(PARTS)}.")
    offline = hub.is_offline(offline)
    root = local_root(str(path_or_id), offline, progress)
    detected = detect(root)
    search = Search(folder=root, parts=parts, offline=offline, progress=progress)
    search.missing += [str(root / name) for name in detected.weights.missing]
    if detected.kind == BEATS:
        return Resolved(detected=detected)

    base: Resolved | None = None
    language_model = WeightFileList()
    base_folder: Path | None = None
    if detected.kind in (OFFICIAL_BASE, OFFICIAL_LORA, OURS_LORA):
        base, language_model, base_folder = _find_base(detected, search)
    vision = audio = None
    if detected.kind != OURS and not (detected.kind == OURS_LORA or (base is not None and base.detected.kind == OURS)):
        names = _names_in(detected, base)
        vision = find_vision(detected, names, search) or (base.vision if base is not None else None)
        audio = find_audio(detected, names, search) or (base.audio if base is not None else None)

    folders = [Path(parts["tokenizer"])] if "tokenizer" in parts else [root, *([base_folder] if base_folder else [])]
    tokenizer_folder = next((folder for folder in folders if has_tokenizer(folder)), None)
    if tokenizer_folder is None and base is not None:
        tokenizer_folder = base.tokenizer_folder
    if tokenizer_folder is None:
        search.missing.append(f"{folders[0] / 'tokenizer.json'} or tokenizer.model (tokenizer)")
    search.raise_missing(str(path_or_id))
    generation = next(
        (f / "generation_config.json" for f in (root, base_folder) if f and (f / "generation_config.json").is_file()),
        None,
    )
    return Resolved(
        detected=detected,
        vision=vision,
        audio=audio,
        base=base,
        language_model=language_model,
        tokenizer_folder=tokenizer_folder,
        generation_config=read_json(generation) if generation is not None else {},
        notes=detected.notes + tuple(search.notes),
    )


def local_root(path_or_id: str, offline: bool, progress: hub.Progress | None) -> Path:
    """A folder here, or a snapshot of a hub repository, downloaded where that is allowed."""
    path = Path(path_or_id).expanduser()
    if path.exists():
        return path
    if not hub.looks_like_hub_id(path_or_id):
        raise MissingFilesError(f"There is nothing at {path_or_id}; check the path, or give a hub id such as org/name.")
    if not offline:
        return hub.fetch(path_or_id, progress=progress)
    if (snapshot := hub.cached(path_or_id)) is not None:
        return snapshot
    raise MissingFilesError(
        f"{path_or_id} is no folder here and not in the hub cache, and downloads are off: all its files are missing "
        "(config.json, tokenizer, weights); run once without --offline, or give a local folder."
    )


def _find_base(detected: Detected, search: Search) -> tuple[Resolved | None, WeightFileList, Path | None]:
    """What lies beneath a Base or LoRA checkpoint: a whole checkpoint of ours or the official kind, or a plain LLM."""
    name = detected.base_name
    if name is None and "language_model" not in search.parts:
        search.missing.append("the language model (config.json does not name it; give parts={'language_model': ...})")
        return None, WeightFileList(), None
    folder = search.find("language_model", name or "")
    if folder is None:
        return None, WeightFileList(), None
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is given as the language model but is no folder; give the folder it is in.")
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if str(config.get("model_type", "")).startswith("videollama2"):
        others = {part: path for part, path in search.parts.items() if part != "language_model"}
        return resolve(folder, offline=search.offline, parts=others, progress=search.progress), WeightFileList(), folder
    if detected.kind == OURS_LORA:
        raise CheckpointError(
            f"The LoRA in {detected.path} sits on {folder}, which is not a VideoLLaMA 2 checkpoint; give the right one "
            "with parts={'language_model': ...}."
        )
    weights = list_full_weights(folder)
    if not weights.files and not weights.missing:
        search.missing.append(f"{folder / 'model.safetensors'} (language model)")
    search.missing += [str(folder / missing) for missing in weights.missing]
    _check_same_backbone(detected, config, folder)
    return None, weights, folder


def _check_same_backbone(detected: Detected, config: dict[str, Any], folder: Path) -> None:
    """A Base or LoRA checkpoint on an LLM of another family or size would fail late and cryptically."""
    theirs = str(config.get("model_type", ""))
    if theirs and detected.backbone and theirs != detected.backbone:
        raise CheckpointError(
            f"{detected.path} needs a {detected.backbone} language model, {folder} is {theirs}; give the right folder."
        )
    for key in ("hidden_size", "num_hidden_layers"):
        if key in config and key in detected.config and config[key] != detected.config[key]:
            raise CheckpointError(
                f"{detected.path} needs a language model with {key} {detected.config[key]}, "
                f"{folder} has {config[key]}; give the right folder."
            )


def _names_in(detected: Detected, base: Resolved | None) -> set[str]:
    """Names of all tensors the checkpoint itself (and the checkpoints beneath it) hold."""
    names: set[str] = set() if base is None else _names_in(base.detected, base.base)
    if detected.weights.index is not None:
        names |= set(index_files(detected.weights.index))
    else:
        names |= set(WeightSet.open(detected.weights.files))
    for path in (*detected.connectors, detected.non_lora):
        if path is not None:
            names |= set(WeightSet.open([path]))
    return names


def find_vision(detected: Detected, names: set[str], search: Search) -> TowerPart | None:
    """The vision tower a config names; with weights of its own where `names` has none."""
    name = detected.config.get("mm_vision_tower")
    if not name:
        return None
    name = str(name)
    # All of it: a LoRA trained with biases leaves those of the tower alone among its weights.
    has_weights = any(".vision_tower." in f".{key}" and "patch_embedding.weight" in key for key in names)
    known = vision_preset(name)
    given = "vision_tower" in search.parts or find_local(name, search.folder) is not None
    if has_weights and known is not None and not given:
        return TowerPart(
            name=name, config=known, preprocessor=facts.preprocessor_config(known), source="sizes known by name"
        )
    folder = search.find("vision_tower", name, config_only=has_weights)
    if folder is None:
        return None
    config_path = folder / "config.json"
    if not config_path.is_file():
        search.missing.append(f"{config_path} (vision tower)")
        return None
    config = read_json(config_path)
    config = config.get("vision_config", config)
    if "model_type" not in config:
        config = {**config, "model_type": "siglip_vision_model" if "siglip" in name.lower() else "clip_vision_model"}
    pixel_path = folder / "preprocessor_config.json"
    pixels = read_json(pixel_path) if pixel_path.is_file() else facts.preprocessor_config(config)
    weights = WeightFileList()
    if not has_weights:
        weights = list_full_weights(folder)
        if not weights.files and not weights.missing:
            search.missing.append(f"{folder / 'model.safetensors'} (vision tower)")
        search.missing += [str(folder / missing) for missing in weights.missing]
    return TowerPart(name=name, config=config, preprocessor=pixels, weights=weights, source=f"read from {folder.name}")


def find_audio(detected: Detected, names: set[str], search: Search) -> TowerPart | None:
    """The audio tower a config names; with weights of its own where `names` has none."""
    name = detected.config.get("mm_audio_tower")
    if not name:
        return None
    name = str(name)
    has_weights = any(".audio_tower." in f".{key}" for key in names)
    given = "audio_tower" in search.parts
    local = find_local(name, search.folder)
    if has_weights and not given and (local is None or not local.is_file()):
        return TowerPart(name=name, source="sizes read off the shapes")
    path = search.find("audio_tower", name)
    if path is None:
        return None
    if path.is_dir():
        raise CheckpointError(f"{path} is given as the audio tower but is a folder; give the BEATs .pt file.")
    weights = WeightSet.open([path])
    config = weights.extras.get(path, {}).get("cfg")
    files = WeightFileList() if has_weights else WeightFileList(files=(path,))
    return TowerPart(
        name=name,
        config=dict(config) if isinstance(config, dict) else None,
        weights=files,
        source=f"read from {path.name}",
    )
