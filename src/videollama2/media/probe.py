"""`probe`: what a source is and holds, from its headers alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import MediaError
from .container import best_audio, best_video, container_seconds, open_container
from .deadline import DEFAULT_TIMEOUT, Deadline
from .folder import FrameList, folder_frames, given_frames
from .gif import index_animation
from .image import open_image
from .limits import DEFAULT_LIMITS, Limits
from .sampling import OFFICIAL_FOLDER_FPS
from .sound_readers import open_file_reader
from .source import Source, open_source, source_name
from .types import MediaInfo


def probe(source: Any, limits: Limits = DEFAULT_LIMITS, *, timeout: float | None = DEFAULT_TIMEOUT) -> MediaInfo:
    """Tell what a source is without decoding it; sizes are checked against `limits`.

    Args:
        source: Anything `load_video`, `load_image` or `load_audio` take.
        limits: Sizes that are refused.
        timeout: Seconds until the look is given up.

    Raises:
        MediaError: Missing, empty, damaged in its headers, or not media.
        MediaLimitError: Above `limits`.
    """
    deadline = Deadline(timeout, source_name(source))
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray):
        return _sound_array(*source)
    if isinstance(source, np.ndarray | list | tuple):
        frames = given_frames(source[None] if isinstance(source, np.ndarray) and source.ndim == 3 else source, limits)
        return _frame_list("array", frames, deadline, 0.0)
    opened = open_source(source, limits, deadline)
    if opened.is_folder:
        return _frame_list("folder", folder_frames(opened, limits, deadline), deadline, OFFICIAL_FOLDER_FPS)
    if opened.family in ("image", "gif"):
        return _image(opened, limits, deadline)
    if opened.family == "audio":
        with open_file_reader(opened, limits, deadline) as reader:
            if reader is not None:
                return MediaInfo(
                    kind="audio",
                    what=opened.what,
                    source=opened.name,
                    num_bytes=opened.num_bytes,
                    duration=reader.num_samples / reader.sample_rate,
                    has_audio=True,
                    sample_rate=reader.sample_rate,
                    channels=reader.channels,
                )
    return _container(opened, limits, deadline)


def _container(source: Source, limits: Limits, deadline: Deadline) -> MediaInfo:
    with open_container(source, deadline) as container:
        video, audio = best_video(container), best_audio(container)
        if video is None and audio is None:
            raise MediaError(f"{source.name} is {source.what} without pictures or sound; give another file.")
        seconds = container_seconds(container)
        limits.check_seconds(seconds, source.name)
        # A stream whose codec is unknown here has no context; its facts stay 0.
        width = height = 0
        if video is not None and video.codec_context is not None:
            width, height = video.codec_context.width, video.codec_context.height
        if video is not None:
            limits.check_pixels(width, height, source.name)
            limits.check_frames(video.frames or 0, source.name)
        sample_rate = channels = 0
        if audio is not None and audio.codec_context is not None:
            sample_rate, channels = int(audio.rate or 0), int(audio.channels or 0)
        fps = float(video.average_rate or 0) if video is not None else 0.0
        return MediaInfo(
            kind="video" if video is not None else "audio",
            what=source.what,
            source=source.name,
            num_bytes=source.num_bytes,
            duration=seconds,
            fps=fps,
            num_frames=(video.frames or round(seconds * fps)) if video is not None else 0,
            width=width,
            height=height,
            has_video=video is not None,
            has_audio=audio is not None,
            sample_rate=sample_rate,
            channels=channels,
        )


def _image(source: Source, limits: Limits, deadline: Deadline) -> MediaInfo:
    with open_image(source, limits) as image:
        num_frames, (width, height) = getattr(image, "n_frames", 1), image.size
    limits.check_frames(num_frames, source.name)
    moving = num_frames > 1
    duration = index_animation(source, limits, deadline).duration if moving else 0.0
    return MediaInfo(
        kind="gif" if moving or source.family == "gif" else "image",
        what=source.what,
        source=source.name,
        num_bytes=source.num_bytes,
        duration=duration,
        fps=num_frames / duration if moving else 0.0,
        num_frames=num_frames,
        width=width,
        height=height,
        has_video=moving,
    )


def _frame_list(kind: Any, frames: FrameList, deadline: Deadline, fps: float) -> MediaInfo:
    height, width = frames.decode([0], deadline)[0].shape[:2]
    return MediaInfo(
        kind=kind,
        what="a folder of images" if kind == "folder" else "frames in memory",
        source=frames.name,
        duration=len(frames) / fps if fps else 0.0,
        fps=fps,
        num_frames=len(frames),
        width=width,
        height=height,
        has_video=True,
    )


def _sound_array(array: np.ndarray, sample_rate: int) -> MediaInfo:
    return MediaInfo(
        kind="array",
        what="sound in memory",
        source="array",
        num_bytes=array.nbytes,
        duration=len(array) / sample_rate if sample_rate else 0.0,
        has_audio=True,
        sample_rate=sample_rate,
        channels=array.shape[1] if array.ndim == 2 else 1,
    )
