"""CLIP's vision tower, the one of VideoLLaMA 2 (ViT-L/14 at 336 pixels: a 24x24 grid, 1024 wide)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from .base import register_vision_tower
from .vit import ViTTower


@register_vision_tower("clip")
class CLIPTower(ViTTower):
    """Class token, norm before the layers (the name is transformers' own, misspelt as in all its checkpoints)."""

    config_class = CLIPVisionConfig
    layer_class = CLIPEncoderLayer
    class_token = True
    patch_bias = False

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.pre_layrnorm = nn.LayerNorm(self.hidden_size, eps=self.config.layer_norm_eps)

    def pre_norm(self, x_fnd: Tensor) -> Tensor:
        """CLIP's norm between embeddings and layers."""
        return self.pre_layrnorm(x_fnd)
