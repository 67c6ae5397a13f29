"""The part that CLIP and SigLIP towers share: patches, positions, and encoder layers up to the one that is used.

The layers themselves are those of transformers, so their weights keep the names of transformers 5. The layers above
the selected one, the final norm and the pooling head never reach the language model and are not built.

Shape legend: F frames, S image side, P patch side, N patches, H W grid, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import RequestError
from .base import VisionFeatures, VisionTower

# Frames that pass together when no gradient is kept: the work per frame is the same, the memory is bounded.
FRAMES_PER_CHUNK = 8
# On CPU fewer: the activations of 8 frames are so large that the allocator fetches fresh pages for each of them.
CPU_FRAMES_PER_CHUNK = 2
SELECT_FEATURES = ("patch", "cls_patch")


class PatchEmbeddings(nn.Module):
    """Patches as vectors, plus a class token where the tower has one, plus positions."""

    def __init__(self, config: Any, class_token: bool, bias: bool) -> None:
        super().__init__()
        side = config.image_size // config.patch_size
        self.class_embedding = nn.Parameter(torch.empty(config.hidden_size)) if class_token else None
        self.patch_embedding = nn.Conv2d(
            config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size, bias=bias
        )
        self.position_embedding = nn.Embedding(side * side + class_token, config.hidden_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the class token; the other parts draw themselves."""
        if self.class_embedding is not None:
            nn.init.normal_(self.class_embedding, std=self.class_embedding.shape[0] ** -0.5)

    def forward(self, pixels_f3ss: Tensor) -> Tensor:
        """Map [F, 3, S, S] to [F, N (+ 1), D]."""
        x_fnd = self.patch_embedding(pixels_f3ss).flatten(2).transpose(1, 2)
        if self.class_embedding is not None:
            x_fnd = torch.cat([self.class_embedding.expand(len(x_fnd), 1, -1), x_fnd], dim=1)
        return x_fnd + self.position_embedding.weight


class Encoder(nn.Module):
    """A stack of layers under the name that transformers gives it."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


class ViTTower(VisionTower):
    """A CLIP-like tower; subclasses say which transformers classes it is made of.

    The config mapping holds transformers' own fields and: `select_layer` (index into the hidden states, 0 being the
    embeddings; default -2 as in the official configs), `select_feature` ("patch" drops the class token, "cls_patch"
    keeps it), `keep_unused_layers` (build the unused upper layers too, so that a whole tower can be written back;
    default false), `attn_implementation` (default "sdpa").

    Raises:
        RequestError: `select_layer` or `select_feature` do not exist.
    """

    config_class: type
    layer_class: type
    class_token: bool
    patch_bias: bool

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        own = {"tower", "select_layer", "select_feature", "keep_unused_layers", "attn_implementation"}
        self.config = self.config_class(**{k: v for k, v in config.items() if k not in own})
        self.config._attn_implementation = config.get("attn_implementation") or "sdpa"
        self.select_feature = config.get("select_feature", "patch")
        self.num_used_layers = _num_used_layers(self.config.num_hidden_layers, config.get("select_layer", -2))
        allowed = SELECT_FEATURES if self.class_token else SELECT_FEATURES[:1]
        if self.select_feature not in allowed:
            raise RequestError(
                f"mm_vision_select_feature {self.select_feature!r} is not offered by this tower; use one of {allowed}."
            )
        num_layers = self.config.num_hidden_layers if config.get("keep_unused_layers") else self.num_used_layers
        self.embeddings = PatchEmbeddings(self.config, self.class_token, self.patch_bias)
        self.encoder = Encoder([self.layer_class(self.config) for _ in range(num_layers)])
        self.hidden_size = self.config.hidden_size
        self.image_size = self.config.image_size
        side = self.config.image_size // self.config.patch_size
        self.grid_size = (side, side) if self.select_feature == "patch" else (1, side * side + 1)

    def pre_norm(self, x_fnd: Tensor) -> Tensor:
        """What comes between embeddings and layers: nothing, unless a subclass says otherwise."""
        return x_fnd

    def forward(self, pixels_f3ss: Tensor) -> VisionFeatures:
        """Encode each frame up to the selected layer.

        Args:
            pixels_f3ss: normalised pixels [F, 3, S, S]; F may be 0.

        Returns:
            Grid [F, H, W, D]; with `cls_patch` a row [F, 1, N + 1, D], class token first.
        """
        frames = CPU_FRAMES_PER_CHUNK if pixels_f3ss.device.type == "cpu" else FRAMES_PER_CHUNK
        if torch.is_grad_enabled() or len(pixels_f3ss) <= frames:
            x_fnd = self._encode(pixels_f3ss)
        else:
            x_fnd = torch.cat([self._encode(chunk) for chunk in pixels_f3ss.split(frames)])
        return VisionFeatures(grid=x_fnd.unflatten(1, self.grid_size))

    def _encode(self, pixels_f3ss: Tensor) -> Tensor:
        x_fnd = self.pre_norm(self.embeddings(pixels_f3ss))
        for layer in list(self.encoder.layers)[: self.num_used_layers]:
            x_fnd = layer(x_fnd, None)
        return x_fnd[:, 1:] if self.class_token and self.select_feature == "patch" else x_fnd


def _num_used_layers(num_layers: int, select_layer: int) -> int:
    """Layers to run so that the output is entry `select_layer` of the `num_layers` + 1 hidden states."""
    used = select_layer if select_layer >= 0 else num_layers + 1 + select_layer
    if not 0 <= used <= num_layers:
        raise RequestError(
            f"mm_vision_select_layer {select_layer} is outside the {num_layers + 1} hidden states of this tower;"
            f" use {-num_layers - 1} to {num_layers}."
        )
    return used
