"""Which preprocessing goes with which model: specs read off a model's configuration.

A tower of this package is known by its registry name. A new tower brings its own preprocessing in its config, as a
mapping `preprocessing` with the fields of `PixelSpec` or `AudioSpec`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from videollama2.errors import CheckpointError
from videollama2.processing.audio import AudioSpec
from videollama2.processing.pixels import PixelSpec

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
# EfficientNet-Lite takes (level - 127) / 128.
_LITE_MEAN, _LITE_STD = (127 / 255,) * 3, (128 / 255,) * 3


def pixel_spec_of(vision_config: Mapping[str, Any], preprocessor_config: Mapping[str, Any] | None = None) -> PixelSpec:
    """Preprocessing of a vision tower.

    Args:
        vision_config: `VideoLLaMA2Config.vision_config`.
        preprocessor_config: The tower's own `preprocessor_config.json`, which goes before what is known of the tower.

    Raises:
        CheckpointError: Nothing is known of this tower.
    """
    if preprocessor_config is not None:
        return PixelSpec.from_preprocessor_config(preprocessor_config)
    if "preprocessing" in vision_config:
        return PixelSpec(**vision_config["preprocessing"])
    tower = vision_config.get("tower")
    size = vision_config.get("image_size")
    if tower == "clip":
        return PixelSpec(image_size=size or 336, resize="shortest_edge_crop", mean=_CLIP_MEAN, std=_CLIP_STD)
    if tower == "siglip":
        return PixelSpec(image_size=size or 384)
    if tower == "efficientnet_lite0":
        return PixelSpec(image_size=size or 224, mean=_LITE_MEAN, std=_LITE_STD)
    raise CheckpointError(
        f"The preprocessing of the vision tower {tower!r} is not known; add a `preprocessing` mapping to its config."
    )


def audio_spec_of(audio_config: Mapping[str, Any]) -> AudioSpec:
    """Preprocessing of an audio tower (`VideoLLaMA2Config.audio_config`).

    Raises:
        CheckpointError: Nothing is known of this tower.
    """
    if "preprocessing" in audio_config:
        return AudioSpec(**audio_config["preprocessing"])
    tower = audio_config.get("tower")
    if tower == "beats":
        return AudioSpec(kind="beats-fbank", num_mel_bins=128)
    if tower == "whisper_encoder":
        return AudioSpec(kind="whisper-log-mel", num_mel_bins=audio_config.get("num_mel_bins", 80))
    raise CheckpointError(
        f"The preprocessing of the audio tower {tower!r} is not known; add a `preprocessing` mapping to its config."
    )


def specs_from_config(config: Any, preprocessor_config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The processor's arguments for a model.

    Args:
        config: `VideoLLaMA2Config`.
        preprocessor_config: The vision tower's own `preprocessor_config.json`, where it is at hand.

    Returns:
        `pixel_spec`, `audio_spec` (None for a deaf model), `num_frames` and `model_type` (the official one of the
        backbone, which decides about the system message), as arguments of `VideoLLaMA2Processor`.

    Raises:
        CheckpointError: The config names a vision tower of which nothing is known.
    """
    vision_config = config.vision_config
    if vision_config is None and preprocessor_config is None and config.mm_vision_tower:
        raise CheckpointError(
            f"The vision tower {config.mm_vision_tower!r} is not a known one; give its preprocessor_config.json."
        )
    sees = vision_config is not None or preprocessor_config is not None
    return {
        "pixel_spec": pixel_spec_of(vision_config or {}, preprocessor_config) if sees else None,
        "audio_spec": audio_spec_of(config.audio_config) if config.audio_config else None,
        "num_frames": config.num_frames,
        "model_type": config.official_model_type,
    }
