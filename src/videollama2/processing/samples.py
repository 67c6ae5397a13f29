"""What a caller asks, as samples: a rendered prompt each, with the media of its sentinels in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from videollama2.errors import RequestError
from videollama2.processing.chat import ChatPrompt, read_rendered
from videollama2.processing.conversations import is_batch, take_apart
from videollama2.processing.items import as_list

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Sample = tuple[ChatPrompt, list[tuple[str, Any]]]
Render = Callable[[Sequence[Mapping[str, Any]]], ChatPrompt]

# Argument of the processor that holds each modality's media, in the order in which they stand before a question.
_ARGUMENTS = {"video": "videos", "image": "images", "audio": "audio"}


class RenderedChat(str):
    """A rendered prompt that remembers its ids: `apply_chat_template(tokenize=False)` gives it, `__call__` takes it."""

    prompt: ChatPrompt

    def __new__(cls, prompt: ChatPrompt) -> RenderedChat:
        """Make the text of a prompt."""
        text = super().__new__(cls, prompt.text)
        text.prompt = prompt
        return text


def is_rendered(text: Any) -> bool:
    """Whether all texts come from `apply_chat_template`."""
    texts = [text] if isinstance(text, str) else list(text or ())
    return bool(texts) and all(isinstance(one, RenderedChat) for one in texts)


def samples_of_messages(render: Render, messages: Sequence[Any], given: Mapping[str, Any]) -> list[Sample]:
    """Render one conversation or several.

    Args:
        render: Turns to a prompt.
        messages: Turns, or conversations.
        given: Media by modality for the parts that name a medium without holding it, taken in order.

    Raises:
        RequestError: More media are named than given, or the other way round.
    """
    waiting = {modality: as_list(modality, media) for modality, media in given.items()}
    samples = []
    for conversation in messages if is_batch(messages) else [messages]:
        turns, media = take_apart(conversation)
        filled = [(modality, _next(waiting, modality) if source is None else source) for modality, source in media]
        samples.append((render(turns), filled))
    _check_all_used(waiting)
    return samples


def samples_of_prompts(tokenizer: PreTrainedTokenizerBase, text: Any, given: Mapping[str, Any]) -> list[Sample]:
    """Prompts rendered already; their placeholders take the given media in order.

    Raises:
        RequestError: Placeholders and media do not match in number.
    """
    waiting = {modality: as_list(modality, media) for modality, media in given.items()}
    samples = []
    for one in _texts(text):
        prompt = one.prompt if isinstance(one, RenderedChat) else read_rendered(tokenizer, one)
        samples.append((prompt, [(modality, _next(waiting, modality)) for modality in prompt.media]))
    _check_all_used(waiting)
    return samples


def samples_of_questions(render: Render, text: Any, given: Mapping[str, Any]) -> list[Sample]:
    """One user turn for each question, its media in front.

    Args:
        render: Turns to a prompt.
        text: One question or several.
        given: By modality: for one question its medium or media; for several a list with an entry for each.

    Raises:
        RequestError: No question, or a list of media that does not fit the questions.
    """
    texts = _texts(text)
    samples = []
    for number, question in enumerate(texts):
        media = []
        for modality, argument in _ARGUMENTS.items():
            sources = given.get(modality)
            if len(texts) > 1 and sources is not None:
                if not isinstance(sources, list) or len(sources) != len(texts):
                    raise RequestError(
                        f"`{argument}` must be a list with one entry for each of {len(texts)} questions."
                    )
                sources = sources[number]
            media += [(modality, source) for source in as_list(modality, sources)]
        turn = {"role": "user", "content": question, "media": [modality for modality, _ in media]}
        samples.append((render([turn]), media))
    return samples


def pad_ids(
    prompts: list[ChatPrompt], pad_token_id: int, padding: bool | str, padding_side: str
) -> dict[str, torch.Tensor]:
    """Ids and mask of prompts, long [B, L].

    Raises:
        RequestError: Unknown settings, or unequal lengths without padding.
    """
    if padding not in (True, False, "longest") or padding_side not in ("left", "right"):
        raise RequestError(f"padding={padding!r}, padding_side={padding_side!r}: use True or False, 'left' or 'right'.")
    lengths = [len(prompt.input_ids) for prompt in prompts]
    longest = max(lengths)
    if padding is False and min(lengths) < longest:
        raise RequestError("The samples have different lengths; use padding=True.")
    input_ids = torch.full((len(prompts), longest), pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):
        begin = longest - lengths[row] if padding_side == "left" else 0
        input_ids[row, begin : begin + lengths[row]] = torch.tensor(prompt.input_ids)
        attention_mask[row, begin : begin + lengths[row]] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _texts(text: Any) -> list[str]:
    texts = [text] if isinstance(text, str) else list(text or ())
    if not texts or not all(isinstance(one, str) for one in texts):
        raise RequestError("There is no question; give text or messages.")
    return texts


def _next(waiting: dict[str, list[Any]], modality: str) -> Any:
    if not waiting[modality]:
        raise RequestError(f"More {modality} placeholders are named than `{_ARGUMENTS[modality]}` holds media.")
    source, *waiting[modality] = waiting[modality]
    return source


def _check_all_used(waiting: Mapping[str, list[Any]]) -> None:
    for modality, left in waiting.items():
        if left:
            raise RequestError(f"{len(left)} of `{_ARGUMENTS[modality]}` have no placeholder; name each in a turn.")
