"""EfficientNet-Lite0 (Tan & Le 2019, the Lite variant of 2020) as a frame tower: the default model's eyes.

A stack of inverted residual blocks without squeeze-and-excitation, ReLU6 throughout. Batch norms are folded into the
convolutions when the weights are converted, so a layer here is one convolution with a bias. Its own classifier stays:
the 1000 ImageNet probabilities are the tower's tags.

Shape legend: F frames, C channels, H W rows and columns, D width of the grid (1280).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

WIDTH = 1280
NUM_CLASSES = 1000
IMAGE_SIZE = 224
# Pixels go in as (value - 127) / 128 of values 0..255, as in training of the published weights.
PIXEL_MEAN = 127 / 255
PIXEL_STD = 128 / 255


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

    SAME pads so that the output has ceil(input / stride) places; where the padding is odd, the extra row and column go to
    the bottom and right. The published weights were trained so.
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
        return F.relu6(maps_fchw) if self.activate else maps_fchw


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


class EfficientNetLite0(nn.Module):
    """The network alone: pixels in, the last grid and class probabilities out."""

    def __init__(self, frames_per_chunk: int = 2):
        """Build with random weights.

        Args:
            frames_per_chunk: frames that pass at once when no gradient is needed; few keep a CPU's caches warm.
        """
        super().__init__()
        self.frames_per_chunk = frames_per_chunk
        self.stem = ConvLayer(3, STEM_WIDTH, kernel=3, stride=2)
        blocks, width = [], STEM_WIDTH
        for stage in LITE0:
            for index in range(stage.num_blocks):
                stride = stage.stride if index == 0 else 1
                blocks.append(InvertedResidual(width, stage.width, stage.kernel, stride, stage.expansion))
                width = stage.width
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvLayer(width, WIDTH, kernel=1)
        self.classifier = nn.Linear(WIDTH, NUM_CLASSES)

    def forward(self, pixels_fchw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode frames.

        Args:
            pixels_fchw: [F, 3, H, W], values (v - 127) / 128 of v in 0..255; 224 x 224 in training.

        Returns:
            Grid [F, ceil(H / 32), ceil(W / 32), 1280] and class probabilities [F, 1000] (fp32), both for F = 0 too.
        """
        chunk = len(pixels_fchw) if torch.is_grad_enabled() or not len(pixels_fchw) else self.frames_per_chunk
        parts = [self._encode(part) for part in pixels_fchw.split(max(chunk, 1))]
        return torch.cat([grid for grid, _ in parts]), torch.cat([tags for _, tags in parts])

    def _encode(self, pixels_fchw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # A CPU's convolutions are faster where the channels of one place lie together.
        maps = self.stem(pixels_fchw.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            maps = block(maps)
        maps = self.head(maps)
        logits = self.classifier(maps.mean(dim=(2, 3)))
        return maps.permute(0, 2, 3, 1), logits.float().softmax(dim=-1)
