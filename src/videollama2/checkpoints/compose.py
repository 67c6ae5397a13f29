"""Models to train that no folder holds yet: parts put together, or a checkpoint given ears or another connector.

Each is laid out as what the official training would have left: a config and connector files on top of something whole.
So the loader, its checks and its ledger are the same as for any checkpoint. Connectors nobody trained begin with
seeded weights, and the ledger says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from videollama2.checkpoints import facts, hub, keymaps
from videollama2.checkpoints.detect import BACKBONES, OFFICIAL, OFFICIAL_BASE, OURS, Detected, describe, find_either
from videollama2.checkpoints.files import NO_FILES, WeightFileList, WeightSet, list_full_weights, read_json
from videollama2.checkpoints.resolve import Resolved, Search, TowerPart, find_audio, find_vision, local_root
from videollama2.checkpoints.sources import Sources
from videollama2.checkpoints.tokenizer import has_tokenizer
from videollama2.errors import CheckpointError, MissingFilesError

CONNECTOR, PROJECTOR = "model.mm_projector.", "model.mm_projector_a."


def compose(
    language_model: str | Path,
    *,
    vision_tower: str | None = None,
    audio_tower: str | None = None,
    connector: str = "stc_connector_v35",
    num_frames: int = 16,
    offline: bool | None = None,
    progress: hub.Progress | None = None,
) -> Resolved:
    """All files of a model made of a plain language model and towers; its connectors are in no file.

    Args:
        language_model: Folder or hub id of a language model of a family the official format has.
        vision_tower: Folder or hub id of CLIP or SigLIP; None: no eyes.
        audio_tower: BEATs file; None: no ears.
        connector: Connector type.
        num_frames: Frames of a video.
        offline: No downloads; None: as HF_HUB_OFFLINE says.
        progress: Told of downloads.

    Raises:
        MissingFilesError: With the names of all missing files.
        CheckpointError: If the language model is none, or of a family the official format does not have.
    """
    offline = hub.is_offline(offline)
    root = local_root(str(language_model), offline, progress)
    config_path = root / "config.json"
    if not config_path.is_file():
        raise MissingFilesError(f"No config.json in the language model {root}; download or copy it.")
    text = read_json(config_path)
    backbone = str(text.get("model_type", ""))
    if backbone.startswith("videollama2"):
        raise CheckpointError(f"{root} is a VideoLLaMA 2 checkpoint, no plain language model; start `from` it.")
    if backbone not in BACKBONES.values():
        known = ", ".join(sorted(set(BACKBONES.values())))
        raise CheckpointError(f"{root} is a {backbone or 'nameless'} model; language models can be {known}.")
    config: dict[str, Any] = {**text, "model_type": f"videollama2_{backbone}", "_name_or_path": str(language_model)}
    config["num_frames"] = num_frames
    if vision_tower is not None:
        config |= {"mm_vision_tower": vision_tower, "mm_projector_type": connector}
        config |= {"mm_vision_select_layer": -2, "mm_vision_select_feature": "patch"}
    if audio_tower is not None:
        config |= {"mm_audio_tower": audio_tower, "mm_projector_a_type": "mlp2x_gelu"}
    detected = Detected(kind=OFFICIAL_BASE, path=root, config=config, **describe(config))
    search = Search(folder=root, parts={}, offline=offline, progress=progress)
    weights = list_full_weights(root)
    if not weights.files and not weights.missing:
        search.missing.append(f"{root / 'model.safetensors'} (language model)")
    search.missing += [str(root / name) for name in weights.missing]
    if not has_tokenizer(root):
        search.missing.append(f"{root / 'tokenizer.json'} or tokenizer.model (tokenizer)")
    vision, audio = find_vision(detected, set(), search), find_audio(detected, set(), search)
    search.raise_missing(f"a model on {language_model}")
    generation = root / "generation_config.json"
    return Resolved(
        detected=detected,
        vision=vision,
        audio=audio,
        language_model=weights,
        tokenizer_folder=root,
        generation_config=read_json(generation) if generation.is_file() else {},
    )


def extend(
    resolved: Resolved,
    *,
    audio_tower: str | Path | None = None,
    connector_weights: str | Path | None = None,
    audio_projector_weights: str | Path | None = None,
) -> Resolved:
    """Lays an audio tower and connector files over a checkpoint (or a composed model).

    Args:
        resolved: What lies beneath.
        audio_tower: BEATs file: ears for a model without, or in place of its own.
        connector_weights: `mm_projector` file, or a folder with one.
        audio_projector_weights: `mm_projector_a` file, or a folder with one.

    Raises:
        MissingFilesError: If a file is not there.
        CheckpointError: If a file holds other weights.
    """
    files = []
    for place, name, prefix in (
        (connector_weights, "mm_projector.bin", CONNECTOR),
        (audio_projector_weights, "mm_projector_a.bin", PROJECTOR),
    ):
        if place is not None:
            files.append(_part_file(Path(place).expanduser(), name, prefix))
    if not files and audio_tower is None:
        return resolved
    ours = config_of(resolved).get("text_config") is not None
    config = dict(config_of(resolved))
    audio = replace(resolved.audio, weights=NO_FILES) if resolved.audio is not None else None
    if audio_tower is not None:
        audio, fields = _audio_part(Path(audio_tower).expanduser())
        config |= {
            "mm_audio_tower": audio.name,
            "mm_projector_a_type": config.get("mm_projector_a_type") or "mlp2x_gelu",
        }
        if ours:
            config["audio_config"] = fields
    described = describe(config)
    upper = replace(
        resolved.detected,
        kind=OURS if ours else OFFICIAL_BASE,
        config=config,
        weights=NO_FILES,
        connectors=tuple(files),
        adapter=None,
        adapter_config=None,
        non_lora=None,
        **described,
    )
    return Resolved(
        detected=upper,
        # Its weights are among those of what lies beneath.
        vision=None if ours or resolved.vision is None else replace(resolved.vision, weights=NO_FILES),
        audio=audio,
        base=resolved,
        tokenizer_folder=resolved.tokenizer_folder,
        generation_config=resolved.generation_config,
    )


def config_of(resolved: Resolved) -> dict[str, Any]:
    """The config.json that holds for a checkpoint: its own, or that of what it lies on."""
    lowest = resolved
    while lowest.base is not None and not lowest.detected.config:
        lowest = lowest.base
    return lowest.detected.config


def _part_file(place: Path, name: str, prefix: str) -> Path:
    path = find_either(place, name) if place.is_dir() else place
    if path is None or not path.is_file():
        raise MissingFilesError(
            f"There is no {Path(name).stem} file at {place}; give the file, or the folder it is in."
        )
    names = [keymaps.canonical_name(raw) for raw in WeightSet.open([path])]
    strange = [each for each in names if not each.startswith(prefix)]
    if strange:
        part = prefix.strip(".").rpartition(".")[2]
        raise CheckpointError(f"{path} holds {strange[0]}, which is no weight of {part}; give the right file.")
    return path


def _audio_part(path: Path) -> tuple[TowerPart, dict[str, Any]]:
    """A BEATs file as a part, and its sizes as our config has them."""
    if not path.is_file():
        raise MissingFilesError(f"There is no file {path} (audio tower); give BEATs' .pt file.")
    weights = WeightSet.open([path])
    stored = weights.extras.get(path, {}).get("cfg")
    shapes = {
        keymaps.canonical_name(name, keymaps.AUDIO_FILE).removeprefix(keymaps.AUDIO): entry.shape
        for name, entry in weights.items()
    }
    if "patch_embedding.weight" not in shapes:
        raise CheckpointError(f"{path} is no BEATs audio tower; give BEATs' .pt file.")
    sizes = dict(stored) if isinstance(stored, dict) else facts.beats_config_from_shapes(shapes)
    part = TowerPart(
        name=str(path.absolute()),
        config=sizes,
        weights=WeightFileList(files=(path,)),
        source=f"read from {path.name}",
    )
    return part, {**sizes, "tower": "beats", "finetuned_model": False}


def fresh_connectors(seed: int, made: list[str]) -> Callable[[Any, Sources], None]:
    """For `load_resolved(amend=)`: seeded weights for a connector or projector that no file has.

    Args:
        seed: Of the weights.
        made: Takes the prefixes of what was made.
    """

    def amend(model: Any, sources: Sources) -> None:
        from videollama2.model.audio import build_audio_projector
        from videollama2.model.connectors import build_connector

        config = model.config
        builders: dict[str, Callable[[], nn.Module]] = {}
        if config.vision_config is not None:
            builders[CONNECTOR] = lambda: build_connector(config)
        if config.audio_config is not None:
            builders[PROJECTOR] = lambda: build_audio_projector(
                config.mm_projector_a_type, config.mm_hidden_size_a, config.hidden_size
            )
        for prefix, build in builders.items():
            if any(name.startswith(prefix) for name in sources.table):
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                module = build()
            tensors = {keymaps.canonical_target(prefix + name): tensor for name, tensor in module.state_dict().items()}
            part = prefix.strip(".").rpartition(".")[2]
            sources.add_tensors(tensors, what=f"{part} begins with fresh weights (seed {seed}): no file has it")
            made.append(prefix)

    return amend


def is_official(resolved: Resolved) -> bool:
    """Whether the config that holds is in the official flat form."""
    return resolved.detected.kind in (OFFICIAL, OFFICIAL_BASE) or config_of(resolved).get("text_config") is None
