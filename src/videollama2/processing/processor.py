"""The Hugging Face processor: conversations and media in, the model's tensors out.

One object holds what turns a request into numbers: tokenizer and chat template, pixels, sound features, number of
frames, prompt style. It saves as one `processor_config.json` beside the tokenizer's files, and its hash names it all.

Shape letters: B samples, L tokens, F frames of all samples, V visual items, A sounds, S steps, M mel bins, H side.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import BatchFeature, PreTrainedTokenizerFast
from transformers.processing_utils import ProcessorMixin

from videollama2.errors import CheckpointError, RequestError
from videollama2.media.types import AudioClip, VideoClip
from videollama2.processing.audio import AudioSpec, audio_features
from videollama2.processing.chat import ChatPrompt, render_chat
from videollama2.processing.conversations import is_batch, take_apart
from videollama2.processing.items import MediaItem, MediaOptions, load_item
from videollama2.processing.pixel_spec import PixelSpec
from videollama2.processing.pixel_stream import PixelStream
from videollama2.processing.pixels import Backend, frame_events, preprocess_frames
from videollama2.processing.samples import (
    RenderedChat,
    is_rendered,
    pad_ids,
    samples_of_messages,
    samples_of_prompts,
    samples_of_questions,
)
from videollama2.processing.specs import specs_from_config
from videollama2.processing.tokenizer import decode_ids, ensure_pad_token, load_tokenizer, tokenizer_hash


class VideoLLaMA2Batch(BatchFeature):
    """The tensors of a batch, and for each sample what was cropped, padded, replaced or kept as text."""

    events: tuple[tuple[str, ...], ...] = ()


class VideoLLaMA2Processor(ProcessorMixin):
    """Prepares text, images, videos and sound for `VideoLLaMA2ForConditionalGeneration`.

    Args:
        tokenizer: With a chat template.
        pixel_spec: Preprocessing of frames (or its mapping); None for a model without eyes.
        audio_spec: Preprocessing of sound (or its mapping); None for a model without ears.
        num_frames: Frames taken of a video file, 1 to 32.
        model_type: Official model type of the backbone, e.g. "videollama2_qwen2"; decides about the system message.
        pad: Pad frames to a square first (official training does, official inference does not).
        chat_template: In place of the tokenizer's own.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        pixel_spec: PixelSpec | Mapping[str, Any] | None = None,
        audio_spec: AudioSpec | Mapping[str, Any] | None = None,
        num_frames: int = 8,
        model_type: str = "videollama2_qwen2",
        pad: bool = False,
        chat_template: str | None = None,
    ) -> None:
        """Keep the parts; see the class."""
        if tokenizer is None:
            raise RequestError("The processor needs a tokenizer; give the checkpoint's own.")
        super().__init__(tokenizer, chat_template=chat_template or tokenizer.chat_template)
        self.tokenizer.chat_template = self.chat_template
        ensure_pad_token(self.tokenizer)
        self.pixel_spec = PixelSpec(**pixel_spec) if isinstance(pixel_spec, Mapping) else pixel_spec
        self.audio_spec = AudioSpec(**audio_spec) if isinstance(audio_spec, Mapping) else audio_spec
        if not 1 <= num_frames <= 32:
            raise RequestError(f"num_frames is {num_frames}; choose 1 to 32.")
        self.num_frames = num_frames
        self.model_type = model_type
        self.pad = pad

    @classmethod
    def from_config(
        cls, config: Any, tokenizer: Any, preprocessor_config: Mapping[str, Any] | None = None, *, pad: bool = False
    ) -> VideoLLaMA2Processor:
        """Make the processor of a model.

        Args:
            config: `VideoLLaMA2Config`.
            tokenizer: The checkpoint's, from `load_tokenizer`.
            preprocessor_config: The vision tower's own `preprocessor_config.json`, where it is at hand.
            pad: Pad frames to a square first.
        """
        return cls(tokenizer, **specs_from_config(config, preprocessor_config), pad=pad)

    def __call__(
        self,
        text: str | Sequence[str] | None = None,
        *,
        messages: Sequence[Any] | None = None,
        images: Any = None,
        videos: Any = None,
        audio: Any = None,
        rendered: bool = False,
        system: str | None = None,
        add_generation_prompt: bool = True,
        padding: bool | str = True,
        padding_side: str = "left",
        return_tensors: str = "pt",
        backend: Backend = "auto",
        use_audio_in_video: bool | None = None,
        num_frames: int | None = None,
        **media_options: Any,
    ) -> BatchFeature:
        """Make a batch.

        Args:
            text: A question or a list of them, one sample each. Tags such as `<video>` in it are plain text, except in
                what `apply_chat_template(tokenize=False)` gave, or with `rendered`.
            messages: Conversations instead of questions: one list of turns, or a list of such lists; media may stand in
                the turns' parts.
            images: Media that the messages name without holding them, or those of the questions. With several questions
                it is a list with one entry a question: None, a medium or a list of media.
            videos: Likewise; each a path, bytes, array, frames, clip, or (video, sound).
            audio: Likewise; each a path, bytes, (samples, sample_rate) or clip.
            rendered: `text` are rendered prompts and their tags are placeholders (as the official code reads them).
            system: System text; None is the model type's own, "" none.
            add_generation_prompt: End each sample with the opening of an answer.
            padding: True or "longest" pads the ids; False demands equal lengths.
            padding_side: "left" (for `generate`) or "right".
            return_tensors: "pt" alone.
            backend: Of the pixels, see `preprocess_frames`.
            use_audio_in_video: Hear the sound of videos given as files or bytes; None means: if the model can.
            num_frames: Frames of a video file, instead of the processor's own.
            media_options: Further fields of `MediaOptions`.

        Returns:
            `input_ids`, `attention_mask` long [B, L]; with visual items `pixel_values` float32 [F, 3, H, H] and
            `num_frames` long [V]; with sound `audio_values` float32 [A, S, M] and `audio_lengths` long [A];
            `video_has_audio` bool [V] with visual items. Its attribute `events` holds for each sample what was cropped,
            padded, replaced or kept as text.

        Raises:
            RequestError: Nothing is asked, media and placeholders do not match, or the model lacks a modality.
            MediaError: A medium cannot be used.
        """
        if return_tensors != "pt":
            raise RequestError(f"return_tensors is {return_tensors!r}; only 'pt' is made.")
        unknown = set(media_options) - {field.name for field in fields(MediaOptions)}
        if unknown:
            raise RequestError(f"The processor has no argument {', '.join(sorted(unknown))}; see its documentation.")
        options = MediaOptions(
            num_frames=num_frames or self.num_frames,
            use_audio_in_video=self.audio_spec is not None if use_audio_in_video is None else use_audio_in_video,
            audio_seconds=self.audio_spec.seconds if self.audio_spec else 30.0,
            **media_options,
        )
        render = partial(self.render, system=system, add_generation_prompt=add_generation_prompt)
        given = {"image": images, "video": videos, "audio": audio}
        if messages is not None:
            if text is not None:
                raise RequestError("Both text and messages are given; give one of them.")
            samples = samples_of_messages(render, messages, given)
        elif rendered or is_rendered(text):
            samples = samples_of_prompts(self.tokenizer, text, given)
        else:
            samples = samples_of_questions(render, text, given)
        items = [[self._load(*medium, options, backend) for medium in media] for _, media in samples]
        return self._batch([prompt for prompt, _ in samples], items, padding, padding_side, backend)

    def render(
        self, turns: Sequence[Mapping[str, Any]], *, system: str | None = None, add_generation_prompt: bool = True
    ) -> ChatPrompt:
        """Render one conversation (see `render_chat`) in this model's style."""
        return render_chat(
            self.tokenizer,
            turns,
            model_type=self.model_type,
            system=system,
            add_generation_prompt=add_generation_prompt,
        )

    def pixels(self, clip: VideoClip, *, backend: Backend = "auto") -> torch.Tensor:
        """Frames of a clip as the tower takes them, float32 [T, 3, H, H].

        Raises:
            RequestError: The model has no eyes.
        """
        if self.pixel_spec is None:
            raise RequestError("This model cannot see; ask it with text or sound alone.")
        return preprocess_frames(clip.frames, self.pixel_spec, pad=self.pad, backend=backend)

    def sound(self, clip: AudioClip) -> torch.Tensor:
        """Features of a sound as the tower takes them, float32 [S, M].

        Raises:
            RequestError: The model has no ears.
            MediaError: The sound cannot be used.
        """
        if self.audio_spec is None:
            raise RequestError("This model cannot hear; ask it about pictures, or use an audio-visual checkpoint.")
        return audio_features(clip, self.audio_spec)

    def apply_chat_template(  # type: ignore[override]
        self,
        conversation: Sequence[Any],
        chat_template: str | None = None,
        *,
        tokenize: bool = False,
        add_generation_prompt: bool = False,
        system: str | None = None,
        return_dict: bool = True,
        processor_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """Render conversations; with `tokenize` also load their media and make the batch (see `__call__`).

        Args:
            conversation: Turns, or a list of conversations.
            chat_template: In place of the processor's own, for this call.
            tokenize: Give the batch instead of the text.
            add_generation_prompt: End with the opening of an answer.
            system: See `__call__`.
            return_dict: With `tokenize`: the whole batch, or `input_ids` alone.
            processor_kwargs: Further arguments of `__call__`, as in transformers; the same as `options`.
            options: Arguments of `__call__`; for text alone there are none.

        Returns:
            Text (a list of texts for several conversations) to be given to `__call__`, or the batch.

        Raises:
            RequestError: An option is unknown here, or as `__call__`.
        """
        if chat_template is not None and chat_template != self.chat_template:
            other = copy.copy(self)
            other.tokenizer = copy.deepcopy(self.tokenizer)
            other.tokenizer.chat_template = other.chat_template = chat_template
            return other.apply_chat_template(
                conversation,
                tokenize=tokenize,
                add_generation_prompt=add_generation_prompt,
                system=system,
                return_dict=return_dict,
                processor_kwargs=processor_kwargs,
                **options,
            )
        options |= dict(processor_kwargs or {})
        if tokenize:
            batch = self(messages=conversation, system=system, add_generation_prompt=add_generation_prompt, **options)
            return batch if return_dict else batch["input_ids"]
        if options:
            raise RequestError(f"Rendering a chat as text takes no {', '.join(sorted(options))}; leave it out.")
        conversations = list(conversation) if is_batch(conversation) else [conversation]
        texts = [
            RenderedChat(self.render(take_apart(turns)[0], system=system, add_generation_prompt=add_generation_prompt))
            for turns in conversations
        ]
        return texts if is_batch(conversation) else texts[0]

    def decode(self, token_ids: Any, *, skip_special_tokens: bool = True, **_: Any) -> str:
        """Text of one sequence of ids, as the official code gives it."""
        ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        return decode_ids(
            self.tokenizer, [ids] if isinstance(ids, int) else ids, skip_special_tokens=skip_special_tokens
        )

    def batch_decode(self, sequences: Any, *, skip_special_tokens: bool = True, **_: Any) -> list[str]:
        """Texts of several sequences of ids."""
        return [self.decode(sequence, skip_special_tokens=skip_special_tokens) for sequence in sequences]

    @property
    def model_input_names(self) -> list[str]:
        """Names of the tensors `__call__` can give."""
        visual = ["pixel_values", "num_frames", "video_has_audio"]
        return ["input_ids", "attention_mask", *visual, "audio_values", "audio_lengths"]

    @property
    def preprocessing_hash(self) -> str:
        """SHA-256 over everything that decides which numbers a request becomes: specs, prompt style, tokenizer."""
        state = self.to_dict() | {"tokenizer": tokenizer_hash(self.tokenizer)}
        return hashlib.sha256(json.dumps(state, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """What `processor_config.json` holds; the tokenizer and its template have files of their own."""
        return {
            "processor_class": type(self).__name__,
            "pixel_spec": self.pixel_spec.to_dict() if self.pixel_spec else None,
            "audio_spec": self.audio_spec.to_dict() if self.audio_spec else None,
            "num_frames": self.num_frames,
            "model_type": self.model_type,
            "pad": self.pad,
        }

    @classmethod
    def get_processor_dict(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read `processor_config.json`; where an official checkpoint has none, derive it from its `config.json`."""
        processor_dict, kwargs = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        if "pixel_spec" not in processor_dict:
            processor_dict |= _derive_from_config(Path(pretrained_model_name_or_path))
        return processor_dict, kwargs

    @classmethod
    def _load_tokenizer_from_pretrained(
        cls, sub_processor_type: Any, pretrained_model_name_or_path: Any, subfolder: Any = "", **kwargs: Any
    ) -> Any:
        """Load the tokenizer with the ids of its file (the Auto class would rebuild Llama tokenizers by new rules)."""
        folder = Path(pretrained_model_name_or_path) / subfolder
        if folder.is_dir():
            return load_tokenizer(folder)
        for name in ("trust_remote_code", "_from_auto"):
            kwargs.pop(name, None)
        return PreTrainedTokenizerFast.from_pretrained(pretrained_model_name_or_path, subfolder=subfolder, **kwargs)

    def _load(self, modality: str, source: Any, options: MediaOptions, backend: Backend) -> MediaItem:
        """One medium, the pixels of its frames made while it is decoded where that is possible."""
        if self.pixel_spec is None or backend not in ("auto", "pil"):
            return load_item(modality, source, options)
        with PixelStream(self.pixel_spec, pad=self.pad) as stream:
            item = load_item(modality, source, options, stream)
            return item if item.video is None else replace(item, pixels=stream.pixels(item.video.frames))

    def _batch(
        self,
        prompts: list[ChatPrompt],
        items: list[list[MediaItem]],
        padding: bool | str,
        padding_side: str,
        backend: Backend,
    ) -> BatchFeature:
        data = pad_ids(prompts, self.tokenizer.pad_token_id, padding, padding_side)
        in_order = [item for sample in items for item in sample]
        visual = [item for item in in_order if item.video is not None]
        pixels = [
            self.pixels(item.video, backend=backend) if item.pixels is None else item.pixels
            for item in visual
            if item.video is not None
        ]
        sounds = [self.sound(item.audio) for item in in_order if item.audio is not None]
        if visual:
            data["pixel_values"] = torch.cat(pixels)
            data["num_frames"] = torch.tensor([len(frames) for frames in pixels])
            data["video_has_audio"] = torch.tensor([item.audio is not None for item in visual])
        if sounds:
            data["audio_values"] = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True)
            data["audio_lengths"] = torch.tensor([len(sound) for sound in sounds])
        batch = VideoLLaMA2Batch(data)
        batch.events = tuple(
            (*prompt.events, *(event for item in sample for event in self._item_events(item)))
            for prompt, sample in zip(prompts, items)
        )
        return batch

    def _item_events(self, item: MediaItem) -> tuple[str, ...]:
        if item.video is None or self.pixel_spec is None:
            return item.all_events
        sizes = [frame.shape[:2] for frame in item.video.frames]
        return (*item.all_events, *frame_events(sizes, self.pixel_spec, pad=self.pad))


def _derive_from_config(folder: Path) -> dict[str, Any]:
    """Specs of an official checkpoint folder, from its config.json."""
    from videollama2.model.configuration import CONFIG_CLASSES

    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(
            f"{folder} has neither processor_config.json with a pixel_spec nor config.json; give a checkpoint folder."
        )
    fields = json.loads(file.read_text())
    model_type = fields.pop("model_type", None)
    if model_type not in CONFIG_CLASSES:
        raise CheckpointError(f"{file} has model_type {model_type!r}; known are {', '.join(CONFIG_CLASSES)}.")
    specs = specs_from_config(CONFIG_CLASSES[model_type](**fields))
    return {name: value.to_dict() if hasattr(value, "to_dict") else value for name, value in specs.items()}
