"""A row to tensors: labels, pixels, sound features, by the very functions that inference uses.

Shape letters: L tokens, T frames, S steps, M mel bins, H side or grid, W grid, N features, D tower width.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from torch import Tensor

from videollama2.errors import MediaError, MediaLimitError, MediaTimeoutError, RequestError
from videollama2.media import load_audio, load_image, load_video
from videollama2.processing.audio import audio_features, sound_events
from videollama2.processing.labels import IGNORE_INDEX, conversation_labels, place_tag, plain_labels
from videollama2.processing.pixels import frame_events, preprocess_frames
from videollama2.training.data.lengths import MediaTokens, num_kept, num_positions
from videollama2.training.data.rows import Row, RowFault, RowFaultError

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, kw_only=True)
class EncodeOptions:
    """What of a recipe decides about the numbers of a sample.

    Attributes:
        labels: "chat" learns answers, "plain" is the captions of pre-training.
        branch: Official branch, for "plain".
        pad: Frames are padded to a square first (official training).
        num_frames: Frames of a video, 1 to 32.
        sound_of_video: Videos carry their sound where they have some.
        max_tokens: Positions after the splice; what is longer is cut at its end.
        timeout: Seconds for reading one medium.
    """

    labels: Literal["chat", "plain"] = "chat"
    branch: Literal["main", "audio_visual"] = "main"
    pad: bool = True
    num_frames: int = 8
    sound_of_video: bool = False
    max_tokens: int = 2048
    timeout: float = 120.0


@dataclass(frozen=True, kw_only=True)
class EncodedText:
    """Ids and labels of a row.

    Attributes:
        input_ids: With one sentinel for its medium.
        labels: -100 where nothing is learnt; never at the first token, which nothing predicts.
        num_positions: Most positions after the splice.
        num_cut: Ids cut off the end.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    num_positions: int
    num_cut: int = 0


@dataclass(kw_only=True)
class Encoded:
    """One training sample. Of each pair of inputs and features at most one is there.

    Attributes:
        number: Number of the row.
        text: Ids and labels.
        num_positions: Positions after the splice.
        is_image: Whether the pixels are of an image.
        pixels: [T, 3, H, H].
        frame_features: What the vision tower gave before, [T, H, W, D].
        sound: [S, M].
        audio_features: What the audio tower gave before, [N, D].
        visual_key: Where features of these pixels are to be kept.
        audio_key: Where features of this sound are to be kept.
        visual_events: What was done to its pictures.
        audio_events: What was done to its sound.
        text_events: What was done to the row and its text.
    """

    number: int
    text: EncodedText
    num_positions: int
    is_image: bool = False
    pixels: Tensor | None = None
    frame_features: Tensor | None = None
    sound: Tensor | None = None
    audio_features: Tensor | None = None
    visual_key: str | None = None
    audio_key: str | None = None
    visual_events: tuple[str, ...] = ()
    audio_events: tuple[str, ...] = ()
    text_events: tuple[str, ...] = ()

    @property
    def events(self) -> tuple[str, ...]:
        """What was cut, padded, resampled or left out."""
        return (*self.text_events, *self.visual_events, *self.audio_events)

    @property
    def num_label_tokens(self) -> int:
        """Tokens that are learnt."""
        return sum(label != IGNORE_INDEX for label in self.text.labels)

    @property
    def has_visual(self) -> bool:
        """Whether it shows something."""
        return self.pixels is not None or self.frame_features is not None

    @property
    def has_sound(self) -> bool:
        """Whether something is heard."""
        return self.sound is not None or self.audio_features is not None


class RowEncoder:
    """Makes tensors of rows for one model; goes to decode workers as a copy.

    Args:
        processor: `VideoLLaMA2Processor`; its tokenizer and specs are used.
        config: `VideoLLaMA2Config`.
        options: See there.
        known: Features computed before (`training.features.FeatureIndex`); None computes everything.
    """

    def __init__(self, processor: Any, config: Any, options: EncodeOptions, known: Any = None) -> None:
        self.tokenizer = processor.tokenizer
        self.pixel_spec, self.audio_spec = processor.pixel_spec, processor.audio_spec
        self.options = options
        self.known = known
        if options.sound_of_video and self.audio_spec is None:
            raise RequestError(
                "sound_of_video is on but the model does not hear; switch it off, or add an audio tower."
            )
        self.tokens = MediaTokens(
            config=config,
            audio_spec=self.audio_spec,
            num_frames=options.num_frames,
            sound_of_video=options.sound_of_video,
        )

    def text(self, row: Row) -> EncodedText:
        """Ids and labels of a row; no medium is opened.

        Raises:
            RowFaultError: The model has no tower for the medium, or nothing would be learnt within `max_tokens`.
        """
        self._check_tower(row)
        modality = None if row.modality == "text" else row.modality
        turns = row.conversations if modality is None else place_tag(row.conversations, modality)
        try:
            if self.options.labels == "plain" and modality is not None:
                labelled = plain_labels(self.tokenizer, turns, modality, branch=self.options.branch)
            else:
                labelled = conversation_labels(self.tokenizer, turns, modality)
        except RequestError as error:
            raise RowFaultError(RowFault(kind="odd_turns", text=str(error).rstrip("."), fix="correct it")) from error
        ids, labels = labelled.input_ids, (IGNORE_INDEX, *labelled.labels[1:])
        most, limit = self.tokens.most(row.modality), self.options.max_tokens
        positions = num_positions(ids, most)
        kept = len(ids) if positions <= limit else num_kept(ids, most, limit)
        if modality is not None and most > limit:
            text = f"the {modality} alone takes {most} of {limit} positions"
            raise RowFaultError(RowFault(kind="too_long", text=text, fix="raise max_tokens, or take fewer frames"))
        if all(label == IGNORE_INDEX for label in labels[:kept]):
            why = (
                f"its {positions} positions are cut at {limit} before the first answer" if kept < len(ids) else "empty"
            )
            fix = "shorten the question, or raise max_tokens" if kept < len(ids) else "write the answer"
            raise RowFaultError(RowFault(kind="all_masked", text=f"no token would be learnt: {why}", fix=fix))
        return EncodedText(
            input_ids=ids[:kept],
            labels=labels[:kept],
            num_positions=min(positions, num_positions(ids[:kept], most)),
            num_cut=len(ids) - kept,
        )

    def encode(self, row: Row, number: int) -> Encoded:
        """A row with its medium read.

        Raises:
            RowFaultError: What is wrong with the row or its medium.
        """
        text = self.text(row)
        sample = Encoded(number=number, text=text, num_positions=len(text.input_ids), is_image=row.modality == "image")
        events = list(row.events)
        if text.num_cut:
            events.append(f"{text.num_cut} tokens were cut off the end (max_tokens {self.options.max_tokens})")
        tokens = 0
        if row.modality in ("video", "image"):
            sample.visual_events = tuple(self._see(row, sample))
            tokens += self.tokens.image if sample.is_image else self.tokens.frames(_num_frames(sample))
        if row.modality == "audio" or (row.modality == "video" and self.options.sound_of_video):
            sample.audio_events = tuple(self._hear(row, sample))
            if sample.audio_features is not None:
                tokens += len(sample.audio_features)
            elif sample.sound is not None:
                tokens += self.tokens.sound(len(sample.sound))
        sample.num_positions = num_positions(text.input_ids, tokens)
        sample.text_events = tuple(events)
        return sample

    def _see(self, row: Row, sample: Encoded) -> list[str]:
        options, spec = self.options, self.pixel_spec
        if self.known is not None and self.known.keeps_visual:
            key = _guarded(row, lambda: self.known.visual_key(row.path, options, sample.is_image))
            found = self.known.get(key)
            if found is not None:
                sample.frame_features = found.features
                return list(found.record.get("events", ()))
            sample.visual_key = key
        if sample.is_image:
            clip = _guarded(row, lambda: load_image(row.path, timeout=options.timeout))
        else:
            clip = _guarded(row, lambda: load_video(row.path, options.num_frames, timeout=options.timeout))
        sample.pixels = preprocess_frames(clip.frames, spec, pad=options.pad)
        return [*clip.events, *frame_events([frame.shape[:2] for frame in clip.frames], spec, pad=options.pad)]

    def _hear(self, row: Row, sample: Encoded) -> list[str]:
        spec, is_video = self.audio_spec, row.modality == "video"
        assert row.path is not None
        arguments = {"policy": sound_policy(spec, is_video), "seconds": spec.seconds}
        if arguments["policy"] == "official-file":
            # Drawn once for a file, so that its window is the same in every epoch and run.
            arguments["seed"] = zlib.crc32(row.path.name.encode())
        if self.known is not None and self.known.keeps_audio:
            key = _guarded(row, lambda: self.known.audio_key(row.path, arguments))
            found = self.known.get(key)
            if found is not None:
                if not found.record.get("absent"):
                    sample.audio_features = found.features
                return list(found.record.get("events", ()))
            sample.audio_key = key
        clip = _guarded(row, lambda: load_audio(row.path, **arguments, timeout=self.options.timeout))
        if clip.status == "absent" and not is_video:
            text = f"{row.path} has no sound"
            raise RowFaultError(RowFault(kind="wrong_kind", text=text, fix="give a file with sound"))
        if clip.status == "absent":
            return ["the sound of the video is absent: its frames stand alone"]
        sample.sound = _guarded(row, lambda: audio_features(clip, spec))
        return sound_events(clip, spec)

    def _check_tower(self, row: Row) -> None:
        lacks = {"video": self.pixel_spec, "image": self.pixel_spec, "audio": self.audio_spec, "text": True}
        if lacks[row.modality] is None:
            what = "hear" if row.modality == "audio" else "see"
            text = f"the row has {'an' if row.modality != 'video' else 'a'} {row.modality} and the model cannot {what}"
            raise RowFaultError(RowFault(kind="no_tower", text=text, fix="leave such rows out, or take another model"))


def sound_policy(spec: Any, is_video: bool) -> str:
    """Window policy: as the official training for BEATs, the tower's own else."""
    if is_video:
        return str(spec.video_policy)
    return "official-file" if spec.kind == "beats-fbank" else "centre"


def media_fault(error: MediaError) -> RowFault:
    """A medium that cannot be read, as a fault of its row."""
    kinds = {MediaLimitError: "over_limit", MediaTimeoutError: "timed_out"}
    kind = next((word for cls, word in kinds.items() if isinstance(error, cls)), "damaged")
    text, _, fix = str(error).rstrip(".").rpartition("; ")
    return RowFault(kind=kind, text=text or fix, fix=fix if text else "make or download the file again")


def _num_frames(sample: Encoded) -> int:
    frames = sample.pixels if sample.pixels is not None else sample.frame_features
    assert frames is not None
    return len(frames)


def _guarded(row: Row, load: Callable[[], Loaded]) -> Loaded:
    assert row.path is not None
    if not row.path.exists():
        fix = "correct the path or the folder"
        raise RowFaultError(RowFault(kind="missing", text=f"{row.path} does not exist", fix=fix))
    try:
        return load()
    except MediaError as error:
        raise RowFaultError(media_fault(error)) from error
