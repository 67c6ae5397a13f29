"""Media to features, once for each clip: decode, preprocess, encode, or nothing at all where the features are known.

The key of a clip's features is made of its content hash and everything else they depend on, before decoding, so a
further question on a clip costs one hash of the file (and not even that while the file does not change).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from videollama2.errors import CheckpointError, MediaError, RequestError
from videollama2.inference.answer import AudioHeard, VisualSeen
from videollama2.inference.cache import CachedFeatures, FeatureCache, feature_key
from videollama2.inference.hashing import ContentHasher
from videollama2.inference.media_records import (
    EncodedItem,
    as_heard,
    as_seen,
    audio_record,
    can_have_sound,
    frame_arguments,
    load_sound,
    timeout_of,
    visual_record,
)
from videollama2.inference.request import MediaSettings, Request
from videollama2.inference.timing import StageTimer
from videollama2.media import DEFAULT_LIMITS, Limits, load_image, load_video
from videollama2.media.source import source_name
from videollama2.media.types import AudioClip
from videollama2.processing.audio import AudioSpec, audio_features, room_noise, sound_events
from videollama2.processing.pixel_spec import PixelSpec
from videollama2.processing.pixel_stream import PixelStream
from videollama2.processing.pixels import frame_events

# Length of the silence that stands for a missing sound track; the default model's training clips are as long.
SILENCE_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class PreparedMedia:
    """The media of one request as the language model takes them.

    Attributes:
        features: One [N, D] tensor for each placeholder, on the model's device.
        visuals: What was seen.
        audio: What was heard, or why not.
        tokens: Tokens by modality.
        events: What was changed, skipped or replaced.
        keys: Keys of the features, for whatever depends on them.
        num_hits: Media that were neither decoded nor encoded.
    """

    features: tuple[torch.Tensor, ...] = ()
    visuals: tuple[VisualSeen, ...] = ()
    audio: tuple[AudioHeard, ...] = ()
    tokens: Mapping[str, int] = field(default_factory=dict)
    events: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    num_hits: int = 0


class MediaPreparer:
    """Turns the media of requests into features with one model and one cache.

    Args:
        model: Offers `encode_visual`, `encode_audio`, `config`, `device` and `dtype`.
        pixel_spec: Preprocessing of frames, None for a model that does not see.
        audio_spec: Preprocessing of sound, None for a model that does not hear.
        pad: Pad frames to a square first (official inference does not).
        cache: Known features.
        encoder_hash: Hash of the weights that make features.
        preprocessing_hash: Hash of what turns media into inputs.
        limits: Sizes of media that are refused.
        video_audio_policy: Window policy for the sound of a video where the request names none; None takes the model's
            own (`AudioSpec.video_policy`).
    """

    def __init__(
        self,
        model: Any,
        *,
        pixel_spec: PixelSpec | None,
        audio_spec: AudioSpec | None,
        pad: bool,
        cache: FeatureCache,
        encoder_hash: str,
        preprocessing_hash: str,
        limits: Limits = DEFAULT_LIMITS,
        video_audio_policy: str | None = None,
    ) -> None:
        self.model = model
        self.pixel_spec = pixel_spec
        self.audio_spec = audio_spec
        self.pad = pad
        self.cache = cache
        self.limits = limits
        self.video_audio_policy = video_audio_policy
        self.hasher = ContentHasher(limits)
        self._base = {"encoder": encoder_hash, "preprocessing": preprocessing_hash}

    @torch.inference_mode()
    def prepare(self, request: Request, timer: StageTimer) -> PreparedMedia:
        """Makes (or finds) the features of a request's media.

        Raises:
            RequestError: The model lacks the modality.
            MediaError: The media cannot be read.
        """
        self.check_modality(request)
        if request.modality == "text":
            return PreparedMedia()
        if request.modality == "audio":
            sound = self._sound(request.audio, request.media, timer, is_video=False)
            return self._assemble([], [sound])
        visual = self._visual(request, timer)
        sounds = []
        if request.modality == "video" and self.audio_spec is not None and request.media.use_audio:
            source = request.video if request.audio is None else request.audio
            if request.audio is not None or can_have_sound(request.video):
                sounds = [self._sound(source, request.media, timer, is_video=request.audio is None)]
        prepared = self._assemble([visual], sounds)
        if request.modality == "video" and self.audio_spec is None and request.media.use_audio:
            event = "the model does not hear: a sound track, if there is one, was not used"
            prepared = PreparedMedia(**{**prepared.__dict__, "events": (*prepared.events, event)})
        return prepared

    def check_modality(self, request: Request) -> None:
        """Refuses media that the model has no tower for, and says what it has."""
        has = [name for name, spec in (("image and video", self.pixel_spec), ("sound", self.audio_spec)) if spec]
        takes = f"this model takes text{''.join(f', {name}' for name in has)} only"
        if request.modality in ("video", "image") and self.pixel_spec is None:
            raise RequestError(f"the model cannot see a {request.modality}, it has no vision tower: {takes}")
        if request.audio is not None and self.audio_spec is None:
            raise RequestError(f"the model cannot hear, it has no audio tower: {takes}; use an audio-visual checkpoint")

    def _visual(self, request: Request, timer: StageTimer) -> EncodedItem:
        settings, is_image = request.media, request.modality == "image"
        num_frames = settings.num_frames or int(self.model.config.num_frames)
        sampling = {} if is_image else frame_arguments(settings, num_frames)
        with timer.stage("decode"):
            opened = self.hasher.open(request.image if is_image else request.video, timeout_of(settings))
        # An image is encoded once and stands for `num_frames` copies of itself, so their number is part of the key.
        copies = int(self.model.config.num_frames) if is_image else None
        key = self._key("image" if is_image else "video", opened.digest, sampling=sampling, copies=copies)
        known = self.cache.get(key)
        if known is not None:
            return EncodedItem(key, known.features, known.record, hit=True)
        assert self.pixel_spec is not None
        bounds: dict[str, Any] = {"limits": self.limits, "timeout": timeout_of(settings)}
        # Frames are preprocessed while others are decoded: the stage counts what is left to do after the decoding.
        with PixelStream(self.pixel_spec, pad=self.pad) as stream:
            with timer.stage("decode"):
                if is_image:
                    clip = load_image(opened.source, **bounds)
                else:
                    # More frames than the official 32 are a wish of the user's, not to be cut.
                    clip = load_video(opened.source, **sampling, max_frames=None, **bounds, sink=stream)
            with timer.stage("preprocess"):
                pixels = stream.pixels(clip.frames)
                events = frame_events([frame.shape[:2] for frame in clip.frames], self.pixel_spec, pad=self.pad)
        with timer.stage("encode"):
            pixels = pixels.to(self.model.device, self.model.dtype)
            features = self.model.encode_visual(pixels, torch.tensor([len(pixels)]), torch.tensor([is_image]))[0]
        record = {"seen": visual_record(clip, is_image), "events": [*clip.events, *events]}
        return self._keep(key, features, record)

    def _sound(self, source: Any, settings: MediaSettings, timer: StageTimer, *, is_video: bool) -> EncodedItem:
        arguments = self._sound_arguments(settings, is_video)
        try:
            with timer.stage("decode"):
                opened = self.hasher.open(source, timeout_of(settings))
        except MediaError as error:
            return self._failed(source, arguments["policy"], error, settings, is_video)
        key = self._key("sound of video" if is_video else "sound", opened.digest, **arguments)
        known = self.cache.get(key)
        if known is not None:
            return EncodedItem(key, known.features, known.record, hit=True)
        assert self.audio_spec is not None
        try:
            with timer.stage("decode"):
                clips = load_sound(opened.source, arguments, self.limits, timeout_of(settings))
            if clips[0].status == "absent":
                events = ["the video has no sound track: the answer rests on the frames alone"]
                record = {"heard": audio_record(clips), "events": events}
                return self._keep(key, self._absent_sound(timer), record)
            with timer.stage("preprocess"):
                inputs = [audio_features(clip, self.audio_spec) for clip in clips]
        except MediaError as error:
            return self._failed(source, arguments["policy"], error, settings, is_video)
        with timer.stage("encode"):
            # Window by window, so that a long sound takes no more memory than one window.
            parts = [
                self.model.encode_audio(
                    values[None].to(self.model.device, self.model.dtype),
                    torch.tensor([len(values)], device=self.model.device),
                )[0]
                for values in inputs
            ]
        events = list(dict.fromkeys(event for clip in clips for event in sound_events(clip, self.audio_spec)))
        return self._keep(key, torch.cat(parts), {"heard": audio_record(clips), "events": events})

    def _sound_arguments(self, settings: MediaSettings, is_video: bool) -> dict[str, Any]:
        """Arguments of `load_audio`. Official windows take no bounds, and those of files draw by chance over 30 s."""
        assert self.audio_spec is not None
        bounded = settings.start is not None or settings.end is not None
        default = "centre"
        if is_video:
            # The official policy for videos takes no bounds; pieces spread evenly between them are nearest to it.
            own = str(self.video_audio_policy or self.audio_spec.video_policy)
            default = "uniform" if bounded and own == "official-video" else own
        arguments: dict[str, Any] = {
            "policy": settings.audio_policy or default,
            "seconds": self.audio_spec.seconds,
            "seed": settings.audio_seed,
        }
        return arguments | ({"start": settings.start, "end": settings.end} if bounded else {})

    def _absent_sound(self, timer: StageTimer) -> torch.Tensor:
        """What stands for a missing sound track: nothing, or the silence that the model was trained to know."""
        assert self.audio_spec is not None
        if self.audio_spec.silence_db is None:
            return self._no_tokens()
        noise = room_noise(SILENCE_SECONDS * self.audio_spec.sample_rate, self.audio_spec.silence_db)
        clip = AudioClip(
            waveform=noise, sample_rate=self.audio_spec.sample_rate, windows=(), status="used", policy="", duration=0.0
        )
        with timer.stage("encode"):
            values = audio_features(clip, self.audio_spec)
            lengths = torch.tensor([len(values)], device=self.model.device)
            return self.model.encode_audio(values[None].to(self.model.device, self.model.dtype), lengths)[0]

    def _no_tokens(self) -> torch.Tensor:
        return torch.zeros(0, self.model.config.hidden_size, dtype=self.model.dtype)

    def _failed(
        self, source: Any, policy: str, error: MediaError, settings: MediaSettings, is_video: bool
    ) -> EncodedItem:
        """A video's sound that cannot be had: the answer rests on the frames and says so. Never cached."""
        if not is_video or settings.on_audio_error == "raise":
            raise error
        reason = str(error).rstrip(".")
        heard = {"source": source_name(source), "status": "failed", "reason": reason, "policy": policy}
        event = f"the sound could not be used ({reason}): the answer rests on the frames alone"
        return EncodedItem("failed", self._no_tokens(), {"heard": heard, "events": [event]}, hit=False)

    def _key(self, kind: str, digest: str, **parts: Any) -> str:
        return feature_key(kind=kind, content=digest, dtype=str(self.model.dtype), **self._base, **parts)

    def _keep(self, key: str, features: torch.Tensor, record: Mapping[str, Any]) -> EncodedItem:
        if not torch.isfinite(features).all():
            raise CheckpointError(
                "the features of the media are not finite: check the weights with 'videollama2 inspect', or use float32"
            )
        item = CachedFeatures(features=features.detach().cpu(), record=record)
        self.cache.put(key, item)
        return EncodedItem(key, item.features, record, hit=False)

    def _assemble(self, visuals: list[EncodedItem], sounds: list[EncodedItem]) -> PreparedMedia:
        """One placeholder: a visual's tokens, then its sound's, as the official model was trained."""
        parts = [*visuals, *sounds]
        features = torch.cat([part.features for part in parts]).to(self.model.device, self.model.dtype)
        tokens: dict[str, int] = {}
        for part in parts:
            seen = part.record.get("seen")
            name = seen["kind"] if seen else "audio"
            tokens[name] = tokens.get(name, 0) + len(part.features)
        return PreparedMedia(
            features=(features,),
            visuals=tuple(as_seen(part.record["seen"]) for part in visuals),
            audio=tuple(as_heard(part.record["heard"]) for part in sounds),
            tokens=tokens,
            events=tuple(event for part in parts for event in part.record["events"]),
            keys=tuple(part.key for part in parts),
            num_hits=sum(part.hit for part in parts),
        )
