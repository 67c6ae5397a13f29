"""The connector's downsamplers: a strided 3-D convolution or average, and what they do to a still image.

Kernel and stride are equal, so windows do not overlap. A window over copies of one frame depends only on which of its
places in time lie in the padding; `still` computes each such kind once.

Shape legend: B batch, T frames, S distinct time slots, H W grid, C channels, K elements of a kernel window.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .product import product

Size3 = tuple[int, int, int]
Kind = tuple[bool, ...]
"""For each place in time of a window, whether it sees the frame (or the padding)."""


class StridedConv3d(nn.Conv3d):
    """Conv3d with kernel = stride on channels-last tensors, as a matrix product or as torch's convolution.

    `method` is "product", "conv", or "auto": on CPU, the product where there are fewer windows than channels (the
    weight is then larger than the input, and a convolution would re-order all of it on every call), else "conv".
    """

    method: str = "auto"

    def __init__(self, channels: int, kernel_size: Size3, padding: int) -> None:
        super().__init__(channels, channels, kernel_size=kernel_size, stride=kernel_size, padding=padding)
        self._window = kernel_size
        self._pad = padding

    def forward(self, x_bthwc: Tensor) -> Tensor:
        """Map [B, T, H, W, C] to [B, T', H', W', C]; what does not fill a window is dropped, as in any convolution."""
        return self._convolve(x_bthwc, self._pad)

    def still(self, x_bhwc: Tensor, num_frames: int) -> tuple[Tensor, list[int]]:
        """The convolution of `num_frames` copies of a frame, each kind of window once.

        Where the windows at both ends share out the kernel's places in time, those between see all of them: their
        result is the sum of both ends.

        Args:
            x_bhwc: the frame, [B, H, W, C].
            num_frames: copies, >= 1.

        Returns:
            Distinct time slots [B, S, H', W', C], and for each slot of the full run the index of its equal.
        """
        kinds = window_kinds(num_frames, self._window[0], self._pad)
        distinct = list(dict.fromkeys(kinds))
        ends = [kind for kind in distinct if not all(kind)]
        whole = (True,) * self._window[0]
        is_sum = whole in distinct and len(ends) > 1 and all(sum(places) == 1 for places in zip(*ends))
        computed = ends if is_sum else distinct
        padding = torch.zeros_like(x_bhwc)
        frames_bthwc = torch.stack([x_bhwc if seen else padding for kind in computed for seen in kind], dim=1)
        slots = dict(zip(computed, self._convolve(frames_bthwc, 0).unbind(1)))
        if is_sum:
            assert self.bias is not None
            slots[whole] = sum(slots[kind] - self.bias for kind in ends) + self.bias
        return torch.stack([slots[kind] for kind in distinct], dim=1), [distinct.index(kind) for kind in kinds]

    def _convolve(self, x_bthwc: Tensor, time_padding: int) -> Tensor:
        pad = self._pad
        method = self.method
        if method == "auto":
            t, h, w = (
                output_length(n, k, p) for n, k, p in zip(x_bthwc.shape[1:4], self._window, (time_padding, pad, pad))
            )
            few_windows = len(x_bthwc) * t * h * w < self.in_channels
            method = "product" if x_bthwc.device.type == "cpu" and few_windows else "conv"
        if method == "conv":
            padding = (time_padding, pad, pad)
            y_bcthw = F.conv3d(x_bthwc.permute(0, 4, 1, 2, 3), self.weight, self.bias, self.stride, padding)
            return y_bcthw.permute(0, 2, 3, 4, 1)
        x_bthwc = F.pad(x_bthwc, (0, 0, pad, pad, pad, pad, time_padding, time_padding)) if pad else x_bthwc
        return product(window_columns(x_bthwc, self._window), self.weight.flatten(1), self.bias)


class StridedAvgPool3d(nn.Module):
    """AvgPool3d with kernel = stride on channels-last tensors."""

    def __init__(self, kernel_size: Size3) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x_bthwc: Tensor) -> Tensor:
        """Map [B, T, H, W, C] to [B, T', H', W', C]."""
        # The mean over a view: torch's avg_pool3d has no bf16 on CPU.
        return _windows(x_bthwc, self.kernel_size).mean(dim=(2, 4, 6))

    def still(self, x_bhwc: Tensor, num_frames: int) -> tuple[Tensor, list[int]]:
        """The mean of copies of a frame is the frame: one slot [B, 1, H', W', C], equal to all of the full run."""
        kt, kh, kw = self.kernel_size
        return _windows(x_bhwc.unsqueeze(1), (1, kh, kw)).mean(dim=(2, 4, 6)), [0] * (num_frames // kt)


def window_columns(x_bthwc: Tensor, window: Size3) -> Tensor:
    """Cut [B, T, H, W, C] into windows: [B, T', H', W', C * K], each row ordered (C, kt, kh, kw) as a conv's weight."""
    # In two steps, whole channel vectors first: faster than gathering single elements from all over the input.
    columns_bthwkc = _windows(x_bthwc, window).permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4, 6)
    return columns_bthwkc.transpose(4, 5).flatten(4)


def _windows(x_bthwc: Tensor, window: Size3) -> Tensor:
    """View [B, T, H, W, C] as [B, T', kt, H', kh, W', kw, C]."""
    kt, kh, kw = window
    t, h, w = x_bthwc.shape[1] // kt, x_bthwc.shape[2] // kh, x_bthwc.shape[3] // kw
    x_bthwc = x_bthwc[:, : t * kt, : h * kh, : w * kw]
    return x_bthwc.unflatten(1, (t, kt)).unflatten(3, (h, kh)).unflatten(5, (w, kw))


def output_length(length: int, kernel: int, padding: int) -> int:
    """Number of windows of size and stride `kernel` that fit in `length` padded by `padding` on both sides."""
    return (length + 2 * padding) // kernel


def window_kinds(num_frames: int, kernel: int, padding: int) -> list[Kind]:
    """Kind of each window of stride `kernel` over `num_frames` frames padded by `padding` on both sides."""
    starts = (i * kernel - padding for i in range(output_length(num_frames, kernel, padding)))
    return [tuple(0 <= start + k < num_frames for k in range(kernel)) for start in starts]
