"""Training data: packed against padded batches, kept features against decoding and encoding, and the wait for data."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from videollama2.model.configuration import VideoLLaMA2Config
from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration
from videollama2.processing.processor import VideoLLaMA2Processor
from videollama2.processing.tokenizer import load_tokenizer
from videollama2.training.data.encode import EncodeOptions, RowEncoder
from videollama2.training.data.ledger import Ledger
from videollama2.training.data.loader import StepLoader
from videollama2.training.data.packing import padded_positions
from videollama2.training.data.plan import Grouping, StepOrder
from videollama2.training.data.sources import open_sources
from videollama2.training.features import TowerFeatures

from ..parity_groups.measure import GOLDEN
from .clips import moving_clip
from .timing import Result, Settings, timed

# A step of the official instruction tuning, and the positions of its sequences.
SAMPLES, MICRO, MAX_TOKENS = 128, 4, 2048
# Losses of two ways to batch the same samples in fp32.
LOSS_TOLERANCE = 1e-5
TEXT = {
    "model_type": "qwen2",
    "vocab_size": 928,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
# A ViT-S/16 at 224 pixels: small enough for a CPU, with the official proportions of tower and connector widths.
TOWER = {
    "tower": "siglip",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "num_hidden_layers": 12,
    "num_attention_heads": 6,
    "image_size": 224,
    "patch_size": 16,
}
NUM_FRAMES, NUM_CLIPS = 8, 8


def packing(settings: Settings) -> Iterator[Result]:
    """One step of mixed text rows, forward and backward: packed rows against padded ones in their order."""
    model = _model(sees=False)
    with tempfile.TemporaryDirectory() as folder:
        path = _write_rows(Path(folder), [_text_row(number) for number in range(64)])
        sides = {}
        for name, kind in (("packed", (True, False)), ("grouped", (False, True)), ("padded", (False, False))):
            grouping = Grouping(micro=2 if kind[0] else 8, max_tokens=1024, packing=kind[0], by_length=kind[1])
            sides[name] = next(iter(_loader(model, path, grouping, samples=64)))
    losses = {name: _mean_loss(model, step) for name, step in sides.items()}
    deviation = abs(losses["packed"] - losses["padded"]) / losses["padded"]
    assert deviation <= LOSS_TOLERANCE, f"packed and padded losses differ by {deviation:.1e}"
    check = {"deviation": float(f"{deviation:.2g}"), "tolerance": LOSS_TOLERANCE, "unit": "relative"}
    sizes = {"samples": 64, "tokens": sides["packed"].num_tokens, "max_tokens": 1024}
    result = Result("packing", sizes, check)
    for _ in range(settings.runs):
        result.fast.append(timed(lambda: _learn(model, sides["packed"])))
        result.plain.append(timed(lambda: _learn(model, sides["padded"])))
    result.extra = {f"{name}_waste": _waste(step.num_tokens, step.num_padded_positions) for name, step in sides.items()}
    yield result


def packing_positions(settings: Settings) -> Iterator[Result]:
    """Positions computed for steps of the official size and mixture of lengths, nothing run."""
    lengths = _official_lengths(40 * SAMPLES)
    waste = {}
    for name, kind in (("packed", (True, False)), ("grouped", (False, True)), ("padded", (False, False))):
        grouping = Grouping(micro=MICRO, max_tokens=MAX_TOKENS, packing=kind[0], by_length=kind[1])
        used = computed = 0
        for begin in range(0, len(lengths), SAMPLES):
            step = lengths[begin : begin + SAMPLES]
            for batch in grouping.micro_batches(step):
                held, paid = padded_positions(batch, step)
                used, computed = used + held, computed + paid
        waste[name] = (used, computed)
    extra = {f"{name}_waste": _waste(*figures) for name, figures in waste.items()}
    extra["positions_ratio"] = round(waste["padded"][1] / waste["packed"][1], 2)
    sizes = {"samples": SAMPLES, "steps": 40, "micro": MICRO, "max_tokens": MAX_TOKENS}
    assert waste["packed"][0] == waste["padded"][0]
    yield Result("packing_positions", sizes, {"same_positions_held": True}, extra=extra)


def kept_features(settings: Settings) -> Iterator[Result]:
    """Epochs of connector training from kept features against decoding and encoding every time."""
    model = _model(sees=True)
    model.requires_grad_(False)
    model.model.mm_projector.requires_grad_(True)
    with tempfile.TemporaryDirectory() as folder:
        path = _write_rows(Path(folder), [_clip_row(settings.cache, number) for number in range(NUM_CLIPS)])
        features = TowerFeatures(Path(folder, "features"), model, _processor(model.config))
        grouping = Grouping(micro=4, max_tokens=MAX_TOKENS)

        def epoch(kept: TowerFeatures | None) -> list[float]:
            return [_learn(model, step) for step in _loader(model, path, grouping, samples=4, features=kept)]

        deviation = float(np.abs(np.subtract(epoch(features), epoch(None))).max())
        assert deviation <= LOSS_TOLERANCE, f"losses with and without kept features differ by {deviation:.1e}"
        encoded = features.num_encoded
        check = {"deviation": float(f"{deviation:.2g}"), "tolerance": LOSS_TOLERANCE, "unit": "absolute"}
        sizes = {
            "clips": NUM_CLIPS,
            "seconds": 10,
            "frames": NUM_FRAMES,
            "tower": "ViT-S/16-224",
            "trained": "connector",
        }
        result = Result("kept_features", sizes, check)
        for _ in range(min(settings.runs, 3)):
            result.fast.append(timed(lambda: epoch(features)))
            result.plain.append(timed(lambda: epoch(None)))
        assert features.num_encoded == encoded, "kept features were encoded again"
    yield result


def data_wait(settings: Settings) -> Iterator[Result]:
    """Share of the time a training process waits for data, from clips with one decode worker, and with none."""
    model = _model(sees=True)
    model.requires_grad_(False)
    model.model.mm_projector.requires_grad_(True)
    share = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = [_clip_row(settings.cache, number) for number in range(NUM_CLIPS)] * 3
        path = _write_rows(Path(folder), rows)
        for workers in (0, 1):
            grouping = Grouping(micro=4, max_tokens=MAX_TOKENS)
            waits, walls = [], []
            begin = 0.0
            for step in _loader(model, path, grouping, samples=4, workers=workers):
                if begin:
                    waits.append(step.wait_seconds)
                    walls.append(time.perf_counter() - begin)
                begin = time.perf_counter()
                _learn(model, step)
            # The first step waits for the workers to begin.
            share[workers] = round(sum(waits[1:]) / sum(walls[1:]), 4)
            seconds = round(median(walls[1:]), 3)
    sizes = {"clips": len(rows), "seconds": 10, "frames": NUM_FRAMES, "tower": "ViT-S/16-224", "step_s": seconds}
    extra = {"wait_share": share[1], "wait_share_without_workers": share[0]}
    yield Result("data_wait", sizes, {"limit_share": 0.05}, extra=extra)


def _model(sees: bool) -> Any:
    torch.manual_seed(0)
    eyes: dict[str, Any] = {"vision_config": TOWER, "mm_projector_type": "stc_connector_v35"} if sees else {}
    config = VideoLLaMA2Config(
        text_config=TEXT, num_frames=NUM_FRAMES, mm_connector_width=96, mm_connector_depth=1, **eyes
    )
    return VideoLLaMA2ForConditionalGeneration(config)


def _processor(config: Any) -> Any:
    tokenizer = load_tokenizer(GOLDEN / "checkpoints" / "VideoLLaMA2.1-tiny-qwen2-16F")
    return VideoLLaMA2Processor.from_config(config, tokenizer)


def _loader(
    model: Any, path: Path, grouping: Grouping, *, samples: int, features: Any = None, workers: int = 0
) -> StepLoader:
    sources = open_sources([{"path": path}])
    options = EncodeOptions(num_frames=NUM_FRAMES, max_tokens=grouping.max_tokens)
    encoder = RowEncoder(_processor(model.config), model.config, options, features.index if features else None)
    order = StepOrder(mixture=sources.mixture(0), samples=samples)
    return StepLoader(
        sources,
        encoder,
        order,
        grouping,
        num_steps=order.steps_per_epoch,
        workers=workers,
        features=features,
        ledger=Ledger(max_count=0),
    )


def _learn(model: Any, step: Any) -> float:
    """Forward and backward of a step; the loss per token."""
    model.zero_grad()
    total = 0.0
    for batch in step.micro_batches:
        loss = model(**batch).loss * _num_labels(batch)
        (loss / step.num_label_tokens).backward()
        total += float(loss.detach())
    return total / step.num_label_tokens


def _mean_loss(model: Any, step: Any) -> float:
    with torch.no_grad():
        losses = [float(model(**batch).loss) * _num_labels(batch) for batch in step.micro_batches]
    return sum(losses) / step.num_label_tokens


def _num_labels(batch: dict[str, Any]) -> int:
    labels: Tensor = batch["labels"]
    return int((labels != -100).sum())


def _official_lengths(count: int) -> list[int]:
    """Positions of rows like the official mixture: four in five have a medium of 676 tokens (v35, 8 frames)."""
    rng = np.random.Generator(np.random.PCG64(0))
    text = rng.lognormal(4.8, 0.8, count).clip(20, 1300).astype(int)
    media = rng.choice([676, 0], size=count, p=[0.8, 0.2])
    return (text + media).clip(1, MAX_TOKENS).tolist()


def _text_row(number: int) -> dict[str, Any]:
    rng = np.random.Generator(np.random.PCG64([7, number]))
    length = int(rng.lognormal(3.6, 0.8))
    words = " ".join(f"w{value}" for value in rng.integers(0, 99, max(3, min(length, 250))))
    return {"conversations": [{"from": "human", "value": "Say it."}, {"from": "gpt", "value": words}]}


def _clip_row(cache: Path, number: int) -> dict[str, Any]:
    width = 640 - 16 * number
    turns = [{"from": "human", "value": "<video>\nWhat moves?"}, {"from": "gpt", "value": f"Boxes, {number}."}]
    return {"video": str(moving_clip(cache, 10, width=width)), "conversations": turns}


def _write_rows(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def _waste(held: int, computed: int) -> float:
    """Share of the computed positions that hold nothing."""
    return round(1 - held / computed, 4)
