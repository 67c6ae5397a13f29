"""Opening containers with PyAV: by content, from local bytes only, with every library error turned into one of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import MediaError
from .deadline import Deadline
from .source import Source

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

# Containers of pictures and sound. Not here: playlists and scripts that name other files (hls, dash, concat, ...),
# devices, still-image readers (Pillow does those), and raw formats that accept any bytes.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,live_flv,asf,asf_o,mpeg,mpegts,mpegvideo,m4v,h264,hevc,av1,obu,ivf,ogg,"
    "wav,w64,aiff,au,caf,flac,mp3,aac,ac3,eac3,amr,amrnb,amrwb,ape,dts,tta,wv,tak,mpc,mpc8,nut,mxf,gxf,rm,dv,vob,wtv,"
    "yuv4mpegpipe,mjpeg,h263,h261,vc1,cavsvideo,swf,vvc,evc,dirac,roq,smk,bink,nsv,nuv,ifv"
)


@contextmanager
def open_container(source: Source, deadline: Deadline) -> Iterator[InputContainer]:
    """Open a source with PyAV for the length of a `with` block.

    Raises:
        MediaError: It is no container, or a damaged one.
        MediaTimeoutError: The deadline passed while the library was reading.
    """
    import av

    deadline.check()
    # "file:" keeps a name such as "a:b.mp4" from being read as a protocol.
    target: Any = f"file:{source.path}" if source.path is not None else source.open()
    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        container = av.open(target, mode="r", options=options, timeout=deadline.remaining(), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        deadline.check()
        raise MediaError(_not_readable(source)) from error
    try:
        yield container
    except av.FFmpegError as error:
        deadline.check()
        raise MediaError(f"{source.name} is damaged ({error.strerror}); make it again or convert it.") from error
    finally:
        container.close()


def _not_readable(source: Source) -> str:
    if source.family == "unknown":
        return f"{source.name} is not media that can be read; give a video, an image or a sound file."
    return f"{source.name} looks like {source.what} but is damaged or cut short; make or download it again."


def best_video(container: InputContainer) -> VideoStream | None:
    """The main video stream; a cover picture inside a sound file does not count."""
    from av.stream import Disposition

    stream = container.streams.best("video")
    if stream is None or stream.disposition & Disposition.attached_pic:
        moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        return moving[0] if moving else None
    return stream  # type: ignore[return-value]


def best_audio(container: InputContainer) -> AudioStream | None:
    """The main sound track."""
    return container.streams.best("audio")  # type: ignore[return-value]


def container_start(container: InputContainer) -> float:
    """Seconds on the container's clock at which the source begins."""
    return (container.start_time or 0) / 1_000_000


def container_seconds(container: InputContainer) -> float:
    """Duration from the header in seconds; 0.0 where the header does not say."""
    return max((container.duration or 0) / 1_000_000, 0.0)
