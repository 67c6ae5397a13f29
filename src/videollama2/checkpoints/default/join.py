"""Join the converted parts and the trained small weights into one model: its configuration, weights and chat template.

Pure apart from reading the parts' files; `assemble` writes what comes out of here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from videollama2.checkpoints.default.convert import (
    convert_audio_encoder,
    convert_frame_encoder,
    convert_language_model,
    language_model_config,
)
from videollama2.checkpoints.default.gguf import GGUFFile
from videollama2.checkpoints.default.parts import class_names
from videollama2.checkpoints.detect import DEFAULT_MODEL_NAME
from videollama2.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NUM_FRAMES = 8
CONNECTOR = {"mm_projector_type": "stc_connector_v35", "mm_connector_width": 256, "mm_connector_depth": 4}
AUDIO_PROJECTOR = "mlp2x_gelu"
# Every Whisper size has heads of 64 numbers.
_WHISPER_HEAD_WIDTH = 64
# 25 positions of 20 ms: one token for each half second of sound.
AUDIO_POOL = 25
# The word whose embedding takes the weight that the frame classifier's best classes leave over.
DOUBT = "something"
# Turns as the language model knows them. The published template puts a sentence about the model's name and maker in
# front where there is no system turn; the default model is trained and asked without it.
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
UNTRAINED_SEED = 0


@dataclass(frozen=True, kw_only=True)
class TrainedWeights:
    """The small weights this project trains.

    Attributes:
        tensors: `mm_projector.*`, `mm_projector_a.*`, `lora.<path in the language model>.A` [r, in] and `.B` [out, r],
            optionally `tag_embeddings`.
        lora_scale: alpha / rank.
    """

    tensors: Mapping[str, torch.Tensor]
    lora_scale: float = 0.0


@dataclass(frozen=True, kw_only=True)
class JoinedModel:
    """Configuration (a JSON-able mapping) and weights under the package's own names."""

    config: dict[str, Any]
    weights: dict[str, torch.Tensor]


def join(parts: Mapping[str, Path], tokenizer: PreTrainedTokenizerBase, trained: TrainedWeights | None) -> JoinedModel:
    """Make the default model.

    Args:
        parts: part key -> published file, as `fetch_parts` returns them.
        tokenizer: the language model's.
        trained: None gives connector and projector random weights and marks the model as untrained.

    Raises:
        CheckpointError: a part is damaged, or the trained weights do not fit the parts.
    """
    frames = convert_frame_encoder(parts["frame_encoder"])
    sounds = convert_audio_encoder(parts["audio_encoder"])
    language_file = GGUFFile(parts["language_model"])
    language = convert_language_model(language_file)
    config = _config(language_file, sounds)
    embeddings = language["model.embed_tokens.weight"].float()
    small = {"tag_embeddings": tag_embeddings(tokenizer, embeddings), **_untrained_projectors(config)}
    if trained is None:
        config["mm_untrained"] = True
    else:
        _merge_lora(language, trained)
        _replace(small, {k: v for k, v in trained.tensors.items() if not k.startswith("lora.")})
    weights = {f"model.vision_tower.{name}": tensor for name, tensor in frames.items()}
    weights |= {f"model.audio_tower.{name}": tensor for name, tensor in sounds.items()}
    weights |= {f"model.{name}": tensor.to(torch.bfloat16) for name, tensor in small.items()}
    for name, tensor in language.items():
        own = name if name.startswith("lm_head.") else "model.language_model." + name.removeprefix("model.")
        weights[own] = tensor
    return JoinedModel(config=config, weights={name: tensor.contiguous() for name, tensor in weights.items()})


def tag_embeddings(tokenizer: PreTrainedTokenizerBase, word_embeddings: torch.Tensor) -> torch.Tensor:
    """The frame classifier's classes in the language model's words.

    Args:
        tokenizer: the language model's.
        word_embeddings: its input embeddings, [V, E].

    Returns:
        float32 [1001, E]: for each class the mean over its name's tokens, then one row for doubt.
    """
    rows = []
    for name in [*class_names(), DOUBT]:
        ids = tokenizer(" " + name, add_special_tokens=False).input_ids
        rows.append(word_embeddings[ids].float().mean(dim=0))
    return torch.stack(rows)


def _config(language_file: GGUFFile, sounds: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    from videollama2.model.vision.efficientnet import EfficientNetLite0Tower

    width = sounds["layer_norm.weight"].shape[0]
    audio_config = {
        "tower": "whisper_encoder",
        "hidden_size": width,
        "num_mel_bins": sounds["conv1.weight"].shape[1],
        "num_layers": sum(name.endswith(".fc1.weight") for name in sounds),
        "num_heads": width // _WHISPER_HEAD_WIDTH,
        "max_positions": sounds["embed_positions.weight"].shape[0],
        "pool": AUDIO_POOL,
    }
    text_config = {"model_type": "llama", "dtype": "bfloat16", **language_model_config(language_file)}
    return {
        "architectures": ["VideoLLaMA2ForConditionalGeneration"],
        "model_type": "videollama2",
        "dtype": "bfloat16",
        "text_config": text_config,
        "vision_config": {"tower": "efficientnet_lite0"},
        "audio_config": audio_config,
        **CONNECTOR,
        "mm_hidden_size": EfficientNetLite0Tower.hidden_size,
        "mm_projector_a_type": AUDIO_PROJECTOR,
        "mm_hidden_size_a": width,
        "mm_use_tags": True,
        "mm_tags_doubt": True,
        "num_frames": NUM_FRAMES,
        "tie_word_embeddings": text_config["tie_word_embeddings"],
        "mm_model_name": DEFAULT_MODEL_NAME,
    }


def _untrained_projectors(config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Connector and audio projector with random weights, the same ones each time; they also state the true shapes."""
    from types import SimpleNamespace

    from videollama2.model.audio.projector import build_audio_projector
    from videollama2.model.connectors import build_connector

    width = config["text_config"]["hidden_size"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        connector = build_connector(SimpleNamespace(**config, hidden_size=width))
        projector = build_audio_projector(AUDIO_PROJECTOR, config["mm_hidden_size_a"], width)
    named = {f"mm_projector.{name}": tensor for name, tensor in connector.state_dict().items()}
    return named | {f"mm_projector_a.{name}": tensor for name, tensor in projector.state_dict().items()}


def _replace(small: dict[str, torch.Tensor], trained: Mapping[str, torch.Tensor]) -> None:
    """Put trained tensors in place; all but the tag embeddings must be there, none may be strange."""
    strange = sorted(set(trained) - set(small))
    missing = sorted(set(small) - set(trained) - {"tag_embeddings"})
    misshapen = sorted(k for k in set(small) & set(trained) if small[k].shape != trained[k].shape)
    if strange or missing or misshapen:
        raise CheckpointError(
            f"the default model's trained weights do not fit this version: missing {missing[:5]}, "
            f"unknown {strange[:5]}, of another shape {misshapen[:5]}; install videollama2 again."
        )
    small.update(trained)


def _merge_lora(language: dict[str, torch.Tensor], trained: TrainedWeights) -> None:
    """Add scale * B A to each adapted matrix, in float32, rounded once."""
    for name in sorted(trained.tensors):
        if not (name.startswith("lora.") and name.endswith(".A")):
            continue
        module = name.removeprefix("lora.").removesuffix(".A")
        target, other = module + ".weight", f"lora.{module}.B"
        if target not in language or other not in trained.tensors:
            raise CheckpointError(
                f"the default model's trained weights name {module}, which does not fit the language model; "
                "install videollama2 again."
            )
        delta = trained.tensors[other].float() @ trained.tensors[name].float() * trained.lora_scale
        base = language[target]
        if delta.shape != base.shape:
            raise CheckpointError(f"the trained update of {module} is {list(delta.shape)}, not {list(base.shape)}.")
        language[target] = (base.float() + delta).to(base.dtype)
