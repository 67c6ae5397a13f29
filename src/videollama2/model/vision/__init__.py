"""Vision towers: `build_vision_tower(vision_config)` finds them by name."""

from .base import VisionFeatures, VisionTower, build_vision_tower, register_vision_tower, vision_tower_names

__all__ = ["VisionFeatures", "VisionTower", "build_vision_tower", "register_vision_tower", "vision_tower_names"]
