"""The callables of `model_init`'s processor dict: official arguments in, official tensors out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from videollama2.errors import RequestError
from videollama2.media import DEFAULT_LIMITS, Limits, load_audio, load_image, load_video
from videollama2.processing.audio import AudioSpec, audio_features
from videollama2.processing.pixel_spec import PixelSpec
from videollama2.processing.pixel_stream import load_with_pixels
from videollama2.processing.pixels import preprocess_frames


@dataclass(frozen=True)
class ImageProcessor:
    """`processor["image"]`: one image to pixels."""

    pixel_spec: PixelSpec
    limits: Limits = DEFAULT_LIMITS

    def __call__(self, image_path: Any, aspect_ratio: str | None = None) -> torch.Tensor:
        """Pixels [1, 3, S, S] of a path, bytes, PIL image or array; `aspect_ratio="pad"` pads to a square first."""
        clip = load_image(image_path, limits=self.limits)
        return preprocess_frames(clip.frames, self.pixel_spec, pad=aspect_ratio == "pad")


@dataclass(frozen=True)
class VideoProcessor:
    """`processor["video"]`: frames of a video to pixels, with `va=True` also its sound."""

    pixel_spec: PixelSpec
    audio_spec: AudioSpec | None
    num_frames: int
    limits: Limits = DEFAULT_LIMITS

    def __call__(
        self,
        video_path: Any,
        s: float | None = None,
        e: float | None = None,
        aspect_ratio: str | None = None,
        num_frames: int | None = -1,
        va: bool = False,
    ) -> Any:
        """Pixels of the frames the official code takes.

        Args:
            video_path: Path, bytes, folder of frames, GIF, list of frames or array [T, H, W, 3].
            s: Seconds where the clip begins.
            e: Seconds where the clip ends.
            aspect_ratio: "pad" pads frames to a square first, None leaves it to the tower's processor.
            num_frames: Frames; the model's own number if not given, None for the official frame-rate mode.
            va: Also give the sound.

        Returns:
            float32 [T, 3, S, S]; with `va` a dict of that as "video" and of the fbank [1, S, 128] as "audio", which is
            of 30 s of zeros where there is no sound track (official behaviour).

        Raises:
            MediaError: The video, or its sound, is damaged (the official code hears zeros there).
            RequestError: `va` on a model that does not hear.
        """
        wanted = self.num_frames if num_frames == -1 else num_frames
        load = partial(load_video, video_path, wanted, start=s, end=e, limits=self.limits)
        _, pixels = load_with_pixels(load, self.pixel_spec, pad=aspect_ratio == "pad")
        if not va:
            return pixels
        if self.audio_spec is None:
            raise RequestError("va=True needs an audio-visual checkpoint, this one does not hear: leave va out")
        sound = load_audio(video_path, "official-video", seconds=self.audio_spec.seconds, limits=self.limits)
        return {"video": pixels, "audio": _fbank(audio_features(sound, self.audio_spec), self.audio_spec)}


@dataclass(frozen=True)
class AudioProcessor:
    """`processor["audio"]`: a sound file to what the audio tower takes."""

    audio_spec: AudioSpec
    limits: Limits = DEFAULT_LIMITS

    def __call__(self, wav_path: Any, *, policy: str | None = None, seed: int | None = None) -> torch.Tensor:
        """The fbank [1, S, 128] of a sound file or of a video's sound.

        Args:
            wav_path: Path, bytes, file object or (samples, rate).
            policy: Window policy where the sound is longer than 30 s. The official code draws a window by chance; that
                is `policy="official-file"` with a `seed`, and without them the middle is taken and a warning says so.
            seed: Seed of the official draw.

        Raises:
            MediaError: The sound cannot be read.
        """
        spec = self.audio_spec
        chosen = policy or ("official-file" if seed is not None else "centre")
        clip = load_audio(wav_path, chosen, seconds=spec.seconds, seed=seed, limits=self.limits)
        if policy is None and seed is None and clip.duration > spec.seconds:
            warnings.warn(
                f"{clip.source} lasts {clip.duration:.1f} s: its middle {spec.seconds:g} s are heard; the official"
                " random window is policy='official-file' with a seed",
                stacklevel=2,
            )
        return _fbank(audio_features(clip, spec), spec)


def _fbank(features: torch.Tensor, spec: AudioSpec) -> torch.Tensor:
    """[1, S, M] in the dtype the official processor gives."""
    return features[None].to(torch.bfloat16 if spec.dtype == "bfloat16" else torch.float32)
