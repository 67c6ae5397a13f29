"""The answer and where it comes from: what was seen, what was heard, at what cost, under which settings.

Only plain Python values are kept here, so an answer can be pickled, compared and written as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length", "choice"]
AudioUse = Literal["used", "absent", "silent", "failed"]


@dataclass(frozen=True, kw_only=True)
class VisualSeen:
    """One video or image as the model saw it.

    Attributes:
        kind: "video" or "image".
        source: Short human name of the source.
        indices: Frame numbers in the source, -1 for a padded black frame.
        times: Seconds from the start of the source of every frame, None for a padded one.
        duration: Seconds of the whole source, 0.0 for an image.
        fps: Average frames per second of the source, 0.0 for an image.
        num_source_frames: Frames the source holds.
        num_padded: Black frames appended because the source was too short.
        content_hash: SHA-256 hex of the source's content.
    """

    kind: Literal["video", "image"]
    source: str
    indices: tuple[int, ...]
    times: tuple[float | None, ...]
    duration: float = 0.0
    fps: float = 0.0
    num_source_frames: int = 1
    num_padded: int = 0
    content_hash: str = ""


@dataclass(frozen=True, kw_only=True)
class AudioHeard:
    """One sound as the model heard it, or why it did not.

    Attributes:
        source: Short human name of the source.
        status: "used", "absent" (no sound track), "silent" (only zeros) or "failed".
        reason: Why the status is "failed", else empty.
        windows: (start, end) seconds in the source of every piece heard.
        policy: Name of the window policy.
        duration: Seconds of sound in the source.
        num_padded: Zero samples (16 kHz) appended to reach the policy's length.
        content_hash: SHA-256 hex of the source's content.
    """

    source: str
    status: AudioUse
    reason: str = ""
    windows: tuple[tuple[float, float], ...] = ()
    policy: str = ""
    duration: float = 0.0
    num_padded: int = 0
    content_hash: str = ""

    @property
    def label(self) -> str:
        """The status in one word, with its reason where it failed: ``failed(reason)``."""
        return f"failed({self.reason})" if self.status == "failed" else self.status


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where an answer comes from.

    Attributes:
        visuals: Videos and images seen, in the order of the prompt.
        audio: Sounds of the request (also those absent or failed), in the order of the prompt.
        tokens: Tokens by modality: "text", "image", "video", "audio", "generated".
        seconds: Wall seconds by stage: "decode", "preprocess", "encode", "prefill", "generate".
        cache: What was not done again: counts of "feature_hits" (no decode, no encode) and "prefix_tokens" (prompt
            tokens whose keys and values were kept from an earlier question).
        model: Name of the model.
        model_hash: Fingerprint of the model's weights and configuration.
        preprocessing_hash: Hash of everything that decides how media become model inputs.
        settings: Generation and sampling settings in force.
        events: Everything skipped, cropped, padded, resampled, rotated or replaced, as sentences.
    """

    visuals: tuple[VisualSeen, ...] = ()
    audio: tuple[AudioHeard, ...] = ()
    tokens: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    cache: Mapping[str, int] = field(default_factory=dict)
    model: str = ""
    model_hash: str = ""
    preprocessing_hash: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    @property
    def audio_status(self) -> str:
        """Status of the (first) sound, "absent" where the request has none."""
        return self.audio[0].label if self.audio else "absent"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer: ``str(answer)`` is its text.

    Attributes:
        text: The answer. Of a multiple choice: the chosen option, word for word.
        question: The question as it was asked.
        finish_reason: "stop" (the model ended it), "length" (the token limit did), "choice" (scored, not generated).
        provenance: What the answer rests on.
        token_ids: Generated token ids, the stop token included where there was one.
        choice: Index of the chosen option, None if nothing was to be chosen.
        option_scores: Score of every option (log-probability), None if nothing was to be chosen.
    """

    text: str
    question: str
    finish_reason: FinishReason
    provenance: Provenance
    token_ids: tuple[int, ...] = ()
    choice: int | None = None
    option_scores: tuple[float, ...] | None = None

    ok = True

    def __str__(self) -> str:
        """The text."""
        return self.text

    def summary(self, *, verbose: bool = False) -> str:
        """What it rests on, as text for people: frames, sound, tokens, seconds, events; verbose: hashes, settings."""
        from videollama2.inference.summary import summarize

        return summarize(self, verbose=verbose)

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON-safe values (no tuple, no nan, no infinity)."""
        return json_safe({"ok": True, **asdict(self)})


@dataclass(frozen=True, kw_only=True)
class FailedAnswer:
    """What a batch gives for an item that could not be answered; the other items are not touched by it.

    Attributes:
        question: The question as it was asked, "" where there was none.
        error_code: Stable word for programs, e.g. "media", "request" (see `videollama2.errors`).
        error_message: One sentence that says what to do.
        index: Position of the item in the batch.
    """

    question: str
    error_code: str
    error_message: str
    index: int = 0

    ok = False

    def __str__(self) -> str:
        """The error in one line."""
        return f"[{self.error_code}] {self.error_message}"

    def to_dict(self) -> dict[str, Any]:
        """The failure as JSON-safe values."""
        return json_safe({"ok": False, **asdict(self)})


def json_safe(value: Any) -> Any:
    """Copies nested values into what strict JSON can hold: tuples to lists, nan and infinities to None."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [json_safe(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "item"):
        return json_safe(value.item())
    return str(value)
