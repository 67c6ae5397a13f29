"""`VideoLLaMA2`: one loaded model to ask, choose, chat, stream and batch with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from videollama2.errors import RequestError
from videollama2.inference.answer import Answer, FailedAnswer
from videollama2.inference.batching import answer_batch
from videollama2.inference.chatting import Chat
from videollama2.inference.choosing import choose_by_generation, choose_by_likelihood
from videollama2.inference.core import Core
from videollama2.inference.request import Request, check_options
from videollama2.inference.streaming import stream_reading

if TYPE_CHECKING:
    from videollama2.checkpoints.load import LoadedCheckpoint

CAPTION_QUESTIONS = {
    "video": "Describe the video in detail.",
    "image": "Describe the image in detail.",
    "audio": "Describe the sound in detail.",
}


class VideoLLaMA2:
    """A model that answers questions about videos, images and sound; make one with `from_pretrained`.

    Args:
        core: Model, processor and caches.
        modalities: Of "text", "image", "video", "audio", what the model takes.
        is_default: Whether it is the small demonstration model.
        report: What became of every weight of the checkpoint, None for a model made in memory.
    """

    def __init__(self, core: Core, *, modalities: Sequence[str], is_default: bool = False, report: Any = None) -> None:
        self.core = core
        self.modalities = tuple(modalities)
        self.is_default = is_default
        self.report = report

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | os.PathLike[str] | None = None,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        quantization: Literal["8bit", "4bit"] | None = None,
        offline: bool | None = None,
        attn_implementation: str | None = None,
        parts: Mapping[str, str] | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        progress: Any = None,
        **core_options: Any,
    ) -> VideoLLaMA2:
        """Loads a checkpoint of any official format or of ours.

        Args:
            path_or_id: Folder or hub id; None is the small demonstration model, fetched once and then offline.
            device: "auto" (CUDA, MPS, CPU in this order) or a torch device.
            dtype: "auto" (bfloat16 where the device computes in it, else float32), a name or a torch dtype.
            quantization: "8bit" or "4bit" for the language model's linear layers; towers and connectors keep theirs.
            offline: True never uses the network; None does as the environment says (HF_HUB_OFFLINE).
            attn_implementation: "sdpa" (default), "eager" or "flash_attention_2".
            parts: Paths or ids of parts the folder does not hold ("vision_tower", "audio_tower", "language_model").
            cache_dir: Folder that keeps media features between runs, None for memory alone.
            progress: Called by the loader with what it does.
            core_options: Further arguments of `Core` (`prefix_bytes`, `limits`, `video_audio_policy`).

        Raises:
            CheckpointError: Unknown, incomplete, mixed up or damaged.
            MissingFilesError: Files are missing and may not be downloaded; all are named.
            RequestError: No such device or dtype.
        """
        from videollama2.checkpoints.load import load_checkpoint
        from videollama2.inference.device import choose_device, choose_dtype

        chosen_device = choose_device(device)
        chosen_dtype = choose_dtype(dtype, chosen_device)
        is_default = path_or_id is None
        if path_or_id is None:
            from videollama2.checkpoints.default import default_model_path

            path_or_id = default_model_path(offline=offline, progress=progress)
        loaded = load_checkpoint(
            os.fspath(path_or_id),
            device=chosen_device,
            dtype=chosen_dtype,
            quantization=quantization,
            offline=offline,
            attn_implementation=attn_implementation,
            parts=parts,
            progress=progress,
        )
        if cache_dir is not None:
            from videollama2.inference.cache import FeatureCache

            core_options["features"] = FeatureCache(directory=cache_dir)
        return cls.from_loaded(loaded, is_default=is_default, **core_options)

    @classmethod
    def from_loaded(cls, loaded: LoadedCheckpoint, *, is_default: bool = False, **core_options: Any) -> VideoLLaMA2:
        """Makes an engine of what `checkpoints.load_checkpoint` gave."""
        core = Core(
            loaded.model,
            processor_of(loaded),
            name=getattr(loaded.config, "mm_model_name", None) or loaded.path.name or str(loaded.path),
            model_hash=loaded.model_hash,
            **core_options,
        )
        return cls(core, modalities=loaded.modalities, is_default=is_default, report=loaded.report)

    @property
    def model(self) -> Any:
        """The `VideoLLaMA2ForConditionalGeneration`."""
        return self.core.model

    @property
    def processor(self) -> Any:
        """The `VideoLLaMA2Processor`."""
        return self.core.processor

    @property
    def tokenizer(self) -> Any:
        """The tokenizer."""
        return self.core.processor.tokenizer

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.core.device

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""
        return self.core.model.dtype

    def ask(self, question: str, **options: Any) -> Answer:
        """Answers one question.

        Args:
            question: The question; tag text such as ``<video>`` inside it stays text.
            options: Media (`video`, `image`, `audio`), `system`, and the fields of `MediaSettings` and
                `GenerationSettings`, for example `num_frames=8`, `start=2.0`, `use_audio=False`, `max_new_tokens=64`.

        Returns:
            The answer; ``str(answer)`` is its text.

        Raises:
            RequestError: The request is malformed or asks for a modality the model does not have.
            MediaError: The media cannot be read.
        """
        request = Request.build(question, **options)
        return self.core.generate([self.core.read(request)])[0][0]

    def stream(self, question: str, **options: Any) -> Iterator[str | Answer]:
        """Answers one question piece by piece; arguments as for `ask`.

        Yields:
            Pieces of text as they come; last the whole `Answer`, whose text is all the pieces together.
        """
        request = Request.build(question, **options)
        return (item for item, _ in stream_reading(self.core, self.core.read(request)))

    def choose(
        self,
        question: str,
        options: Sequence[str],
        *,
        method: Literal["likelihood", "generate"] = "likelihood",
        normalize: Literal["mean", "sum"] = "mean",
        show_options: bool | None = None,
        **request_options: Any,
    ) -> Answer:
        """Chooses one of several options.

        Args:
            question: The question.
            options: Two or more different texts.
            method: "likelihood" scores every option as the answer (the prompt is read once for all); "generate" shows
                the options with letters and lets the model name one.
            normalize: "mean" divides an option's log-probability by its tokens, "sum" does not.
            show_options: Write the options into the question; None does so for "generate" alone.
            request_options: As for `ask`.

        Returns:
            The answer: its text is the chosen option, `choice` its index, `option_scores` the log-probabilities.

        Raises:
            RequestError: Fewer than two options, equal or empty ones, or an unknown method.
        """
        choices = check_options(options)
        if normalize not in ("mean", "sum"):
            raise RequestError(f"normalize is {normalize!r}: use mean or sum")
        request = Request.build(question, **request_options)
        if method == "likelihood":
            return choose_by_likelihood(self.core, request, choices, normalize == "mean", bool(show_options))
        if method == "generate":
            return choose_by_generation(self.core, request, choices, normalize == "mean", show_options is not False)
        raise RequestError(f"method is {method!r}: use likelihood or generate")

    def chat(self, **options: Any) -> Chat:
        """Begins a conversation about one medium, which keeps its features and the keys and values of all turns.

        Args:
            options: Media, `system`, and any settings of `ask`, in force for all turns.
        """
        return Chat(self.core, options)

    def ask_batch(
        self, requests: Sequence[Any], *, batch_size: int | None = None, memory: int | None = None
    ) -> list[Answer | FailedAnswer]:
        """Answers many requests; each as if it were alone.

        Args:
            requests: `Request` objects, mappings with "question" and arguments of `ask`, or plain questions.
            batch_size: Most requests decoded together; None lets memory decide.
            memory: Bytes that keys and values of a batch may take; None takes a quarter of what is free.

        Returns:
            An answer for every request in order; a `FailedAnswer` with code and message where one cannot be answered.
        """
        return answer_batch(self.core, requests, batch_size, memory)

    def caption(self, **options: Any) -> Answer:
        """Describes a video, an image or a sound; arguments as for `ask`."""
        for modality, question in CAPTION_QUESTIONS.items():
            if options.get(modality) is not None:
                return self.ask(question, **options)
        raise RequestError("nothing to describe: give video=, image= or audio=")

    def clear_cache(self) -> None:
        """Forgets features in memory and all keys and values (needed after the weights were changed by hand)."""
        self.core.features.clear()
        self.core.prefixes.clear()


def processor_of(loaded: LoadedCheckpoint) -> Any:
    """The processor that belongs to a loaded checkpoint."""
    from videollama2.processing.audio import AudioSpec
    from videollama2.processing.processor import VideoLLaMA2Processor
    from videollama2.processing.specs import specs_from_config

    arguments = specs_from_config(loaded.config, loaded.preprocessor_config)
    arguments["model_type"] = loaded.model_type
    if loaded.audio_preprocessing is not None:
        arguments["audio_spec"] = AudioSpec(**loaded.audio_preprocessing)
    return VideoLLaMA2Processor(loaded.tokenizer, **arguments)
