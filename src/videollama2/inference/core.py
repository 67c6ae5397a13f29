"""One request through the model: media to features, prompt to keys and values, tokens to an answer.

The prompt is read in two pieces, up to the end of the media and after it, always. So a further question on the same
clip can start from the first piece and still computes exactly what it would have computed alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from videollama2.errors import RequestError
from videollama2.inference.answer import Answer, FinishReason, Provenance
from videollama2.inference.cache import FeatureCache, feature_key
from videollama2.inference.decoding import Prefilled, Row, Sampling, decode, prefill
from videollama2.inference.fingerprint import encoder_hash, model_fingerprint
from videollama2.inference.kv import Prefix, PrefixCache
from videollama2.inference.prepare import MediaPreparer, PreparedMedia
from videollama2.inference.request import Request
from videollama2.inference.timing import StageTimer
from videollama2.media import DEFAULT_LIMITS, Limits

Turn = Mapping[str, Any]


@dataclass(frozen=True)
class Kept:
    """A prompt whose keys and values are at hand: its expanded ids, the keys of its media, and the values."""

    ids: tuple[int, ...]
    media_keys: tuple[str, ...]
    prefix: Prefix


@dataclass
class Reading:
    """A request that was read and waits for its answer.

    Attributes:
        request: What was asked.
        prompt: The model's state after the prompt.
        ids: Prompt ids, every placeholder repeated once for each of its features.
        prepared: The media.
        sampling: How to generate.
        timer: Seconds so far.
        events: Everything to be told with the answer.
        num_kept: Prompt tokens that were not read again.
    """

    request: Request
    prompt: Prefilled
    ids: tuple[int, ...]
    prepared: PreparedMedia
    sampling: Sampling
    timer: StageTimer
    events: tuple[str, ...]
    num_kept: int = 0


class Core:
    """Model, processor and caches, and the steps that ask, choose, chat, stream and batch are made of.

    Args:
        model: `VideoLLaMA2ForConditionalGeneration` in eval mode, on its device.
        processor: `VideoLLaMA2Processor` of the model.
        name: Name of the model for the answers.
        model_hash: Fingerprint of the checkpoint; None computes one of the weights in memory.
        features: Cache of features; None makes one in memory.
        prefix_bytes: Bytes of keys and values kept for further questions, 0 for none.
        limits: Media limits.
        video_audio_policy: Window policy for a video's sound where a request names none; None takes the model's own.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str = "",
        model_hash: str | None = None,
        features: FeatureCache | None = None,
        prefix_bytes: int = 512 << 20,
        limits: Limits = DEFAULT_LIMITS,
        video_audio_policy: str | None = None,
    ) -> None:
        self.model = model
        self.processor = processor
        self.name = name
        self.features = features if features is not None else FeatureCache()
        self.prefixes = PrefixCache(prefix_bytes)
        self.model_hash = model_hash or model_fingerprint(model, model.config.to_dict())
        self.preprocessing_hash = processor.preprocessing_hash
        parts = ("vision_tower", "mm_projector", "audio_tower", "mm_projector_a")
        modules = {part: getattr(model.model, part, None) for part in parts}
        tags = getattr(model.model, "tag_embeddings", None)
        self.preparer = MediaPreparer(
            model,
            pixel_spec=processor.pixel_spec,
            audio_spec=processor.audio_spec,
            pad=processor.pad,
            cache=self.features,
            encoder_hash=encoder_hash(modules, {} if tags is None else {"tag_embeddings": tags}),
            preprocessing_hash=self.preprocessing_hash,
            limits=limits,
            video_audio_policy=video_audio_policy,
        )

    @property
    def device(self) -> torch.device:
        """Where the model's embedding is."""
        return self.model.get_input_embeddings().weight.device

    def read(self, request: Request, turns: Sequence[Turn] | None = None, kept: Kept | None = None) -> Reading:
        """Reads a request up to where the answer begins.

        Args:
            request: What is asked; its media belong to the first user turn.
            turns: The conversation so far and the question, None for the question alone.
            kept: State of an earlier prompt; what both begin with is not read again.

        Raises:
            RequestError: Nothing the model can be asked.
            MediaError: The media cannot be read.
            CheckpointError: The model gives no finite numbers.
        """
        timer = StageTimer(self.device)
        prepared = self.preparer.prepare(request, timer)
        media = [request.modality] if request.modality != "text" else []
        if turns is None:
            turns = [{"role": "user", "content": request.question, "media": media}]
        prompt = self.processor.render(turns, system=request.system)
        ids = expand(prompt.input_ids, [len(item) for item in prepared.features])
        sampling = Sampling.resolve(
            request.generation, self.model.generation_config, self.processor.tokenizer.eos_token_id
        )
        sampling, events = self._fit(len(ids), sampling)
        with timer.stage("prefill"), torch.inference_mode():
            tokens = torch.tensor([prompt.input_ids], device=self.device)
            embeds = self.model.model.splice_media(tokens, media_embeds=list(prepared.features)).inputs_embeds
            assert embeds.shape[1] == len(ids), (embeds.shape, len(ids))
            prefilled, num_kept = self._prefill(embeds, ids, prepared, kept)
        return Reading(
            request, prefilled, ids, prepared, sampling, timer, (*prepared.events, *prompt.events, *events), num_kept
        )

    def generate(self, readings: Sequence[Reading]) -> list[tuple[Answer, Row]]:
        """Answers of prompts that were read, decoded together; each gets the seconds of the whole."""
        rows = [Row(reading.sampling) for reading in readings]
        timer = StageTimer(self.device)
        with timer.stage("generate"):
            for _ in decode(self.model, [reading.prompt for reading in readings], rows):
                pass
        for reading in readings:
            reading.timer.seconds["generate"] += timer.seconds["generate"]
        return [(self.answer(reading, row), row) for reading, row in zip(readings, rows, strict=True)]

    def answer(self, reading: Reading, row: Row) -> Answer:
        """The answer of a row that has ended."""
        text = self.processor.decode(row.ids).strip()
        return self.make_answer(reading, text, row.finish_reason, token_ids=tuple(row.ids))

    def make_answer(
        self,
        reading: Reading,
        text: str,
        finish_reason: FinishReason,
        *,
        token_ids: tuple[int, ...] = (),
        events: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        choice: int | None = None,
        option_scores: tuple[float, ...] | None = None,
    ) -> Answer:
        """An answer with its provenance."""
        prepared = reading.prepared
        num_text = sum(token >= 0 for token in reading.ids)
        media_settings = {
            name: value
            for name, value in vars(reading.request.media).items()
            if value is not None and name != "timeout"
        }
        generated = dict(reading.sampling.to_dict() if settings is None else settings)
        provenance = Provenance(
            visuals=prepared.visuals,
            audio=prepared.audio,
            tokens={"text": num_text, **prepared.tokens, "generated": len(token_ids)},
            seconds=reading.timer.rounded(),
            cache={"feature_hits": prepared.num_hits, "prefix_tokens": reading.num_kept},
            model=self.name,
            model_hash=self.model_hash,
            preprocessing_hash=self.preprocessing_hash,
            settings={
                **(media_settings if reading.request.modality != "text" else {}),
                **generated,
                "dtype": str(self.model.dtype).removeprefix("torch."),
                "device": str(self.device),
            },
            events=tuple(dict.fromkeys((*reading.events, *events))),
        )
        return Answer(
            text=text,
            question=reading.request.question,
            finish_reason=finish_reason,
            provenance=provenance,
            token_ids=token_ids,
            choice=choice,
            option_scores=option_scores,
        )

    def _prefill(
        self, embeds: torch.Tensor, ids: tuple[int, ...], prepared: PreparedMedia, kept: Kept | None
    ) -> tuple[Prefilled, int]:
        """Reads the prompt, from the longest beginning whose keys and values are known."""
        if kept is not None and kept.media_keys == prepared.keys:
            # The last token is always read, for its logits.
            common = min(common_length(kept.ids, ids), kept.prefix.length, len(ids) - 1)
            if common:
                return prefill(self.model, embeds[:, common:], kept.prefix.cropped(common)), common
        boundary = max((place + 1 for place, token in enumerate(ids) if token < 0), default=0)
        if not 0 < boundary < len(ids):
            return prefill(self.model, embeds), 0
        # Media tokens come from features that have a key; the failed have none of their own.
        digest = hashlib.sha256(str(ids[:boundary]).encode()).hexdigest()
        key = feature_key(ids=digest, media=prepared.keys)
        prefix = self.prefixes.get(key)
        num_kept = prefix.length if prefix is not None else 0
        if prefix is None:
            prefix = prefill(self.model, embeds[:, :boundary]).prefix
            self.prefixes.put(key, prefix)
        return prefill(self.model, embeds[:, boundary:], prefix), num_kept

    def _fit(self, num_tokens: int, sampling: Sampling) -> tuple[Sampling, tuple[str, ...]]:
        """Holds prompt and answer to the positions the language model knows."""
        most = getattr(self.model.config.text_config, "max_position_embeddings", None)
        if most is None or num_tokens + sampling.max_new_tokens <= most:
            return sampling, ()
        if num_tokens >= most:
            raise RequestError(
                f"the prompt has {num_tokens} tokens, the model takes {most}: use fewer frames or a shorter text"
            )
        room = most - num_tokens
        event = (
            f"max_new_tokens was lowered from {sampling.max_new_tokens} to {room}: the model takes {most} tokens in all"
        )
        return replace(sampling, max_new_tokens=room), (event,)


def expand(ids: Sequence[int], lengths: Sequence[int]) -> tuple[int, ...]:
    """Prompt ids with every placeholder (negative id) repeated once for each of its features."""
    remaining = iter(lengths)
    expanded: list[int] = []
    for token in ids:
        expanded.extend([token] * (next(remaining) if token < 0 else 1))
    return tuple(expanded)


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids two prompts begin with in common."""
    for place, (one, other) in enumerate(zip(first, second)):
        if one != other:
            return place
    return min(len(first), len(second))
