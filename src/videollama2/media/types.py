"""What the media room hands out: decoded frames and sound, each with its true time.

Shape letters: T frames, H W pixels, S audio samples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

AudioStatus = Literal["used", "absent", "silent", "failed"]
MediaKind = Literal["video", "image", "audio", "gif", "folder", "array"]


@dataclass(frozen=True, kw_only=True)
class VideoClip:
    """Frames sampled from one video, GIF, folder, array or image.

    Attributes:
        frames: T arrays uint8 [H, W, 3], RGB, upright (rotation and EXIF applied). Sizes may differ in a folder.
        times: T presentation times in seconds from the start of the source (of an image: 0.0). Padded frames have nan.
        indices: T frame numbers in presentation order in the source; padded frames have -1.
        duration: Seconds of the whole source; 0.0 for an image.
        fps: Average frames per second of the source; 0.0 for an image.
        num_source_frames: Frames the source holds.
        num_padded: How many black frames were appended because the source had too few (official behaviour).
        content_hash: SHA-256 hex of the source's full content.
        source: Short human name of the source (file name, "array", "bytes").
        events: Everything that was skipped, cropped, rotated, padded or replaced, as sentences for the answer's ledger.
    """

    frames: tuple[np.ndarray, ...]
    times: tuple[float, ...]
    indices: tuple[int, ...]
    duration: float
    fps: float
    num_source_frames: int
    num_padded: int = 0
    content_hash: str = ""
    source: str = ""
    events: tuple[str, ...] = ()


class FrameSink(Protocol):
    """Takes the frames of a clip one by one while the rest is still being decoded.

    What it was given may turn out not to be the clip's frame (a file that cannot be seeked is read again, a damaged
    frame is replaced): the clip's `frames` decide, and a frame that stayed is the very array that was given.
    """

    def expect(self, num_frames: int) -> None:
        """Told once, before the first frame: the clip will have T frames."""

    def take(self, place: int, frame: np.ndarray) -> None:
        """Given a frame uint8 [H, W, 3] and the first place (0 to T-1) where it stands; any thread, any order."""


@dataclass(frozen=True, kw_only=True)
class AudioClip:
    """Sound taken from one file or one video's sound track, by a named window policy.

    Attributes:
        waveform: float [S], mono, full scale +-1.0. float64 where the official path computes in float64.
        sample_rate: Hz; 16000 after the policies of this package.
        windows: (start, end) seconds in the source of every piece that `waveform` is made of, in order.
        status: "used", "absent" (no sound track), "silent" (all samples zero), "failed" (reason says why).
        reason: Empty, or why the status is "failed".
        policy: Name of the window policy that made the waveform.
        duration: Seconds of sound in the source.
        num_padded: Zero samples appended at the end of `waveform` to reach the policy's length.
        content_hash: SHA-256 hex of the source's full content.
        source: Short human name of the source.
        events: Everything that was cropped, resampled, down-mixed or replaced, as sentences.
    """

    waveform: np.ndarray
    sample_rate: int
    windows: tuple[tuple[float, float], ...]
    status: AudioStatus
    policy: str
    duration: float
    reason: str = ""
    num_padded: int = 0
    content_hash: str = ""
    source: str = ""
    events: tuple[str, ...] = field(default=())


@dataclass(frozen=True, kw_only=True)
class MediaInfo:
    """What the headers of a source say, before anything is decoded. 0 or 0.0 where they do not say.

    Attributes:
        kind: "video", "image", "audio", "gif" (any animated image), "folder" or "array".
        what: What to call it in a message ("an MP4 or QuickTime file").
        source: Short human name of the source.
        num_bytes: Size of the content.
        duration: Seconds.
        fps: Average frames per second.
        num_frames: Frames, as the header or the listing says.
        width: Pixels across, upright or not as stored.
        height: Pixels down.
        has_video: Moving pictures are in it.
        has_audio: A sound track is in it.
        sample_rate: Hz of the sound.
        channels: Channels of the sound.
    """

    kind: MediaKind
    what: str
    source: str
    num_bytes: int = 0
    duration: float = 0.0
    fps: float = 0.0
    num_frames: int = 0
    width: int = 0
    height: int = 0
    has_video: bool = False
    has_audio: bool = False
    sample_rate: int = 0
    channels: int = 0
