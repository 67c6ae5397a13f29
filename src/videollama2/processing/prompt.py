"""The official inference prompt to the letter, faults included, for parity; `render_chat` is the engine's (`chat`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from videollama2.errors import RequestError
from videollama2.processing.chat import ChatPrompt, render_chat
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

__all__ = [
    "SENTINELS",
    "TAGS",
    "Branch",
    "ChatPrompt",
    "OfficialPrompt",
    "build_messages",
    "official_generation_settings",
    "official_prompt",
    "render_chat",
    "tokenize_multimodal",
]

Branch = Literal["main", "audio_visual"]


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
        return encode(tokenizer, prompt)
    ids: list[int] = []
    for number, piece in enumerate(prompt.split(tag)):
        if number > 0:
            ids.append(sentinel)
        ids.extend(encode(tokenizer, piece))
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
