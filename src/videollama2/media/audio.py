"""`load_audio` and `load_audio_windows`: a named window of a sound, mono at 16 kHz, or a clear reason why not.

Two official ways of reading are kept apart. Sound *files*: channel 0, zero-padded, then resampled by FFT, all in
float64. Sound of *videos*: mixed down and resampled to 16-bit mono first. The policies of this project use the way that
fits the source, so that a file of up to 30 s gives the same samples under `official-file`, `first` and `centre`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from ..errors import MediaError, RequestError
from .container import best_audio, best_video, open_container
from .deadline import DEFAULT_TIMEOUT, Deadline
from .folder import FrameList
from .limits import DEFAULT_LIMITS, Limits
from .sound_readers import SAMPLE_RATE, ArrayReader, SoundReader, open_container_reader, open_file_reader
from .source import Source, open_source, source_name
from .types import AudioClip, AudioStatus
from .windows import (
    OFFICIAL_SECONDS,
    Window,
    check_policy,
    official_file_start,
    official_video_clips,
    plan_windows,
    sound_bounds,
)

# Below one step of 16-bit sound there is nothing to hear.
_SILENCE = 1 / 32768


def load_audio(
    source: Any,
    policy: str = "first",
    *,
    seconds: float = OFFICIAL_SECONDS,
    start: float | None = None,
    end: float | None = None,
    seed: int | None = None,
    on_error: Literal["raise", "status"] = "raise",
    limits: Limits = DEFAULT_LIMITS,
    timeout: float | None = DEFAULT_TIMEOUT,
) -> AudioClip:
    """Take a window of sound from a sound file or a video's sound track.

    Args:
        source: Path, bytes or binary file object of a sound file or a video; or (array [S] or [S, C], sample_rate).
        policy: "official-file", "official-video", "first", "centre", "uniform" or "full", see `windows.py`.
        seconds: Length of the window; shorter sound is zero-padded to it, except under "full".
        start: Beginning of the usable sound in seconds of the source (not for the official policies).
        end: End of the usable sound in seconds of the source.
        seed: Seed of the random window of "official-file"; needed where the sound is longer than `seconds`.
        on_error: "raise", or "status": a damaged sound gives zero samples with status "failed" and the reason.
        limits: Sizes that are refused, from headers.
        timeout: Seconds until the load is given up; `None` for no deadline.

    Returns:
        The clip: mono, 16 kHz, float64 (files) or float32 (videos), full scale +-1. A video, GIF or folder without
        sound gives zeros with status "absent"; sound without any signal has status "silent".

    Raises:
        MediaError: Missing, empty, damaged, not media, NaN or infinite samples, bounds outside the sound.
        MediaLimitError: Above `limits`.
        MediaTimeoutError: Not done in `timeout` seconds.
        RequestError: Arguments that are wrong in themselves.
    """
    _check_arguments(policy, seconds, start, end, on_error)
    deadline = Deadline(timeout, _name(source))
    try:
        with _open_sound(source, policy, limits, deadline) as (reader, facts):
            if reader is None:
                return _absent(policy, seconds, facts)
            return _take(reader, facts, policy, seconds, (start, end), seed, limits)
    except MediaError as error:
        if on_error == "raise":
            raise
        return _failed(policy, seconds, _name(source), str(error))


def load_audio_windows(
    source: Any,
    *,
    seconds: float = OFFICIAL_SECONDS,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
    timeout: float | None = DEFAULT_TIMEOUT,
) -> list[AudioClip]:
    """All of a sound as consecutive windows of `seconds`, the last one zero-padded (policy "full").

    Arguments, samples and errors are those of `load_audio`; a source without sound gives one clip of status "absent".
    """
    _check_arguments("full", seconds, start, end, "raise")
    deadline = Deadline(timeout, _name(source))
    with _open_sound(source, "full", limits, deadline) as (reader, facts):
        if reader is None:
            return [_absent("full", seconds, facts)]
        windows, events = _deterministic_windows(reader, facts, "full", seconds, (start, end), limits)
        clips = []
        for window in windows:
            wave, padded = _padded_window(reader, facts, window, seconds)
            clips.append(_clip(wave, [window], "full", padded, reader, facts, [*reader.events, *events]))
        return clips


class _Facts:
    """What is known of a source besides its samples."""

    def __init__(self, name: str, content_hash: str, is_video: bool) -> None:
        self.name, self.content_hash, self.is_video = name, content_hash, is_video


@contextmanager
def _open_sound(
    source: Any, policy: str, limits: Limits, deadline: Deadline
) -> Iterator[tuple[SoundReader | None, _Facts]]:
    """Open the reader that fits source and policy; `None` where there is no sound track."""
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray):
        digest = FrameList([source[0]], "array", limits).content_hash(deadline)
        yield ArrayReader(*source, limits), _Facts("array", digest, False)
        return
    opened = open_source(source, limits, deadline)
    if opened.is_folder or opened.family == "gif":
        yield None, _Facts(opened.name, "" if opened.is_folder else opened.content_hash(deadline), True)
        return
    if opened.family == "image":
        raise MediaError(f"{opened.name} is {opened.what}, which has no sound; pass it as image= instead.")
    facts = _Facts(opened.name, opened.content_hash(deadline), _is_video(opened, deadline))
    mix = policy == "official-video" or (facts.is_video and policy != "official-file")
    if not mix and not facts.is_video:
        with open_file_reader(opened, limits, deadline) as reader:
            if reader is not None:
                yield reader, facts
                return
    with open_container_reader(opened, limits, deadline, mix) as track:
        if track is None and not facts.is_video:
            raise MediaError(f"{opened.name} is {opened.what} without a sound track; give a sound file.")
        yield track, facts


def _is_video(source: Source, deadline: Deadline) -> bool:
    if source.family == "audio":
        return False
    with open_container(source, deadline) as container:
        return best_video(container) is not None or best_audio(container) is None


def _take(
    reader: SoundReader,
    facts: _Facts,
    policy: str,
    seconds: float,
    bounds: tuple[float | None, float | None],
    seed: int | None,
    limits: Limits,
) -> AudioClip:
    if not reader.num_samples:
        raise MediaError(f"{facts.name} holds no sound samples (0 s); give sound with content.")
    if policy == "official-file":
        return _official_file(reader, facts, seconds, seed)
    if policy == "official-video":
        return _official_video(reader, facts, seconds)
    windows, events = _deterministic_windows(reader, facts, policy, seconds, bounds, limits)
    if policy != "full" and len(windows) == 1:
        wave, padded = _padded_window(reader, facts, windows[0], seconds)
    else:
        # Each piece is resampled alone: joined first, the jumps between pieces would ring into both.
        wave = np.concatenate([_window(reader, facts, window) for window in windows])
        padded = 0
        if policy != "full":
            padded = max(round(seconds * SAMPLE_RATE) - len(wave), 0)
            wave = np.concatenate([wave, np.zeros(padded, dtype=wave.dtype)])[: round(seconds * SAMPLE_RATE)]
    return _clip(wave, windows, policy, padded, reader, facts, [*reader.events, *events])


def _official_file(reader: SoundReader, facts: _Facts, seconds: float, seed: int | None) -> AudioClip:
    length = int(seconds * reader.sample_rate)
    first = official_file_start(reader.num_samples, length, seed)
    events = list(reader.events)
    if reader.num_samples > length:
        events.append(f"a random window of {seconds:g} s was drawn with seed {seed}")
    samples = _checked(reader.read(first, length), facts)
    window = first / reader.sample_rate, (first + len(samples)) / reader.sample_rate
    wave, padded = _pad_and_resample(samples, length, reader.sample_rate)
    return _clip(wave, [window], "official-file", padded, reader, facts, events)


def _official_video(reader: SoundReader, facts: _Facts, seconds: float) -> AudioClip:
    rate = reader.sample_rate
    pieces, windows = [], []
    for begin, stop in official_video_clips(reader.num_samples / rate):
        first, last = int(begin * rate), min(int(stop * rate), reader.num_samples)
        pieces.append(_checked(reader.read(first, last - first), facts))
        windows.append((first / rate, last / rate))
    samples = np.concatenate(pieces)[: int(seconds * rate)]
    wave, padded = _pad_and_resample(samples, int(seconds * rate), rate)
    return _clip(wave, windows, "official-video", padded, reader, facts, list(reader.events))


def _deterministic_windows(
    reader: SoundReader,
    facts: _Facts,
    policy: str,
    seconds: float,
    bounds: tuple[float | None, float | None],
    limits: Limits,
) -> tuple[list[Window], list[str]]:
    """Windows on the clock of the sound (0 at its first sample), and events."""
    if not reader.num_samples:
        raise MediaError(f"{facts.name} holds no sound samples (0 s); give sound with content.")
    start, end = (None if bound is None else bound - reader.offset for bound in bounds)
    (first, last), events = sound_bounds(reader.num_samples / reader.sample_rate, start, end, facts.name)
    windows = plan_windows(policy, first, last, seconds)
    limits.check_audio_seconds(sum(stop - begin for begin, stop in windows), facts.name)
    if policy != "full" and last - first > seconds + 1 / SAMPLE_RATE:
        events.append(f"{sum(b - a for a, b in windows):g} of {last - first:.2f} s of sound are used ({policy})")
    return windows, events


def _window(reader: SoundReader, facts: _Facts, window: Window) -> np.ndarray:
    first, last = (round(time * reader.sample_rate) for time in window)
    samples = _checked(reader.read(first, last - first), facts)
    return resample_fft(samples, reader.sample_rate)


def _padded_window(reader: SoundReader, facts: _Facts, window: Window, seconds: float) -> tuple[np.ndarray, int]:
    """One window zero-padded to `seconds`, then resampled (the official order); samples and how many are padding."""
    first, last = (round(time * reader.sample_rate) for time in window)
    length = int(seconds * reader.sample_rate)
    samples = _checked(reader.read(first, min(last - first, length)), facts)
    return _pad_and_resample(samples, length, reader.sample_rate)


def _pad_and_resample(samples: np.ndarray, length: int, sample_rate: int) -> tuple[np.ndarray, int]:
    missing = max(length - len(samples), 0)
    padded = np.concatenate([samples, np.zeros(missing, dtype=samples.dtype)]) if missing else samples
    wave = resample_fft(padded, sample_rate)
    return wave, len(wave) - min(math.ceil(len(samples) * SAMPLE_RATE / sample_rate), len(wave))


def resample_fft(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Resample [S] to 16 kHz by FFT; equals librosa's `res_type="fft"`, which the official code uses."""
    if sample_rate == SAMPLE_RATE or not len(samples):
        return samples
    from scipy.signal import resample

    return resample(samples, math.ceil(len(samples) * (float(SAMPLE_RATE) / sample_rate)))


def _checked(samples: np.ndarray, facts: _Facts) -> np.ndarray:
    if not np.isfinite(samples).all():
        raise MediaError(f"{facts.name} holds NaN or infinite samples; make the sound again.")
    return samples


def _clip(
    wave: np.ndarray,
    windows: list[Window],
    policy: str,
    padded: int,
    reader: SoundReader,
    facts: _Facts,
    events: list[str],
) -> AudioClip:
    if len(wave) == padded:
        raise MediaError(f"No sound of {facts.name} can be decoded in the chosen window; it is damaged or cut short.")
    silent = float(np.abs(wave).max()) < _SILENCE
    if reader.sample_rate != SAMPLE_RATE:
        events.append(f"sound was resampled from {reader.sample_rate} to {SAMPLE_RATE} Hz by FFT")
    if padded:
        events.append(f"{padded / SAMPLE_RATE:.2f} s of zeros were appended")
    if silent:
        events.append("the sound holds no signal")
    return AudioClip(
        waveform=wave,
        sample_rate=SAMPLE_RATE,
        windows=tuple((float(a + reader.offset), float(b + reader.offset)) for a, b in windows),
        status="silent" if silent else "used",
        policy=policy,
        duration=reader.num_samples / reader.sample_rate,
        num_padded=padded,
        content_hash=facts.content_hash,
        source=facts.name,
        events=tuple(dict.fromkeys(events)),
    )


def _zeros(policy: str, seconds: float, name: str, content_hash: str, status: AudioStatus, reason: str) -> AudioClip:
    num_samples = int(seconds * SAMPLE_RATE)
    event = "there is no sound track" if status == "absent" else f"the sound could not be read: {reason}"
    return AudioClip(
        waveform=np.zeros(num_samples, dtype=np.float32),
        sample_rate=SAMPLE_RATE,
        windows=(),
        status=status,
        policy=policy,
        duration=0.0,
        reason=reason,
        num_padded=num_samples,
        content_hash=content_hash,
        source=name,
        events=(f"{event}: {seconds:g} s of zeros stand in for it",),
    )


def _absent(policy: str, seconds: float, facts: _Facts) -> AudioClip:
    return _zeros(policy, seconds, facts.name, facts.content_hash, "absent", "")


def _failed(policy: str, seconds: float, name: str, reason: str) -> AudioClip:
    return _zeros(policy, seconds, name, "", "failed", reason)


def _check_arguments(policy: str, seconds: float, start: float | None, end: float | None, on_error: str) -> None:
    check_policy(policy, seconds)
    if policy.startswith("official") and (start is not None or end is not None):
        raise RequestError(f"Policy {policy!r} takes no start or end; choose first, centre, uniform or full.")
    if on_error not in ("raise", "status"):
        raise RequestError(f"on_error={on_error!r} is unknown; choose 'raise' or 'status'.")


def _name(source: Any) -> str:
    return "array" if isinstance(source, tuple) else source_name(source)
