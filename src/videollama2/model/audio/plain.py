"""The plain way to compute BEATs: every score, bias and mask written out, for tests and benchmarks.

Same weights, same result; the bias of every query-key pair is looked up and gated for all queries at once, and
attention is softmax of a full matrix.

Shape legend: A sounds, S steps, M mel bins, L tokens, D width, N heads, K width of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .beats import BeatsAttention, BeatsLayer, BeatsTower, relative_position_bucket


def plain_features(tower: BeatsTower, fbank_asm: Tensor) -> Tensor:
    """`tower.extract_features(fbank_asm)` with textbook operations: [A, S, M] to [A, L, D]."""
    encoder = tower.encoder
    x_ald = tower._patches(fbank_asm)
    length = x_ald.shape[1]
    position_ald = encoder.pos_conv(x_ald.transpose(1, 2))[..., :length].transpose(1, 2)
    x_ald = encoder.layer_norm(x_ald + F.gelu(position_ald))
    bias_nll = None
    if encoder.relative_attention_bias is not None:
        positions = torch.arange(length, device=x_ald.device)
        buckets = relative_position_bucket(
            positions[None, :] - positions[:, None], tower.config.num_buckets, tower.config.max_distance
        )
        bias_nll = encoder.relative_attention_bias(buckets).permute(2, 0, 1)
    for layer in encoder.layers:
        assert isinstance(layer, BeatsLayer)
        attended_ald = _attention(layer.self_attn, x_ald, bias_nll)
        x_ald = layer.self_attn_layer_norm(x_ald * layer.residual_scale + attended_ald)
        inner_ald = layer.fc2(layer.activation(layer.fc1(x_ald)))
        x_ald = layer.final_layer_norm(x_ald * layer.residual_scale + inner_ald)
    return x_ald


def _attention(attention: BeatsAttention, x_ald: Tensor, bias_nll: Tensor | None) -> Tensor:
    q_anlk, k_anlk, v_anlk = (
        project(x_ald).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    scores_anll = q_anlk @ k_anlk.transpose(-1, -2) * q_anlk.shape[-1] ** -0.5
    mask = attention._mask(q_anlk, bias_nll, None)
    if mask is not None:
        scores_anll = scores_anll + mask
    return attention.out_proj((scores_anll.softmax(-1) @ v_anlk).transpose(1, 2).flatten(2))
