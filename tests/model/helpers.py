"""Tiny configs and weights for the tests of this room."""

from __future__ import annotations

import re

from torch import Tensor


def beats_state_dict(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """BEATs' own key names as ours: one shared bias table, torch's names for weight normalisation."""
    renamed = {}
    for name, tensor in weights.items():
        name = re.sub(r"layers\.\d+\.self_attn\.relative_attention_bias", "relative_attention_bias", name)
        name = name.replace("pos_conv.0.weight_g", "pos_conv.0.parametrizations.weight.original0")
        name = name.replace("pos_conv.0.weight_v", "pos_conv.0.parametrizations.weight.original1")
        renamed[name] = tensor
    return renamed
