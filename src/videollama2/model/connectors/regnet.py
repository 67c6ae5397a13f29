"""RegStage: the RegNet bottleneck blocks on either side of the connector's downsampler.

Everything runs channels-last ([F, H, W, C]), so that the 1x1 convolutions are plain matrix products and the layer norm
over channels needs no transposition; both are several times faster on CPUs, in bf16 above all, and equal in result.
Parameters keep the shapes and names of the convolutions that the official checkpoints hold.

Shape legend: F frames, H W grid, C channels, R channels of the squeeze-and-excitation bottleneck.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .product import few_frames_at_a_time, product

# timm's LayerNorm2d keeps torch's default here once it is fused with an activation, which is what RegStage builds.
LAYER_NORM_EPS = 1e-5
SE_RATIO = 0.25


class PointwiseConv(nn.Conv2d):
    """A 1x1 convolution computed as a matrix product over the last dimension of a channels-last tensor."""

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., C_in] to [..., C_out]."""
        return product(x, self.weight.flatten(1), self.bias)


class DepthwiseConv(nn.Conv2d):
    """A 3x3 depthwise convolution, padding 1, on a channels-last tensor."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, kernel_size=3, padding=1, groups=channels, bias=False)

    def forward(self, x_fhwc: Tensor) -> Tensor:
        """Map [F, H, W, C] to [F, H, W, C]."""
        y_fchw = F.conv2d(x_fhwc.permute(0, 3, 1, 2), self.weight, padding=1, groups=self.groups)
        return y_fchw.permute(0, 2, 3, 1)


class ConvNorm(nn.Module):
    """Convolution, layer norm over channels, optional SiLU (`bn` is timm's name for the norm)."""

    def __init__(self, conv: nn.Conv2d, activation: bool = True) -> None:
        super().__init__()
        self.conv = conv
        self.bn = nn.LayerNorm(conv.out_channels, eps=LAYER_NORM_EPS)
        self.activation = activation

    def forward(self, x_fhwc: Tensor) -> Tensor:
        """Map [F, H, W, C_in] to [F, H, W, C_out]."""
        x_fhwc = self.bn(self.conv(x_fhwc))
        return F.silu(x_fhwc) if self.activation else x_fhwc


class SqueezeExcite(nn.Module):
    """Channel gates computed from the mean of each frame's grid."""

    def __init__(self, channels: int, reduced_channels: int) -> None:
        super().__init__()
        self.fc1 = PointwiseConv(channels, reduced_channels, bias=True)
        self.fc2 = PointwiseConv(reduced_channels, channels, bias=True)

    def forward(self, x_fhwc: Tensor) -> Tensor:
        """Scale [F, H, W, C] by one gate in (0, 1) for each frame and channel."""
        mean_fc = x_fhwc.flatten(1, 2).mean(1)  # over one dimension: half the time of a mean over two
        gate_fc = torch.sigmoid(self.fc2(F.silu(self.fc1(mean_fc))))
        return x_fhwc * gate_fc[:, None, None]


class RegBottleneck(nn.Module):
    """1x1, 3x3 depthwise, squeeze-and-excitation, 1x1, shortcut (projected where the width changes), SiLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(PointwiseConv(in_channels, out_channels))
        self.conv2 = ConvNorm(DepthwiseConv(out_channels))
        self.se = SqueezeExcite(out_channels, reduced_channels=round(in_channels * SE_RATIO))
        self.conv3 = ConvNorm(PointwiseConv(out_channels, out_channels), activation=False)
        self.downsample = (
            ConvNorm(PointwiseConv(in_channels, out_channels), activation=False)
            if in_channels != out_channels
            else None
        )

    def forward(self, x_fhwc: Tensor) -> Tensor:
        """Map [F, H, W, C_in] to [F, H, W, C_out]."""
        shortcut_fhwc = x_fhwc if self.downsample is None else self.downsample(x_fhwc)
        x_fhwc = self.conv3(self.se(self.conv2(self.conv1(x_fhwc))))
        return F.silu(x_fhwc + shortcut_fhwc)


class RegStage(nn.Module):
    """`depth` bottleneck blocks named b1, b2, ... as in timm; stride 1 (paper section 2.2, official connector)."""

    def __init__(self, depth: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        for i in range(depth):
            self.add_module(f"b{i + 1}", RegBottleneck(in_channels if i == 0 else out_channels, out_channels))

    def forward(self, x_fhwc: Tensor) -> Tensor:
        """Map [F, H, W, C_in] to [F, H, W, C_out]."""
        frame_bytes = x_fhwc[0, ..., 0].numel() * self.out_channels * x_fhwc.element_size() if len(x_fhwc) else 0
        return few_frames_at_a_time(self._blocks, x_fhwc, frame_bytes)

    def _blocks(self, x_fhwc: Tensor) -> Tensor:
        for block in self.children():
            x_fhwc = block(x_fhwc)
        return x_fhwc
