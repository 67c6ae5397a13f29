"""How many positions a row takes after the splice, before any medium is opened: its text and its medium's tokens.

Shape letters: T frames, H W grid, S steps of sound features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from videollama2.model.audio import build_audio_tower
from videollama2.model.connectors import build_connector, num_tokens
from videollama2.model.connectors.stc import SPECS
from videollama2.model.vision import build_vision_tower
from videollama2.processing.audio import AudioSpec
from videollama2.processing.template import SENTINELS

# Kaldi's windows of 25 ms every 10 ms at 16 kHz; log-mel has one step every 10 ms.
_WINDOW, _HOP = 400, 160
_IS_SENTINEL = frozenset(SENTINELS.values())


@dataclass(frozen=True, kw_only=True)
class MediaTokens:
    """Tokens of each modality in one model.

    Attributes:
        config: `VideoLLaMA2Config`.
        audio_spec: Preprocessing of sound; None for a deaf model.
        num_frames: T of a video file.
        sound_of_video: Videos carry their sound.
    """

    config: Any
    audio_spec: AudioSpec | None
    num_frames: int
    sound_of_video: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """Without the tower, which a copy in another process makes again (torch does not pickle all of its kinds)."""
        return {name: value for name, value in self.__dict__.items() if name != "_audio_tower"}

    @cached_property
    def _audio_tower(self) -> Any:
        with torch.device("meta"):
            return build_audio_tower(self.config.audio_config)

    @cached_property
    def _grid(self) -> tuple[int, int]:
        select = {
            "select_layer": self.config.mm_vision_select_layer,
            "select_feature": self.config.mm_vision_select_feature,
        }
        with torch.device("meta"):
            tower = build_vision_tower({**self.config.vision_config, **select})
        height, width = tower.grid_size
        return (1, height * width + 1) if self.config.mm_vision_select_feature == "cls_patch" else (height, width)

    def frames(self, count: int) -> int:
        """Tokens of `count` frames."""
        tokens = num_tokens(self.config.mm_projector_type, count, *self._grid)
        return tokens + self._num_tags(count)

    def _num_tags(self, count: int) -> int:
        if not self.config.mm_use_tags:
            return 0
        if self.config.mm_projector_type not in SPECS:
            return 1
        with torch.device("meta"):
            connector: Any = build_connector(self.config)
            return int(connector.num_slots(count))

    @cached_property
    def video(self) -> int:
        """Tokens of a video's frames."""
        return self.frames(self.num_frames)

    @cached_property
    def image(self) -> int:
        """Tokens of an image, which stands for `config.num_frames` copies of itself (official behaviour)."""
        return self.frames(int(self.config.num_frames))

    def sound(self, steps: int) -> int:
        """Tokens of a sound of S steps."""
        return int(self._audio_tower.num_tokens(steps))

    @cached_property
    def longest_sound(self) -> int:
        """Most tokens of a sound: those of a whole window."""
        assert self.audio_spec is not None
        spec = self.audio_spec
        samples = round(max(spec.seconds, spec.pad_to_seconds or 0) * spec.sample_rate)
        steps = 1 + (samples - _WINDOW) // _HOP if spec.kind == "beats-fbank" else samples // _HOP
        return self.sound(steps)

    def most(self, modality: str) -> int:
        """Most tokens that a medium takes; a video without sound, or a short sound, takes fewer."""
        if modality == "text":
            return 0
        if modality == "audio":
            return self.longest_sound
        if modality == "image":
            return self.image
        return self.video + (self.longest_sound if self.sound_of_video else 0)


def num_positions(input_ids: Sequence[int], media_tokens: int) -> int:
    """Positions after the splice of ids in which each sentinel stands for `media_tokens`."""
    sentinels = sum(token in _IS_SENTINEL for token in input_ids)
    return len(input_ids) + sentinels * (media_tokens - 1)


def num_kept(input_ids: Sequence[int], media_tokens: int, max_tokens: int) -> int:
    """How many ids, from the first on, take at most `max_tokens` positions; a medium is kept whole or not at all."""
    positions = 0
    for number, token in enumerate(input_ids):
        positions += media_tokens if token in _IS_SENTINEL else 1
        if positions > max_tokens:
            return number
    return len(input_ids)
