"""What is asked: a question, its media, and the settings, checked before any work is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from videollama2.errors import RequestError

TAGS = ("<video>", "<image>", "<audio>")
AUDIO_POLICIES = ("official-file", "official-video", "first", "centre", "uniform", "full")
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True, kw_only=True)
class MediaSettings:
    """How media are sampled. None means: as the model was trained.

    Attributes:
        num_frames: Frames taken evenly from a video, 1 or more (the media limits set the most).
        fps: Frames per second to take instead of a fixed number, > 0.
        times: Explicit times in seconds to take frames at, instead of both.
        start: Seconds; frames and sound before it are not used.
        end: Seconds; frames and sound after it are not used.
        use_audio: Hear a video's sound track where the model can.
        audio_policy: Window policy for sound, one of `AUDIO_POLICIES`. None: the official one without chance (a file
            longer than 30 s: its centre; a video: eight clips of two seconds).
        audio_seed: Seed of a policy that draws a random window.
        on_audio_error: "note": a video whose sound cannot be decoded is answered from its frames, with status
            failed(reason) and an event; "raise": it is an error.
        timeout: Seconds that decoding may take, None for the default of the media room.
    """

    num_frames: int | None = None
    fps: float | None = None
    times: tuple[float, ...] | None = None
    start: float | None = None
    end: float | None = None
    use_audio: bool = True
    audio_policy: str | None = None
    audio_seed: int | None = None
    on_audio_error: Literal["note", "raise"] = "note"
    timeout: float | None = None

    def __post_init__(self) -> None:
        if self.num_frames is not None and not (_is_int(self.num_frames) and self.num_frames >= 1):
            raise RequestError(f"num_frames is {self.num_frames!r}: give a whole number, 1 or more")
        if sum(item is not None for item in (self.num_frames, self.fps, self.times)) > 1:
            raise RequestError("num_frames, fps and times exclude each other: give one of them")
        for name in ("fps", "start", "end", "timeout"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise RequestError(f"{name} is {value!r}: give a finite number")
        if self.fps is not None and self.fps <= 0:
            raise RequestError(f"fps is {self.fps}: give a number above 0")
        if self.start is not None and self.start < 0:
            raise RequestError(f"start is {self.start}: give seconds from the start of the clip, 0 or more")
        if self.end is not None and self.end <= (self.start or 0.0):
            raise RequestError(f"end is {self.end}, not after start {self.start or 0.0}: give a later end")
        if self.audio_policy is not None and self.audio_policy not in AUDIO_POLICIES:
            raise RequestError(f"unknown audio policy {self.audio_policy!r}: use one of {', '.join(AUDIO_POLICIES)}")
        if self.on_audio_error not in ("note", "raise"):
            raise RequestError(f"on_audio_error is {self.on_audio_error!r}: use note or raise")


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """How text is generated. None means: as the checkpoint's generation configuration says.

    Attributes:
        max_new_tokens: Most tokens to generate, 1 or more.
        do_sample: Draw tokens instead of taking the most likely one.
        temperature: > 0; official value 0.2 where sampling.
        top_p: Nucleus, in (0, 1]; official value 0.9.
        top_k: Most likely tokens to draw from, 0 for all.
        repetition_penalty: > 0; 1.0 is none.
        seed: Seed of the draws; where sampling without one, one is drawn and recorded in the answer.
    """

    max_new_tokens: int = 512
    do_sample: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if not (_is_int(self.max_new_tokens) and self.max_new_tokens >= 1):
            raise RequestError(f"max_new_tokens is {self.max_new_tokens!r}: give a whole number, 1 or more")
        for name, low in (("temperature", 0.0), ("repetition_penalty", 0.0)):
            value = getattr(self, name)
            if value is not None and not (_is_number(value) and value > low):
                raise RequestError(f"{name} is {value!r}: give a finite number above {low:g}")
        if self.top_p is not None and not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise RequestError(f"top_p is {self.top_p!r}: give a number above 0, at most 1")
        if self.top_k is not None and not (_is_int(self.top_k) and self.top_k >= 0):
            raise RequestError(f"top_k is {self.top_k!r}: give a whole number, 0 for all tokens")
        if self.seed is not None and not _is_int(self.seed):
            raise RequestError(f"seed is {self.seed!r}: give a whole number")


@dataclass(frozen=True, kw_only=True)
class Request:
    """One question with its media and settings; the fields are the arguments of `VideoLLaMA2.ask`.

    Attributes:
        question: The question, not empty. Tag text such as ``<video>`` inside it stays text.
        video: Path, bytes, file object, folder of frames, GIF, or array uint8 [T, H, W, 3].
        image: Path, bytes, file object, PIL image or array uint8 [H, W, 3].
        audio: Path, bytes or file object of a sound; together with `video` it takes the place of its sound track.
        system: System message in place of the model's own, None for the model's.
        media: How media are sampled.
        generation: How text is generated.
    """

    question: str
    video: Any = None
    image: Any = None
    audio: Any = None
    system: str | None = None
    media: MediaSettings = field(default_factory=MediaSettings)
    generation: GenerationSettings = field(default_factory=GenerationSettings)

    def __post_init__(self) -> None:
        check_question(self.question)
        if self.video is not None and self.image is not None:
            raise RequestError("both a video and an image were given: ask about one of them at a time")
        if self.image is not None and self.audio is not None:
            raise RequestError(
                "both an image and a sound were given: ask about one of them, or give a video and a sound"
            )

    @property
    def modality(self) -> Literal["video", "image", "audio", "text"]:
        """The modality of the prompt's tag."""
        if self.video is not None:
            return "video"
        if self.image is not None:
            return "image"
        return "audio" if self.audio is not None else "text"

    @classmethod
    def build(cls, question: str, **options: Any) -> Request:
        """Makes a request from flat keyword arguments, as `VideoLLaMA2.ask` takes them.

        Raises:
            RequestError: An argument is unknown (the message names the known ones) or its value is wrong.
        """
        groups: dict[type, dict[str, Any]] = {MediaSettings: {}, GenerationSettings: {}, cls: {}}
        for name, value in options.items():
            owner = next((group for group in groups if name in _names(group)), None)
            if owner is None:
                known = sorted(name for group in groups for name in _names(group))
                raise RequestError(f"unknown argument {name!r}: known are {', '.join(known)}")
            groups[owner][name] = tuple(value) if name == "times" and value is not None else value
        return cls(
            question=question,
            media=MediaSettings(**groups[MediaSettings]),
            generation=GenerationSettings(**groups[GenerationSettings]),
            **groups[cls],
        )

    @classmethod
    def coerce(cls, item: Any) -> Request:
        """Makes a request of a Request, a mapping with "question" and arguments of `ask`, or a plain question."""
        if isinstance(item, Request):
            return item
        if isinstance(item, str):
            return cls.build(item)
        if isinstance(item, Mapping):
            options = dict(item)
            return cls.build(options.pop("question", ""), **options)
        raise RequestError(f"a request is a question, a mapping or a Request, not {type(item).__name__}")

    def without_audio_track(self) -> Request:
        """The same request with the video's sound left out."""
        return replace(self, media=replace(self.media, use_audio=False))


def check_question(question: Any) -> None:
    """Refuses a question that is missing, empty or not text."""
    if not isinstance(question, str):
        raise RequestError(f"the question is of type {type(question).__name__}: give text")
    if not question.strip():
        raise RequestError("there is no question: give one, for example 'What happens in this video?'")


def check_options(options: Any) -> tuple[str, ...]:
    """The options of a multiple choice, at least two, all different, none empty."""
    if isinstance(options, (str, bytes)) or not isinstance(options, Sequence):
        raise RequestError("options must be a list of texts, for example ['left', 'right']")
    if len(options) < 2:
        raise RequestError(f"{len(options)} option given: a choice needs two or more")
    for option in options:
        if not isinstance(option, str) or not option.strip():
            raise RequestError(f"option {option!r} is empty or not text: give every option as text")
    if len({option.strip() for option in options}) < len(options):
        raise RequestError("two options are the same: give different options")
    return tuple(options)


def tag_events(*texts: str) -> list[str]:
    """Notes that media tags written in a text are kept as text and stand for no media."""
    found = sorted({tag for text in texts for tag in TAGS if tag in text})
    return [f"the text {tag!r} in the question was kept as text, it stands for no media" for tag in found]


def _names(group: type) -> set[str]:
    return {item.name for item in fields(group)} - {"question", "media", "generation"}


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    is_real = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_real and value == value and abs(value) != float("inf")
