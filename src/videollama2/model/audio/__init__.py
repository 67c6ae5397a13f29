"""Audio towers and projectors: `build_audio_tower(audio_config)` finds towers by name."""

from .base import AudioTower, audio_tower_names, build_audio_tower, register_audio_tower
from .projector import build_audio_projector

__all__ = ["AudioTower", "audio_tower_names", "build_audio_projector", "build_audio_tower", "register_audio_tower"]
