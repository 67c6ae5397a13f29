"""Decoding chosen frames of a video file: seek to the keyframe before, skip what nothing depends on, decode the rest.

Small files are read once: the packets seen while indexing are the ones decoded. The result is bit-identical to decoding
the whole file (`decode_all_reference`, kept for tests and benchmarks).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import MediaError
from .container import open_container
from .deadline import Deadline
from .frame_array import frame_array
from .limits import Limits
from .source import Source
from .video_file import OpenVideo, open_video
from .video_index import VideoIndex

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

# A second thread pays for opening the file again from about this many pixels decoded (50 frames of 360p).
_PIXELS_PER_WORKER = 12_000_000
_MAX_WORKERS = 4


OnFrame = Callable[[int, np.ndarray], None]


class _CannotSeekError(Exception):
    """The container does not get to the wanted keyframe."""


@dataclass(kw_only=True)
class Decoded:
    """Frames that were decoded, by frame number, and what happened on the way."""

    frames: dict[int, np.ndarray] = field(default_factory=dict)
    replaced: dict[int, int] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    num_decoded: int = 0
    num_errors: int = 0
    on_frame: OnFrame | None = field(default=None, repr=False)

    def add(self, number: int, frame: VideoFrame, reformatter: VideoReformatter) -> None:
        """Keep the pixels of a wanted frame and pass them on."""
        self.keep(number, frame, reformatter)
        if self.on_frame is not None:
            self.on_frame(number, self.frames[number])

    def keep(self, number: int, frame: VideoFrame, reformatter: VideoReformatter) -> None:
        """Keep the pixels of a frame."""
        self.frames[number], events = frame_array(frame, reformatter)
        for event in events:
            self.note(event)

    def note(self, event: str) -> None:
        """Record an event once."""
        if event not in self.events:
            self.events.append(event)


def decode_frames(
    source: Source,
    index: VideoIndex,
    indices: Sequence[int],
    limits: Limits,
    deadline: Deadline,
    *,
    video: OpenVideo | None = None,
    on_frame: OnFrame | None = None,
) -> Decoded:
    """Decode the frames of `indices` (frame numbers in presentation order, repeats allowed).

    A frame that cannot be decoded is replaced by the nearest one that can; `Decoded.replaced` says which.

    Args:
        source: The file.
        index: Its frames.
        indices: What to decode.
        limits: Sizes that are refused.
        deadline: For the whole load.
        video: The file still open from indexing, to be spared opening it and, if it kept its packets, reading it again.
        on_frame: Given the number and pixels of every frame at once, from the thread that decoded it.

    Returns:
        `Decoded.frames`: number -> uint8 [H, W, 3] RGB, upright, for every wanted or replacing frame.

    Raises:
        MediaError: None of the frames can be decoded.
        MediaTimeoutError: The deadline passed.
    """
    wanted = sorted(set(indices))
    seekable = index.seekable
    if seekable:
        try:
            result = _decode_groups_at_once(source, index, wanted, limits, deadline, video, on_frame)
        except _CannotSeekError:
            seekable = False
    if not seekable:
        result = _decode_in_order(source, wanted, limits, deadline, on_frame)
    missing = [i for i in wanted if i not in result.frames]
    if missing and seekable:
        for number in missing:
            _replace_missing(source, index, number, result, limits, deadline)
        missing = [i for i in missing if i not in result.frames and i not in result.replaced]
    if missing and not result.frames:
        raise MediaError(
            f"No frame of {source.name} can be decoded: it is damaged or cut short; make or download it again."
        )
    for number in missing:
        nearest = min((abs(i - number), i) for i in result.frames)[1]
        result.replaced[number] = nearest
        result.note(f"frame {number} cannot be decoded: frame {nearest} is used instead")
    return result


def decode_all_reference(source: Source, limits: Limits, deadline: Deadline) -> list[np.ndarray]:
    """Decode every frame from first to last, the plain way: what the fast path must equal. For tests and benchmarks."""
    from av.video.reformatter import VideoReformatter

    result = Decoded()
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        frames = _frames_in_order(container, stream, result, deadline)
        return [frame_array(frame, VideoReformatter())[0] for frame in frames]


def _decode_groups_at_once(
    source: Source,
    index: VideoIndex,
    wanted: list[int],
    limits: Limits,
    deadline: Deadline,
    video: OpenVideo | None,
    on_frame: OnFrame | None,
) -> Decoded:
    """Groups of pictures by one decoder, or shared by several; the first of them may use the open file."""
    groups = _group_by_keyframe(index, wanted)
    workers = _num_workers(index, groups)
    packets = video.packets if video is not None else []

    def decode(share: list[_Group], opened: OpenVideo | None) -> Decoded:
        result = Decoded(on_frame=on_frame)
        if opened is not None:
            _decode_groups(opened.container, opened.stream, packets, index, share, result, deadline)
            return result
        with open_container(source, deadline) as container:
            stream = open_video(container, source, limits)
            _decode_groups(container, stream, packets, index, share, result, deadline)
        return result

    if workers == 1:
        return decode(groups, video)
    result = Decoded()
    with ThreadPoolExecutor(workers, thread_name_prefix="videollama2-decode") as pool:
        shares = _split(groups, workers)
        parts = [pool.submit(decode, share, None if place else video) for place, share in enumerate(shares)]
        for part in (future.result() for future in parts):
            result.frames.update(part.frames)
            result.num_decoded += part.num_decoded
            result.num_errors += part.num_errors
            for event in part.events:
                result.note(event)
    return result


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Wanted frames that are reached from one keyframe."""

    keyframe: int
    last: int
    wanted: dict[int, int]  # pts -> frame number

    @property
    def cost(self) -> int:
        return self.last - self.keyframe + 1


def _group_by_keyframe(index: VideoIndex, wanted: list[int]) -> list[_Group]:
    members: dict[int, list[tuple[int, int, int]]] = {}
    for number in wanted:
        position = int(index.positions[number])
        pts = int(index.packet_pts[position])
        place = int(np.searchsorted(index.keyframes, position, side="right")) - 1
        # Leading pictures of an open group (stored after the keyframe, shown before it) need the group before.
        while place > 0 and pts < index.packet_pts[index.keyframes[place]]:
            place -= 1
        members.setdefault(int(index.keyframes[place]), []).append((position, pts, number))
    return [
        _Group(keyframe=key, last=max(p for p, _, _ in items), wanted={pts: number for _, pts, number in items})
        for key, items in sorted(members.items())
    ]


def _num_workers(index: VideoIndex, groups: list[_Group]) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pixels = sum(group.cost for group in groups) * index.width * index.height
    return max(1, min(cores, _MAX_WORKERS, len(groups), pixels // _PIXELS_PER_WORKER))


def _split(groups: list[_Group], parts: int) -> list[list[_Group]]:
    """Share groups out by cost, the dearest first to whoever has least."""
    shares: list[list[_Group]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for group in sorted(groups, key=lambda g: -g.cost):
        least = loads.index(min(loads))
        shares[least].append(group)
        loads[least] += group.cost
    return [sorted(share, key=lambda g: g.keyframe) for share in shares]


def _decode_groups(
    container: InputContainer,
    stream: VideoStream,
    packets: list[Packet],
    index: VideoIndex,
    groups: list[_Group],
    result: Decoded,
    deadline: Deadline,
) -> None:
    from av.video.reformatter import VideoReformatter

    reformatter = VideoReformatter()
    for group in groups:
        errors_before = result.num_errors
        found: Iterator[tuple[int | None, Packet]]
        if packets:
            found = enumerate(packets[group.keyframe : group.last + 1], group.keyframe)
        else:
            found = _packets_from(container, stream, index, group.keyframe)
        for frame in _decode_group(found, stream, group, result, deadline):
            number = group.wanted.get(frame.pts) if frame.pts is not None else None
            if number is not None:
                result.add(number, frame, reformatter)
                if result.num_errors > errors_before:
                    result.note(f"frame {number} comes after damaged data and may look wrong")


def _decode_group(
    packets: Iterator[tuple[int | None, Packet]],
    stream: VideoStream,
    group: _Group,
    result: Decoded,
    deadline: Deadline,
    skip: bool = True,
) -> Iterator[VideoFrame]:
    """Yield the frames between a keyframe and the last wanted frame; with `skip`, most unwanted ones stay undecoded."""
    import av

    context = stream.codec_context
    level: Literal["", "DEFAULT", "NONREF"] = ""
    for position, packet in packets:
        deadline.check()
        if not packet.size:
            break
        wanted: Literal["DEFAULT", "NONREF"] = "DEFAULT" if not skip or packet.pts in group.wanted else "NONREF"
        if wanted != level:
            context.skip_frame = level = wanted
        try:
            # By this context: a kept packet belongs to the container that it was read from.
            frames = context.decode(packet)
        except av.FFmpegError:
            result.num_errors += 1
            result.note("some stored frames are damaged and were passed over")
            frames = []
        for frame in frames:
            result.num_decoded += 1
            yield frame
        if position is None or position >= group.last:
            break
    # Nothing after the last wanted packet is needed: what the decoder holds back comes out on draining.
    yield from _drain(context, result)
    context.flush_buffers()


def _drain(context: Any, result: Decoded) -> Iterator[VideoFrame]:
    import av

    try:
        for frame in context.decode(None):
            result.num_decoded += 1
            yield frame
    except av.FFmpegError:
        result.note("some stored frames are damaged and were passed over")


def _packets_from(
    container: InputContainer, stream: VideoStream, index: VideoIndex, keyframe: int
) -> Iterator[tuple[int | None, Packet]]:
    """Packets from a keyframe, or from an earlier one where the container cannot hit it exactly, with their numbers."""
    import av

    place = int(np.searchsorted(index.keyframes, keyframe))
    for at in range(place, -1, -1):
        position = index.keyframes[at]
        # Some containers look times up by pts, others by dts: the later of the two costs fewest packets, if it hits.
        for target in (int(index.packet_pts[position]), int(index.packet_dts[position])):
            try:
                container.seek(target, stream=stream, backward=True)
                packets = container.demux(stream)
                first = next(packets)
            except (av.FFmpegError, StopIteration):
                continue
            found = index.position_of(first.pts) if first.size else None
            if found is not None and found <= keyframe:
                return ((index.position_of(packet.pts), packet) for packet in chain([first], packets))
    raise _CannotSeekError


def _replace_missing(
    source: Source, index: VideoIndex, number: int, result: Decoded, limits: Limits, deadline: Deadline
) -> None:
    """Decode the surroundings of a frame without skipping and take the frame itself or the nearest to it."""
    from av.video.reformatter import VideoReformatter

    position = int(index.positions[number])
    place = max(int(np.searchsorted(index.keyframes, position, side="right")) - 2, 0)
    group = _Group(keyframe=int(index.keyframes[place]), last=position, wanted={})
    wanted_pts = int(index.packet_pts[position])
    nearest: VideoFrame | None = None
    nearest_pts, least = 0, (True, 0)
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        packets = _packets_from(container, stream, index, group.keyframe)
        for frame in _decode_group(packets, stream, group, result, deadline, skip=False):
            if frame.pts is None or index.position_of(frame.pts) is None:
                continue
            # A whole frame further away is better than a damaged one close by.
            badness = frame.is_corrupt, abs(frame.pts - wanted_pts)
            if nearest is None or badness < least:
                nearest, nearest_pts, least = frame, frame.pts, badness
        if nearest is None:
            return
        place = int(np.searchsorted(index.packet_pts[index.positions], nearest_pts))
        if place not in result.frames:
            result.keep(place, nearest, VideoReformatter())
    if place != number:
        result.replaced[number] = place
        result.note(f"frame {number} cannot be decoded: frame {place} is used instead")


def _decode_in_order(
    source: Source, wanted: list[int], limits: Limits, deadline: Deadline, on_frame: OnFrame | None
) -> Decoded:
    from av.video.reformatter import VideoReformatter

    result = Decoded(on_frame=on_frame)
    keep, reformatter = set(wanted), VideoReformatter()
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        last: tuple[int, VideoFrame] | None = None
        for number, frame in enumerate(_frames_in_order(container, stream, result, deadline)):
            last = number, frame
            if number in keep:
                result.add(number, frame, reformatter)
            if number >= wanted[-1]:
                break
        if last is not None and last[0] not in result.frames:
            result.keep(*last, reformatter)
    return result


def _frames_in_order(
    container: InputContainer, stream: VideoStream, result: Decoded, deadline: Deadline
) -> Iterator[VideoFrame]:
    import av

    packets = container.demux(stream)
    while True:
        deadline.check()
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            yield from _drain(stream.codec_context, result)
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            result.note("some stored frames are damaged and were passed over")
            continue
        for frame in frames:
            result.num_decoded += 1
            yield frame  # type: ignore[misc]
