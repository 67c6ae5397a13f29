"""Products with a weight matrix, and work on a few frames at a time: what makes connectors fast on a CPU.

Shape legend: F frames, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Activations of this size stay in a CPU's caches, and below it the allocator hands out memory again instead of asking
# the system for fresh pages: at 4096 channels every element-wise pass over 8 frames at once takes 4 to 6 times as long.
CPU_CHUNK_BYTES = 4 * 2**20


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map [..., C_in] to [..., C_out] by a weight [C_out, C_in], as `F.linear` does.

    In fp32 on CPU `F.linear` is MKL's product; oneDNN's, which torch reaches only in lower precision or from compiled
    code, is 1.15 to 1.45 times as fast on an AMD processor (512 to 4096 channels), and needs no re-ordered weight.
    It has no gradient, so training keeps `F.linear`.
    """
    exact = x.device.type == "cpu" and x.dtype == weight.dtype == torch.float32
    if exact and not torch.is_grad_enabled() and torch.backends.mkldnn.is_available():
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return F.linear(x, weight, bias)


def few_frames_at_a_time(function: Callable[[Tensor], Tensor], x: Tensor, frame_bytes: int) -> Tensor:
    """Compute `function(x)`, a function of each frame alone, in pieces where that is faster.

    Args:
        function: maps [F, ...] to [F, ...].
        x: F frames; F may be 0.
        frame_bytes: size of one frame's widest activation.

    Returns:
        The result for all frames. Where a gradient is kept all activations stay anyway, and other devices want all
        the work at once, so both get one piece.
    """
    if torch.is_grad_enabled() or x.device.type != "cpu" or len(x) == 0:
        return function(x)
    frames = max(1, CPU_CHUNK_BYTES // frame_bytes)
    return function(x) if len(x) <= frames else torch.cat([function(piece) for piece in x.split(frames)])
