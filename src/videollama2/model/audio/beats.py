"""BEATs: the audio tower of VideoLLaMA 2.1-AV (arXiv 2212.09058), a transformer over 16x16 patches of the fbank.

Post-norm layers with deep-norm scaling, a weight-normalised convolution as position embedding, and relative position
biases shared by all layers and gated in each by its queries. The bias of every distance is looked up once per forward,
attention is `scaled_dot_product_attention`, and the shared table is one parameter.

Names of parameters are those of BEATs' own files but for two:
    encoder.layers.{i}.self_attn.relative_attention_bias.weight (all equal) -> encoder.relative_attention_bias.weight
    encoder.pos_conv.0.weight_g, weight_v -> encoder.pos_conv.0.parametrizations.weight.original0, original1

Shape legend: A sounds, S steps, M mel bins, L tokens, D width, N heads, K width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from ...errors import RequestError
from .base import AudioTower, register_audio_tower

# Input statistics of BEATs' training data.
FBANK_MEAN = 15.41663
FBANK_STD = 6.55582
# Queries whose gated bias is formed at once: few stay in cache; all of 30 s would take 107 MB in every layer.
QUERIES_PER_CHUNK = 128


@dataclass(frozen=True, kw_only=True)
class BeatsConfig:
    """Sizes of a BEATs encoder, named as in its files' `cfg`; the defaults are the published models'."""

    input_patch_size: int = 16
    """Side of a patch in steps and mel bins."""
    embed_dim: int = 512
    """Width of the patch embedding."""
    conv_bias: bool = False
    """Whether the patch embedding has a bias."""
    encoder_layers: int = 12
    """Number of layers."""
    encoder_embed_dim: int = 768
    """Width D of the layers."""
    encoder_ffn_embed_dim: int = 3072
    """Width inside the feed-forward part."""
    encoder_attention_heads: int = 12
    """Number of heads N; divides the width."""
    activation_fn: str = "gelu"
    """Activation of the feed-forward part; "gelu" or "relu"."""
    layer_norm_first: bool = False
    """Pre-norm layers; no published fine-tuned model has them, so true is refused."""
    deep_norm: bool = True
    """Scale residuals by (2 * layers) ** 0.25."""
    layer_wise_gradient_decay_ratio: float = 0.6
    """What the gradient is multiplied with on its way out of each layer, as the official training does; 1 is none."""
    conv_pos: int = 128
    """Kernel of the position convolution in tokens."""
    conv_pos_groups: int = 16
    """Groups of the position convolution."""
    relative_position_embedding: bool = True
    """Whether attention has relative position biases."""
    num_buckets: int = 320
    """Rows of the relative position table."""
    max_distance: int = 800
    """Distance in tokens from which on all share one bucket."""
    gru_rel_pos: bool = True
    """Whether each layer gates the biases by its queries."""
    finetuned_model: bool = True
    """Whether a class predictor is part of the file (it is not used for features)."""
    predictor_class: int = 527
    """Classes of the predictor."""
    num_mel_bins: int = 128
    """M; a multiple of the patch side."""

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> BeatsConfig:
        """Take the known fields of a file's `cfg`; drop-outs and layer-drop, which act in training alone, are not used.

        Raises:
            RequestError: a field has a value that this encoder does not implement.
        """
        known = {field.name for field in fields(cls)}
        beats = cls(**{k: v for k, v in config.items() if k in known})
        if beats.layer_norm_first or beats.activation_fn not in ("gelu", "relu"):
            raise RequestError(
                f"BEATs with layer_norm_first={beats.layer_norm_first}, activation_fn={beats.activation_fn!r} is not"
                " supported; use a checkpoint with post-norm layers and gelu or relu."
            )
        return beats


@register_audio_tower("beats")
class BeatsTower(AudioTower):
    """fbank rows in, one feature for each 16x16 patch out (time-major: all 8 frequency patches of a time first)."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = beats = BeatsConfig.from_mapping(config)
        self.hidden_size = beats.encoder_embed_dim
        self.num_mel_bins = beats.num_mel_bins
        patch = beats.input_patch_size
        self.patch_embedding = nn.Conv2d(1, beats.embed_dim, patch, stride=patch, bias=beats.conv_bias)
        self.layer_norm = nn.LayerNorm(beats.embed_dim)
        self.post_extract_proj = (
            nn.Linear(beats.embed_dim, beats.encoder_embed_dim)
            if beats.embed_dim != beats.encoder_embed_dim
            else nn.Identity()
        )
        self.encoder = BeatsEncoder(beats)
        self.predictor = nn.Linear(beats.encoder_embed_dim, beats.predictor_class) if beats.finetuned_model else None

    def num_tokens(self, steps: int) -> int:
        """Patches in `steps` fbank rows; the rows after the last whole patch are dropped."""
        patch = self.config.input_patch_size
        return (steps // patch) * (self.num_mel_bins // patch)

    def forward(self, values_asm: Tensor, lengths_a: Tensor) -> list[Tensor]:
        """Encode each sound alone; sounds of equal length pass together.

        Args:
            values_asm: fbank [A, S, M] as the audio front end makes it (not normalised).
            lengths_a: true rows of each.

        Returns:
            Features [L_i, D] of each sound.

        Raises:
            RequestError: a sound is shorter than one patch.
        """
        lengths = lengths_a.tolist()
        patch = self.config.input_patch_size
        if lengths and min(lengths) < patch:
            raise RequestError(
                f"a sound of {min(lengths)} fbank rows is shorter than one patch; give at least {patch} rows (0.18 s)."
            )
        features: dict[int, Tensor] = {}
        for length in set(lengths):
            rows = [i for i, n in enumerate(lengths) if n == length]
            features.update(zip(rows, self.extract_features(values_asm[rows, :length])))
        return [features[i] for i in range(len(lengths))]

    def extract_features(self, fbank_asm: Tensor, padding_asm: Tensor | None = None) -> Tensor:
        """Features of every patch of equally long sounds.

        Args:
            fbank_asm: fbank [A, S, M].
            padding_asm: True at padded values, [A, S, M] or [A, S]; a patch is padding where all its rows are.

        Returns:
            Features [A, L, D], padded patches included.
        """
        return self.encoder(self._patches(fbank_asm), self._token_padding(fbank_asm, padding_asm))

    def predict(self, fbank_asm: Tensor, padding_asm: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Class probabilities [A, C] of the file's own predictor, and the padding of patches [A, L] or None.

        Raises:
            RequestError: this checkpoint has no predictor.
        """
        if self.predictor is None:
            raise RequestError("this BEATs checkpoint has no class predictor; use a fine-tuned one.")
        padding_al = self._token_padding(fbank_asm, padding_asm)
        logits_alc = self.predictor(self.encoder(self._patches(fbank_asm), padding_al))
        if padding_al is None:
            return logits_alc.mean(1).sigmoid(), None
        kept_al1 = (~padding_al).unsqueeze(-1)
        return ((logits_alc * kept_al1).sum(1) / kept_al1.sum(1)).sigmoid(), padding_al

    def _patches(self, fbank_asm: Tensor) -> Tensor:
        x_a1sm = ((fbank_asm - FBANK_MEAN) / (2 * FBANK_STD)).unsqueeze(1)
        x_ald = self.patch_embedding(x_a1sm).flatten(2).transpose(1, 2)
        return self.post_extract_proj(self.layer_norm(x_ald))

    def _token_padding(self, fbank_asm: Tensor, padding_asm: Tensor | None) -> Tensor | None:
        if padding_asm is None:
            return None
        # The official code folds the row mask evenly over the patches, dropping what is left over at the end.
        rows_as = padding_asm.all(-1) if padding_asm.ndim == 3 else padding_asm
        num_tokens = self.num_tokens(fbank_asm.shape[1])
        kept = rows_as.shape[1] - rows_as.shape[1] % num_tokens
        return rows_as[:, :kept].unflatten(1, (num_tokens, -1)).all(-1)


class BeatsEncoder(nn.Module):
    """Position convolution, norm, layers; owns the relative position table that all layers share."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        width = config.encoder_embed_dim
        conv = nn.Conv1d(width, width, config.conv_pos, padding=config.conv_pos // 2, groups=config.conv_pos_groups)
        self.pos_conv = nn.Sequential(weight_norm(conv, dim=2))
        self.layer_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(BeatsLayer(config) for _ in range(config.encoder_layers))
        self.relative_attention_bias = (
            nn.Embedding(config.num_buckets, config.encoder_attention_heads)
            if config.relative_position_embedding
            else None
        )

    def forward(self, x_ald: Tensor, padding_al: Tensor | None = None) -> Tensor:
        """Map [A, L, D] to [A, L, D]; `padding_al` is True where a token is not to be attended to."""
        if padding_al is not None:
            x_ald = x_ald.masked_fill(padding_al.unsqueeze(-1), 0)
        length = x_ald.shape[1]
        # An even kernel padded by half its size gives one output too many.
        position_ald = self.pos_conv(x_ald.transpose(1, 2))[..., :length].transpose(1, 2)
        x_ald = self.layer_norm(x_ald + F.gelu(position_ald))
        bias_nll = self._position_bias(length, x_ald)
        for layer in self.layers:
            if torch.is_grad_enabled():
                x_ald = _ScaledGradient.apply(x_ald, self.config.layer_wise_gradient_decay_ratio)
            x_ald = layer(x_ald, bias_nll, padding_al)
        return x_ald

    def _position_bias(self, length: int, like: Tensor) -> Tensor | None:
        """Bias of every query-key pair, [N, L, L]: a view of one value per head and distance."""
        if self.relative_attention_bias is None:
            return None
        distances = torch.arange(-(length - 1), length, device=like.device)
        buckets = relative_position_bucket(distances, self.config.num_buckets, self.config.max_distance)
        by_distance_nx = self.relative_attention_bias(buckets).t().contiguous()
        # Row q holds the distances -q .. L-1-q: each row starts one entry before the row above.
        return by_distance_nx.unfold(-1, length, 1).flip(1)


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is scaled: lower layers learn more slowly, the further down the more so."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None


class BeatsLayer(nn.Module):
    """Attention and feed-forward, each followed by a norm; residuals scaled by deep-norm."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        width = config.encoder_embed_dim
        self.self_attn = BeatsAttention(config)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, config.encoder_ffn_embed_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_embed_dim, width)
        self.final_layer_norm = nn.LayerNorm(width)
        self.activation = F.gelu if config.activation_fn == "gelu" else F.relu
        self.residual_scale = (2 * config.encoder_layers) ** 0.25 if config.deep_norm else 1.0

    def forward(self, x_ald: Tensor, bias_nll: Tensor | None, padding_al: Tensor | None) -> Tensor:
        """Map [A, L, D] to [A, L, D]."""
        attended_ald = self.self_attn(x_ald, bias_nll, padding_al)
        x_ald = self.self_attn_layer_norm(x_ald * self.residual_scale + attended_ald)
        return self.final_layer_norm(x_ald * self.residual_scale + self.fc2(self.activation(self.fc1(x_ald))))


class BeatsAttention(nn.Module):
    """Multi-head attention with relative position biases gated by the queries."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        width, self.num_heads = config.encoder_embed_dim, config.encoder_attention_heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        self.gated = config.gru_rel_pos and config.relative_position_embedding
        if self.gated:
            self.grep_linear = nn.Linear(width // self.num_heads, 8)
            self.grep_a = nn.Parameter(torch.ones(1, self.num_heads, 1, 1))

    def forward(self, x_ald: Tensor, bias_nll: Tensor | None, padding_al: Tensor | None) -> Tensor:
        """Map [A, L, D] to [A, L, D]."""
        q_anlk, k_anlk, v_anlk = (
            project(x_ald).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        length = x_ald.shape[1]
        out = []
        for start in range(0, length, QUERIES_PER_CHUNK):
            rows = slice(start, min(start + QUERIES_PER_CHUNK, length))
            mask = self._mask(q_anlk[:, :, rows], None if bias_nll is None else bias_nll[:, rows], padding_al)
            out.append(F.scaled_dot_product_attention(q_anlk[:, :, rows], k_anlk, v_anlk, attn_mask=mask))
        return self.out_proj(torch.cat(out, dim=2).transpose(1, 2).flatten(2))

    def _mask(self, q_anqk: Tensor, bias_nql: Tensor | None, padding_al: Tensor | None) -> Tensor | None:
        """What is added to the scores of some queries: gated bias, and minus infinity at padding."""
        mask = bias_nql
        if mask is not None and self.gated:
            gates = torch.sigmoid(self.grep_linear(q_anqk).unflatten(-1, (2, 4)).sum(-1))
            gate_a, gate_b = gates.unsqueeze(-1).unbind(-2)
            mask = (gate_a * (gate_b * self.grep_a - 1.0) + 2.0) * mask
        if padding_al is not None:
            allowed = torch.zeros_like(padding_al, dtype=q_anqk.dtype).masked_fill(padding_al, -torch.inf)
            allowed = allowed[:, None, None, :]
            mask = allowed if mask is None else mask + allowed
        return mask


def relative_position_bucket(distances: Tensor, num_buckets: int, max_distance: int) -> Tensor:
    """Bucket of each signed distance (key minus query): half for each sign, exact when near, logarithmic when far."""
    half = num_buckets // 2
    exact = half // 2
    magnitude = distances.abs()
    far = exact + (
        torch.log(magnitude.clamp_min(1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    ).to(torch.long)
    return (distances > 0) * half + torch.where(magnitude < exact, magnitude, far.clamp_max(half - 1))
