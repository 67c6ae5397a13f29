"""From prompt embeddings to tokens: prefill in one or more pieces, then decode one or many rows.

Every prompt is read alone and only decoding is batched, so a row of a batch starts from exactly the keys, values and
logits it would have had alone. Letters: B rows, L tokens, D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from videollama2.errors import CheckpointError
from videollama2.inference.kv import Prefix, merge_left_padded, new_cache, row_prefix, select_rows, snapshot
from videollama2.inference.request import GenerationSettings


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Generation settings with every None filled in.

    Attributes:
        max_new_tokens: Most tokens.
        eos_ids: Tokens that end an answer.
        repetition_penalty: 1.0 is none.
        do_sample: Draw, else take the most likely.
        temperature: Used where drawing.
        top_p: Used where drawing.
        top_k: Used where drawing, 0 for all.
        seed: Used where drawing.
    """

    max_new_tokens: int
    eos_ids: frozenset[int]
    repetition_penalty: float = 1.0
    do_sample: bool = False
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    @classmethod
    def resolve(cls, settings: GenerationSettings, generation_config: Any, eos_token_id: int | None) -> Sampling:
        """Fills settings from the checkpoint's generation configuration, then from the official defaults.

        Official inference asks for temperature 0.2 and top_p 0.9 where it samples; top_k is the generation
        configuration's, 50 where it names none (the default of the transformers version it ran on).
        """
        eos = getattr(generation_config, "eos_token_id", None)
        eos = eos_token_id if eos is None else eos
        eos_ids = frozenset() if eos is None else frozenset([eos] if isinstance(eos, int) else eos)
        configured_top_k = getattr(generation_config, "top_k", None)
        seed = settings.seed
        if seed is None and settings.do_sample:
            seed = int(torch.randint(0, 2**31 - 1, ()).item())
        return cls(
            max_new_tokens=settings.max_new_tokens,
            eos_ids=eos_ids,
            repetition_penalty=_first(
                settings.repetition_penalty, getattr(generation_config, "repetition_penalty", None), 1.0
            ),
            do_sample=settings.do_sample,
            temperature=_first(settings.temperature, 0.2),
            top_p=_first(settings.top_p, 0.9),
            top_k=int(_first(settings.top_k, configured_top_k, 50)),
            seed=seed or 0,
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings that had an effect, for the answer."""
        kept: dict[str, Any] = {
            "max_new_tokens": self.max_new_tokens,
            "do_sample": self.do_sample,
            "repetition_penalty": self.repetition_penalty,
            "eos_token_ids": sorted(self.eos_ids),
        }
        if self.do_sample:
            kept |= {"temperature": self.temperature, "top_p": self.top_p, "top_k": self.top_k, "seed": self.seed}
        return kept


@dataclass(frozen=True)
class Prefilled:
    """A prompt that was read: its keys and values, and the logits after its last token, [1, V] float32."""

    prefix: Prefix
    logits: torch.Tensor


@torch.inference_mode()
def prefill(model: Any, embeds_1LD: torch.Tensor, prefix: Prefix | None = None) -> Prefilled:
    """Reads a piece of a prompt.

    Args:
        model: A model whose `forward` takes `inputs_embeds` and `past_key_values`.
        embeds_1LD: [1, L, D] embeddings of the piece, L >= 1.
        prefix: What comes before the piece.

    Raises:
        CheckpointError: The logits are not finite.
    """
    start = prefix.length if prefix else 0
    num_tokens = embeds_1LD.shape[1]
    cache = new_cache(prefix)
    positions = torch.arange(start, start + num_tokens, device=embeds_1LD.device)[None]
    output = model(
        inputs_embeds=embeds_1LD,
        attention_mask=torch.ones(1, start + num_tokens, dtype=torch.long, device=embeds_1LD.device),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    logits = output.logits[:, -1].float()
    if not torch.isfinite(logits).all():
        raise CheckpointError(
            "the model's logits are not finite: check the weights with 'videollama2 inspect', or use dtype float32"
        )
    return Prefilled(snapshot(cache), logits)


@dataclass
class Row:
    """The state of one answer while it is decoded.

    Attributes:
        sampling: How to choose tokens.
        ids: Tokens chosen so far.
        finished: Whether the answer has ended.
        finish_reason: "stop" or "length".
        final: At the end: keys and values of the prompt and of all tokens but the last (which was never fed).
    """

    sampling: Sampling
    ids: list[int] = field(default_factory=list)
    finished: bool = False
    finish_reason: Literal["stop", "length"] = "length"
    final: Prefix | None = None

    def __post_init__(self) -> None:
        self._processors = _processors(self.sampling)
        self._generator = torch.Generator().manual_seed(self.sampling.seed) if self.sampling.do_sample else None

    def choose(self, logits_1V: torch.Tensor) -> int:
        """Takes the next token from logits [1, V] and notes whether the answer ends with it."""
        previous = torch.tensor([self.ids], dtype=torch.long, device=logits_1V.device)
        scores = self._processors(previous, logits_1V)  # type: ignore[arg-type]
        if self._generator is None:
            token = int(scores.argmax(-1))
        else:
            probabilities = scores.float().softmax(-1).cpu()
            token = int(torch.multinomial(probabilities[0], 1, generator=self._generator))
        self.ids.append(token)
        if token in self.sampling.eos_ids:
            self.finished, self.finish_reason = True, "stop"
        elif len(self.ids) >= self.sampling.max_new_tokens:
            self.finished = True
        return token


@torch.inference_mode()
def decode(model: Any, prompts: Sequence[Prefilled], rows: Sequence[Row]) -> Iterator[list[tuple[int, int]]]:
    """Generates until every row has ended; rows that end leave the batch.

    Args:
        model: As for `prefill`; `get_input_embeddings` gives the embedding of tokens.
        prompts: B prompts that were read.
        rows: B fresh states; their `ids` and `finish_reason` are filled.

    Yields:
        (row, token id) pairs of every step.
    """
    embed = model.get_input_embeddings()
    active = list(range(len(rows)))
    logits = [prompt.logits for prompt in prompts]
    cache: Any = None
    mask = positions = torch.empty(0)
    while active:
        tokens = [rows[index].choose(step) for index, step in zip(active, logits, strict=True)]
        yield list(zip(active, tokens, strict=True))
        for place, index in enumerate(active):
            if rows[index].finished:
                rows[index].final = (
                    prompts[index].prefix if cache is None else row_prefix(cache, place, int(positions[place]))
                )
        alive = [place for place, index in enumerate(active) if not rows[index].finished]
        if not alive:
            return
        if cache is None:
            kept = [prompts[active[place]].prefix for place in alive]
            cache, mask = merge_left_padded(kept)
            positions = torch.tensor([prefix.length for prefix in kept], device=mask.device)
        elif len(alive) < len(active):
            chosen = torch.tensor(alive, device=mask.device)
            cache, mask, positions = select_rows(cache, chosen), mask[chosen], positions[chosen]
        active = [active[place] for place in alive]
        ids = torch.tensor([[tokens[place]] for place in alive], device=mask.device)
        mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
        output = model(
            inputs_embeds=embed(ids),
            attention_mask=mask,
            position_ids=positions[:, None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        positions = positions + 1
        logits = list(output.logits[:, -1:].float().unbind(0))


@torch.inference_mode()
def score_continuation(model: Any, prompt: Prefilled, ids: Sequence[int]) -> tuple[float, ...]:
    """Log-probabilities of given tokens after a prompt that was read; the prompt's keys and values are shared.

    Returns:
        One natural log-probability for each of `ids`, each <= 0.
    """
    device = prompt.logits.device
    logits = prompt.logits
    if len(ids) > 1:
        start = prompt.prefix.length
        piece = torch.tensor([list(ids[:-1])], device=device)
        output = model(
            inputs_embeds=model.get_input_embeddings()(piece),
            attention_mask=torch.ones(1, start + piece.shape[1], dtype=torch.long, device=device),
            position_ids=torch.arange(start, start + piece.shape[1], device=device)[None],
            past_key_values=new_cache(prompt.prefix),
            use_cache=True,
        )
        logits = torch.cat([logits, output.logits[0].float()])
    log_probs = logits.log_softmax(-1)
    return tuple(float(log_probs[step, token]) for step, token in enumerate(ids))


def _processors(sampling: Sampling) -> LogitsProcessorList:
    """The logits processors of transformers' `generate`, in its order."""
    processors = LogitsProcessorList()
    if sampling.repetition_penalty != 1.0:
        processors.append(RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty))
    if sampling.do_sample:
        if sampling.temperature != 1.0:
            processors.append(TemperatureLogitsWarper(sampling.temperature))
        if sampling.top_k:
            processors.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1.0:
            processors.append(TopPLogitsWarper(sampling.top_p))
    return processors


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)
