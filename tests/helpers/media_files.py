"""Media files made on the spot, as bytes: ordinary ones and the odd ones that users have.

Every picture carries its own frame number as a pattern of grey blocks (`read_number` finds it again, after any codec),
so a test can tell which frame it got without trusting the code under test.
"""

from __future__ import annotations

import io
import struct
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

NUMBER_BITS = 12


def numbered_frame(number: int, width: int = 96, height: int = 64) -> np.ndarray:
    """uint8 [H, W, 3]: upper half, the number in binary as black and white blocks; lower half, moving texture."""
    frame = np.zeros((height, width, 3), dtype=np.uint8)
    block = width // NUMBER_BITS
    for bit in range(NUMBER_BITS):
        if number >> bit & 1:
            frame[: height // 2, bit * block : (bit + 1) * block] = 255
    columns = np.arange(width)[None, :, None] + np.arange(height // 2, height)[:, None, None]
    frame[height // 2 :] = (columns * 3 + number * 5 + np.array([0, 40, 90])) % 256
    return frame


def read_number(frame: np.ndarray) -> int:
    """The number that `numbered_frame` wrote, from a decoded frame."""
    height, width = frame.shape[:2]
    block = width // NUMBER_BITS
    upper = frame[: height // 2].mean(axis=(0, 2))
    return sum(1 << bit for bit in range(NUMBER_BITS) if upper[bit * block : (bit + 1) * block].mean() > 127)


def tone(seconds: float, sample_rate: int = 16000, frequency: float = 440.0, level: float = 0.5) -> np.ndarray:
    """A sine as float64 [S]."""
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)


def make_video(
    num_frames: int = 60,
    *,
    fps: int | Fraction = 30,
    width: int = 96,
    height: int = 64,
    container: str = "mp4",
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    gop: int | None = 12,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    rotation: int = 0,
    sound: np.ndarray | None = None,
    sample_rate: int = 16000,
    audio_codec: str = "aac",
    frame: Callable[[int, int, int], np.ndarray] = numbered_frame,
    container_options: dict[str, str] | None = None,
) -> bytes:
    """Encode a video of numbered frames, with mono sound [S] where given; `pts` makes its frame rate variable."""
    import av

    # On disk, because "faststart" opens its own output again.
    with (
        tempfile.TemporaryDirectory() as folder,
        av.open(f"{folder}/video", "w", format=container, options=container_options or {}) as out,
    ):
        stream = out.add_stream(codec, rate=fps, options=options or {})
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        # With several threads, an encoder may write other bytes on a busy machine.
        stream.codec_context.thread_count = 1
        if gop is not None:
            stream.gop_size = gop
        if time_base is not None:
            stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        track = None
        if sound is not None:
            track = out.add_stream(audio_codec, rate=sample_rate)
            track.layout = "mono"
        for number in range(num_frames):
            picture = av.VideoFrame.from_ndarray(frame(number, width, height), "rgb24")
            picture.pts = number if pts is None else pts[number]
            picture.time_base = time_base or 1 / Fraction(fps)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        if track is not None:
            _encode_sound(out, track, sound, sample_rate)
        out.close()
        return Path(f"{folder}/video").read_bytes()


def make_sound(
    samples: np.ndarray, sample_rate: int = 16000, container: str = "mp4", codec: str = "aac", layout: str = "mono"
) -> bytes:
    """Encode sound [S] (copied to every channel of the layout) by FFmpeg: m4a ("mp4"), "ogg", "mp3", "flac", ..."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as out:
        track = out.add_stream(codec, rate=sample_rate)
        track.layout = layout
        _encode_sound(out, track, samples, sample_rate)
    return buffer.getvalue()


def make_wav(samples: np.ndarray, sample_rate: int = 16000, subtype: str = "PCM_16", container: str = "WAV") -> bytes:
    """Write sound [S] or [S, C] by libsndfile: "WAV", "FLAC", "OGG" with "VORBIS", "MP3" with "MPEG_LAYER_III"."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format=container, subtype=subtype)
    return buffer.getvalue()


def make_image(array: np.ndarray, container: str = "PNG", mode: str | None = None, orientation: int = 1) -> bytes:
    """Write an image by Pillow, converted to `mode`, with an EXIF orientation."""
    from PIL import Image

    image = Image.fromarray(array)
    if mode is not None:
        image = image.convert(mode)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    buffer = io.BytesIO()
    image.save(buffer, format=container, exif=exif)
    return buffer.getvalue()


def make_gif(num_frames: int = 10, durations_ms: int | list[int] = 40, width: int = 96, height: int = 64) -> bytes:
    """A GIF of numbered frames with given delays."""
    from PIL import Image

    frames = [Image.fromarray(numbered_frame(i, width, height)) for i in range(num_frames)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:], duration=durations_ms, loop=0)
    return buffer.getvalue()


def bframe_video(num_frames: int = 60, *, open_gop: bool = False, **options: object) -> bytes:
    """H.264 with three B-frames in a row; with open groups, some are stored after a keyframe and shown before it."""
    params = f"keyint=12:min-keyint=12:bframes=3:b-adapt=0:scenecut=0:open-gop={int(open_gop)}"
    return make_video(num_frames, options={"x264-params": params}, gop=None, **options)  # type: ignore[arg-type]


def vfr_video() -> tuple[bytes, list[float]]:
    """A video at 5, then 30, then 2 frames per second; and the true time of every frame."""
    steps = [200] * 10 + [33] * 30 + [500] * 6
    pts = np.concatenate([[0], np.cumsum(steps)]).tolist()
    return make_video(len(pts), pts=pts, time_base=Fraction(1, 1000), container="matroska"), [p / 1000 for p in pts]


def edit_list_video(num_frames: int = 60, skip_seconds: float = 0.5, fps: int = 30) -> bytes:
    """An MP4 whose edit list leaves out the first `skip_seconds` (as phones and trimming tools write)."""
    data = bytearray(make_video(num_frames, fps=fps, options={"x264-params": "bframes=0"}))
    at = data.index(b"elst")
    version, count = data[at + 4], struct.unpack(">I", data[at + 8 : at + 12])[0]
    assert version == 0
    assert count == 1
    duration, media_time = struct.unpack(">Ii", data[at + 12 : at + 20])
    movie = struct.unpack(">I", data[data.index(b"mvhd") + 16 : data.index(b"mvhd") + 20])[0]
    media = struct.unpack(">I", data[data.index(b"mdhd") + 16 : data.index(b"mdhd") + 20])[0]
    new = duration - round(skip_seconds * movie), media_time + round(skip_seconds * media)
    data[at + 12 : at + 20] = struct.pack(">Ii", *new)
    return bytes(data)


def truncated_video(keep: float = 0.5, num_frames: int = 60) -> bytes:
    """An MP4 with its index in front, cut off after a part of its data."""
    data = make_video(num_frames, container_options={"movflags": "faststart"})
    begin = data.index(b"mdat")
    return data[: begin + int((len(data) - begin) * keep)]


def headless_video() -> bytes:
    """An MP4 cut off before its index at the end: nothing of it can be decoded."""
    data = make_video(30)
    return data[: data.index(b"moov") - 4]


def damaged_video(num_frames: int = 60, seed: int = 0) -> bytes:
    """An MP4 whose picture data of the middle third is noise, with an intact index."""
    data = bytearray(make_video(num_frames, container_options={"movflags": "faststart"}))
    begin = data.index(b"mdat") + 4
    third = (len(data) - begin) // 3
    noise = np.random.default_rng(seed).integers(0, 256, third, dtype=np.uint8)
    data[begin + third : begin + 2 * third] = noise.tobytes()
    return bytes(data)


def frameless_video() -> bytes:
    """A Matroska file with a video stream that holds no frame."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as out:
        stream = out.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        out.start_encoding()
    return buffer.getvalue()


def tiny_video(num_frames: int = 5) -> bytes:
    """A video of 1 x 1 pixels."""
    return make_video(num_frames, width=1, height=1, codec="ffv1", container="matroska", pix_fmt="bgr0", frame=_grey)


def long_video(hours: float = 1.0, fps: int = 1, gop: int = 60) -> bytes:
    """A video that lasts hours, of small plain frames, cheap to make."""
    options = {"preset": "ultrafast", "x264-params": "scenecut=0:bframes=0"}
    num_frames = round(hours * 3600 * fps)
    return make_video(num_frames, fps=fps, width=48, height=16, options=options, gop=gop)


def bomb_png(width: int = 60000, height: int = 60000) -> bytes:
    """A PNG of a few bytes whose header says it is huge."""
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def not_media() -> dict[str, bytes]:
    """Files that are no media, by kind."""
    noise = np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    return {
        "text": b"BM is how this sentence begins, and it is no picture.\n" * 20,
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n" * 10,
        "zip": b"PK\x03\x04" + noise,
        "playlist": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n",
        "concat": b"ffconcat version 1.0\nfile /etc/hostname\n",
        "noise": noise,
        "zeros": bytes(5000),
    }


def _grey(number: int, width: int, height: int) -> np.ndarray:
    return np.full((height, width, 3), number * 40 % 256, dtype=np.uint8)


def _encode_sound(out: object, track: object, samples: np.ndarray, sample_rate: int) -> None:
    import av

    block, channels = 1024, track.layout.nb_channels  # type: ignore
    mono = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
    resampler = av.AudioResampler(format=track.format, layout=track.layout, rate=sample_rate)  # type: ignore
    for begin in range(0, len(mono), block):
        # The same samples in every channel, interleaved; an up-mix by the resampler would change their level.
        piece = np.repeat(mono[begin : begin + block], channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=track.layout.name)  # type: ignore
        frame.sample_rate, frame.pts, frame.time_base = sample_rate, begin, Fraction(1, sample_rate)
        for converted in resampler.resample(frame):
            out.mux(track.encode(converted))  # type: ignore[attr-defined]
    for converted in resampler.resample(None):
        out.mux(track.encode(converted))  # type: ignore[attr-defined]
    out.mux(track.encode(None))  # type: ignore[attr-defined]
