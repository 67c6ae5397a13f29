"""Loading media with the settings of a request, and what the answer says about each medium, as JSON-safe records."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from videollama2.inference.answer import AudioHeard, VisualSeen
from videollama2.inference.request import MediaSettings
from videollama2.media import Limits, load_audio, load_audio_windows
from videollama2.media.deadline import DEFAULT_TIMEOUT
from videollama2.media.types import AudioClip, VideoClip


@dataclass(frozen=True)
class EncodedItem:
    """Features of one medium, where they came from and what the answer says about it."""

    key: str
    features: torch.Tensor
    record: Mapping[str, Any]
    hit: bool


def frame_arguments(settings: MediaSettings, num_frames: int) -> dict[str, Any]:
    """Arguments of `load_video`; the official rule of bounds where a number of frames is asked for."""
    arguments: dict[str, Any] = {"start": settings.start, "end": settings.end}
    if settings.times is not None:
        return arguments | {"num_frames": None, "times": list(settings.times)}
    if settings.fps is not None:
        return arguments | {"num_frames": None, "fps": settings.fps}
    return arguments | {"num_frames": num_frames}


def timeout_of(settings: MediaSettings) -> float:
    """Seconds that reading may take."""
    return DEFAULT_TIMEOUT if settings.timeout is None else settings.timeout


def can_have_sound(source: Any) -> bool:
    """Frames handed over as a folder, a list or an array have no sound track."""
    is_folder = isinstance(source, (str, os.PathLike)) and os.path.isdir(source)
    return not is_folder and (isinstance(source, (str, os.PathLike, bytes, bytearray)) or hasattr(source, "read"))


def visual_record(clip: VideoClip, is_image: bool) -> dict[str, Any]:
    """Fields of `VisualSeen`."""
    return {
        "kind": "image" if is_image else "video",
        "source": clip.source,
        "indices": [int(index) for index in clip.indices],
        "times": [None if math.isnan(time) else float(time) for time in clip.times],
        "duration": float(clip.duration),
        "fps": float(clip.fps),
        "num_source_frames": int(clip.num_source_frames),
        "num_padded": int(clip.num_padded),
        "content_hash": clip.content_hash,
    }


def load_sound(source: Any, arguments: Mapping[str, Any], limits: Limits, timeout: float) -> list[AudioClip]:
    """One clip, or under "full" all consecutive windows, each a clip."""
    if arguments["policy"] != "full":
        return [load_audio(source, **arguments, limits=limits, timeout=timeout)]
    bounds = {name: arguments.get(name) for name in ("start", "end")}
    return load_audio_windows(source, seconds=arguments["seconds"], **bounds, limits=limits, timeout=timeout)


def audio_record(clips: list[AudioClip]) -> dict[str, Any]:
    """Fields of `AudioHeard` of one sound, given as one clip or as consecutive windows."""
    first = clips[0]
    absent = first.status == "absent"
    silent = all(clip.status == "silent" for clip in clips)
    windows = [] if absent else [[float(start), float(end)] for clip in clips for start, end in clip.windows]
    return {
        "source": first.source,
        "status": "absent" if absent else "silent" if silent else "used",
        "windows": windows,
        "policy": first.policy,
        "duration": float(first.duration),
        "num_padded": 0 if absent else sum(int(clip.num_padded) for clip in clips),
        "content_hash": first.content_hash,
    }


def as_seen(record: Mapping[str, Any]) -> VisualSeen:
    """From a record back."""
    return VisualSeen(**{**record, "indices": tuple(record["indices"]), "times": tuple(record["times"])})


def as_heard(record: Mapping[str, Any]) -> AudioHeard:
    """From a record back."""
    windows = tuple((start, end) for start, end in record.get("windows", ()))
    return AudioHeard(**{**record, "windows": windows})
