"""Scenes as files: films (H.264 and AAC in MP4; WebM and AVI where a layout wants them), sounds, pictures, frames."""

from __future__ import annotations

import os
import wave as wave_file
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from PIL import Image

from videollama2.errors import RequestError
from videollama2.world.assets import Catalogue
from videollama2.world.graph import Scene
from videollama2.world.render import frame_moments, render_frames, render_sound
from videollama2.world.sounding import SAMPLE_RATE

# x264's macroblock tree gives other bytes from time to time, one thread or not; without it they never vary.
_X264 = {"crf": "20", "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}

_CODECS: dict[str, tuple[str, dict[str, str], str]] = {
    ".mp4": ("libx264", _X264, "aac"),
    ".mkv": ("libx264", _X264, "aac"),
    ".webm": ("libvpx", {"crf": "10", "b": "1M", "deadline": "realtime", "cpu-used": "8", "threads": "1"}, "libopus"),
    ".avi": ("mpeg4", {"qscale": "3", "flags": "+qscale", "threads": "1"}, "pcm_s16le"),
}
"""Suffix -> codec of the film, its options, codec of the sound. One thread each: the bytes then never vary."""


def write_clip(
    scene: Scene, path: str | os.PathLike[str], catalogue: Catalogue, *, size: int = 224, fps: int = 24
) -> Path:
    """Writes a scene as a film with sound; the file appears under its name only when it is whole.

    Args:
        scene: What to draw and play.
        path: File to write (.mp4, .mkv, .webm or .avi); its folder must exist.
        catalogue: Where the scene's sprites and sounds are.
        size: Side of the square picture in pixels, even.
        fps: Frames a second.

    Returns:
        The path.

    Raises:
        RequestError: An odd size, a rate that is not positive, or an unknown suffix.
    """
    return write_clips_joined((scene,), path, catalogue, size=size, fps=fps)


def write_clips_joined(
    scenes: Sequence[Scene],
    path: str | os.PathLike[str],
    catalogue: Catalogue,
    *,
    size: int = 224,
    fps: int = 24,
    gap: float = 2.0,
) -> Path:
    """As `write_clip`, with several scenes one after the other and `gap` seconds of black silence between them."""
    if size % 2 or size < 16 or fps < 1:
        raise RequestError(
            f"cannot write {size} pixels at {fps} frames a second; give an even size from 16 and fps from 1"
        )
    target = Path(path)
    if target.suffix not in _CODECS:
        raise RequestError(f"cannot write {target.name}; choose one of the suffixes {', '.join(_CODECS)}")
    partial = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    frames, waves = [], []
    for number, scene in enumerate(scenes):
        if number:
            frames.append(np.zeros((round(gap * fps), size, size, 3), np.uint8))
            waves.append(np.zeros(round(gap * SAMPLE_RATE), np.float32))
        frames.append(render_frames(scene, catalogue, frame_moments(round(scene.duration * fps)), size))
        waves.append(render_sound(scene, catalogue))
    try:
        _encode(partial, frames, np.concatenate(waves), size, fps)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def _encode(path: Path, parts: Sequence[np.ndarray], wave: np.ndarray, size: int, fps: int) -> None:
    film, options, sound = _CODECS[path.suffix]
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        video = cast(av.VideoStream, container.add_stream(film, rate=fps, options=options))
        video.width = video.height = size
        video.pix_fmt = "yuv420p"
        audio = cast(av.AudioStream, container.add_stream(sound, rate=SAMPLE_RATE, layout="mono"))
        number = 0
        for part in parts:
            for pixels in part:
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(video.encode(frame))
                number += 1
        container.mux(video.encode(None))
        samples = np.ascontiguousarray(wave[None])
        whole = sound in ("pcm_s16le", "libopus")  # these take whole numbers
        if whole:
            samples = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        block = av.AudioFrame.from_ndarray(samples, format="s16" if whole else "fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
        container.mux(audio.encode(block))
        container.mux(audio.encode(None))


def write_sound(wave: np.ndarray, path: str | os.PathLike[str]) -> Path:
    """Writes a waveform (float in [-1, 1], 16 kHz) as a mono 16-bit WAV file, whole or not at all."""
    target = Path(path)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.wav")
    try:
        with wave_file.open(str(partial), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(SAMPLE_RATE)
            out.writeframes(np.round(np.clip(wave, -1, 1) * 32767).astype("<i2").tobytes())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def write_picture(
    scene: Scene, path: str | os.PathLike[str], catalogue: Catalogue, *, size: int = 224, moment: float = 0.5
) -> Path:
    """Writes one frame of a scene as a JPEG or PNG file (by the suffix), whole or not at all."""
    target = Path(path)
    partial = target.with_name(f".{target.stem}.{os.getpid()}{target.suffix}")
    try:
        Image.fromarray(render_frames(scene, catalogue, [moment], size)[0]).save(partial, quality=92)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def write_frames(
    scenes: Sequence[Scene], folder: str | os.PathLike[str], catalogue: Catalogue, *, size: int = 224, fps: int = 3
) -> Path:
    """Writes scenes, one after the other, as frames 00001.jpg, 00002.jpg, ...; the folder appears when it is whole."""
    target = Path(folder)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    number = 0
    for scene in scenes:
        for pixels in render_frames(scene, catalogue, frame_moments(round(scene.duration * fps)), size):
            number += 1
            Image.fromarray(pixels).save(partial / f"{number:05d}.jpg", quality=92)
    partial.replace(target)
    return target
