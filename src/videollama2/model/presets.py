"""Sizes of the towers that official configs refer to by name, and one form for any vision config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLIP_VIT_L_14_336 = {
    "tower": "clip",
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 336,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
}
SIGLIP_SO400M_14_384 = {
    "tower": "siglip",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "num_attention_heads": 16,
    "image_size": 384,
    "patch_size": 14,
    "hidden_act": "gelu_pytorch_tanh",
    "layer_norm_eps": 1e-6,
}
_VISION_PRESETS = {
    "clip-vit-large-patch14-336": CLIP_VIT_L_14_336,
    "siglip-so400m-patch14-384": SIGLIP_SO400M_14_384,
}
# The fine-tuned AS2M model; BeatsConfig's defaults are its sizes.
_BEATS = {"tower": "beats"}

_VISION_FIELDS = ("num_channels", "attention_dropout", *CLIP_VIT_L_14_336)
_TOWER_BY_TYPE = {"clip_vision_model": "clip", "clip": "clip", "siglip_vision_model": "siglip", "siglip": "siglip"}


def vision_preset(name: str | None) -> dict[str, Any] | None:
    """Sizes of a tower known by its hub id or a folder of that name; None for any other."""
    return _VISION_PRESETS.get(_last_part(name)) if name else None


def audio_preset(name: str | None) -> dict[str, Any] | None:
    """Sizes of an audio tower that an official config names: BEATs is the only one there is."""
    return dict(_BEATS) if name else None


def normalize_vision_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a tower's `config.json` into our form.

    Args:
        config: a mapping with `tower` (kept as it is), or transformers' config of CLIP or SigLIP, whole or vision part.

    Returns:
        A mapping with `tower` and, for CLIP and SigLIP, the fields that determine their modules.
    """
    if "tower" in config:
        return dict(config)
    part = config.get("vision_config") or config
    # Some whole-model files leave the vision part's type out.
    tower = _TOWER_BY_TYPE.get(part.get("model_type") or config.get("model_type", ""), part.get("model_type"))
    return {"tower": tower, **{k: part[k] for k in _VISION_FIELDS if k in part}}


def _last_part(name: str) -> str:
    return name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
