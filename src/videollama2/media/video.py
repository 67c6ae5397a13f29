"""Decoding chosen frames of a video file: seek to the keyframe before, skip what nothing depends on, decode the rest.

The result is bit-identical to decoding the whole file (`decode_all_reference`, kept for tests and benchmarks).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MediaError
from .container import best_audio, best_video, container_seconds, open_container
from .deadline import Deadline
from .limits import Limits
from .source import Source
from .video_index import VideoIndex, build_index

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# A second thread pays for opening the file again from about this many pixels decoded (50 frames of 360p).
_PIXELS_PER_WORKER = 12_000_000
_MAX_WORKERS = 4


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

    def note(self, event: str) -> None:
        """Record an event once."""
        if event not in self.events:
            self.events.append(event)


def open_video(container: InputContainer, source: Source, limits: Limits) -> VideoStream:
    """The main video stream, its sizes checked from the headers; decoding is set to one thread.

    Raises:
        MediaError: There is no video stream, or no decoder for it.
    """
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
    return stream


def index_video(source: Source, limits: Limits, deadline: Deadline) -> VideoIndex:
    """Index a video file: its frames, their times, sizes and keyframes, without decoding."""
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        index = build_index(container, stream, source.name, limits, deadline)
        limits.check_seconds(index.duration, source.name)
        return index


def decode_frames(
    source: Source, index: VideoIndex, indices: Sequence[int], limits: Limits, deadline: Deadline
) -> Decoded:
    """Decode the frames of `indices` (frame numbers in presentation order, repeats allowed).

    A frame that cannot be decoded is replaced by the nearest one that can; `Decoded.replaced` says which.

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
            result = _decode_by_seeking(source, index, wanted, limits, deadline)
        except _CannotSeekError:
            seekable = False
    if not seekable:
        result = _decode_in_order(source, wanted, limits, deadline)
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
    result = Decoded()
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        return [_to_array(frame, result) for frame in _frames_in_order(container, stream, result, deadline)]


def _decode_by_seeking(
    source: Source, index: VideoIndex, wanted: list[int], limits: Limits, deadline: Deadline
) -> Decoded:
    groups = _group_by_keyframe(index, wanted)
    workers = _num_workers(index, groups)
    if workers == 1:
        return _decode_groups(source, index, groups, limits, deadline)
    result = Decoded()
    with ThreadPoolExecutor(workers, thread_name_prefix="videollama2-decode") as pool:
        shares = _split(groups, workers)
        parts = [pool.submit(_decode_groups, source, index, share, limits, deadline) for share in shares]
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
    source: Source, index: VideoIndex, groups: list[_Group], limits: Limits, deadline: Deadline
) -> Decoded:
    result = Decoded()
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        for group in groups:
            errors_before = result.num_errors
            for frame in _decode_group(container, stream, index, group, result, deadline):
                number = group.wanted.get(frame.pts) if frame.pts is not None else None
                if number is not None:
                    result.frames[number] = _to_array(frame, result)
                    if result.num_errors > errors_before:
                        result.note(f"frame {number} comes after damaged data and may look wrong")
    return result


def _decode_group(
    container: InputContainer,
    stream: VideoStream,
    index: VideoIndex,
    group: _Group,
    result: Decoded,
    deadline: Deadline,
    skip: bool = True,
) -> Iterator[VideoFrame]:
    """Yield the frames between a keyframe and the last wanted frame; with `skip`, most unwanted ones stay undecoded."""
    import av

    context = stream.codec_context
    for packet in _packets_from(container, stream, index, group.keyframe):
        deadline.check()
        if not packet.size:
            break
        context.skip_frame = "DEFAULT" if not skip or packet.pts in group.wanted else "NONREF"
        try:
            frames = packet.decode()
        except av.FFmpegError:
            result.num_errors += 1
            result.note("some stored frames are damaged and were passed over")
            frames = []
        for frame in frames:
            result.num_decoded += 1
            yield frame
        position = index.position_of(packet.pts)
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


def _packets_from(container: InputContainer, stream: VideoStream, index: VideoIndex, keyframe: int) -> Iterator[Any]:
    """Packets from a keyframe, or from an earlier one where the container cannot hit it exactly."""
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
                return chain([first], packets)
    raise _CannotSeekError


def _replace_missing(
    source: Source, index: VideoIndex, number: int, result: Decoded, limits: Limits, deadline: Deadline
) -> None:
    """Decode the surroundings of a frame without skipping and take the frame itself or the nearest to it."""
    position = int(index.positions[number])
    place = max(int(np.searchsorted(index.keyframes, position, side="right")) - 2, 0)
    group = _Group(keyframe=int(index.keyframes[place]), last=position, wanted={})
    wanted_pts = int(index.packet_pts[position])
    nearest: VideoFrame | None = None
    nearest_pts, least = 0, (True, 0)
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        for frame in _decode_group(container, stream, index, group, result, deadline, skip=False):
            if frame.pts is None or index.position_of(frame.pts) is None:
                continue
            # A whole frame further away is better than a damaged one close by.
            badness = frame.is_corrupt, abs(frame.pts - wanted_pts)
            if nearest is None or badness < least:
                nearest, nearest_pts, least = frame, frame.pts, badness
        if nearest is None:
            return
        place = int(np.searchsorted(index.packet_pts[index.positions], nearest_pts))
        result.frames.setdefault(place, _to_array(nearest, result))
    if place != number:
        result.replaced[number] = place
        result.note(f"frame {number} cannot be decoded: frame {place} is used instead")


def _decode_in_order(source: Source, wanted: list[int], limits: Limits, deadline: Deadline) -> Decoded:
    result = Decoded()
    keep = set(wanted)
    with open_container(source, deadline) as container:
        stream = open_video(container, source, limits)
        last: tuple[int, VideoFrame] | None = None
        for number, frame in enumerate(_frames_in_order(container, stream, result, deadline)):
            last = number, frame
            if number in keep:
                result.frames[number] = _to_array(frame, result)
            if number >= wanted[-1]:
                break
        if last is not None:
            result.frames.setdefault(last[0], _to_array(last[1], result))
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


def _to_array(frame: VideoFrame, result: Decoded) -> np.ndarray:
    """uint8 [H, W, 3] RGB, turned as the file's display matrix says."""
    if frame.is_corrupt:
        result.note("some frames are damaged: the decoder filled in parts of them")
    image = frame.to_ndarray(format="rgb24")
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image
    turned, event = apply_display_matrix(image, np.frombuffer(bytes(matrix), dtype=np.int32))
    if event:
        result.note(event)
    return turned


def apply_display_matrix(image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, str]:
    """Turn and mirror an image by a container's 3x3 display matrix (row-major int32, 16.16 fixed point).

    The matrix maps a stored point (p right, q down) to (a*p + c*q, b*p + d*q). Only right angles are applied.

    Returns:
        The image and an event ("" where nothing was to be done).
    """
    a, b, c, d = (round(int(matrix[k]) / 65536) for k in (0, 1, 3, 4))
    if (a, b, c, d) == (1, 0, 0, 1):
        return image, ""
    if abs(a) == abs(d) == 1 and b == c == 0:
        right, down = a, d
    elif abs(b) == abs(c) == 1 and a == d == 0:
        image = image.transpose(1, 0, 2)
        right, down = c, b
    else:
        return image, "the file asks for a rotation that is no right angle: it was not applied"
    if right < 0:
        image = image[:, ::-1]
    if down < 0:
        image = image[::-1]
    mirrored = a * d - b * c < 0
    degrees = {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[(abs(a) if mirrored else a, b)]
    event = (
        "frames were mirrored as the file says"
        if mirrored
        else f"frames were rotated {degrees} degrees clockwise as the file says"
    )
    return np.ascontiguousarray(image), event
