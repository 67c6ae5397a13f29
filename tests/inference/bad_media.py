"""Media that cannot be answered about, made on the spot."""

import io
import wave

import numpy as np
from PIL import Image

from videollama2.inference.selfcheck_media import make_clip


def wav(samples, rate=16000):
    """A 16-bit mono WAV file as bytes."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.asarray(samples, dtype="<i2").tobytes())
    return target.getvalue()


def float_wav(samples, rate=16000):
    """A 32-bit float WAV file as bytes."""
    import soundfile

    target = io.BytesIO()
    soundfile.write(target, np.asarray(samples, dtype=np.float32), rate, format="WAV", subtype="FLOAT")
    return target.getvalue()


def huge_png():
    """A PNG whose header claims 60000 x 60000 pixels."""
    import struct
    import zlib

    target = io.BytesIO()
    Image.new("L", (1, 1)).save(target, "PNG")
    raw = bytearray(target.getvalue())
    raw[16:24] = struct.pack(">II", 60000, 60000)
    raw[29:33] = struct.pack(">I", zlib.crc32(bytes(raw[12:29])))
    return bytes(raw)


def write_bad_media(folder):
    """Writes the files; returns name -> (path, argument of ask it is given as)."""
    clip = make_clip()
    files = {
        "missing.mp4": (None, "video"),
        "empty.mp4": (b"", "video"),
        "text.mp4": (b"not a video at all\n" * 50, "video"),
        "noise.mp4": (bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)), "video"),
        "truncated.mp4": (clip[: len(clip) // 2], "video"),
        "sound_called.mp4": (wav(np.zeros(1600)), "video"),
        "video_called.png": (clip, "image"),
        "truncated.png": (huge_png()[:40], "image"),
        "huge.png": (huge_png(), "image"),
        "empty.wav": (b"", "audio"),
        "no_samples.wav": (wav([]), "audio"),
        "nan.wav": (float_wav([0.1, float("nan"), 0.2] * 4000), "audio"),
        "text.wav": (b"nothing to hear here\n" * 50, "audio"),
        "image_called.wav": (huge_png(), "audio"),
    }
    paths = {}
    for name, (content, argument) in files.items():
        path = folder / name
        if content is not None:
            path.write_bytes(content)
        paths[name] = (path, argument)
    empty_folder = folder / "no_frames"
    empty_folder.mkdir()
    paths["no_frames"] = (empty_folder, "video")
    return paths
