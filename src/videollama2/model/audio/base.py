"""What an audio tower is: spectral features of sounds in, a sequence of features for each sound out.

A new tower is one file in this folder: an `AudioTower` under `@register_audio_tower("name")`.

Shape legend: A sounds, S steps, M mel bins, N tokens, D tower width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from ..registry import Registry

_REGISTRY = Registry(__package__, "audio tower")
register_audio_tower = _REGISTRY.register
audio_tower_names = _REGISTRY.names


class AudioTower(nn.Module):
    """Base of all audio towers; the constructor of a subclass takes the config's `audio_config` mapping.

    Attributes:
        hidden_size: width D of the features.
        num_mel_bins: M.
    """

    hidden_size: int
    num_mel_bins: int

    @abstractmethod
    def forward(self, values_asm: Tensor, lengths_a: Tensor) -> list[Tensor]:
        """Encode each sound alone: its result does not depend on the others or on padding.

        Args:
            values_asm: fbank or log-mel features [A, S, M], zero-padded to the longest.
            lengths_a: true steps of each, [A].

        Returns:
            Features [N_i, D] of each sound.
        """

    @abstractmethod
    def num_tokens(self, steps: int) -> int:
        """Features that `steps` input steps give."""


def build_audio_tower(audio_config: Mapping[str, Any]) -> AudioTower:
    """Build the tower that `audio_config["tower"]` names, with random weights.

    Raises:
        RequestError: unknown tower.
    """
    return _REGISTRY.find(audio_config["tower"])(audio_config)
