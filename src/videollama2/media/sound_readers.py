"""Readers of sound: the same few facts and one `read` for a file that soundfile knows, a container, or an array.

A reader hands out one channel at its own `sample_rate`. Long sources are positioned, not read through, so hours of
sound cost what the window costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..errors import MediaError, RequestError
from .container import best_audio, container_seconds, container_start, open_container
from .deadline import Deadline
from .limits import Limits
from .source import Source

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer

SAMPLE_RATE = 16_000
# Up to this long a container's sound is decoded whole, which is exact; beyond it, windows are found by seeking.
WHOLE_SECONDS = 600.0
_PREROLL_SECONDS = 0.5
_BLOCK_SECONDS = 30.0


class SoundReader(Protocol):
    """One channel of sound.

    Attributes:
        sample_rate: Samples per second that `read` gives.
        num_samples: Samples there are at that rate (an estimate from the header for long containers).
        offset: Seconds from the start of the source to the first sample.
        events: What was done to the sound (down-mix, channel choice, damage).
    """

    sample_rate: int
    num_samples: int
    offset: float
    events: list[str]

    def read(self, first: int, count: int) -> np.ndarray:
        """Samples [first, first + count) as float [S], full scale +-1; fewer where the sound ends."""
        ...


class ArrayReader:
    """Sound given as an array [S] or [S, C] with its sample rate; channel 0 is used, as for files."""

    def __init__(self, array: Any, sample_rate: Any, limits: Limits) -> None:
        if not isinstance(array, np.ndarray) or array.ndim not in (1, 2):
            raise RequestError("Sound given as an array must be NumPy [samples] or [samples, channels]; reshape it.")
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer) or sample_rate < 1:
            raise RequestError(f"sample_rate={sample_rate!r} is not a whole number of samples per second; give one.")
        if array.dtype == np.int16:
            array = array / 32768.0
        elif not np.issubdtype(array.dtype, np.floating):
            raise RequestError(f"Sound of dtype {array.dtype} is not accepted; give float in -1..1 or int16.")
        limits.check_sample_rate(int(sample_rate), "array")
        self.events: list[str] = []
        if array.ndim == 2:
            limits.check_channels(array.shape[1], "array")
            if array.shape[1] > 1:
                self.events.append(f"channel 1 of {array.shape[1]} is used")
            array = array[:, 0]
        self.sample_rate = int(sample_rate)
        self.num_samples = len(array)
        self.offset = 0.0
        self._array = array.astype(np.float64)

    def read(self, first: int, count: int) -> np.ndarray:
        """Samples [first, first + count)."""
        return self._array[first : first + count]


class FileReader:
    """Sound files by libsndfile (WAV, FLAC, OGG, MP3, AIFF, ...): channel 0 in float64, as in the official code."""

    def __init__(self, file: Any, name: str, limits: Limits, deadline: Deadline) -> None:
        self.sample_rate = int(file.samplerate)
        self.num_samples = int(file.frames)
        self.channels = int(file.channels)
        self.offset = 0.0
        self.events = [f"channel 1 of {file.channels} is used"] if file.channels > 1 else []
        self._file, self._name, self._deadline = file, name, deadline
        limits.check_sample_rate(self.sample_rate, name)
        limits.check_channels(file.channels, name)
        limits.check_seconds(self.num_samples / self.sample_rate, name)

    def read(self, first: int, count: int) -> np.ndarray:
        """Samples [first, first + count), read in blocks so that the deadline is seen."""
        import soundfile

        blocks = []
        block = max(int(_BLOCK_SECONDS * self.sample_rate), 1)
        try:
            self._file.seek(min(first, self.num_samples))
            while count > 0:
                self._deadline.check()
                samples = self._file.read(min(count, block), dtype="float64", always_2d=True)[:, 0]
                if not len(samples):
                    break
                # A copy, or the view would keep all channels of the block alive.
                blocks.append(samples.copy())
                count -= len(samples)
        except soundfile.SoundFileError as error:
            if not blocks:
                raise MediaError(f"The sound of {self._name} is damaged ({error}); make it again.") from error
            self.events.append("the sound is damaged or cut short: what could be read is used")
        return np.concatenate(blocks) if blocks else np.zeros(0)


class ContainerReader:
    """Sound tracks by PyAV.

    With `mix`, mono at 16 kHz through 16-bit samples, float32 (what the official code gets for a video's sound from the
    ffmpeg program). Without, channel 0 at the track's own rate in float64.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: AudioStream,
        name: str,
        limits: Limits,
        deadline: Deadline,
        mix: bool,
    ) -> None:
        context = stream.codec_context
        if context is None:
            raise MediaError(f"{name} uses a sound codec that cannot be decoded here; convert it to AAC or WAV first.")
        limits.check_sample_rate(stream.rate or 0, name)
        limits.check_channels(stream.channels or 0, name)
        if not stream.rate:
            raise MediaError(f"The sound track of {name} does not say its sample rate; convert it first.")
        self._container, self._stream, self._name, self._deadline, self._mix = container, stream, name, deadline, mix
        self._time_base = float(stream.time_base or 1)
        self.sample_rate = SAMPLE_RATE if mix else int(stream.rate)
        self.events: list[str] = []
        if mix and (stream.channels or 1) > 1:
            self.events.append(f"{stream.channels} channels were mixed down to one")
        elif (stream.channels or 1) > 1:
            self.events.append(f"channel 1 of {stream.channels} is used")
        if mix and stream.rate != SAMPLE_RATE:
            self.events.append(f"sound was resampled from {stream.rate} to {SAMPLE_RATE} Hz by the converter of FFmpeg")
        start = container_start(container)
        self._first_time = (stream.start_time or 0) * self._time_base
        self.offset = max(self._first_time - start, 0.0) if stream.start_time is not None else 0.0
        seconds = (stream.duration or 0) * self._time_base or container_seconds(container)
        limits.check_seconds(seconds, name)
        self._whole: np.ndarray | None = None
        if seconds <= WHOLE_SECONDS:
            self._whole = self._collect(0, None)
            self.num_samples = len(self._whole)
            limits.check_seconds(self.num_samples / self.sample_rate, name)
        else:
            self.num_samples = int(seconds * self.sample_rate)
            self.events.append(f"sound over {WHOLE_SECONDS:g} s is positioned by its time stamps, not decoded through")

    def read(self, first: int, count: int) -> np.ndarray:
        """Samples [first, first + count)."""
        if self._whole is not None:
            return self._whole[first : first + count]
        return self._collect(first, count)

    def _collect(self, first: int, count: int | None) -> np.ndarray:
        """Decode `count` samples from `first` on (seeking if that is far in), or everything where `count` is None."""
        import av

        begin = first / self.sample_rate
        position = 0.0 if count is None else begin - _PREROLL_SECONDS
        seek = position > _PREROLL_SECONDS
        if seek:
            self._container.seek(int((self._first_time + position) / self._time_base), stream=self._stream)
        elif self._whole is None and count is not None:
            self._container.seek(int(self._first_time / self._time_base), stream=self._stream)
        blocks: list[np.ndarray] = []
        collected, wanted = 0, None
        resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE) if self._mix else None
        for frame in self._frames():
            if wanted is None and count is not None:
                started = frame.pts * self._time_base - self._first_time if seek and frame.pts is not None else 0.0
                skip = max(round((begin - started) * self.sample_rate), 0)
                wanted = skip + count
            for piece in self._convert(frame, resampler):
                blocks.append(piece)
                collected += len(piece)
            if wanted is not None and collected >= wanted:
                break
        if resampler is not None:
            blocks += [_mono(frame) for frame in resampler.resample(None)]
        samples = np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)
        if self._mix:
            samples = samples.astype(np.float32) / np.float32(32768.0)
        if count is None:
            return samples
        return samples[skip : skip + count] if wanted is not None else samples[:0]

    def _convert(self, frame: Any, resampler: Any) -> list[np.ndarray]:
        if resampler is not None:
            # A gap in the time stamps must not become a gap in the samples: the ffmpeg program concatenates too.
            frame.pts = None
            return [_mono(out) for out in resampler.resample(frame)]
        return [_channel_0(frame)]

    def _frames(self) -> Iterator[Any]:
        import av

        packets = self._container.demux(self._stream)
        num_frames = 0
        damaged = 0
        while True:
            self._deadline.check()
            try:
                packet = next(packets)
                frames = packet.decode()
            except StopIteration:
                break
            except av.EOFError:
                break
            except av.FFmpegError:
                damaged += 1
                if damaged > 1000:
                    break
                continue
            for frame in frames:
                num_frames += 1
                yield frame
        if damaged and not num_frames:
            raise MediaError(f"The sound track of {self._name} cannot be decoded: it is damaged; make it again.")
        if damaged:
            self.events.append(f"{damaged} stored pieces of the sound are damaged and were passed over")


@contextmanager
def open_file_reader(source: Source, limits: Limits, deadline: Deadline) -> Iterator[FileReader | None]:
    """A reader by libsndfile for the length of a `with` block, or `None` where it does not know the format."""
    import soundfile

    with source.open() as stream:
        try:
            file = soundfile.SoundFile(stream)
        except (soundfile.SoundFileError, TypeError):
            file = None
        if file is None:
            yield None
            return
        with file:
            yield FileReader(file, source.name, limits, deadline)


@contextmanager
def open_container_reader(
    source: Source, limits: Limits, deadline: Deadline, mix: bool
) -> Iterator[ContainerReader | None]:
    """A reader by PyAV for the length of a `with` block, or `None` where there is no sound track."""
    with open_container(source, deadline) as container:
        stream = best_audio(container)
        yield None if stream is None else ContainerReader(container, stream, source.name, limits, deadline, mix)


def _mono(frame: Any) -> np.ndarray:
    return frame.to_ndarray().reshape(-1)


def _channel_0(frame: Any) -> np.ndarray:
    """Channel 0 of a decoded frame as float64, full scale +-1."""
    array = frame.to_ndarray()
    channels = frame.layout.nb_channels
    samples = array[0] if frame.format.is_planar else array.reshape(-1, channels)[:, 0]
    if samples.dtype == np.uint8:
        return (samples.astype(np.float64) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float64) / float(1 << (8 * samples.dtype.itemsize - 1))
    return samples.astype(np.float64)
