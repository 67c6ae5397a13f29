"""The mean-pooling connectors: the mean over frames, then an MLP or one matrix.

Parameters carry no prefix of their own (`0.weight`, `2.weight`; `weight`), as in the official checkpoints.

Shape legend: B batch, T frames, H W grid, N tokens, D tower width, E language-model width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Connector


class MeanPoolConnector(Connector):
    """Mean over frames, then a projection of every grid cell: `h * w` tokens whatever the number of frames."""

    def project(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., E]."""
        raise NotImplementedError

    def temporal_stage(self, x_bthwc: Tensor) -> Tensor:
        """Mean over T, then the projection: [B, T, H, W, D] to [B, H*W, E]."""
        return self.project(x_bthwc.mean(1).flatten(1, 2))

    def still_stage(self, x_bhwc: Tensor, num_frames: int) -> Tensor:
        """Copies of one frame have that frame as their mean."""
        return self.project(x_bhwc.flatten(1, 2))

    def num_tokens(self, t: int, h: int, w: int) -> int:
        """One token for each grid cell."""
        return h * w


class MLPConnector(MeanPoolConnector):
    """`mlp2x_gelu` (any depth): linear layers with GELU between them, named 0, 2, 4, ..."""

    def __init__(self, in_channels: int, out_channels: int, depth: int) -> None:
        super().__init__()
        for i in range(depth):
            self.add_module(str(2 * i), nn.Linear(in_channels if i == 0 else out_channels, out_channels))

    def project(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., E]."""
        for i, layer in enumerate(self.children()):
            x = layer(F.gelu(x) if i else x)
        return x


class LinearConnector(MeanPoolConnector):
    """`linear`: one matrix and bias, named `weight` and `bias`."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        layer = nn.Linear(in_channels, out_channels)
        self.weight = layer.weight
        self.bias = layer.bias

    def project(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., E]."""
        return F.linear(x, self.weight, self.bias)
