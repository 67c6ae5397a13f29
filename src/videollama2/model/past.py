"""Attention masks in front of a cache of keys and values. Pure functions.

Shape legend: B rows, P new positions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def past_length(past_key_values: Any) -> int:
    """Positions that a cache holds; 0 without one."""
    return 0 if past_key_values is None else int(past_key_values.get_seq_length())


def with_past(mask_bp: Tensor, past_mask: Tensor | None, past: int) -> Tensor:
    """Put the mask of `past` cached positions, all visible unless given, before that of the new ones."""
    if past == 0:
        return mask_bp
    if past_mask is None or past_mask.shape[1] != past:
        past_mask = mask_bp.new_ones(mask_bp.shape[0], past)
    return torch.cat([past_mask.to(mask_bp), mask_bp], dim=1)
