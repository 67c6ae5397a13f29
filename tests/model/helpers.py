"""Tiny configs and weights for the tests of this room."""

from __future__ import annotations

import json
import re
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor
from transformers import GenerationConfig

from videollama2.model.configuration import VideoLLaMA2Config
from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration

GOLDEN = Path(__file__).parents[1] / "golden"
CHECKPOINTS = ("VideoLLaMA2-tiny-mistral", "VideoLLaMA2.1-tiny-qwen2-16F", "VideoLLaMA2.1-tiny-AV")


def beats_state_dict(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """BEATs' own key names as ours: one shared bias table, torch's names for weight normalisation."""
    renamed = {}
    for name, tensor in weights.items():
        name = re.sub(r"layers\.\d+\.self_attn\.relative_attention_bias", "relative_attention_bias", name)
        name = name.replace("pos_conv.0.weight_g", "pos_conv.0.parametrizations.weight.original0")
        name = name.replace("pos_conv.0.weight_v", "pos_conv.0.parametrizations.weight.original1")
        renamed[name] = tensor
    return renamed


def official_state_dict(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """An official checkpoint's key names as ours; the tower's layers that nothing uses are left out."""
    renamed = {}
    for name, tensor in weights.items():
        name = name.replace("model.vision_tower.vision_tower.vision_model.", "model.vision_tower.")
        name = re.sub(r"^model\.(?!vision_tower|mm_projector|audio_tower)", "model.language_model.", name)
        if re.search(r"vision_tower\.(head|post_layernorm|encoder\.layers\.2)\b|position_ids", name):
            continue
        renamed[name] = tensor
    audio = {k: v for k, v in renamed.items() if k.startswith("model.audio_tower.")}
    return {k: v for k, v in renamed.items() if k not in audio} | beats_state_dict(audio)


def load_golden(name: str) -> VideoLLaMA2ForConditionalGeneration:
    """One of the three tiny official checkpoints, in our model."""
    config = json.loads((GOLDEN / "checkpoints" / name / "config.json").read_text())
    vision_config = json.loads((GOLDEN / config["mm_vision_tower"] / "config.json").read_text())
    audio_config = None
    if "mm_audio_tower" in config:
        audio_config = json.loads((GOLDEN / config["mm_audio_tower"].replace(".pt", ".cfg.json")).read_text())
    model = VideoLLaMA2ForConditionalGeneration(VideoLLaMA2Config.from_official(config, vision_config, audio_config))
    model.load_state_dict(official_state_dict(load_file(GOLDEN / "checkpoints" / name / "model.safetensors")))
    model.generation_config = GenerationConfig.from_pretrained(GOLDEN / "checkpoints" / name)
    return model.eval()
