"""Media room: bytes, paths and arrays become frames and waveforms with their true times. Only this room opens media."""

from .limits import DEFAULT_LIMITS, Limits
from .load import load_image, load_video
from .types import AudioClip, VideoClip

__all__ = ["DEFAULT_LIMITS", "AudioClip", "Limits", "VideoClip", "load_image", "load_video"]
