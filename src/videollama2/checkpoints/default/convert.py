"""Turn the published files of the default model's three parts into weights under this package's names.

Pure: files in, dictionaries of tensors out; nothing is downloaded or written. The language model's 4-bit weights
are undone to numbers (bf16 is enough for them), the audio encoder's joined query-key-value matrices are taken apart,
and the frame encoder's batch norms are folded into its convolutions, since its statistics stay fixed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videollama2.checkpoints.default.ctranslate2 import read_ctranslate2
from videollama2.checkpoints.default.gguf import GGUFFile
from videollama2.errors import CheckpointError

_BATCH_NORM_EPSILON = 1e-3  # of the EfficientNet family; a property of its training, not stored in the file

_GGUF_LLAMA_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert_frame_encoder(path: str | Path) -> dict[str, torch.Tensor]:
    """Return EfficientNet-Lite0's weights under the names of `model.vision.efficientnet`, fp32, batch norms folded.

    Raises:
        CheckpointError: the file cannot be read as weights alone, or a layer is missing.
    """
    try:
        source = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged pickle; all mean the same to the user
        raise CheckpointError(f"{path} cannot be read as a weights file; delete it and fetch it again.") from error
    try:
        converted = {"classifier.weight": source["_fc.weight"], "classifier.bias": source["_fc.bias"]}
        converted |= _fold(source, "_conv_stem", "_bn0", "stem.conv")
        converted |= _fold(source, "_conv_head", "_bn1", "head.conv")
        num_blocks = 1 + max(int(key.split(".")[1]) for key in source if key.startswith("_blocks."))
        for index in range(num_blocks):
            old, new = f"_blocks.{index}.", f"blocks.{index}."
            if old + "_expand_conv.weight" in source:
                converted |= _fold(source, old + "_expand_conv", old + "_bn0", new + "expand.conv")
            converted |= _fold(source, old + "_depthwise_conv", old + "_bn1", new + "depthwise.conv")
            converted |= _fold(source, old + "_project_conv", old + "_bn2", new + "project.conv")
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path} is not EfficientNet-Lite0: {error} is missing; fetch it again.") from error
    return {name: tensor.float().contiguous() for name, tensor in converted.items()}


def _fold(source: dict[str, torch.Tensor], conv: str, norm: str, target: str) -> dict[str, torch.Tensor]:
    """A convolution without bias and the batch norm after it, as one convolution with bias (in double precision)."""
    variance = source[norm + ".running_var"].double() + _BATCH_NORM_EPSILON
    scale = source[norm + ".weight"].double() / variance.sqrt()
    weight = source[conv + ".weight"].double() * scale[:, None, None, None]
    bias = source[norm + ".bias"].double() - source[norm + ".running_mean"].double() * scale
    return {target + ".weight": weight, target + ".bias": bias}


def convert_audio_encoder(path: str | Path) -> dict[str, torch.Tensor]:
    """Return the Whisper encoder's weights under transformers' names (without a prefix), fp16 as published.

    Raises:
        CheckpointError: the file is damaged or not a Whisper model.
    """
    source = read_ctranslate2(path, prefix="encoder/")
    converted: dict[str, np.ndarray] = {}
    try:
        converted["embed_positions.weight"] = source["encoder/position_encodings/encodings"]
        for conv in ("conv1", "conv2"):
            converted |= _weight_and_bias(source, f"encoder/{conv}", conv)
        converted |= _layer_norm(source, "encoder/layer_norm", "layer_norm")
        num_layers = 1 + max(int(m[1]) for m in (re.match(r"encoder/layer_(\d+)/", key) for key in source) if m)
        for index in range(num_layers):
            old, new = f"encoder/layer_{index}/", f"layers.{index}."
            converted |= _layer_norm(source, old + "self_attention/layer_norm", new + "self_attn_layer_norm")
            converted |= _layer_norm(source, old + "ffn/layer_norm", new + "final_layer_norm")
            converted |= _weight_and_bias(source, old + "self_attention/linear_1", new + "self_attn.out_proj")
            converted |= _weight_and_bias(source, old + "ffn/linear_0", new + "fc1")
            converted |= _weight_and_bias(source, old + "ffn/linear_1", new + "fc2")
            joined = _weight_and_bias(source, old + "self_attention/linear_0", "")
            for kind, joined_values in joined.items():
                for name, values in zip("qkv", np.split(joined_values, 3)):
                    converted[f"{new}self_attn.{name}_proj{kind}"] = values
            # Whisper's key projection has no bias; the joined layout fills its third with zeros.
            key_bias = converted.pop(new + "self_attn.k_proj.bias")
            if np.any(key_bias != 0):
                raise CheckpointError(f"{path} has a key bias, which Whisper has not; it is another model.")
    except (KeyError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path} is not a Whisper model: {error} is missing; fetch it again.") from error
    return {name: torch.from_numpy(values.copy()) for name, values in converted.items()}


def _weight_and_bias(source: dict[str, np.ndarray], old: str, new: str) -> dict[str, np.ndarray]:
    return {new + ".weight": source[old + "/weight"], new + ".bias": source[old + "/bias"]}


def _layer_norm(source: dict[str, np.ndarray], old: str, new: str) -> dict[str, np.ndarray]:
    return {new + ".weight": source[old + "/gamma"], new + ".bias": source[old + "/beta"]}


def language_model_config(file: GGUFFile) -> dict[str, Any]:
    """Return the keyword arguments of transformers' `LlamaConfig` that the file's metadata states.

    Raises:
        CheckpointError: the file is not of the Llama architecture.
    """
    meta = file.metadata
    if meta.get("general.architecture") != "llama":
        raise CheckpointError(
            f"{file.path} is {meta.get('general.architecture')!r}, not a Llama model; fetch it again."
        )
    return {
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "hidden_size": meta["llama.embedding_length"],
        "intermediate_size": meta["llama.feed_forward_length"],
        "num_hidden_layers": meta["llama.block_count"],
        "num_attention_heads": meta["llama.attention.head_count"],
        "num_key_value_heads": meta["llama.attention.head_count_kv"],
        "max_position_embeddings": meta["llama.context_length"],
        "rms_norm_eps": round(meta["llama.attention.layer_norm_rms_epsilon"], 9),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(meta["llama.rope.freq_base"])},
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "bos_token_id": meta["tokenizer.ggml.bos_token_id"],
        "eos_token_id": meta["tokenizer.ggml.eos_token_id"],
        "pad_token_id": meta["tokenizer.ggml.padding_token_id"],
    }


def convert_language_model(file: GGUFFile, dtype: torch.dtype = torch.bfloat16) -> dict[str, torch.Tensor]:
    """Return the language model's weights under transformers' Llama names (`model.layers.0...`), in `dtype`.

    Tied output embeddings are not repeated.

    Raises:
        CheckpointError: a tensor has a name this model does not have, or cannot be read.
    """
    config = language_model_config(file)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    outer = {
        "token_embd.weight": "model.embed_tokens.weight",
        "output_norm.weight": "model.norm.weight",
        "output.weight": "lm_head.weight",
    }
    converted = {}
    for name in file.tensors:
        values = torch.from_numpy(file.read(name))
        if name in outer:
            converted[outer[name]] = values.to(dtype)
            continue
        match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)
        if match is None or match[2] not in _GGUF_LLAMA_NAMES:
            raise CheckpointError(f"{file.path} holds the tensor {name}, which a Llama model does not have.")
        if match[2] in heads:
            values = _rotate_by_halves(values, heads[match[2]])
        converted[f"model.layers.{match[1]}.{_GGUF_LLAMA_NAMES[match[2]]}.weight"] = values.to(dtype)
    return converted


def _rotate_by_halves(weight: torch.Tensor, num_heads: int) -> torch.Tensor:
    """Undo GGUF's row order of query and key matrices.

    GGUF interleaves the two numbers of every rotary pair; transformers keeps all first ones, then all second ones.
    """
    rows, columns = weight.shape
    return weight.reshape(num_heads, rows // num_heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)
