"""Messages in the manner of Hugging Face, media inside their parts, taken apart into turns and the media in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from videollama2.errors import RequestError
from videollama2.processing.template import TAGS

# Where a part {"type": "video", ...} may hold its source.
_SOURCE_KEYS = ("path", "url", "source")


def is_batch(messages: Sequence[Any]) -> bool:
    """Whether these are several conversations (lists of turns) and not one."""
    return bool(messages) and not isinstance(messages[0], Mapping)


def take_apart(messages: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[tuple[str, Any]]]:
    """Split one conversation into turns for `render_chat` and its media.

    Args:
        messages: Turns with text content, or parts {"type": "text", "text"} and {"type": "video", "video" | "path" |
            "url" | "source": ...} (likewise image, audio); "media" of a turn may hold names, or such parts.

    Returns:
        The turns with parts that say only the modality, and (modality, source) of each medium in order; the source is
        None where the part holds none and the caller gives it beside.
    """
    turns: list[dict[str, Any]] = []
    media: list[tuple[str, Any]] = []
    for number, turn in enumerate(messages):
        if not isinstance(turn, Mapping):
            raise RequestError(f"Turn {number + 1} is {type(turn).__name__}; give mappings with role and content.")
        plain = dict(turn)
        plain["media"] = [_plain_medium(part, media)["type"] for part in turn.get("media") or ()]
        content = turn.get("content", "")
        if isinstance(content, Sequence) and not isinstance(content, str):
            plain["content"] = [_plain_medium(part, media) for part in content]
        turns.append(plain)
    return turns, media


def _plain_medium(part: Any, media: list[tuple[str, Any]]) -> dict[str, Any]:
    if isinstance(part, str) and part in TAGS:
        part = {"type": part}
    if not isinstance(part, Mapping):
        raise RequestError(f"A part of a turn is {type(part).__name__}; give mappings with a type.")
    modality = part.get("type", "")
    if modality not in TAGS:
        return dict(part)
    given = [key for key in (modality, *_SOURCE_KEYS) if part.get(key) is not None]
    if len(given) > 1:
        raise RequestError(f"A {modality} part holds {' and '.join(given)}; give one of them.")
    media.append((modality, part[given[0]] if given else None))
    return {"type": modality}
