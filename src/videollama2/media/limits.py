"""How large media may be: the one place where sizes are refused, from header facts, before the work is done."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import MediaLimitError, RequestError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Largest accepted sizes. The defaults let through what people have; a server sets its own.

    Attributes:
        bytes: Bytes of one source (a folder: of all its files together).
        pixels: Width times height of one frame or image. The default stays below the size at which Pillow itself warns.
        frames: Frames a source may hold to be indexed.
        sampled_frames: Frames taken from one source.
        decoded_bytes: Bytes of all frames taken from one source together, as uint8 RGB.
        seconds: Duration of a video or sound in seconds.
        audio_seconds: Seconds of sound taken from one source.
        channels: Audio channels.
        sample_rate: Audio samples per second.
    """

    bytes: int = 64 << 30
    pixels: int = 89_000_000
    frames: int = 5_000_000
    sampled_frames: int = 1024
    decoded_bytes: int = 4 << 30
    seconds: float = 24 * 3600.0
    audio_seconds: float = 3600.0
    channels: int = 64
    sample_rate: int = 768_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise RequestError(f"Limits.{field.name}={value!r} is not a number above 0; give one.")

    def _refuse(self, name: str, what: str, value: str, limit: str) -> MediaLimitError:
        return MediaLimitError(
            f"{name} has {value}, above the limit of {limit}; use a smaller source or raise Limits({what}=...)."
        )

    def check_bytes(self, num_bytes: int, name: str) -> None:
        """Refuse a source of too many bytes."""
        if num_bytes > self.bytes:
            raise self._refuse(name, "bytes", f"{num_bytes:,} bytes", f"{self.bytes:,}")

    def check_pixels(self, width: int, height: int, name: str) -> None:
        """Refuse frames or images of too many pixels."""
        if width * height > self.pixels:
            raise self._refuse(name, "pixels", f"{width} x {height} pixels", f"{self.pixels:,} pixels")

    def check_frames(self, num_frames: int, name: str) -> None:
        """Refuse a source that holds too many frames to index."""
        if num_frames > self.frames:
            raise self._refuse(name, "frames", f"{num_frames:,} frames or more", f"{self.frames:,}")

    def check_sampled(self, num_frames: int, width: int, height: int, name: str) -> None:
        """Refuse to take too many frames, or frames too large together."""
        if num_frames > self.sampled_frames:
            raise self._refuse(name, "sampled_frames", f"{num_frames:,} frames to take", f"{self.sampled_frames:,}")
        num_bytes = num_frames * width * height * 3
        if num_bytes > self.decoded_bytes:
            what = f"{num_frames} frames of {width} x {height} to take ({num_bytes:,} bytes)"
            raise self._refuse(name, "decoded_bytes", what, f"{self.decoded_bytes:,} bytes")

    def check_seconds(self, seconds: float, name: str) -> None:
        """Refuse a source that lasts too long."""
        if seconds > self.seconds:
            raise self._refuse(name, "seconds", f"{seconds:,.0f} s", f"{self.seconds:,.0f} s")

    def check_audio_seconds(self, seconds: float, name: str) -> None:
        """Refuse to take too much sound."""
        if seconds > self.audio_seconds:
            raise self._refuse(
                name, "audio_seconds", f"{seconds:,.1f} s of sound to take", f"{self.audio_seconds:,.0f} s"
            )

    def check_channels(self, channels: int, name: str) -> None:
        """Refuse sound of too many channels."""
        if channels > self.channels:
            raise self._refuse(name, "channels", f"{channels} audio channels", f"{self.channels}")

    def check_sample_rate(self, sample_rate: int, name: str) -> None:
        """Refuse sound of too high a sample rate."""
        if sample_rate > self.sample_rate:
            raise self._refuse(name, "sample_rate", f"{sample_rate:,} samples per second", f"{self.sample_rate:,}")


DEFAULT_LIMITS = Limits()
