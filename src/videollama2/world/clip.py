"""Scenes as video files: H.264 and AAC in MP4, with smooth motion."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from videollama2.errors import RequestError
from videollama2.world.assets import Catalogue
from videollama2.world.render import frame_moments, render_frames, render_sound
from videollama2.world.scene import Scene
from videollama2.world.sounding import SAMPLE_RATE


def write_clip(
    scene: Scene, path: str | os.PathLike[str], catalogue: Catalogue, *, size: int = 224, fps: int = 24
) -> Path:
    """Writes a scene as an MP4 file; the file appears under its name only when it is whole.

    Args:
        scene: What to draw and play.
        path: File to write; its folder must exist.
        catalogue: Where the scene's sprites and sounds are.
        size: Side of the square picture in pixels, even.
        fps: Frames a second.

    Returns:
        The path.

    Raises:
        RequestError: An odd size, or a rate that is not positive.
    """
    if size % 2 or size < 16 or fps < 1:
        raise RequestError(
            f"cannot write {size} pixels at {fps} frames a second; give an even size from 16 and fps from 1"
        )
    target = Path(path)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.mp4")
    num_frames = round(scene.duration * fps)
    frames = render_frames(scene, catalogue, frame_moments(num_frames), size)
    try:
        with av.open(str(partial), "w") as container:
            video = container.add_stream(
                "libx264", rate=fps, options={"crf": "20", "preset": "veryfast", "threads": "1"}
            )
            video.width = video.height = size
            video.pix_fmt = "yuv420p"
            audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            for number, pixels in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, fps)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
            wave = render_sound(scene, catalogue)
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None]), format="fltp", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = SAMPLE_RATE, 0, Fraction(1, SAMPLE_RATE)
            container.mux(audio.encode(sound))
            container.mux(audio.encode(None))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target
