"""Clips that the benchmarks make for themselves: moving content without noise, B-frames, known lengths."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SAMPLE_RATE = 44100


def moving_clip(folder: Path, seconds: int, *, width: int = 640, height: int = 360, fps: int = 30) -> Path:
    """An H.264 clip with B-frames and a tone, 360p as on video platforms; made once for each length."""
    path = folder / f"moving_{width}x{height}_{fps}fps_{seconds}s.mp4"
    if not path.exists():
        options = {"preset": "veryfast", "crf": "23", "bf": "2", "g": str(8 * fps)}
        _write(path, _moving_frames(seconds * fps, width, height), Fraction(fps), options, tone_seconds=seconds)
    return path


def hour_clip(folder: Path) -> Path:
    """One hour of 1080p at one frame a second: a title card that changes every half minute."""
    path = folder / "hour_1920x1080_1fps.mp4"
    if not path.exists():
        options = {"preset": "ultrafast", "crf": "30", "g": "60"}
        _write(path, _cards(3600, 1920, 1080, frames_each=30), Fraction(1), options)
    return path


def _moving_frames(count: int, width: int, height: int) -> Iterator[av.VideoFrame]:
    """A drifting gradient with three rectangles on different courses."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    base = np.stack([x * 255 // width, y * 255 // height, (x + y) * 255 // (width + height)], axis=-1).astype(np.uint8)
    for number in range(count):
        frame = np.roll(base, number * 3, axis=1)
        for course in range(3):
            left = (number * (course + 2) * 2 + course * 150) % (width - 90)
            top = (number * (course + 1) + course * 90) % (height - 70)
            colour = [(40 + 90 * course) % 256, 255 - 80 * course, (number + 60 * course) % 256]
            frame[top : top + 70, left : left + 90] = colour
        yield av.VideoFrame.from_ndarray(frame, format="rgb24")


def _cards(count: int, width: int, height: int, frames_each: int) -> Iterator[av.VideoFrame]:
    card = np.zeros((height, width, 3), dtype=np.uint8)
    for step in range(count // frames_each):
        card[:] = (step * 7 % 200, step * 13 % 200, 90)
        card[200:880, 100 + step * 5 : 700 + step * 5] = (255 - step, 200, step * 2)
        frame = av.VideoFrame.from_ndarray(card, format="rgb24").reformat(format="yuv420p")
        for _ in range(frames_each):
            yield frame


def _write(
    path: Path, frames: Iterator[av.VideoFrame], fps: Fraction, options: dict[str, str], tone_seconds: int = 0
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.mp4")
    with av.open(str(unfinished), "w") as container:
        video, sound = None, None
        for number, frame in enumerate(frames):
            if video is None:
                video = container.add_stream("libx264", rate=fps, options=options)
                video.height, video.width, video.pix_fmt = frame.height, frame.width, "yuv420p"
                sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo") if tone_seconds else None
            frame.pts = number
            container.mux(video.encode(frame))
        assert video is not None, "a clip has at least one frame"
        container.mux(video.encode(None))
        if sound is not None:
            _write_tone(container, sound, tone_seconds)
    unfinished.replace(path)


def _write_tone(container: av.container.OutputContainer, stream: av.AudioStream, seconds: int) -> None:
    time = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    wave = (0.3 * np.sin(2 * np.pi * (300 + 40 * time) * time)).astype(np.float32)
    for start in range(0, len(wave), 1024):
        piece = np.stack([wave[start : start + 1024]] * 2)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), format="fltp", layout="stereo")
        frame.sample_rate, frame.pts = SAMPLE_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
