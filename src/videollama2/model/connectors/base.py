"""What every connector offers: frame features in, language-model tokens out, in two stages.

The frame stage sees each frame alone, so that a still image goes through it once; the temporal stage joins the frames
of one item. `Connector.forward` is both.

Shape legend: B batch, T frames, H W grid, N tokens, D tower width, C width between the stages, E language-model width.
"""

from __future__ import annotations

import math
from abc import abstractmethod

from torch import Tensor, nn

from ...errors import RequestError


class Connector(nn.Module):
    """Base of all connectors. Subclasses define the two stages and `num_tokens`."""

    def frame_stage(self, grid_fhwd: Tensor) -> Tensor:
        """Map each frame alone, [F, H, W, D] to [F, H, W, C]."""
        return grid_fhwd

    @abstractmethod
    def temporal_stage(self, x_bthwc: Tensor) -> Tensor:
        """Join the frames of each item, [B, T, H, W, C] to [B, N, E]."""

    @abstractmethod
    def still_stage(self, x_bhwc: Tensor, num_frames: int) -> Tensor:
        """The temporal stage of `num_frames` copies of one frame, [B, H, W, C] to [B, N, E], without the copies."""

    @abstractmethod
    def num_tokens(self, t: int, h: int, w: int) -> int:
        """Tokens for `t` frames of an `h` x `w` grid; RequestError where the input is smaller than one window."""

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, T, H*W, D] (a square grid) or [B, T, H, W, D] to tokens [B, N, E].

        Raises:
            RequestError: the grid is not square, or there are fewer frames or cells than one window holds.
        """
        x_bthwd = as_grid(x)
        x_fhwc = self.frame_stage(x_bthwd.flatten(0, 1))
        return self.temporal_stage(x_fhwc.unflatten(0, x_bthwd.shape[:2]))


def as_grid(x: Tensor) -> Tensor:
    """Give [B, T, N, D] its square grid, [B, T, H, W, D]; five dimensions pass through.

    Raises:
        RequestError: N is not a square.
    """
    if x.ndim == 5:
        return x
    side = math.isqrt(x.shape[2])
    if x.ndim != 4 or side * side != x.shape[2]:
        raise RequestError(
            f"frame features of shape {tuple(x.shape)} do not form a square grid; pass [B, T, H, W, D] instead."
        )
    return x.unflatten(2, (side, side))
