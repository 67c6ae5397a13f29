"""Towers and connectors: layers up to the one that is used, images once, videos, the connector's fast path, BEATs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from videollama2.model.audio import build_audio_tower
from videollama2.model.audio.beats import BeatsTower
from videollama2.model.connectors import Connector, build_connector
from videollama2.model.connectors.plain import plain_forward
from videollama2.model.presets import CLIP_VIT_L_14_336, SIGLIP_SO400M_14_384
from videollama2.model.vision import build_vision_tower
from videollama2.model.vision.vit import ViTTower

from .plain_beats import plain_beats
from .timing import Result, Settings, in_turns, ratio

# fp32: the order of additions differs between the two ways. bf16: eight mantissa bits through up to 26 layers.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 6e-2}
TOWERS = {"CLIP ViT-L/14-336": CLIP_VIT_L_14_336, "SigLIP so400m/14-384": SIGLIP_SO400M_14_384}
REDUCED_LAYERS = 4


def tower_layers(settings: Settings) -> Iterator[Result]:
    """Layers up to the selected one against all layers of the tower, of which the official code drops the last."""
    for name in TOWERS:
        tower, sizes = _tower(name, settings.full)
        frames = _random(2, 3, tower.image_size, tower.image_size)
        yield in_turns(
            "tower_used_layers",
            lambda tower=tower, frames=frames: tower(frames).grid.flatten(1, 2),
            lambda tower=tower, frames=frames: all_layers(tower, frames, attention="sdpa"),
            runs=_runs(settings),
            tolerance=TOLERANCE[torch.float32],
            sizes={**sizes, "frames": 2, "dtype": "float32"},
        )


def image_once(settings: Settings) -> Iterator[Result]:
    """An image through tower and connector once, against `num_frames` copies through all layers of both."""
    for name, kind, width, num_frames in (
        ("CLIP ViT-L/14-336", "stc_connector", 4096, 8),
        ("SigLIP so400m/14-384", "stc_connector_v35", 3584, 16),
    ):
        tower, sizes = _tower(name, settings.full)
        connector, connector_sizes = _connector(kind, tower.hidden_size, width if settings.full else 512)
        image = _random(1, 3, tower.image_size, tower.image_size)

        def fast(tower: ViTTower = tower, connector: Connector = connector, image: Tensor = image) -> Tensor:
            return connector.still_stage(connector.frame_stage(tower(image).grid), num_frames)  # noqa: B023

        def plain(tower: ViTTower = tower, connector: Connector = connector, image: Tensor = image) -> Tensor:
            copies = image.expand(num_frames, -1, -1, -1)  # noqa: B023
            return plain_forward(connector, all_layers(tower, copies).unsqueeze(0))

        yield in_turns(
            "image_once",
            fast,
            plain,
            runs=_runs(settings),
            tolerance=TOLERANCE[torch.float32],
            sizes={**sizes, **connector_sizes, "num_frames": num_frames, "dtype": "float32"},
        )


def video_encode(settings: Settings) -> Iterator[Result]:
    """A video through tower and connector, in fp32 and bf16, against all layers and the plain connector in fp32."""
    for name, kind, width, num_frames in (
        ("CLIP ViT-L/14-336", "stc_connector", 4096, 8),
        ("SigLIP so400m/14-384", "stc_connector_v35", 3584, 4),  # fewer than its 16: 11 s a frame on one core
    ):
        if not settings.full:
            width, num_frames = 512, 4
        # A layer fewer weighs much in a reduced tower, little in a whole one; so both sides run all of a reduced one.
        tower, sizes = _tower(name, settings.full, select_layer=-2 if settings.full else -1)
        connector, connector_sizes = _connector(kind, tower.hidden_size, width)
        frames = _random(num_frames, 3, tower.image_size, tower.image_size)

        def plain(tower: ViTTower = tower, connector: Connector = connector, frames: Tensor = frames) -> Tensor:
            return plain_forward(connector, all_layers(tower, frames).unsqueeze(0))

        for dtype in (torch.float32, torch.bfloat16):
            eyes, joiner = (copy.deepcopy(module).to(dtype) for module in (tower, connector))
            seen = frames.to(dtype)

            def fast(eyes: ViTTower = eyes, joiner: Connector = joiner, frames: Tensor = seen) -> Tensor:
                return joiner(eyes(frames).grid.unsqueeze(0))

            yield in_turns(
                "video_encode",
                fast,
                plain,
                runs=_runs(settings),
                tolerance=TOLERANCE[dtype],
                sizes={
                    **sizes,
                    **connector_sizes,
                    "num_frames": num_frames,
                    "dtype": str(dtype).removeprefix("torch."),
                    "plain_dtype": "float32",
                },
            )


def connector(settings: Settings) -> Iterator[Result]:
    """The connector's fast path (channels last, a few frames at a time) against channels-first torch."""
    for kind, width, tower_width, (t, h, w) in (
        ("stc_connector", 4096, 1024, (8, 24, 24)),
        ("stc_connector_v35", 3584, 1152, (16, 27, 27)),
    ):
        if not settings.full:
            width, t = 512, 8
        module, sizes = _connector(kind, tower_width, width)
        x = _random(1, t, h, w, tower_width)
        sizes |= {"grid": [t, h, w]}
        exact, rounded = (
            in_turns(
                "connector",
                lambda: module(x.to(dtype)),  # noqa: B023
                lambda: plain_forward(module, x.to(dtype)),  # noqa: B023
                runs=_runs(settings),
                tolerance=TOLERANCE[dtype],
                sizes={**sizes, "dtype": str(dtype).removeprefix("torch.")},
            )
            for dtype in (torch.float32, torch.bfloat16)
            if module.to(dtype) is not None
        )
        yield exact
        # bf16 on the fast path against fp32 on the plain one: what a user gains who follows the defaults of a CPU.
        rounded.extra["ratio_to_plain_float32"] = ratio(exact.plain, rounded.fast)
        yield rounded


def beats(settings: Settings) -> Iterator[Result]:
    """BEATs with one bias for all layers and attention in pieces against full score matrices."""
    config = {"tower": "beats", "finetuned_model": False}
    if not settings.full:
        config["encoder_layers"] = 2
    torch.manual_seed(0)
    tower = build_audio_tower(config).eval()
    assert isinstance(tower, BeatsTower)
    for seconds in (10, 30):
        rows = seconds * 100 - 2
        fbank = _random(1, rows, 128) * 6 + 15
        yield in_turns(
            "beats",
            lambda fbank=fbank: tower.extract_features(fbank),
            lambda fbank=fbank: plain_beats(tower, fbank),
            runs=_runs(settings),
            tolerance=TOLERANCE[torch.float32],
            sizes={"seconds": seconds, "tokens": tower.num_tokens(rows), "layers": tower.config.encoder_layers},
        )


def all_layers(tower: ViTTower, pixels_f3ss: Tensor, attention: str = "eager") -> Tensor:
    """Run every layer, keep the selected hidden state: patches [F, N, D].

    Eager attention, with full score matrices, is what the towers of transformers 4.40 and 4.42 have, which the
    official code uses.
    """
    own = tower.config._attn_implementation
    tower.config._attn_implementation = attention
    hidden = [tower.pre_norm(tower.embeddings(pixels_f3ss))]
    for layer in tower.encoder.layers:
        hidden.append(layer(hidden[-1], None))
    tower.config._attn_implementation = own
    selected = hidden[tower.num_used_layers]
    return selected[:, 1:] if tower.class_token else selected


def _tower(name: str, full: bool, select_layer: int = -2) -> tuple[ViTTower, dict[str, Any]]:
    config = {**TOWERS[name], "keep_unused_layers": True, "select_layer": select_layer}
    if not full:
        config["num_hidden_layers"] = REDUCED_LAYERS
    torch.manual_seed(0)
    tower = build_vision_tower(config).eval()
    assert isinstance(tower, ViTTower)
    return tower, {"tower": name, "layers": config["num_hidden_layers"]}


def _connector(kind: str, tower_width: int, width: int) -> tuple[Connector, dict[str, Any]]:
    torch.manual_seed(0)
    module = build_connector(_ConnectorConfig(kind, tower_width, width)).eval()
    return module, {"connector": kind, "widths": [tower_width, width]}


class _ConnectorConfig:
    def __init__(self, kind: str, tower_width: int, width: int) -> None:
        self.mm_projector_type, self.mm_hidden_size, self.hidden_size = kind, tower_width, width


def _random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _runs(settings: Settings) -> int:
    """Full sizes take seconds to minutes a run; three give a median."""
    return min(settings.runs, 3)
