"""Sizes of the released models by name, so that a dry run needs no download.

From the `config.json` files of the repositories; only what decides the shapes of weights.
"""

from __future__ import annotations

from typing import Any

from videollama2.model.configuration import VideoLLaMA2Config
from videollama2.model.presets import audio_preset, vision_preset
from videollama2.training.recipe import Recipe

_MISTRAL_7B = {
    "model_type": "mistral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 32000,
}
_MIXTRAL_8X7B = {**_MISTRAL_7B, "model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
_QWEN2_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "intermediate_size": 18944,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
_QWEN2_72B = {
    **_QWEN2_7B,
    "hidden_size": 8192,
    "intermediate_size": 29568,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}
LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "mistralai/Mistral-7B-Instruct-v0.2": _MISTRAL_7B,
    "mistralai/Mixtral-8x7B-Instruct-v0.1": _MIXTRAL_8X7B,
    "Qwen/Qwen2-7B-Instruct": _QWEN2_7B,
    "Qwen/Qwen2-72B-Instruct": _QWEN2_72B,
}
CLIP, SIGLIP = "openai/clip-vit-large-patch14-336", "google/siglip-so400m-patch14-384"
# Released checkpoint -> language model, vision tower, connector, frames, ears.
_RELEASED: dict[str, tuple[dict[str, Any], str, str, int, bool]] = {
    "DAMO-NLP-SG/VideoLLaMA2-7B": (_MISTRAL_7B, CLIP, "stc_connector", 8, False),
    "DAMO-NLP-SG/VideoLLaMA2-7B-16F": (_MISTRAL_7B, CLIP, "stc_connector", 16, False),
    "DAMO-NLP-SG/VideoLLaMA2-8x7B": (_MIXTRAL_8X7B, CLIP, "stc_connector", 8, False),
    "DAMO-NLP-SG/VideoLLaMA2-72B": (_QWEN2_72B, CLIP, "stc_connector", 8, False),
    "DAMO-NLP-SG/VideoLLaMA2.1-7B-16F": (_QWEN2_7B, SIGLIP, "stc_connector_v35", 16, False),
    "DAMO-NLP-SG/VideoLLaMA2.1-7B-AV": (_QWEN2_7B, SIGLIP, "stc_connector_v35", 16, True),
}


def known_config(recipe: Recipe) -> VideoLLaMA2Config | None:
    """The configuration of a recipe's model where its sizes are known by name alone; None for any other."""
    source = recipe.model
    if source.compose is not None:
        made = source.compose
        text = LANGUAGE_MODELS.get(made.language_model)
        vision = vision_preset(made.vision_tower)
        if text is None or (made.vision_tower is not None and vision is None):
            return None
        return _config(text, made.vision_tower, made.connector, made.num_frames, made.audio_tower is not None)
    released = _RELEASED.get((source.from_ or "").removesuffix("-Base"))
    if released is None:
        return None
    text, tower, connector, num_frames, hears = released
    return _config(text, tower, connector, num_frames, hears or source.audio_tower is not None)


def _config(
    text: dict[str, Any], vision_tower: str | None, connector: str, num_frames: int, hears: bool
) -> VideoLLaMA2Config:
    return VideoLLaMA2Config(
        text_config=dict(text),
        vision_config=vision_preset(vision_tower),
        audio_config=audio_preset("beats") if hears else None,
        mm_vision_tower=vision_tower,
        mm_projector_type=connector,
        num_frames=num_frames,
    )
