"""A clip of sound to the audio tower's input, as the tower's spec says.

Two kinds: "beats-fbank" (Kaldi's filterbank in the waveform's own precision, rounded to bf16 as the official code does)
and "whisper-log-mel".

Shape letters: S steps of 10 ms, M mel bins.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from videollama2.errors import MediaError, RequestError
from videollama2.media.types import AudioClip
from videollama2.processing.fbank import INT16_SCALE, kaldi_fbank
from videollama2.processing.log_mel import whisper_log_mel

AudioKind = Literal["beats-fbank", "whisper-log-mel"]


@dataclass(frozen=True, kw_only=True)
class AudioSpec:
    """How sound becomes the input of one audio tower.

    Attributes:
        kind: "beats-fbank" or "whisper-log-mel".
        seconds: Longest window the tower is fed with, above 0; window policies of the media room use it.
        num_mel_bins: M, 4 or more.
        sample_rate: Hz, 16000 for both kinds.
        dtype: "bfloat16" rounds the features to bf16 (official for BEATs, and its trained weights expect it) before
            they are handed on as float32; "float32" does not. None means the kind's own: bf16 for "beats-fbank".
        pad_to_seconds: Zeros appended to the waveform up to this length before the features; None appends none. Window
            policies pad to their length themselves; "whisper-log-mel" with None leaves those zeros out again.
        video_policy: Window policy for a video's sound where a request names none. None means the kind's own:
            "official-video" for "beats-fbank", and for "whisper-log-mel" the middle `seconds` of the sound ("centre").
        silence_db: Level below full scale of the noise that stands for digital silence, None for true zeros. A model
            that was trained on recordings with a noise floor knows silence only so.
    """

    kind: AudioKind = "beats-fbank"
    seconds: float = 30.0
    num_mel_bins: int = 128
    sample_rate: int = 16000
    dtype: Literal["bfloat16", "float32"] | None = None
    pad_to_seconds: float | None = None
    video_policy: str | None = None
    silence_db: float | None = None

    def __post_init__(self) -> None:
        """Check every field and fill in the kind's own dtype."""
        if self.kind not in ("beats-fbank", "whisper-log-mel"):
            raise RequestError(f"AudioSpec.kind is {self.kind!r}; use 'beats-fbank' or 'whisper-log-mel'.")
        if self.dtype is None:
            object.__setattr__(self, "dtype", "bfloat16" if self.kind == "beats-fbank" else "float32")
        if self.dtype not in ("bfloat16", "float32"):
            raise RequestError(f"AudioSpec.dtype is {self.dtype!r}; use 'bfloat16' or 'float32'.")
        if self.seconds <= 0 or self.num_mel_bins < 4:
            raise RequestError("AudioSpec needs seconds above 0 and num_mel_bins of 4 or more.")
        if self.video_policy is None:
            object.__setattr__(self, "video_policy", "official-video" if self.kind == "beats-fbank" else "centre")
        if self.sample_rate != 16000:
            raise RequestError(f"AudioSpec.sample_rate is {self.sample_rate}; both audio towers work at 16000 Hz.")
        if self.pad_to_seconds is not None and self.pad_to_seconds <= 0:
            raise RequestError(f"AudioSpec.pad_to_seconds is {self.pad_to_seconds}; give more than 0, or None.")

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values; `AudioSpec(**spec.to_dict())` is the same spec."""
        return asdict(self)


def audio_features(clip: AudioClip, spec: AudioSpec) -> torch.Tensor:
    """Features of one clip of sound.

    Args:
        clip: Sound at `spec.sample_rate`; its dtype decides the precision of the filterbank.
        spec: The tower's preprocessing.

    Returns:
        float32 [S, M]; with `dtype` "bfloat16" every value is one that bf16 can hold.

    Raises:
        MediaError: The sound could not be decoded, is shorter than one window, or holds values that are not numbers.
        RequestError: The sample rate is not the spec's.
    """
    if clip.status == "failed":
        raise MediaError(f"The sound of {clip.source or 'this item'} failed: {clip.reason or 'unknown reason'}.")
    if clip.sample_rate != spec.sample_rate:
        raise RequestError(
            f"The sound is at {clip.sample_rate} Hz and the model hears {spec.sample_rate} Hz; resample it first "
            "(load_audio does)."
        )
    samples = np.ascontiguousarray(clip.waveform)
    if not np.isfinite(samples).all():
        raise MediaError(f"The sound of {clip.source or 'this item'} holds NaN or infinite samples; repair the file.")
    if _leaves_padding_out(clip, spec):
        # This tower takes sound as long as it is; the zeros that window policies append would be heard as silence.
        samples = samples[: len(samples) - clip.num_padded]
    if clip.status == "silent" and spec.silence_db is not None:
        samples = room_noise(len(samples), spec.silence_db)
    waveform = torch.from_numpy(samples if samples.dtype == np.float64 else samples.astype(np.float32, copy=False))
    if spec.pad_to_seconds is not None:
        missing = round(spec.pad_to_seconds * spec.sample_rate) - len(waveform)
        waveform = torch.nn.functional.pad(waveform, (0, max(0, missing)))
    if spec.kind == "beats-fbank":
        features = kaldi_fbank(waveform * INT16_SCALE, num_mel_bins=spec.num_mel_bins, sample_rate=spec.sample_rate)
    else:
        features = whisper_log_mel(waveform, num_mel_bins=spec.num_mel_bins)
    if len(features) == 0:
        raise MediaError(
            f"The sound of {clip.source or 'this item'} lasts {len(samples) / spec.sample_rate:.3f} s, less than one "
            "window of 25 ms; give more, or pad it (AudioSpec.pad_to_seconds)."
        )
    # float64 goes to bf16 directly: rounding twice could end one bf16 step away.
    return (features.bfloat16() if spec.dtype == "bfloat16" else features).float()


def room_noise(num_samples: int, level_db: float) -> np.ndarray:
    """White noise float32 [num_samples] at `level_db` below full scale, always the same."""
    noise = np.random.Generator(np.random.PCG64(0)).standard_normal(num_samples)
    return (noise * 10 ** (level_db / 20)).astype(np.float32)


def sound_events(clip: AudioClip, spec: AudioSpec) -> list[str]:
    """What was done to the sound that the tower hears; zeros that are left out again are not told of."""
    events = list(clip.events)
    if _leaves_padding_out(clip, spec):
        events = [event for event in events if not event.endswith("s of zeros were appended")]
    if clip.status == "silent" and spec.silence_db is not None:
        events.append(f"silence was given to the model as noise at {spec.silence_db:g} dB, as it was trained")
    return events


def _leaves_padding_out(clip: AudioClip, spec: AudioSpec) -> bool:
    return spec.kind == "whisper-log-mel" and spec.pad_to_seconds is None and 0 < clip.num_padded < len(clip.waveform)
