"""The connector's downsampler: a strided 3-D convolution, and what it does to a still image.

Kernel and stride are equal, so windows do not overlap and the convolution is one matrix product over re-ordered input.

Shape legend: B batch, T frames, H W grid, C channels, K elements of a kernel window.
"""

from __future__ import annotations

from itertools import groupby

import torch.nn.functional as F
from torch import Tensor, nn

Size3 = tuple[int, int, int]


class StridedConv3d(nn.Conv3d):
    """Conv3d with kernel = stride on channels-last tensors, as a matrix product or as torch's convolution.

    `method` is "matmul", "conv", or "auto": the matrix product on CPU, where it was as fast or faster at every size
    measured (256 to 1792 channels, fp32 and bf16), and the backend's own convolution elsewhere.
    """

    method: str = "auto"

    def __init__(self, channels: int, kernel_size: Size3, padding: int) -> None:
        super().__init__(channels, channels, kernel_size=kernel_size, stride=kernel_size, padding=padding)
        self._window = kernel_size
        self._pad = padding

    def forward(self, x_bthwc: Tensor) -> Tensor:
        """Map [B, T, H, W, C] to [B, T', H', W', C]; what does not fill a window is dropped, as in any convolution."""
        method = self.method
        if method == "auto":
            method = "matmul" if x_bthwc.device.type == "cpu" else "conv"
        if method == "conv":
            y_bcthw = F.conv3d(x_bthwc.permute(0, 4, 1, 2, 3), self.weight, self.bias, self.stride, self.padding)
            return y_bcthw.permute(0, 2, 3, 4, 1)
        pad = self._pad
        x_bthwc = F.pad(x_bthwc, (0, 0, pad, pad, pad, pad, pad, pad)) if pad else x_bthwc
        # Columns ordered (window, C) keep whole channel vectors together; re-ordering the weight on every call is
        # cheaper than interleaving the input (measured 6x per element), and leaves the parameter as it is stored.
        weight = self.weight.permute(0, 2, 3, 4, 1).flatten(1)
        return F.linear(window_columns(x_bthwc, self._window), weight, self.bias)


class StridedAvgPool3d(nn.Module):
    """AvgPool3d with kernel = stride on channels-last tensors."""

    def __init__(self, kernel_size: Size3) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x_bthwc: Tensor) -> Tensor:
        """Map [B, T, H, W, C] to [B, T', H', W', C]."""
        # The mean over a view: torch's avg_pool3d has no bf16 on CPU.
        return _windows(x_bthwc, self.kernel_size).mean(dim=(2, 4, 6))


def window_columns(x_bthwc: Tensor, window: Size3) -> Tensor:
    """Cut [B, T, H, W, C] into windows: [B, T', H', W', K * C], each row ordered (kt, kh, kw, C)."""
    return _windows(x_bthwc, window).permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)


def _windows(x_bthwc: Tensor, window: Size3) -> Tensor:
    """View [B, T, H, W, C] as [B, T', kt, H', kh, W', kw, C]."""
    kt, kh, kw = window
    t, h, w = x_bthwc.shape[1] // kt, x_bthwc.shape[2] // kh, x_bthwc.shape[3] // kw
    x_bthwc = x_bthwc[:, : t * kt, : h * kh, : w * kw]
    return x_bthwc.unflatten(1, (t, kt)).unflatten(3, (h, kh)).unflatten(5, (w, kw))


def output_length(length: int, kernel: int, padding: int) -> int:
    """Number of windows of size and stride `kernel` that fit in `length` padded by `padding` on both sides."""
    return (length + 2 * padding) // kernel


def still_plan(num_frames: int, kernel: int, padding: int) -> tuple[int, list[int]]:
    """How to downsample `num_frames` copies of one frame without computing equal windows twice.

    All windows over copies of one frame that see the same positions of padding give the same output. So a shorter
    run of copies that has every kind of window is enough.

    Args:
        num_frames: copies of the frame, >= 1.
        kernel: temporal kernel and stride.
        padding: temporal padding.

    Returns:
        Number of copies to run, and for each output of the full run the index of the equal one in the short run.
    """
    kinds = _window_kinds(num_frames, kernel, padding)
    order = [kind for kind, _ in groupby(kinds)]
    for short in range(1, num_frames + 1):
        short_kinds = _window_kinds(short, kernel, padding)
        if [kind for kind, _ in groupby(short_kinds)] == order:
            # Equal kinds give equal outputs, so the first window of a kind stands for all of them.
            return short, [short_kinds.index(kind) for kind in kinds]
    raise AssertionError("the full run has every kind of its own windows")


def _window_kinds(num_frames: int, kernel: int, padding: int) -> list[tuple[bool, ...]]:
    starts = (i * kernel - padding for i in range(output_length(num_frames, kernel, padding)))
    return [tuple(0 <= start + k < num_frames for k in range(kernel)) for start in starts]
