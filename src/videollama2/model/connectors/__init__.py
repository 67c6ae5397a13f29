"""Connectors: from frame features of a vision tower to tokens of the language model.

`build_connector(config)` makes the type that the config names; `num_tokens` says how many tokens it will give.
"""

from __future__ import annotations

import re
from typing import Any

from ...errors import RequestError
from .base import Connector
from .mlp import LinearConnector, MLPConnector
from .regnet import RegStage
from .stc import SPECS, SpatialTemporalConnector, spec_num_tokens

CONNECTOR_TYPES = (*SPECS, "mlp2x_gelu", "linear")

__all__ = ["CONNECTOR_TYPES", "Connector", "RegStage", "build_connector", "num_tokens"]


def build_connector(config: Any) -> Connector:
    """Build the connector a config names.

    Args:
        config: any object with `mm_projector_type`, `mm_hidden_size` (tower width), `hidden_size` (language-model
            width) and, optionally, `mm_connector_width` (inner width of the spatial-temporal types; None:
            `hidden_size`) and `mm_connector_depth` (blocks of each RegStage; None: the type's own, 4 or 0).

    Returns:
        A module that maps [B, T, N, D] or [B, T, H, W, D] to [B, N_out, hidden_size].

    Raises:
        RequestError: unknown type, or sizes that do not fit together.
    """
    kind, in_channels, out_channels = config.mm_projector_type, config.mm_hidden_size, config.hidden_size
    if kind in SPECS:
        width = getattr(config, "mm_connector_width", None) or out_channels
        depth = getattr(config, "mm_connector_depth", None)
        return SpatialTemporalConnector(SPECS[kind], in_channels, out_channels, width=width, depth=depth)
    if kind == "linear":
        return LinearConnector(in_channels, out_channels)
    return MLPConnector(in_channels, out_channels, depth=_mlp_depth(kind))


def num_tokens(kind: str, t: int, h: int, w: int) -> int:
    """Tokens that connector type `kind` gives for `t` frames of an `h` x `w` grid.

    Raises:
        RequestError: unknown type, or an input smaller than one window of the downsampler.
    """
    if kind in SPECS:
        return spec_num_tokens(SPECS[kind], t, h, w)
    if kind != "linear":
        _mlp_depth(kind)
    return h * w


def _mlp_depth(kind: str) -> int:
    match = re.fullmatch(r"mlp([1-9]\d*)x_gelu", str(kind))
    if match is None:
        raise RequestError(f"unknown connector type {kind!r}; choose one of {', '.join(CONNECTOR_TYPES)}.")
    return int(match.group(1))
