"""The spatial-temporal connectors: RegStage, 3-D downsampling, RegStage, MLP (paper section 2.2).

Five types share this one body and differ in the downsampler, its padding and the depth of the stages.

Shape legend: B batch, T frames, H W grid, N tokens, D tower width, C inner width, E language-model width.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ...errors import RequestError
from .base import Connector
from .regnet import RegStage
from .sampler import Size3, StridedAvgPool3d, StridedConv3d, output_length


@dataclass(frozen=True, kw_only=True)
class SpatialTemporalSpec:
    """What distinguishes one type of spatial-temporal connector from another."""

    downsample: Size3 = (2, 2, 2)
    """Temporal, vertical and horizontal rate."""
    padding: int = 0
    """Zeros on every side of the downsampler's input."""
    convolution: bool = True
    """A learned Conv3d, else an average."""
    depth: int = 4
    """Bottleneck blocks of each RegStage, unless the config says otherwise."""


SPECS: dict[str, SpatialTemporalSpec] = {
    "stc_connector": SpatialTemporalSpec(padding=1),
    "stc_connector_v35": SpatialTemporalSpec(),
    "stp_connector": SpatialTemporalSpec(convolution=False),
    "spatial_conv": SpatialTemporalSpec(downsample=(1, 2, 2), padding=1, depth=0),
    "spatial_pool": SpatialTemporalSpec(downsample=(1, 2, 2), convolution=False, depth=0),
}


class SpatialTemporalConnector(Connector):
    """RegStage on each frame, strided 3-D downsampling with SiLU, RegStage on each slot, two-layer GELU MLP.

    Args:
        spec: the type's downsampler.
        in_channels: width D of the vision tower.
        out_channels: width E of the language model.
        width: inner width C; the official connectors use E.
        depth: blocks of each RegStage; None takes the type's own.

    Raises:
        RequestError: depth 0 with C != D, where nothing maps one width to the other.
    """

    def __init__(
        self, spec: SpatialTemporalSpec, in_channels: int, out_channels: int, width: int, depth: int | None = None
    ) -> None:
        super().__init__()
        depth = spec.depth if depth is None else depth
        if depth == 0 and width != in_channels:
            raise RequestError(
                f"a connector of depth 0 keeps the tower's width {in_channels}, but its inner width is {width};"
                f" set mm_connector_width={in_channels}."
            )
        self.spec = spec
        self.s1 = RegStage(depth, in_channels, width) if depth else nn.Identity()
        sampler: nn.Module = (
            StridedConv3d(width, spec.downsample, spec.padding)
            if spec.convolution
            else StridedAvgPool3d(spec.downsample)
        )
        self.sampler = nn.Sequential(sampler, nn.SiLU())
        self.s2 = RegStage(depth, width, width) if depth else nn.Identity()
        self.readout = nn.Sequential(nn.Linear(width, out_channels), nn.GELU(), nn.Linear(out_channels, out_channels))

    def frame_stage(self, grid_fhwd: Tensor) -> Tensor:
        """First RegStage, [F, H, W, D] to [F, H, W, C]."""
        return self.s1(grid_fhwd)

    def temporal_stage(self, x_bthwc: Tensor) -> Tensor:
        """Downsampler, second RegStage and MLP, [B, T, H, W, C] to [B, N, E]."""
        self.num_tokens(*x_bthwc.shape[1:4])
        return self._tokens(self.sampler(x_bthwc)).flatten(1, 3)

    def still_stage(self, x_bhwc: Tensor, num_frames: int) -> Tensor:
        """The same for `num_frames` copies of one frame, computing each distinct time slot once."""
        self.num_tokens(num_frames, *x_bhwc.shape[1:3])
        downsampler, activation = self.sampler
        assert isinstance(downsampler, StridedConv3d | StridedAvgPool3d)
        y_bshwc, slots = downsampler.still(x_bhwc, num_frames)
        return self._tokens(activation(y_bshwc))[:, slots].flatten(1, 3)

    def _tokens(self, y_bthwc: Tensor) -> Tensor:
        y_fhwc = self.s2(y_bthwc.flatten(0, 1))
        return self.readout(y_fhwc).unflatten(0, y_bthwc.shape[:2])

    def num_slots(self, t: int) -> int:
        """Time slots that `t` frames become."""
        return output_length(t, self.spec.downsample[0], self.spec.padding)

    def num_tokens(self, t: int, h: int, w: int) -> int:
        """Tokens for `t` frames of an `h` x `w` grid."""
        return spec_num_tokens(self.spec, t, h, w)


def spec_num_tokens(spec: SpatialTemporalSpec, t: int, h: int, w: int) -> int:
    """Tokens of a type for `t` frames of an `h` x `w` grid.

    Raises:
        RequestError: the padded input is smaller than one window.
    """
    lengths = [output_length(n, k, spec.padding) for n, k in zip((t, h, w), spec.downsample)]
    if min(lengths) < 1:
        raise RequestError(
            f"{t} frame(s) of a {h}x{w} grid are fewer than one window {spec.downsample} of this connector;"
            f" use at least {spec.downsample[0]} frames."
        )
    return lengths[0] * lengths[1] * lengths[2]
