"""What a vision tower is: pixels of frames in, a grid of features for each frame out, perhaps with class scores.

A new tower is one file in this folder: a `VisionTower` under `@register_vision_tower("name")`.

Shape legend: F frames, S image side in pixels, H W grid, D tower width, C classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..registry import Registry

_REGISTRY = Registry(__package__, "vision tower")
register_vision_tower = _REGISTRY.register
vision_tower_names = _REGISTRY.names


@dataclass(frozen=True, kw_only=True)
class VisionFeatures:
    """What a tower says of F frames."""

    grid: Tensor
    """Features of every grid cell, [F, H, W, D]."""
    tags: Tensor | None = None
    """Class probabilities in [0, 1], [F, C], from towers that have a classifier."""


class VisionTower(nn.Module):
    """Base of all vision towers; the constructor of a subclass takes the config's `vision_config` mapping.

    Attributes:
        hidden_size: width D of the grid features.
        image_size: side S of the square input in pixels.
        grid_size: H and W.
        num_tags: classes C, 0 for towers without a classifier.
    """

    hidden_size: int
    image_size: int
    grid_size: tuple[int, int]
    num_tags: int = 0

    @abstractmethod
    def forward(self, pixels_f3ss: Tensor) -> VisionFeatures:
        """Encode each frame alone; F may be 0.

        Args:
            pixels_f3ss: normalised pixels [F, 3, S, S] in the tower's dtype.
        """


def build_vision_tower(vision_config: Mapping[str, Any]) -> VisionTower:
    """Build the tower that `vision_config["tower"]` names, with random weights.

    Raises:
        RequestError: unknown tower.
    """
    return _REGISTRY.find(vision_config["tower"])(vision_config)
