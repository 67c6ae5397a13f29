"""Merging: a LoRA or Base checkpoint and what it sits on become one full checkpoint, which is reloaded and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videollama2.checkpoints.detect import OFFICIAL, OURS, OURS_LORA
from videollama2.checkpoints.hub import Progress
from videollama2.checkpoints.load import LoadedCheckpoint, load_checkpoint
from videollama2.checkpoints.write import MAX_SHARD_BYTES, export_official, save_checkpoint
from videollama2.errors import CheckpointError

VIDEO_SENTINEL, AUDIO_SENTINEL = -201, -202


@dataclass(frozen=True, kw_only=True)
class MergeReport:
    """What a merge gave.

    Attributes:
        path: The new checkpoint.
        form: `official` or `ours`.
        weights_changed: Weights the LoRA changed.
        logits_compared: Logits of the probe that were compared.
        max_difference: Largest difference between the merged model and the reloaded one; 0 or the merge is refused.
        model_hash: Fingerprint of the new checkpoint.
    """

    path: Path
    form: str
    weights_changed: int
    logits_compared: int
    max_difference: float
    model_hash: str


def merge_checkpoint(
    source: str | Path,
    target: str | Path,
    *,
    to: str | None = None,
    dtype: torch.dtype | str | None = None,
    parts: Mapping[str, str | Path] | None = None,
    offline: bool | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MergeReport:
    """Writes a LoRA or Base checkpoint as a full one.

    Args:
        source: The LoRA or Base checkpoint, folder or hub id.
        target: The folder to make.
        to: `official` or `ours`; None: the format of the source.
        dtype: Of the new checkpoint; None: as the language model's on disk. The sum is made in fp32.
        parts: Places of the parts beneath, see `load_checkpoint`.
        offline: No downloads; None: as HF_HUB_OFFLINE says.
        max_shard_bytes: Largest weight file, in bytes.
        overwrite: Replace a folder that is there.
        progress: Told of what is done.

    Raises:
        CheckpointError: If the source is a full checkpoint already, or the reloaded one gives other logits.
    """
    loaded = load_checkpoint(source, dtype=dtype, parts=parts, offline=offline, progress=progress)
    if loaded.kind in (OFFICIAL, OURS):
        raise CheckpointError(f"{source} is a full checkpoint already; use `videollama2 convert` to change its format.")
    form = to or ("ours" if loaded.kind == OURS_LORA else "official")
    if form not in ("official", "ours"):
        raise CheckpointError(f"Unknown format {form!r}; choose official or ours.")
    write = export_official if form == "official" else save_checkpoint
    path = write(loaded, target, max_shard_bytes=max_shard_bytes, overwrite=overwrite)
    changed = len(loaded.sources.adapter.pairs) if loaded.sources is not None and loaded.sources.adapter else 0
    expected = probe_logits(loaded)
    # The reloaded one finds its tower's config where the first one did.
    towers = {key: value for key, value in (parts or {}).items() if key in ("vision_tower", "audio_tower")}
    towers = towers or _tower_places(loaded)
    reloaded = load_checkpoint(path, dtype=dtype, parts=towers, offline=offline, progress=progress)
    actual = probe_logits(reloaded)
    difference = float((expected - actual).abs().max())
    if difference != 0.0:
        raise CheckpointError(
            f"The merged checkpoint {path} gives other logits when reloaded "
            f"(difference {difference:.2e}); do not use it."
        )
    return MergeReport(
        path=path,
        form=form,
        weights_changed=changed,
        logits_compared=expected.numel(),
        max_difference=difference,
        model_hash=reloaded.model_hash,
    )


def _tower_places(loaded: LoadedCheckpoint) -> dict[str, str | Path]:
    """Local places of the towers a config names by a path that is relative to the source."""
    from videollama2.checkpoints.resolve import find_local

    names = {"vision_tower": loaded.config.mm_vision_tower, "audio_tower": loaded.config.mm_audio_tower}
    places = {part: find_local(str(name), loaded.path) for part, name in names.items() if name}
    return {part: place for part, place in places.items() if place is not None}


@torch.no_grad()
def probe_logits(loaded: LoadedCheckpoint) -> torch.Tensor:
    """Logits of a fixed little prompt with seeded noise as video (and sound), fp32 [P, vocabulary].

    Every part of the model has a share in them.
    """
    model, config = loaded.model, loaded.config
    generator = torch.Generator().manual_seed(0)
    weight = next(model.parameters())
    ids = [i % config.text_config.vocab_size for i in range(3, 15)]
    inputs: dict[str, Any] = {}
    if config.vision_config is not None:
        tower = model.model.vision_tower
        size, frames = tower.image_size, 4
        pixels = torch.randn(frames, 3, size, size, generator=generator)
        inputs |= {"pixel_values": pixels.to(weight), "num_frames": torch.tensor([frames])}
        ids.insert(2, VIDEO_SENTINEL)
    if config.audio_config is not None:
        values = torch.randn(1, 64, model.model.audio_tower.num_mel_bins, generator=generator)
        inputs |= {"audio_values": values.to(weight), "audio_lengths": torch.tensor([64])}
        ids.insert(6, AUDIO_SENTINEL)
    input_ids = torch.tensor([ids], device=weight.device)
    logits = model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), **inputs).logits
    return logits[0].float().cpu()
