"""Opening a video file: its stream, checked from the headers, and the list of its frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import MediaError
from .container import best_audio, best_video, container_seconds, open_container
from .deadline import Deadline
from .limits import Limits
from .source import Source
from .video_index import VideoIndex, build_index

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream


@dataclass(frozen=True, kw_only=True)
class OpenVideo:
    """An indexed video file that is still open.

    Attributes:
        container: At its end, once indexed.
        stream: Its main video stream, nothing decoded yet.
        index: Its frames.
        packets: All packets in the order of decoding; empty where they are too many to be kept.
    """

    container: InputContainer
    stream: VideoStream
    index: VideoIndex
    packets: list[Packet]


def open_video(container: InputContainer, source: Source, limits: Limits) -> VideoStream:
    """The main video stream, its sizes checked from the headers, set to decode in one thread; the others are not read.

    Raises:
        MediaError: There is no video stream, or no decoder for it.
    """
    from av.stream import Discard

    stream = best_video(container)
    if stream is None:
        if best_audio(container) is not None:
            raise MediaError(f"{source.name} has sound but no video stream; pass it as audio= instead.")
        raise MediaError(f"{source.name} has no video stream; give a video.")
    context = stream.codec_context
    if context is None:
        raise MediaError(f"{source.name} uses a video codec that cannot be decoded here; convert it to H.264 first.")
    limits.check_seconds(container_seconds(container), source.name)
    limits.check_pixels(context.width, context.height, source.name)
    context.thread_count = 1
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    return stream


@contextmanager
def indexed_video(source: Source, limits: Limits, deadline: Deadline) -> Iterator[OpenVideo]:
    """Open and index a video file (frames, times, sizes and keyframes, without decoding) for a `with` block."""
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        packets: list[Packet] = []
        index = build_index(container, stream, source.name, limits, deadline, packets)
        limits.check_seconds(index.duration, source.name)
        yield OpenVideo(container=container, stream=stream, index=index, packets=packets)


def index_video(source: Source, limits: Limits, deadline: Deadline) -> VideoIndex:
    """The index alone."""
    with indexed_video(source, limits, deadline) as video:
        return video.index
