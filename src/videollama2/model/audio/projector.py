"""The audio projector: from audio-tower features to tokens of the language model, one for one.

Keys are those of the official checkpoints: `0.weight`, `2.weight` for `mlp2x_gelu`, `weight` for `linear`, none for
`identity`.
"""

from __future__ import annotations

import re

from torch import nn

from ...errors import RequestError


def build_audio_projector(kind: str, in_channels: int, out_channels: int) -> nn.Module:
    """Build `mlp{n}x_gelu` (n linear layers with GELU between), `linear` or `identity`, mapping [..., D] to [..., E].

    Raises:
        RequestError: another kind, or `identity` between two widths.
    """
    if kind == "identity":
        if in_channels != out_channels:
            raise RequestError(
                f"audio projector 'identity' cannot join a tower {in_channels} wide and a language model"
                f" {out_channels} wide; choose 'mlp2x_gelu' or 'linear'."
            )
        return nn.Identity()
    if kind == "linear":
        return nn.Linear(in_channels, out_channels)
    match = re.fullmatch(r"mlp([1-9]\d*)x_gelu", str(kind))
    if match is None:
        raise RequestError(f"unknown audio projector {kind!r}; choose 'mlp2x_gelu', 'linear' or 'identity'.")
    layers: list[nn.Module] = [nn.Linear(in_channels, out_channels)]
    for _ in range(int(match.group(1)) - 1):
        layers += [nn.GELU(), nn.Linear(out_channels, out_channels)]
    return nn.Sequential(*layers)
