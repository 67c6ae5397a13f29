"""Training labels: which tokens of a conversation the model learns to say.

Pure functions with the numbers of the official data code: conversations in the data rows' own form, {"from": "human" |
"gpt", "value": text}, become ids with one sentinel a medium, and labels that are -100 everywhere but in answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from videollama2.errors import RequestError
from videollama2.processing.prompt import Branch, tokenize_multimodal
from videollama2.processing.template import SENTINEL_OF_TAG, TAGS, apply_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE_INDEX = -100
_ROLES = {"human": "user", "gpt": "assistant"}

Conversation = Sequence[Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class LabelledIds:
    """Ids of one sample, sentinels included, and a label for each: the id itself where it is learnt, else -100."""

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]


def place_tag(conversations: Conversation, modality: str) -> list[dict[str, str]]:
    """Move the tag of `modality` to the head of each turn that has it, once, followed by a newline (official).

    Raises:
        RequestError: The modality is unknown.
    """
    tag = _tag(modality)
    placed = []
    for turn in conversations:
        value = turn["value"]
        if tag in value:
            value = f"{tag}\n{value.replace(tag, '').strip()}".strip()
        placed.append({**turn, "value": value})
    return placed


def conversation_labels(
    tokenizer: PreTrainedTokenizerBase, conversations: Conversation, modality: str | None
) -> LabelledIds:
    """Ids and labels of an instruction-tuning sample (official `preprocess`, the same in both branches).

    Args:
        tokenizer: With a chat template.
        conversations: Turns human, gpt, human, gpt...; a first turn that is not the human's is left out (official).
        modality: Whose tag becomes a sentinel: "image", "video", "audio"; None for text alone. Tags of other
            modalities stay text.

    Raises:
        RequestError: The turns do not alternate, or end with a question.
    """
    messages = [{"role": _role(turn), "content": turn["value"]} for turn in conversations]
    if messages and messages[0]["role"] != "user":
        messages = messages[1:]
    expected = ["user", "assistant"] * (len(messages) // 2)
    if not messages or [message["role"] for message in messages] != expected:
        roles = ", ".join(turn.get("from", "?") for turn in conversations)
        raise RequestError(f"A conversation must go human, gpt, human, gpt ... and end with gpt; this one is: {roles}.")

    tag = _tag(modality) if modality is not None else None

    def tokenize(turns: list[dict[str, str]], *, opens_answer: bool) -> list[int]:
        return tokenize_multimodal(apply_template(tokenizer, turns, add_generation_prompt=opens_answer), tokenizer, tag)

    input_ids = tokenize(messages, opens_answer=False)
    labels = list(input_ids)
    learnt_until = 0
    for answer in range(1, len(messages), 2):
        # Positions are counted by tokenising each beginning of the conversation. What the template closes an answer
        # with is learnt too: the model must say that it stops.
        question_end = len(tokenize(messages[:answer], opens_answer=True))
        labels[learnt_until:question_end] = [IGNORE_INDEX] * (min(question_end, len(labels)) - learnt_until)
        learnt_until = len(tokenize(messages[: answer + 1], opens_answer=False))
    return LabelledIds(input_ids=tuple(input_ids), labels=tuple(labels))


def plain_labels(
    tokenizer: PreTrainedTokenizerBase, conversations: Conversation, modality: str, *, branch: Branch = "main"
) -> LabelledIds:
    """Ids and labels of a pre-training sample, a medium and its caption (official `preprocess_plain`).

    Args:
        tokenizer: With a chat template, which only the audio_visual branch uses.
        conversations: Two turns; the first has the tag.
        modality: "image", "video" or "audio".
        branch: "main" joins both turns with a space, uses no template and learns everything but the sentinel, the
            question too. "audio_visual" drops the question, puts tag and caption through the template and learns the
            answer.

    Raises:
        RequestError: There are not exactly two turns, or the first lacks the tag.
    """
    tag = _tag(modality)
    if len(conversations) != 2 or tag not in conversations[0]["value"]:
        raise RequestError(f"A pre-training sample is two turns with {tag} in the first; this one has another form.")
    if branch == "main":
        input_ids = tokenize_multimodal(" ".join(turn["value"] for turn in conversations), tokenizer, tag)
        labels = [IGNORE_INDEX if token == SENTINEL_OF_TAG[tag] else token for token in input_ids]
        return LabelledIds(input_ids=tuple(input_ids), labels=tuple(labels))
    caption = [{"from": "human", "value": tag}, {"from": "gpt", "value": conversations[1]["value"]}]
    return conversation_labels(tokenizer, caption, modality)


def collate(
    samples: Sequence[LabelledIds], *, pad_token_id: int, max_length: int | None = None
) -> dict[str, torch.Tensor]:
    """Pad samples on the right and cut them at `max_length` tokens (official collator).

    The mask follows the samples' lengths; the official one follows the pad id, which hides real tokens wherever that
    id is part of the text.

    Args:
        samples: One or more.
        pad_token_id: Fills `input_ids`; `labels` are filled with -100.
        max_length: Tokens kept, counting a medium as one; `truncated_tokens` says how many each sample loses.

    Returns:
        `input_ids`, `labels` and `attention_mask`, each long [B, L].
    """
    if not samples:
        raise RequestError("There is nothing to collate; give at least one sample.")
    longest = max(len(sample.input_ids) for sample in samples)
    length = longest if max_length is None else min(longest, max_length)
    shape = (len(samples), length)
    batch = {
        "input_ids": torch.full(shape, pad_token_id, dtype=torch.long),
        "labels": torch.full(shape, IGNORE_INDEX, dtype=torch.long),
        "attention_mask": torch.zeros(shape, dtype=torch.long),
    }
    for row, sample in enumerate(samples):
        kept = min(len(sample.input_ids), length)
        batch["input_ids"][row, :kept] = torch.tensor(sample.input_ids[:kept], dtype=torch.long)
        batch["labels"][row, :kept] = torch.tensor(sample.labels[:kept], dtype=torch.long)
        batch["attention_mask"][row, :kept] = 1
    return batch


def truncated_tokens(samples: Sequence[LabelledIds], max_length: int | None) -> list[int]:
    """How many tokens each sample loses at `max_length`."""
    return [max(0, len(sample.input_ids) - max_length) if max_length is not None else 0 for sample in samples]


def _tag(modality: str) -> str:
    if modality not in TAGS:
        raise RequestError(f"Modality {modality!r} has no tag; use one of {', '.join(TAGS)}.")
    return TAGS[modality]


def _role(turn: Mapping[str, str]) -> str:
    role = _ROLES.get(turn.get("from", ""))
    if role is None:
        raise RequestError(f"A turn is from {turn.get('from')!r}; use 'human' or 'gpt'.")
    return role
