"""Media room: bytes, paths and arrays become frames and waveforms with their true times. Only this room opens media."""

from .audio import load_audio, load_audio_windows
from .limits import DEFAULT_LIMITS, Limits
from .load import load_image, load_video
from .probe import probe
from .types import AudioClip, MediaInfo, VideoClip

__all__ = [
    "DEFAULT_LIMITS",
    "AudioClip",
    "Limits",
    "MediaInfo",
    "VideoClip",
    "load_audio",
    "load_audio_windows",
    "load_image",
    "load_video",
    "probe",
]
