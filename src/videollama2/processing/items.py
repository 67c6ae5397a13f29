"""Media as a caller hands them in (arrays, pictures, paths, bytes, clips, pairs with sound), made into clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from videollama2.errors import RequestError
from videollama2.media.types import AudioClip, FrameSink, VideoClip


@dataclass(frozen=True, kw_only=True)
class MediaItem:
    """What stands at one sentinel.

    Attributes:
        modality: "video", "image" or "audio".
        video: Frames of a video or image; None for sound alone.
        audio: Sound of a video, or sound alone.
        events: What was replaced or left out while loading, besides the clips' own events.
        pixels: Of the frames, float32 [T, 3, S, S], once they are made.
    """

    modality: str
    video: VideoClip | None = None
    audio: AudioClip | None = None
    events: tuple[str, ...] = ()
    pixels: torch.Tensor | None = None

    @property
    def all_events(self) -> tuple[str, ...]:
        """Events of the loading and of both clips."""
        return (
            *self.events,
            *(self.video.events if self.video else ()),
            *(self.audio.events if self.audio else ()),
        )


@dataclass(frozen=True, kw_only=True)
class MediaOptions:
    """How sources that are not clips yet are loaded; the fields are those of the media room's functions.

    Attributes:
        num_frames: Frames of a video, evenly spread.
        fps: Frames per second instead.
        start: Seconds; nothing before it is used.
        end: Seconds; nothing after it is used.
        use_audio_in_video: Also load the sound of a video given as file or bytes.
        audio_policy: Window policy; None is "official-video" for a video's sound and "centre" for a sound file (which
            up to `seconds` is the official window, and without its chance above).
        audio_seconds: Length of the sound window.
        limits: Media limits; None for the room's own.
        timeout: Seconds for each load; None for the room's own.
    """

    num_frames: int | None = 8
    fps: float | None = None
    start: float | None = None
    end: float | None = None
    use_audio_in_video: bool = False
    audio_policy: str | None = None
    audio_seconds: float = 30.0
    limits: Any = None
    timeout: float | None = None

    @property
    def common(self) -> dict[str, Any]:
        """Keyword arguments that all loaders take, without those left to the media room."""
        given = {"limits": self.limits, "timeout": self.timeout}
        return {name: value for name, value in given.items() if value is not None}


def load_item(modality: str, source: Any, options: MediaOptions, sink: FrameSink | None = None) -> MediaItem:
    """Make one medium ready.

    Args:
        modality: "video", "image" or "audio".
        source: A clip of the media room as it is; for a video also (video, sound) or {"video": ..., "audio": ...};
            else whatever the media room loads: path, bytes, file object, array, Pillow images, (samples, rate).
        options: For loading.
        sink: Is given the frames of a video as they are decoded; of what is a clip already it hears nothing.

    Raises:
        MediaError: From the media room, or sound marked as failed.
        RequestError: The source is of no kind that fits the modality.
    """
    if source is None:
        raise RequestError(f"The {modality} is None; give a path, bytes, an array or a clip.")
    if modality == "audio":
        return MediaItem(modality=modality, audio=_sound(source, options))
    if modality == "image":
        return MediaItem(modality=modality, video=_image(source, options))
    if modality != "video":
        raise RequestError(f"Modality {modality!r} is unknown; use 'video', 'image' or 'audio'.")
    if isinstance(source, Mapping):
        unknown = set(source) - {"video", "audio"}
        if unknown or "video" not in source:
            raise RequestError(f"A video mapping has 'video' and perhaps 'audio'; this one has {sorted(source)}.")
        source = (source["video"], source.get("audio"))
    if _is_video_with_sound(source):
        frames, sound = source
        return MediaItem(
            modality=modality,
            video=_video(frames, options, sink),
            audio=None if sound is None else _sound(sound, options, of_video=True),
        )
    item = MediaItem(modality=modality, video=_video(source, options, sink))
    if not options.use_audio_in_video or not isinstance(source, str | Path | bytes | bytearray):
        return item
    sound_clip = _sound(source, options, of_video=True)
    if sound_clip.status == "absent":
        name = sound_clip.source or "the video"
        return MediaItem(
            modality=modality, video=item.video, events=(f"{name} has no sound; only its frames are used",)
        )
    return MediaItem(modality=modality, video=item.video, audio=sound_clip)


def as_list(modality: str, media: Any) -> list[Any]:
    """One medium or several as a list. A list of frames (Pillow images, 3-D arrays) given as a video is one video."""
    if media is None:
        return []
    if not isinstance(media, list):
        return [media]
    if modality == "video" and media and all(_is_picture(frame) for frame in media):
        return [media]
    return media


def _is_picture(frame: Any) -> bool:
    return isinstance(frame, Image.Image) or (isinstance(frame, np.ndarray | torch.Tensor) and frame.ndim == 3)


def _is_video_with_sound(source: Any) -> bool:
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    return not all(_is_picture(part) for part in source)


def _video(source: Any, options: MediaOptions, sink: FrameSink | None) -> VideoClip:
    if isinstance(source, VideoClip):
        return source
    from videollama2.media import load_video

    return load_video(
        _without_tensors(source),
        options.num_frames,
        fps=options.fps,
        start=options.start,
        end=options.end,
        sink=sink,
        **options.common,
    )


def _image(source: Any, options: MediaOptions) -> VideoClip:
    if isinstance(source, VideoClip):
        if len(source.frames) != 1:
            raise RequestError(f"An image has one frame, this clip has {len(source.frames)}; pass it as a video.")
        return source
    from videollama2.media import load_image

    return load_image(_without_tensors(source), **options.common)


def _sound(source: Any, options: MediaOptions, *, of_video: bool = False) -> AudioClip:
    if isinstance(source, AudioClip):
        return source
    if isinstance(source, np.ndarray | torch.Tensor):
        raise RequestError("Sound as an array needs its sample rate; give (samples, sample_rate).")
    from videollama2.media import load_audio

    policy = options.audio_policy or ("official-video" if of_video else "centre")
    bounds: dict[str, Any] = {} if policy.startswith("official") else {"start": options.start, "end": options.end}
    if isinstance(source, Sequence) and not isinstance(source, str | bytes | bytearray):
        source = tuple(_without_tensors(part) for part in source)
    return load_audio(source, policy, seconds=options.audio_seconds, **bounds, **options.common)


def _without_tensors(source: Any) -> Any:
    if isinstance(source, torch.Tensor):
        return source.numpy()
    if isinstance(source, list):
        return [part.numpy() if isinstance(part, torch.Tensor) else part for part in source]
    return source
