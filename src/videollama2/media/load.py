"""The front door of the media room for pictures: `load_video` and `load_image`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import MediaError, RequestError
from .deadline import DEFAULT_TIMEOUT, Deadline
from .folder import FrameList, folder_frames, given_frames
from .gif import decode_animation, index_animation, is_animated
from .image import check_array, not_an_image, open_image, to_rgb
from .limits import DEFAULT_LIMITS, Limits
from .request import Bounds, FrameRequest
from .sampling import OFFICIAL_FOLDER_FPS, OFFICIAL_GIF_FPS, OFFICIAL_MAX_FRAMES, OFFICIAL_NUM_FRAMES
from .source import Source, open_source, source_name
from .types import FrameSink, VideoClip
from .video import OnFrame, decode_frames
from .video_file import indexed_video


def load_video(
    source: Any,
    num_frames: int | None = OFFICIAL_NUM_FRAMES,
    *,
    fps: float | None = None,
    times: Sequence[float] | None = None,
    start: float | None = None,
    end: float | None = None,
    bounds: Bounds = "auto",
    max_frames: int | None = OFFICIAL_MAX_FRAMES,
    source_fps: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
    timeout: float | None = DEFAULT_TIMEOUT,
    sink: FrameSink | None = None,
) -> VideoClip:
    """Take frames from a video.

    Args:
        source: Path, bytes or binary file object of a video, GIF or animated image; a folder of images; a list of
            paths, PIL images or arrays; an array uint8 [T, H, W, 3]. The kind is told by content, not by name.
        num_frames: Frames spread uniformly (official rule); `None` for one frame per second (official fps mode).
        fps: Frames per second to take; goes before `num_frames`.
        times: Explicit times in seconds; the frame on the screen at each is taken. Goes before `fps`.
        start: Beginning of the clip in seconds.
        end: End of the clip in seconds.
        bounds: How start, end and fps become frame numbers. "official": by the average frame rate; "exact": by the true
            times; "auto": official where frames come at an even rate, else exact. GIFs are always taken at 25 frames
            per second (official rule) unless this is "exact".
        max_frames: Official cut: frames after the first 32 chosen ones are dropped (with an event); `None` for no cut.
        source_fps: Frame rate of a folder (3 if not given) or of a list or array. Lists and arrays are taken whole,
            without sampling, as the official code does, unless this is given.
        limits: Sizes that are refused, from headers.
        timeout: Seconds until the load is given up; `None` for no deadline.
        sink: Is given each frame as soon as it is decoded, to work on it meanwhile. What it raises ends the load.

    Returns:
        The clip. Too few frames (lists, arrays, GIFs) are filled up with black ones as in the official code, whose
        width and height are swapped against the last frame: `num_padded` and an event say so.

    Raises:
        MediaError: Missing, empty, damaged, no frames, not a video; bounds or times outside the clip.
        MediaLimitError: Above `limits`.
        MediaTimeoutError: Not done in `timeout` seconds.
        RequestError: Arguments that are wrong in themselves.
    """
    request = FrameRequest(
        num_frames=num_frames, fps=fps, times=times, start=start, end=end, bounds=bounds, max_frames=max_frames
    )
    if source_fps is not None and not source_fps > 0:
        raise RequestError(f"source_fps={source_fps!r} is not a rate above 0; give frames per second.")
    deadline = Deadline(timeout, source_name(source))
    if isinstance(source, np.ndarray | list | tuple):
        return _from_frames(given_frames(source, limits), request, source_fps, deadline, sink)
    opened = open_source(source, limits, deadline)
    if opened.is_folder:
        frames = folder_frames(opened, limits, deadline)
        return _from_frames(frames, request, source_fps or OFFICIAL_FOLDER_FPS, deadline, sink)
    if opened.family == "gif" or (opened.family == "image" and is_animated(opened, limits)):
        return _from_animation(opened, request, limits, deadline, sink)
    if opened.family == "image":
        raise MediaError(f"{opened.name} is {opened.what}, not a video; pass it as image= instead.")
    return _from_file(opened, request, limits, deadline, sink)


def load_image(source: Any, *, limits: Limits = DEFAULT_LIMITS, timeout: float | None = DEFAULT_TIMEOUT) -> VideoClip:
    """Read one image, upright, as RGB (official: alpha is dropped; EXIF rotation is applied, which is ours).

    Args:
        source: Path, bytes or binary file object of an image; a PIL image; an array uint8 [H, W, 3] or [H, W].
        limits: Sizes that are refused, from headers.
        timeout: Seconds until the load is given up.

    Returns:
        A clip of one frame at time 0.0. Of an animation it is the first frame (with an event).

    Raises:
        MediaError: Missing, empty, damaged, not an image.
        MediaLimitError: Above `limits`.
        RequestError: An array of another dtype or shape.
    """
    from PIL import Image

    deadline = Deadline(timeout, source_name(source))
    events: list[str] = []
    if isinstance(source, np.ndarray | Image.Image):
        if isinstance(source, np.ndarray):
            frame = check_array(source, "the image array")
            limits.check_pixels(frame.shape[1], frame.shape[0], "array")
        else:
            limits.check_pixels(*source.size, "image")
            frame, events = to_rgb(source)
        content_hash, name = FrameList([source], "array", limits).content_hash(deadline), "array"
    else:
        opened = open_source(source, limits, deadline)
        if opened.is_folder or opened.family in ("av", "audio"):
            raise MediaError(not_an_image(opened))
        with open_image(opened, limits) as image:
            count = getattr(image, "n_frames", 1)
            if count > 1:
                events.append(f"the first of {count} frames is used")
            frame, notes = to_rgb(image)
            events += notes
        content_hash, name = opened.content_hash(deadline), opened.name
    return VideoClip(
        frames=(frame,),
        times=(0.0,),
        indices=(0,),
        duration=0.0,
        fps=0.0,
        num_source_frames=1,
        content_hash=content_hash,
        source=name,
        events=tuple(events),
    )


def _from_file(
    source: Source, request: FrameRequest, limits: Limits, deadline: Deadline, sink: FrameSink | None
) -> VideoClip:
    with indexed_video(source, limits, deadline) as video:
        index = video.index
        indices, events = request.choose(len(index), index.fps, index.times, index.duration)  # type: ignore[arg-type]
        limits.check_sampled(len(indices), index.width, index.height, source.name)
        on_frame = _announce(sink, indices, 0)
        decoded = decode_frames(source, index, indices, limits, deadline, video=video, on_frame=on_frame)
    used = [decoded.replaced.get(i, i) for i in indices]
    return VideoClip(
        frames=tuple(decoded.frames[i] for i in used),
        times=tuple(float(index.times[i]) for i in used),
        indices=tuple(used),
        duration=index.duration,
        fps=index.fps,
        num_source_frames=len(index),
        content_hash=source.content_hash(deadline),
        source=source.name,
        events=(*index.events, *events, *decoded.events),
    )


def _from_animation(
    source: Source, request: FrameRequest, limits: Limits, deadline: Deadline, sink: FrameSink | None
) -> VideoClip:
    index = index_animation(source, limits, deadline)
    if request.bounds == "auto":
        request = replace(request, bounds="official")
    indices, events = request.choose(len(index), OFFICIAL_GIF_FPS, index.times, index.duration)
    if request.times is None:
        indices = sorted(set(indices))
    limits.check_sampled(len(indices), index.width, index.height, source.name)
    on_frame = _announce(sink, indices, _num_missing(len(indices), request))
    frames, notes = decode_animation(source, indices, limits, deadline, on_frame)
    clip = VideoClip(
        frames=tuple(frames[i] for i in indices),
        times=tuple(index.times[i] for i in indices),
        indices=tuple(indices),
        duration=index.duration,
        fps=len(index) / index.duration,
        num_source_frames=len(index),
        content_hash=source.content_hash(deadline),
        source=source.name,
        events=(*events, *notes),
    )
    return _fill_up(clip, request)


def _from_frames(
    frames: FrameList, request: FrameRequest, source_fps: float | None, deadline: Deadline, sink: FrameSink | None
) -> VideoClip:
    count = len(frames)
    if source_fps is None:
        if not request.is_plain:
            raise RequestError(
                f"A {frames.name} of frames has no rate, so fps, times, start and end mean nothing; give source_fps."
            )
        times = [float("nan")] * count
        indices, events = request.cut(list(range(count)), [])
        if request.num_frames is not None and count > request.num_frames:
            events = [f"all {count} given frames count as chosen: lists and arrays are not resampled", *events]
    else:
        times = [i / source_fps for i in range(count)]
        indices, events = request.choose(count, source_fps, times, count / source_fps)
    decoded = frames.decode(indices, deadline, _announce(sink, indices, _num_missing(len(indices), request)))
    clip = VideoClip(
        frames=tuple(decoded[i] for i in indices),
        times=tuple(times[i] for i in indices),
        indices=tuple(indices),
        duration=count / source_fps if source_fps else 0.0,
        fps=source_fps or 0.0,
        num_source_frames=count,
        content_hash=frames.content_hash(deadline),
        source=frames.name,
        events=(*frames.events, *events),
    )
    return _fill_up(clip, request)


def _fill_up(clip: VideoClip, request: FrameRequest) -> VideoClip:
    """Append black frames up to `num_frames` (official rule for sources that gave too few).

    The official code makes a black frame with the last frame's width and height swapped, so on a list of landscape
    frames the first black one is portrait, the next landscape, and so on.
    """
    missing = _num_missing(len(clip.frames), request)
    if not missing:
        return clip
    frames = list(clip.frames)
    for _ in range(missing):
        height, width = frames[-1].shape[:2]
        frames.append(np.zeros((width, height, 3), dtype=np.uint8))
    return replace(
        clip,
        frames=tuple(frames),
        times=clip.times + (float("nan"),) * missing,
        indices=clip.indices + (-1,) * missing,
        num_padded=missing,
        events=(*clip.events, f"the source has too few frames: {missing} black ones were appended"),
    )


def _num_missing(num_frames: int, request: FrameRequest) -> int:
    """Frames to be appended."""
    if request.num_frames is None or request.fps is not None or request.times is not None:
        return 0
    return max(min(request.num_frames, request.max_frames or request.num_frames) - num_frames, 0)


def _announce(sink: FrameSink | None, indices: Sequence[int], num_missing: int) -> OnFrame | None:
    """Tell the sink how many frames come, and where the frame of each number will stand first."""
    if sink is None:
        return None
    sink.expect(len(indices) + num_missing)
    places: dict[int, int] = {}
    for place, number in enumerate(indices):
        places.setdefault(number, place)
    take = sink.take
    return lambda number, frame: take(places[number], frame)
