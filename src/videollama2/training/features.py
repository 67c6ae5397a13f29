"""Features of frozen towers kept on disk, so that a clip is decoded and encoded once for all epochs and runs.

A key covers everything the features depend on: content of the file, how it is sampled, preprocessing, every weight of
the tower, dtype. So they serve any run with the same towers, whatever its connector, language model or data file, and a
file that was renamed. They are written whole or not at all; a damaged one is removed and made again.

Shape letters: T frames, H W grid, S steps, M mel bins, N features, D tower width.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from videollama2.errors import CheckpointError, RequestError
from videollama2.inference.cache import CachedFeatures, FeatureCache, feature_key
from videollama2.inference.fingerprint import encoder_hash
from videollama2.inference.hashing import ContentHasher
from videollama2.media import DEFAULT_LIMITS
from videollama2.training.data.encode import Encoded, EncodeOptions

# Nothing is thrown away for room: a run needs all of it again in its next epoch.
_NO_LIMIT = 1 << 62


class FeatureStore:
    """A folder of features, in 256 folders by the beginning of their key.

    Args:
        folder: Made where it is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.hits = self.misses = 0

    def get(self, key: str) -> CachedFeatures | None:
        """Features of a key, or None."""
        found = self._shelf(key).get(key)
        self.hits += found is not None
        self.misses += found is None
        return found

    def put(self, key: str, features: Tensor, record: Mapping[str, Any]) -> None:
        """Keep features.

        Raises:
            RequestError: The folder cannot be written, or its disk is full.
        """
        try:
            self._shelf(key).put(key, CachedFeatures(features=features, record=record))
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "its disk is full" if full else f"it cannot be written ({error.strerror})"
            raise RequestError(
                f"Features cannot be kept in {self.folder}: {why}; make room, or name another folder (cache_features),"
                " or train without."
            ) from error

    def _shelf(self, key: str) -> FeatureCache:
        return FeatureCache(0, self.folder / key[:2], _NO_LIMIT)


class FeatureIndex:
    """What decode workers need to find features; goes to them as a copy.

    Args:
        store: Where they are.
        visual: What features of pictures depend on besides file and sampling; None where they are not kept.
        audio: Likewise for sound.
    """

    def __init__(self, store: FeatureStore, visual: Mapping[str, Any] | None, audio: Mapping[str, Any] | None) -> None:
        self.store = store
        self._visual, self._audio = visual, audio
        self._hasher = ContentHasher(DEFAULT_LIMITS, max_files=1 << 20)

    @property
    def keeps_visual(self) -> bool:
        """Whether features of pictures are kept."""
        return self._visual is not None

    @property
    def keeps_audio(self) -> bool:
        """Whether features of sounds are kept."""
        return self._audio is not None

    def get(self, key: str) -> CachedFeatures | None:
        """Features of a key, or None."""
        return self.store.get(key)

    def visual_key(self, path: Path, options: EncodeOptions, is_image: bool) -> str:
        """Key of a file's pictures.

        Raises:
            MediaError: The file cannot be read.
        """
        sampling = None if is_image else {"num_frames": options.num_frames}
        kind = "tower of image" if is_image else "tower of video"
        return self._key(path, options.timeout, kind=kind, sampling=sampling, pad=options.pad, **self._visual or {})

    def audio_key(self, path: Path, arguments: Mapping[str, Any], timeout: float | None = None) -> str:
        """Key of a file's sound, taken with these arguments of `load_audio`.

        Raises:
            MediaError: The file cannot be read.
        """
        return self._key(path, timeout, kind="tower of sound", sampling=dict(arguments), **self._audio or {})

    def _key(self, path: Path, timeout: float | None, **parts: Any) -> str:
        return feature_key(content=self._hasher.open(path, timeout).digest, **parts)


class TowerFeatures:
    """Makes features that are not there yet, with the towers of a model, and keeps them.

    Args:
        folder: Where they are kept.
        model: `VideoLLaMA2ForConditionalGeneration` (or a wrapper whose modules have its names).
        processor: Its `VideoLLaMA2Processor`.
        visual: Keep what the vision tower gives; it must be frozen.
        audio: Keep what the audio tower gives; it must be frozen.

    Raises:
        RequestError: A tower is trained, or nothing is left to keep, or the model needs pixels.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        model: nn.Module,
        processor: Any,
        *,
        visual: bool | None = None,
        audio: bool | None = None,
    ) -> None:
        self.vision_tower = _tower(model, "vision_tower", visual)
        self.audio_tower = _tower(model, "audio_tower", audio)
        if self.vision_tower is None and self.audio_tower is None:
            raise RequestError("cache_features is set but no tower is frozen; remove it, or freeze a tower.")
        if self.vision_tower is not None and getattr(model.config, "mm_use_tags", False):
            raise RequestError(
                "cache_features is set but the model says class tags of its pictures, which features do not hold;"
                " remove it."
            )
        self.store = FeatureStore(folder)
        visual_base = audio_base = None
        if self.vision_tower is not None:
            visual_base = _base(self.vision_tower, processor.pixel_spec.to_dict())
        if self.audio_tower is not None:
            audio_base = _base(self.audio_tower, processor.audio_spec.to_dict())
        self.index = FeatureIndex(self.store, visual_base, audio_base)
        self.num_encoded = 0

    def complete(self, samples: list[Encoded]) -> None:
        """Replace pixels and sound by features, in place, and keep those that were not there.

        Raises:
            CheckpointError: A tower gives values that are not numbers.
            RequestError: They cannot be written.
        """
        for sample in samples:
            if self.vision_tower is not None and sample.pixels is not None:
                sample.frame_features = self._see(sample.pixels)
                self._keep(sample.visual_key, sample.frame_features, sample.visual_events)
                sample.pixels = None
            if self.audio_tower is not None and sample.sound is not None:
                sample.audio_features = self._listen(sample.sound)
                self._keep(sample.audio_key, sample.audio_features, sample.audio_events)
                sample.sound = None
            elif self.audio_tower is not None and sample.audio_key is not None and not sample.has_sound:
                nothing = torch.zeros(0, self.audio_tower.hidden_size)
                self._keep(sample.audio_key, nothing, sample.audio_events, absent=True)
            sample.visual_key = sample.audio_key = None

    @torch.no_grad()
    def _see(self, pixels: Tensor) -> Tensor:
        assert self.vision_tower is not None
        return self.vision_tower(pixels.to(next(self.vision_tower.parameters()))).grid.cpu()

    @torch.no_grad()
    def _listen(self, sound: Tensor) -> Tensor:
        assert self.audio_tower is not None
        values = sound[None].to(next(self.audio_tower.parameters()))
        return self.audio_tower(values, torch.tensor([len(sound)], device=values.device))[0].cpu()

    def _keep(self, key: str | None, features: Tensor, events: tuple[str, ...], absent: bool = False) -> None:
        if not torch.isfinite(features).all():
            raise CheckpointError(
                "A tower gives values that are not finite; check its weights with 'videollama2 inspect'."
            )
        self.num_encoded += not absent
        if key is not None:
            self.store.put(key, features, {"absent": absent, "events": list(events)})


def _tower(model: nn.Module, name: str, wanted: bool | None) -> Any:
    """A frozen tower; None where there is none, or it is not wanted."""
    modules = [module for path, module in model.named_modules() if path.rpartition(".")[2] == name]
    if not modules or wanted is False:
        return None
    trained = any(parameter.requires_grad for parameter in modules[0].parameters())
    if trained and wanted:
        raise RequestError(f"Features of the {name} cannot be kept: it is trained; freeze it, or do not keep them.")
    return None if trained else modules[0]


def _base(tower: nn.Module, preprocessing: Mapping[str, Any]) -> dict[str, Any]:
    spec = json.dumps(preprocessing, sort_keys=True, separators=(",", ":"))
    return {
        "preprocessing": hashlib.sha256(spec.encode()).hexdigest(),
        "encoder": encoder_hash({"tower": tower}),
        "dtype": str(next(tower.parameters()).dtype),
    }
