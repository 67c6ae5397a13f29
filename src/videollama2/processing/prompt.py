"""Conversations to token ids with one sentinel for each medium.

Two ways. `official_prompt` is the official inference prompt to the letter, faults included, for parity. `render_chat`
is the one the engine uses: any turn may carry any media, the ids equal the official ones wherever those are right, and
what a user types is always text: neither `<video>` nor `<|im_end|>` inside a question means anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from videollama2.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Branch = Literal["main", "audio_visual"]

TAGS = {"image": "<image>", "video": "<video>", "audio": "<audio>"}
SENTINELS = {"image": -200, "video": -201, "audio": -202}
SENTINEL_OF_TAG = {TAGS[modality]: SENTINELS[modality] for modality in TAGS}

# Model types whose official prompt opens with Llama 2's system message.
SYSTEM_MESSAGE_TYPES = ("videollama2", "videollama2_mistral", "videollama2_mixtral")
# A fact of the released checkpoints (they were evaluated with it), double space included.
LLAMA2_SYSTEM_TEXT = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe.  "
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. "
    "Please ensure that your responses are socially unbiased and positive in nature.\n"
    "If a question does not make any sense, or is not factually coherent, explain why instead of answering something "
    "not correct. If you don't know the answer to a question, please don't share false information."
)


@dataclass(frozen=True, kw_only=True)
class OfficialPrompt:
    """The official prompt of one sample.

    Attributes:
        text: After the chat template, with the tag in it.
        input_ids: With -200 / -201 / -202 where the tag was.
        attention_mask: 0 where an id equals the pad id, as in the official code.
    """

    text: str
    input_ids: tuple[int, ...]
    attention_mask: tuple[int, ...]


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


def wrap_system_text(text: str) -> str:
    """Put a system text between Llama 2's marks, as the official prompt does."""
    return f"<<SYS>>\n{text}\n<</SYS>>"


def build_messages(
    instruct: str | Sequence[Mapping[str, str]], modality: str, model_type: str, *, branch: Branch = "main"
) -> list[dict[str, str]]:
    """Messages of the official `mm_infer`: system message where the model type has one, tag and newline in front.

    Args:
        instruct: The question, or turns {"role", "content"} of which the first gets the tag.
        modality: "image", "video", "text", and "audio" in the audio_visual branch. "text" has an empty tag; its newline
            stays.
        model_type: Of the checkpoint's config.
        branch: Official branch.

    Raises:
        RequestError: Unknown modality, or `instruct` is neither text nor turns.
    """
    allowed = ("image", "video", "text") + (("audio",) if branch == "audio_visual" else ())
    if modality not in allowed:
        raise RequestError(f"Modality {modality!r} is not one of {', '.join(allowed)} (branch {branch}).")
    if isinstance(instruct, str):
        turns: list[dict[str, str]] = [{"role": "user", "content": instruct}]
    else:
        turns = [dict(turn) for turn in instruct if isinstance(turn, Mapping)]
    if not turns or (not isinstance(instruct, str) and len(turns) < len(instruct)):
        raise RequestError("The instruction is neither text nor a list of turns; give a question.")
    turns[0]["content"] = TAGS.get(modality, "") + "\n" + turns[0]["content"]
    if model_type in SYSTEM_MESSAGE_TYPES:
        turns.insert(0, {"role": "system", "content": wrap_system_text(LLAMA2_SYSTEM_TEXT)})
    return turns


def tokenize_multimodal(prompt: str, tokenizer: PreTrainedTokenizerBase, tag: str | None) -> list[int]:
    """Tokenise a prompt, each occurrence of the tag becoming its sentinel (official `tokenizer_multimodal_token`).

    The text between tags is tokenised piece by piece, no special tokens added. An unknown, empty or missing tag leaves
    the prompt whole.
    """
    sentinel = SENTINEL_OF_TAG.get(tag) if tag else None
    if tag is None or sentinel is None:
        return _encode(tokenizer, prompt)
    ids: list[int] = []
    for number, piece in enumerate(prompt.split(tag)):
        if number > 0:
            ids.append(sentinel)
        ids.extend(_encode(tokenizer, piece))
    return ids


def official_prompt(
    tokenizer: PreTrainedTokenizerBase,
    model_type: str,
    modality: str,
    instruct: str | Sequence[Mapping[str, str]],
    branch: Branch = "main",
) -> OfficialPrompt:
    """The prompt of the official `mm_infer`, exactly: a tag typed by the user becomes a sentinel too.

    Raises:
        RequestError: As `build_messages`, or the chat template refuses the turns.
    """
    messages = build_messages(instruct, modality, model_type, branch=branch)
    text = apply_template(tokenizer, messages, add_generation_prompt=True)
    ids = tokenize_multimodal(text, tokenizer, TAGS.get(modality))
    pad = tokenizer.pad_token_id
    return OfficialPrompt(text=text, input_ids=tuple(ids), attention_mask=tuple(int(token != pad) for token in ids))


def official_generation_settings(
    tokenizer: PreTrainedTokenizerBase,
    *,
    do_sample: bool = False,
    temperature: float | None = None,
    top_p: float = 0.9,
    max_new_tokens: int = 2048,
) -> dict[str, Any]:
    """Arguments the official `mm_infer` gives to `generate`; its temperature is 0.2 when sampling, else 0."""
    return {
        "do_sample": do_sample,
        "temperature": (0.2 if do_sample else 0.0) if temperature is None else temperature,
        "max_new_tokens": max_new_tokens,
        "top_p": top_p,
        "use_cache": True,
        "pad_token_id": tokenizer.eos_token_id,
    }


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
                ids.extend(_encode(self._tokenizer, piece))
                shown += piece
                continue
            kind, value = self._slots[int(piece)]
            if kind == "medium":
                ids.append(SENTINELS[value])
                media.append(value)
                shown += TAGS[value]
            else:
                ids.extend(_encode(self._tokenizer, value, split_special_tokens=True))
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


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, **settings: Any) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False, **settings)["input_ids"])


def apply_template(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], *, add_generation_prompt: bool
) -> str:
    """Run the tokenizer's chat template.

    Raises:
        RequestError: There is no template, or it refuses the turns.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise RequestError("The tokenizer has no chat template; use the tokenizer of an instruction-tuned checkpoint.")
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt))
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise RequestError(f"The chat template refuses the turns ({roles}): {error}") from error
