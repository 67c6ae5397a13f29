"""The clip that `selfcheck` decodes: made on the spot, without loss, so that its decoded form is known to the bit.

PNG pictures and FLAC sound in an mp4 need nothing but the codecs every build of PyAV has.
"""

from __future__ import annotations

import io

import numpy as np

NUM_FRAMES = 12
FPS = 8
HEIGHT, WIDTH = 48, 64
SAMPLE_RATE = 16000


def make_frames() -> np.ndarray:
    """Frames uint8 [T, H, W, 3]: a bright square wanders over a gradient that shifts with time."""
    rows = np.arange(HEIGHT)[:, None]
    columns = np.arange(WIDTH)[None, :]
    frames = np.zeros((NUM_FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for index in range(NUM_FRAMES):
        frames[index, ..., 0] = (rows * 5 + index * 9) % 256
        frames[index, ..., 1] = (columns * 4 + rows + index * 3) % 256
        frames[index, ..., 2] = (rows * columns // 8 + index * 20) % 256
        left = 4 + index * 4
        frames[index, 16:28, left : left + 12] = (250, 240, 20)
    return frames


def make_waveform() -> np.ndarray:
    """Sound int16 [S], 1.5 s at 16 kHz: an integer square-and-triangle mixture (no library function is involved)."""
    steps = np.arange(int(SAMPLE_RATE * NUM_FRAMES / FPS))
    triangle = np.abs(steps * 7 % 256 - 128) * 60 - 3840
    square = np.where(steps // 20 % 2 == 0, 2000, -2000)
    return (triangle + square * (steps > SAMPLE_RATE // 2)).astype(np.int16)


def make_clip() -> bytes:
    """The mp4 file as bytes."""
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as container:
        video = container.add_stream("png", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "rgb24"
        audio = container.add_stream("flac", rate=SAMPLE_RATE)
        audio.layout, audio.format = "mono", "s16"
        for index, picture in enumerate(make_frames()):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = index
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        sound = av.AudioFrame.from_ndarray(make_waveform()[None], format="s16", layout="mono")
        sound.sample_rate, sound.pts = SAMPLE_RATE, 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode(None))
    return target.getvalue()
