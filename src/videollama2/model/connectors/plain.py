"""The plain way to compute a connector: channels-first convolutions, every frame, nothing shared.

Same weights, same result, no tricks. It is what tests compare the fast path with and what benchmarks time it against.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .base import Connector, as_grid
from .mlp import MeanPoolConnector
from .regnet import ConvNorm, RegBottleneck, RegStage
from .sampler import StridedAvgPool3d
from .stc import SpatialTemporalConnector


def plain_forward(connector: Connector, x: Tensor) -> Tensor:
    """Compute `connector(x)` with textbook operations.

    Args:
        connector: any module of `build_connector`.
        x: features [B, T, N, D] or [B, T, H, W, D].

    Returns:
        Tokens [B, N_out, D_out], equal to the connector's own result up to rounding.
    """
    x_bthwc = as_grid(x)
    if isinstance(connector, MeanPoolConnector):
        return connector.project(x_bthwc.mean(1).flatten(1, 2))
    assert isinstance(connector, SpatialTemporalConnector)
    batch, num_frames = x_bthwc.shape[:2]
    x_fchw = _stage(connector.s1, x_bthwc.flatten(0, 1).permute(0, 3, 1, 2).contiguous())
    x_bcthw = x_fchw.unflatten(0, (batch, num_frames)).transpose(1, 2)
    sampler = connector.sampler[0]
    if isinstance(sampler, nn.Conv3d):
        x_bcthw = F.conv3d(x_bcthw, sampler.weight, sampler.bias, sampler.stride, sampler.padding)
    else:
        assert isinstance(sampler, StridedAvgPool3d)
        x_bcthw = F.avg_pool3d(x_bcthw, sampler.kernel_size)
    x_bcthw = F.silu(x_bcthw)
    x_fchw = _stage(connector.s2, x_bcthw.transpose(1, 2).flatten(0, 1))
    x_bnc = x_fchw.flatten(2).transpose(1, 2).unflatten(0, (batch, -1)).flatten(1, 2)
    return connector.readout(x_bnc)


def _stage(stage: nn.Module, x_fchw: Tensor) -> Tensor:
    if isinstance(stage, RegStage):
        for block in stage.children():
            x_fchw = _bottleneck(block, x_fchw)
    return x_fchw


def _bottleneck(block: nn.Module, x_fchw: Tensor) -> Tensor:
    assert isinstance(block, RegBottleneck)
    shortcut_fchw = x_fchw if block.downsample is None else _conv_norm(block.downsample, x_fchw)
    x_fchw = _conv_norm(block.conv2, _conv_norm(block.conv1, x_fchw))
    gate_fc11 = F.conv2d(x_fchw.mean((2, 3), keepdim=True), block.se.fc1.weight, block.se.fc1.bias)
    gate_fc11 = F.conv2d(F.silu(gate_fc11), block.se.fc2.weight, block.se.fc2.bias)
    x_fchw = _conv_norm(block.conv3, x_fchw * gate_fc11.sigmoid())
    return F.silu(x_fchw + shortcut_fchw)


def _conv_norm(layer: ConvNorm, x_fchw: Tensor) -> Tensor:
    conv, norm = layer.conv, layer.bn
    x_fchw = F.conv2d(x_fchw, conv.weight, conv.bias, padding=conv.padding, groups=conv.groups)
    x_fhwc = F.layer_norm(x_fchw.permute(0, 2, 3, 1), norm.normalized_shape, norm.weight, norm.bias, norm.eps)
    x_fchw = x_fhwc.permute(0, 3, 1, 2)
    return F.silu(x_fchw) if layer.activation else x_fchw
