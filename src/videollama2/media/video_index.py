"""The list of a video's frames, from one pass over its packets without decoding any.

The frames are all packets of the main video stream sorted by presentation time, as decord counts them, so that frame
numbers are those of the official code. Packets that an edit list marks as not shown are left out: decord counts them
although it can never return them.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from ..errors import MediaError
from .container import container_start
from .deadline import Deadline
from .limits import Limits

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

_NO_PTS = np.iinfo(np.int64).min
_CHECK_EVERY = 1024
# Packets of small files are kept, so that the file is read once; larger ones are sought in again.
_KEPT_BYTES = 32 << 20
# What a decoder must have seen even if it starts further on; only seeking repeats it.
_STATEFUL_SIDE_DATA = ("new_extradata", "palette", "param_change")


@dataclass(frozen=True, kw_only=True)
class VideoIndex:
    """Where every frame of a video is. N frames are shown, P packets are stored (P >= N).

    Attributes:
        positions: int64 [N], frame number (presentation order) -> packet number (decode order).
        packet_pts: int64 [P], presentation time of every packet, in `time_base` units.
        packet_dts: int64 [P], decoding time of every packet; the pts where the container does not say.
        keyframes: int64 [K], packet numbers at which decoding can start.
        times: float64 [N], start of every frame in seconds from the start of the source.
        duration: Seconds from the start of the source to the end of the last frame.
        fps: Average frames per second as the container says (decord's `get_avg_fps`), or as counted.
        time_base: Seconds of one pts unit.
        seekable: Every packet has its own pts and the first frame can be decoded alone; else frames are only found by
            decoding from the start.
        events: What is odd about the file.
    """

    positions: np.ndarray
    packet_pts: np.ndarray
    packet_dts: np.ndarray
    keyframes: np.ndarray
    times: np.ndarray
    duration: float
    fps: float
    time_base: Fraction
    seekable: bool
    width: int
    height: int
    events: tuple[str, ...] = ()
    _sorted: np.ndarray = field(repr=False)
    _order: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.positions)

    def position_of(self, pts: int | None) -> int | None:
        """Packet number of a pts, or `None` where no packet has it."""
        if pts is None:
            return None
        place = int(np.searchsorted(self._sorted, pts))
        if place >= len(self._sorted) or self._sorted[place] != pts:
            return None
        return int(self._order[place])


def build_index(
    container: InputContainer,
    stream: VideoStream,
    name: str,
    limits: Limits,
    deadline: Deadline,
    kept: list[Packet] | None = None,
) -> VideoIndex:
    """Read every packet header of `stream` once.

    Args:
        container: Open, at its beginning.
        stream: The main video stream.
        name: Short name of the source, for errors.
        limits: Frames allowed.
        deadline: For the whole load.
        kept: Filled with all packets, where they are few bytes and each group of pictures stands for itself; else left
            empty.

    Raises:
        MediaError: The stream holds no frame.
        MediaLimitError: More frames than allowed.
    """
    limits.check_frames(stream.frames or 0, name)
    packets: list[Packet] = []
    num_bytes, keeping = 0, kept is not None
    packet_pts, packet_dts, shown, keys = array("q"), array("q"), bytearray(), array("q")
    last_duration = 0
    damaged = ""
    for packet in _packets(container, stream):
        if packet is None:
            damaged = "the file ends early or is damaged: only the frames before that are used"
            break
        if not packet.size:
            continue
        count = len(shown)
        if count % _CHECK_EVERY == 0:
            deadline.check()
            limits.check_frames(count, name)
        packet_pts.append(_NO_PTS if packet.pts is None else packet.pts)
        packet_dts.append(_NO_PTS if packet.dts is None else packet.dts)
        shown.append(not packet.is_discard)
        if packet.is_keyframe:
            keys.append(count)
        last_duration = packet.duration or last_duration
        if keeping:
            packets.append(packet)
            num_bytes += packet.size
            keeping = num_bytes <= _KEPT_BYTES and not _is_stateful(packet)
            if not keeping:
                packets.clear()
    if kept is not None:
        kept += packets
    limits.check_frames(len(shown), name)
    pts = np.frombuffer(packet_pts, dtype=np.int64).copy()
    if not len(pts):
        raise MediaError(f"{name} has a video stream without any frame; make or download it again.")
    return _arrange(
        container,
        stream,
        pts=pts,
        dts=np.frombuffer(packet_dts, dtype=np.int64),
        shown=np.frombuffer(bytes(shown), dtype=bool),
        keys=np.frombuffer(keys, dtype=np.int64).copy(),
        last_duration=last_duration,
        name=name,
        events=(damaged,) if damaged else (),
    )


def _is_stateful(packet: Packet) -> bool:
    return any(data.data_type in _STATEFUL_SIDE_DATA for data in packet.iter_sidedata())


def _packets(container: InputContainer, stream: VideoStream):  # type: ignore[no-untyped-def]
    """Packets of one stream; a read error gives one `None` and ends."""
    import av

    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        yield None


def _arrange(
    container: InputContainer,
    stream: VideoStream,
    *,
    pts: np.ndarray,
    dts: np.ndarray,
    shown: np.ndarray,
    keys: np.ndarray,
    last_duration: int,
    name: str,
    events: tuple[str, ...],
) -> VideoIndex:
    time_base = Fraction(stream.time_base or 1)
    missing = pts == _NO_PTS
    order = np.argsort(pts, kind="stable")
    distinct = len(pts) < 2 or bool((np.diff(pts[order]) > 0).all())
    seekable = not missing.any() and distinct and bool(len(keys)) and int(keys[0]) == 0
    if not shown.any():
        raise MediaError(f"{name} has an edit list that shows no frame at all; make or download it again.")
    fps = float(stream.average_rate or stream.guessed_rate or 0)
    start = container_start(container)
    if seekable:
        positions = order[shown[order]]
        times = pts[positions] * float(time_base) - start
        if not shown.all():
            events += (f"{int((~shown).sum())} stored frames are not shown (edit list) and are not counted",)
    else:
        # No usable clock: one frame a packet, at the average rate.
        positions = np.arange(len(pts))[shown]
        clock = dts[shown] if not (dts == _NO_PTS).any() and (np.diff(dts) > 0).all() else None
        if clock is not None:
            times = (clock - clock[0]) * float(time_base)
        else:
            times = np.arange(len(positions)) / (fps or 25.0)
        reason = (
            "presentation times are missing" if missing.any() else "it has no usable presentation times or keyframes"
        )
        events += (f"{reason}: frames are counted by decoding from the start",)
    frame_seconds = last_duration * float(time_base) or (1 / fps if fps else 0.0)
    duration = float(times[-1]) + frame_seconds
    promised = float((stream.duration or 0) * time_base)
    if promised - (duration - float(times[0])) > 0.5 and not events:
        events += (f"the header promises {promised:.2f} s, the frames end at {duration:.2f} s: the file is cut short",)
    if not fps and duration > 0:
        fps = len(positions) / duration
    return VideoIndex(
        positions=positions,
        packet_pts=pts,
        packet_dts=np.where(dts == _NO_PTS, pts, dts),
        keyframes=keys,
        times=times,
        duration=duration,
        fps=fps,
        time_base=time_base,
        seekable=seekable,
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        events=events,
        _sorted=pts[order],
        _order=order,
    )
