"""Whisper's encoder (Radford et al. 2022) as an audio tower: the default model's ears.

Two convolutions over a log-mel spectrogram, fixed positions, pre-norm transformer layers. Parameter names are those of
transformers. Unlike there, any length up to 30 s is encoded as it is, without padding to 30 s, and the positions may be
averaged in groups so that ten seconds are a few tokens.

Shape legend: A items, S log-mel steps (10 ms), M mel bins, N positions (20 ms), D width, P pool.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from ...errors import RequestError
from .base import AudioTower, register_audio_tower

STEPS_PER_POSITION = 2


class WhisperAttention(nn.Module):
    """Multi-head self-attention; the key projection has no bias."""

    def __init__(self, width: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, hidden_and: torch.Tensor) -> torch.Tensor:
        """[A, N, D] -> [A, N, D]; every position sees every other."""
        query, key, value = (
            projection(hidden_and).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        return self.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class WhisperLayer(nn.Module):
    """Attention and a GELU feed-forward, each after its own layer norm and added to its input."""

    def __init__(self, width: int, num_heads: int, inner: int):
        super().__init__()
        self.self_attn = WhisperAttention(width, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, inner)
        self.fc2 = nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, hidden_and: torch.Tensor) -> torch.Tensor:
        """[A, N, D] -> [A, N, D]."""
        hidden_and = hidden_and + self.self_attn(self.self_attn_layer_norm(hidden_and))
        return hidden_and + self.fc2(F.gelu(self.fc1(self.final_layer_norm(hidden_and))))


@register_audio_tower("whisper_encoder")
class WhisperEncoderTower(AudioTower):
    """The audio tower. `audio_config` may hold these; the defaults are Whisper tiny's sizes:

    hidden_size (384), num_mel_bins (80), num_layers (4), num_heads (6), max_positions (1500, that is 30 s), and
    pool (25): consecutive positions that are averaged into one token, at least 1; 25 are half a second.
    """

    def __init__(self, audio_config: Mapping[str, Any] | None = None):
        """Build with random weights.

        Raises:
            RequestError: `pool` is below 1.
        """
        super().__init__()
        config = dict(audio_config or {})
        self.hidden_size = int(config.get("hidden_size", 384))
        self.num_mel_bins = int(config.get("num_mel_bins", 80))
        self.pool = int(config.get("pool", 25))
        if self.pool < 1:
            raise RequestError(f"the audio tower's pool is {self.pool}; it must be at least 1.")
        width = self.hidden_size
        self.conv1 = nn.Conv1d(self.num_mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=STEPS_PER_POSITION, padding=1)
        self.embed_positions = nn.Embedding(int(config.get("max_positions", 1500)), width)
        self.embed_positions.weight.requires_grad_(False)
        num_heads = int(config.get("num_heads", 6))
        self.layers = nn.ModuleList(
            WhisperLayer(width, num_heads, 4 * width) for _ in range(int(config.get("num_layers", 4)))
        )
        self.layer_norm = nn.LayerNorm(width)

    def num_tokens(self, steps: int) -> int:
        """Tokens that `steps` log-mel steps give: two a position, `pool` positions a token, what is left one more."""
        return math.ceil(math.ceil(steps / STEPS_PER_POSITION) / self.pool)

    def forward(self, values_asm: torch.Tensor, lengths_a: torch.Tensor) -> list[torch.Tensor]:
        """Encode sounds of different lengths; each is encoded as if it were alone.

        Args:
            values_asm: log-mel [A, S, M] as Whisper scales it, padded to the longest.
            lengths_a: true steps of each, 1..2 * max_positions.

        Returns:
            One [ceil(ceil(steps / 2) / pool), D] tensor an item, in order.

        Raises:
            RequestError: a length is 0, longer than `values_asm`, or past the last position.
        """
        lengths = [int(length) for length in lengths_a]
        longest = min(values_asm.shape[1], self.embed_positions.num_embeddings * STEPS_PER_POSITION)
        for length in lengths:
            if not 1 <= length <= longest:
                raise RequestError(f"A sound has {length} log-mel steps; give 1 to {longest} (one step is 10 ms).")
        tokens: list[torch.Tensor] = [values_asm.new_empty(0)] * len(lengths)
        # Items of one length go together: no mask, and the numbers do not depend on what else is in the batch.
        for length in sorted(set(lengths)):
            items = [index for index, other in enumerate(lengths) if other == length]
            encoded = self._pool(self.encode(values_asm[items, :length]))
            for index, tokens_nd in zip(items, encoded):
                tokens[index] = tokens_nd
        return tokens

    def encode(self, values_asm: torch.Tensor) -> torch.Tensor:
        """Sounds of one length [A, S, M] -> positions [A, ceil(S / 2), D], before pooling."""
        hidden = F.gelu(self.conv1(values_asm.transpose(1, 2)))
        hidden = F.gelu(self.conv2(hidden)).transpose(1, 2)
        hidden = hidden + self.embed_positions.weight[: hidden.shape[1]]
        for layer in self.layers:
            hidden = layer(hidden)
        return self.layer_norm(hidden)

    def _pool(self, hidden_and: torch.Tensor) -> torch.Tensor:
        """Average groups of `pool` positions; a last short group is averaged over what it has."""
        return F.avg_pool1d(hidden_and.transpose(1, 2), self.pool, ceil_mode=True).transpose(1, 2)
