"""What a file is to a model: a video, an image or a sound, told by its content."""

from __future__ import annotations

from typing import Any, Literal, cast

from videollama2.media import DEFAULT_LIMITS, Limits, probe

Kind = Literal["video", "image", "audio"]


def detect_kind(source: Any, *, limits: Limits = DEFAULT_LIMITS) -> Kind:
    """Tells what a path, bytes, file object, array or list of frames is.

    Returns:
        "video" for whatever has moving pictures (also a GIF, a folder or a list of frames), "image" or "audio".

    Raises:
        MediaError: Missing, empty, damaged, or not media.
    """
    kind = probe(source, limits).kind
    return cast(Kind, kind if kind in ("image", "audio") else "video")
