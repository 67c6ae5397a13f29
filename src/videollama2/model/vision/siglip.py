"""SigLIP's vision tower, the one of VideoLLaMA 2.1 (so400m/14 at 384 pixels: a 27x27 grid, 1152 wide)."""

from __future__ import annotations

from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from .base import register_vision_tower
from .vit import ViTTower


@register_vision_tower("siglip")
class SiglipTower(ViTTower):
    """No class token; patches that do not fill a whole cell at the right and bottom edge are dropped."""

    config_class = SiglipVisionConfig
    layer_class = SiglipEncoderLayer
    class_token = False
    patch_bias = True
