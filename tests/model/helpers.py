"""Tiny configs and weights for the tests of this room."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
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


VISION = {
    "tower": "siglip",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 7,
}
AUDIO = {
    "tower": "beats",
    "embed_dim": 8,
    "encoder_layers": 2,
    "encoder_embed_dim": 16,
    "encoder_ffn_embed_dim": 24,
    "encoder_attention_heads": 2,
    "conv_pos": 8,
    "conv_pos_groups": 4,
    "finetuned_model": False,
}
TEXT = {
    "vocab_size": 60,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
BACKBONES: dict[str, dict[str, Any]] = {
    "mistral": {"sliding_window": None},
    "mixtral": {"num_local_experts": 3, "num_experts_per_tok": 2},
    "qwen2": {},
    "llama": {},
    "gemma2": {"head_dim": 8, "sliding_window": 16},
    "phi3": {},
}


def tiny_model(backbone: str = "qwen2", seed: int = 0, **settings: Any) -> VideoLLaMA2ForConditionalGeneration:
    """A random audio-visual model of a few thousand weights."""
    torch.manual_seed(seed)
    text = {**TEXT, **BACKBONES[backbone], "model_type": backbone}
    fields = {"mm_projector_type": "stc_connector_v35", "mm_connector_depth": 1, "num_frames": 4} | settings
    config = VideoLLaMA2Config(text_config=text, **{"vision_config": VISION, "audio_config": AUDIO, **fields})
    model = VideoLLaMA2ForConditionalGeneration(config).eval()
    with torch.no_grad():  # logits far apart, so that greedy choices do not hang on rounding
        for parameter in model.model.language_model.parameters():
            parameter.mul_(3 if parameter.ndim > 1 else 1)
        model.lm_head.weight.mul_(3)
    return model


class Request:
    """One row: ids with sentinels and the media they stand for."""

    def __init__(self, kind: str, seed: int, length: int = 6) -> None:
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(3, 60, (length,), generator=generator).tolist()
        sentinel = {"image": [-200], "video": [-201], "audio": [-202], "av": [-201], "text": []}[kind]
        self.ids = ids[:2] + sentinel + ids[2:]
        frames = {"image": 1, "video": 4, "av": 4}.get(kind, 0)
        self.frames = torch.randn(frames, 3, 28, 28, generator=generator)
        steps = {"audio": 32 + 16 * (seed % 2), "av": 48}.get(kind, 0)
        self.sound = torch.randn(steps, 128, generator=generator) * 5 + 15
        self.kind = kind


def batch_of(requests: list[Request], padding_side: str = "right") -> dict[str, Tensor]:
    """The arguments of forward and generate for some requests."""
    rows = [torch.tensor(r.ids) for r in requests]
    pad = {"batch_first": True, "padding_side": padding_side}
    batch = {
        "input_ids": pad_sequence(rows, **pad),
        "attention_mask": pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], **pad),
    }
    visual = [r for r in requests if len(r.frames)]
    if visual:
        batch["pixel_values"] = torch.cat([r.frames for r in visual])
        batch["num_frames"] = torch.tensor([len(r.frames) for r in visual])
        batch["video_has_audio"] = torch.tensor([r.kind == "av" for r in visual])
    sounds = [r.sound for r in requests if len(r.sound)]
    if sounds:
        batch["audio_values"] = pad_sequence(sounds, batch_first=True)
        batch["audio_lengths"] = torch.tensor([len(s) for s in sounds])
    return batch
