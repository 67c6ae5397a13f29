"""BEATs the plain way, on the weights of our tower: one sound, full score matrices, bias built in each layer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from videollama2.model.audio.beats import FBANK_MEAN, FBANK_STD, BeatsTower


def plain_beats(tower: BeatsTower, fbank_asm: Tensor) -> Tensor:
    """Features [A, L, D] of equally long sounds [A, S, M]."""
    x = ((fbank_asm - FBANK_MEAN) / (2 * FBANK_STD)).unsqueeze(1)
    x = tower.patch_embedding(x).flatten(2).transpose(1, 2)
    x = tower.post_extract_proj(tower.layer_norm(x))
    encoder = tower.encoder
    position = encoder.pos_conv(x.transpose(1, 2))[:, :, : x.shape[1]].transpose(1, 2)
    x = encoder.layer_norm(x + F.gelu(position))
    for layer in encoder.layers:
        bias = _position_bias(tower, x.shape[1])
        x = layer.self_attn_layer_norm(x * layer.residual_scale + _attention(layer.self_attn, x, bias))
        x = layer.final_layer_norm(x * layer.residual_scale + layer.fc2(layer.activation(layer.fc1(x))))
    return x


def _attention(attention: torch.nn.Module, x_ald: Tensor, bias_nll: Tensor) -> Tensor:
    heads = attention.num_heads
    q, k, v = (
        projection(x_ald).unflatten(-1, (heads, -1)).transpose(1, 2)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    gate_a, gate_b = torch.sigmoid(attention.grep_linear(q).unflatten(-1, (2, 4)).sum(-1)).unsqueeze(-1).unbind(-2)
    gates = gate_a * (gate_b * attention.grep_a - 1.0) + 2.0
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + gates * bias_nll
    return attention.out_proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def _position_bias(tower: BeatsTower, length: int) -> Tensor:
    """Bias [N, L, L] looked up pair by pair: half the buckets for each sign, exact when near, logarithmic when far."""
    table, config = tower.encoder.relative_attention_bias, tower.config
    assert table is not None
    places = torch.arange(length)
    distance = places[None, :] - places[:, None]
    half, exact = config.num_buckets // 2, config.num_buckets // 4
    growth = torch.log(distance.abs().float() / exact) / math.log(config.max_distance / exact) * (half - exact)
    far = torch.clamp(exact + growth.nan_to_num(neginf=0.0).long(), max=half - 1)
    bucket = torch.where(distance.abs() < exact, distance.abs(), far) + (distance > 0) * half
    return table(bucket).permute(2, 0, 1)
