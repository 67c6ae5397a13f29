"""EfficientNet-Lite0 (Tan & Le 2019, the Lite variant of 2020) as a frame tower: the default model's eyes.

A stack of inverted residual blocks without squeeze-and-excitation, ReLU6 throughout. Batch norms are folded into the
convolutions when the weights are converted, so a layer here is one convolution with a bias. Its own classifier stays:
the 1000 ImageNet probabilities are the tower's tags.

Shape legend: F frames, S image side, C channels, H W rows and columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from .base import VisionFeatures, VisionTower, register_vision_tower

# Pixels go in as (value - 127) / 128 of values 0..255, as in training of the published weights.
PIXEL_MEAN = 127 / 255
PIXEL_STD = 128 / 255
# More frames at once fall out of a CPU core's caches: 8 frames in one pass take 1.6 times as long as in pairs.
CPU_FRAMES_PER_CHUNK = 2


class Stage(NamedTuple):
    """A run of blocks: how many, kernel side, stride of the first, channel expansion inside, channels out."""

    num_blocks: int
    kernel: int
    stride: int
    expansion: int
    width: int


STEM_WIDTH = 32
LITE0 = (
    Stage(num_blocks=1, kernel=3, stride=1, expansion=1, width=16),
    Stage(num_blocks=2, kernel=3, stride=2, expansion=6, width=24),
    Stage(num_blocks=2, kernel=5, stride=2, expansion=6, width=40),
    Stage(num_blocks=3, kernel=3, stride=2, expansion=6, width=80),
    Stage(num_blocks=3, kernel=5, stride=1, expansion=6, width=112),
    Stage(num_blocks=4, kernel=5, stride=2, expansion=6, width=192),
    Stage(num_blocks=1, kernel=3, stride=1, expansion=6, width=320),
)


class ConvLayer(nn.Module):
    """Convolution with bias, zero padding as TensorFlow's SAME, and ReLU6 unless `activate` is off.

    SAME pads so that the output has ceil(input / stride) places; where the padding is odd, the extra row and column go
    to the bottom and right. The published weights were trained so.
    """

    def __init__(self, num_in: int, num_out: int, kernel: int, stride: int = 1, groups: int = 1, activate: bool = True):
        super().__init__()
        # An even total is left to the convolution itself, which is faster than padding first.
        self.conv = nn.Conv2d(num_in, num_out, kernel, stride, groups=groups, padding=kernel // 2 if stride == 1 else 0)
        self.activate = activate

    def forward(self, maps_fchw: torch.Tensor) -> torch.Tensor:
        """Return [F, C', ceil(H / stride), ceil(W / stride)]."""
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        if stride > 1:
            pad_h, pad_w = (_same_padding(size, kernel, stride) for size in maps_fchw.shape[-2:])
            maps_fchw = F.pad(maps_fchw, (pad_w // 2, pad_w - pad_w // 2, pad_h // 2, pad_h - pad_h // 2))
        maps_fchw = self.conv(maps_fchw)
        return F.relu6(maps_fchw, inplace=True) if self.activate else maps_fchw


def _same_padding(size: int, kernel: int, stride: int) -> int:
    return max((-(-size // stride) - 1) * stride + kernel - size, 0)


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel, narrow by 1x1; added to the input where shapes agree."""

    def __init__(self, num_in: int, num_out: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        inner = num_in * expansion
        self.expand = ConvLayer(num_in, inner, kernel=1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvLayer(inner, inner, kernel, stride, groups=inner)
        self.project = ConvLayer(inner, num_out, kernel=1, activate=False)
        self.residual = stride == 1 and num_in == num_out

    def forward(self, maps_fchw: torch.Tensor) -> torch.Tensor:
        """Return [F, num_out, ceil(H / stride), ceil(W / stride)]."""
        out = self.project(self.depthwise(self.expand(maps_fchw)))
        return maps_fchw + out if self.residual else out


@register_vision_tower("efficientnet_lite0")
class EfficientNetLite0Tower(VisionTower):
    """The frame tower: the last grid, and the probabilities of the 1000 ImageNet classes as tags."""

    hidden_size = 1280
    image_size = 224
    grid_size = (7, 7)
    num_tags = 1000

    def __init__(self, vision_config: Mapping[str, Any] | None = None):
        """Build with random weights; the network has no sizes to choose, so `vision_config` is not read."""
        super().__init__()
        self.stem = ConvLayer(3, STEM_WIDTH, kernel=3, stride=2)
        blocks, width = [], STEM_WIDTH
        for stage in LITE0:
            for index in range(stage.num_blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(width, stage.width, stage.kernel, stride, stage.expansion))
                width = stage.width
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvLayer(width, self.hidden_size, kernel=1)
        self.classifier = nn.Linear(self.hidden_size, self.num_tags)
        # A CPU's convolutions are faster where the channels of one place lie together, in weights as in maps.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels_f3ss: torch.Tensor) -> VisionFeatures:
        """Encode each frame alone.

        Args:
            pixels_f3ss: [F, 3, S, S], values (v - 127) / 128 of v in 0..255. S is 224 in training; any S works and
                gives a grid of ceil(S / 32).

        Returns:
            Grid [F, 7, 7, 1280] with values in [0, 6], tags [F, 1000] that sum to 1, both in the input's dtype.
        """
        small = pixels_f3ss.device.type == "cpu" and not torch.is_grad_enabled() and len(pixels_f3ss)
        chunk = CPU_FRAMES_PER_CHUNK if small else max(len(pixels_f3ss), 1)
        parts = [self._encode(part) for part in pixels_f3ss.split(chunk)]
        return VisionFeatures(grid=torch.cat([grid for grid, _ in parts]), tags=torch.cat([tags for _, tags in parts]))

    def _encode(self, pixels_f3ss: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        maps = self.stem(pixels_f3ss.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            maps = block(maps)
        maps = self.head(maps)
        logits = self.classifier(maps.mean(dim=(2, 3)))
        return maps.permute(0, 2, 3, 1), logits.float().softmax(dim=-1).to(logits.dtype)
