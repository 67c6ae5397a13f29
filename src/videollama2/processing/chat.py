"""Conversations as the engine asks them: any turn with any media, and what a user types is always text.

The ids equal the official ones wherever those are right. Neither `<video>` nor `<|im_end|>` inside a question means
anything to the model: it is kept as plain text, and an event says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from videollama2.errors import RequestError
from videollama2.processing.template import (
    LLAMA2_SYSTEM_TEXT,
    SENTINEL_OF_TAG,
    SENTINELS,
    SYSTEM_MESSAGE_TYPES,
    TAGS,
    apply_template,
    encode,
    wrap_system_text,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class ChatPrompt:
    """A rendered conversation.

    Attributes:
        input_ids: Token ids with one sentinel (-200 image, -201 video, -202 audio) for each medium.
        media: Modality of each sentinel, in order.
        text: The rendered prompt with tags at the sentinels; for reading, not for tokenising.
        events: What of the users' text looked like a tag or a control token and was kept as plain text.
    """

    input_ids: tuple[int, ...]
    media: tuple[str, ...]
    text: str
    events: tuple[str, ...] = ()


def render_chat(
    tokenizer: PreTrainedTokenizerBase,
    turns: Sequence[Mapping[str, Any]],
    *,
    model_type: str,
    system: str | None = None,
    add_generation_prompt: bool = True,
) -> ChatPrompt:
    """Render a conversation through the tokenizer's chat template, media as sentinels.

    The template sees private markers in place of media; the rendered text is split at them and each piece tokenised by
    itself, as the official code does at its tags. With one medium in the first turn the ids are the official ones.

    Args:
        tokenizer: With a chat template.
        turns: {"role": "user" | "assistant" | "system", "content": text, "media": ["video", ...]}; the media stand
            before the text, each followed by a newline. Content may instead be a list of parts {"type": "text", "text"}
            or {"type": "video" | "image" | "audio"} in any order. A first user turn without media begins with a
            newline (official).
        model_type: Decides about the default system message.
        system: System text; None is the model type's own, "" is none.
        add_generation_prompt: End with the opening of an assistant turn.

    Raises:
        RequestError: No turns, no question in the last turn, unknown media, or a template that refuses the roles.
    """
    if not turns:
        raise RequestError("There is no question; give at least one turn.")
    has_system = turns[0].get("role") == "system"
    if system is None and not has_system and model_type in SYSTEM_MESSAGE_TYPES:
        system = LLAMA2_SYSTEM_TEXT
    if system and has_system:
        raise RequestError("A system text is given twice, as `system` and as the first turn; give one.")
    markers = _Markers(tokenizer, turns, system or "")
    messages = []
    if system:
        wrapped = wrap_system_text(system) if model_type in SYSTEM_MESSAGE_TYPES else system
        messages.append({"role": "system", "content": markers.text(wrapped, "system text")})
    first_user = next((number for number, turn in enumerate(turns) if turn.get("role") == "user"), None)
    for number, turn in enumerate(turns):
        parts = _parts(turn, number)
        has_media = any(part["type"] != "text" for part in parts)
        spoken = "".join(part["text"] for part in parts if part["type"] == "text")
        if add_generation_prompt and number == len(turns) - 1 and (turn["role"] != "user" or not spoken.strip()):
            raise RequestError("The last turn asks nothing; end the conversation with a user turn that has text.")
        content = "\n" if number == first_user and not has_media else ""
        for part in parts:
            if part["type"] == "text":
                content += markers.text(part["text"], f"turn {number + 1}")
            else:
                newline = "\n" if content and not content.endswith("\n") else ""
                content += newline + markers.medium(part["type"]) + "\n"
        messages.append({"role": turn["role"], "content": content})
    rendered = apply_template(tokenizer, messages, add_generation_prompt=add_generation_prompt)
    return markers.tokenize(rendered)


def read_rendered(tokenizer: PreTrainedTokenizerBase, text: str) -> ChatPrompt:
    """Read a prompt rendered elsewhere: every tag in it is a placeholder, of whatever modality.

    With one kind of tag this is the official `tokenizer_multimodal_token`.
    """
    ids: list[int] = []
    media: list[str] = []
    modality_of = {tag: modality for modality, tag in TAGS.items()}
    for number, piece in enumerate(re.split(f"({'|'.join(map(re.escape, modality_of))})", text)):
        if number % 2:
            media.append(modality_of[piece])
            ids.append(SENTINEL_OF_TAG[piece])
        else:
            ids.extend(encode(tokenizer, piece))
    return ChatPrompt(input_ids=tuple(ids), media=tuple(media), text=text)


class _Markers:
    """Private strings that stand for media, and for users' text with control tokens in it, while the template runs."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, turns: Sequence[Mapping[str, Any]], system: str) -> None:
        self._tokenizer = tokenizer
        self._stem = "[[media-slot"
        everything = system + repr(list(turns))
        while self._stem in everything:
            self._stem += "-"
        self._slots: list[tuple[str, str]] = []
        self._events: dict[str, None] = {}
        control = sorted(set(tokenizer.all_special_tokens) | set(tokenizer.get_added_vocab()), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, control))) if control else None
        self._tag = re.compile("|".join(map(re.escape, TAGS.values())))

    def medium(self, modality: str) -> str:
        return self._slot("medium", modality)

    def text(self, text: str, where: str) -> str:
        for tag in dict.fromkeys(self._tag.findall(text)):
            self._events[f"the text {tag} in {where} was kept as plain text; it stands for no medium"] = None
        found = list(dict.fromkeys(self._control.findall(text))) if self._control else []
        for token in found:
            self._events[f"the control token {token} in {where} was kept as plain text"] = None
        return self._slot("text", text) if found else text

    def _slot(self, kind: str, value: str) -> str:
        self._slots.append((kind, value))
        return f"{self._stem}:{len(self._slots) - 1}]]"

    def tokenize(self, rendered: str) -> ChatPrompt:
        ids: list[int] = []
        media: list[str] = []
        shown = ""
        pieces = re.split(re.escape(self._stem) + r":(\d+)\]\]", rendered)
        seen = [int(number) for number in pieces[1::2]]
        if seen != list(range(len(self._slots))):
            raise RequestError(
                f"The chat template kept {len(seen)} of {len(self._slots)} media or texts, or changed their order; "
                "use the chat template of the checkpoint."
            )
        for number, piece in enumerate(pieces):
            if number % 2 == 0:
                ids.extend(encode(self._tokenizer, piece))
                shown += piece
                continue
            kind, value = self._slots[int(piece)]
            if kind == "medium":
                ids.append(SENTINELS[value])
                media.append(value)
                shown += TAGS[value]
            else:
                ids.extend(encode(self._tokenizer, value, split_special_tokens=True))
                shown += value
        return ChatPrompt(input_ids=tuple(ids), media=tuple(media), text=shown, events=tuple(self._events))


def _parts(turn: Mapping[str, Any], number: int) -> list[dict[str, str]]:
    """A turn's content as parts, media first where they come in "media"."""
    if turn.get("role") not in ("user", "assistant", "system"):
        raise RequestError(f"Turn {number + 1} has the role {turn.get('role')!r}; use 'user', 'assistant' or 'system'.")
    content = turn.get("content", "")
    parts: list[dict[str, str]] = [{"type": modality} for modality in turn.get("media") or ()]
    if isinstance(content, str):
        parts.append({"type": "text", "text": content})
    elif isinstance(content, Sequence):
        parts.extend(dict(part) for part in content)
    else:
        raise RequestError(
            f"The content of turn {number + 1} is {type(content).__name__}; give text or a list of parts."
        )
    for part in parts:
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            continue
        if part.get("type") not in TAGS:
            raise RequestError(f"Turn {number + 1} has a part {part}; parts are text, image, video or audio.")
        if turn["role"] != "user":
            raise RequestError(f"Turn {number + 1} of the {turn['role']} carries a medium; only user turns can.")
    return parts
