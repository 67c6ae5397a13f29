"""Memory of a run on each process, by kind: exact for weights, gradients and optimiser, estimated for the rest.

Exact means counted tensor by tensor as the strategies of the engine hold them; the tests compare with what torch
allocated, alone and with FSDP2 (ZeRO's share is by DeepSpeed's design, not measured). Activations are an estimate, good
to about a factor of three: what the layers keep for the backward pass of one micro-batch of rows `max_tokens` long.

Shape legend: P positions of a micro-batch, F frames, H W grid, E language-model width, D tower width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from videollama2.training.loss import POSITIONS_PER_CHUNK
from videollama2.training.recipe import Recipe

# Two moments of AdamW and, for each tensor, the number of its updates (fp32).
_MOMENTS, _COUNTER_BYTES = 2, 4
# bitsandbytes' nf4 with double quantisation: a scale for 64 values in one byte, and for 256 scales one in fp32; tables.
_BLOCK, _SCALE_BLOCK, _TABLES = 64, 256, 4 * (16 + 256 + 1)


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One weight of the model.

    Attributes:
        part: Its part.
        name: Its plain name.
        shape: Sizes.
        trained: Whether it learns.
        quantized: Whether it is kept in 4 bits.
    """

    part: str
    name: str
    shape: tuple[int, ...]
    trained: bool
    quantized: bool = False

    @property
    def numel(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def held(self, processes: int, *, rows: bool) -> int:
        """Most values that one of some processes holds.

        Args:
            processes: How many there are.
            rows: Whole rows are dealt out (FSDP2; so eight stacked experts go to eight processes at most), else values.
        """
        if processes == 1 or not self.shape:
            return self.numel
        if not rows:
            return -(-self.numel // processes)
        return -(-self.shape[0] // processes) * math.prod(self.shape[1:])


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on one process.

    Attributes:
        weights: All weights, as they lie there between steps.
        gradients: Of the weights that learn.
        optimizer: Moments, and masters where the strategy keeps them apart.
        gathered: Weights gathered from the other processes while a step runs (an estimate).
        activations: What one micro-batch keeps for its backward pass (an estimate).
    """

    weights: int
    gradients: int
    optimizer: int
    gathered: int = 0
    activations: int = 0

    @property
    def total(self) -> int:
        """Sum of all."""
        return self.weights + self.gradients + self.optimizer + self.gathered + self.activations


def memory_of(weights: list[Weight], recipe: Recipe, config: Any, processes: int) -> Memory:
    """Memory of a recipe's run on each of some processes.

    Args:
        weights: All weights of the model, LoRA's too.
        recipe: The recipe.
        config: `VideoLLaMA2Config`.
        processes: How many there are.
    """
    learning = [weight for weight in weights if weight.trained]
    frozen_item, trained_item = item_sizes(recipe)
    kind = recipe.parallel
    shards = processes if kind in ("fsdp2", "zero3") else 1
    rows = kind == "fsdp2"
    held = sum(
        nf4_bytes(w.numel) if w.quantized else w.held(shards, rows=rows) * (trained_item if w.trained else frozen_item)
        for w in weights
    )
    activations = activation_bytes(recipe, config)
    if kind in ("zero2", "zero3"):
        # DeepSpeed keeps fp32 masters and moments and the gradients of this process's share, flat, in any precision.
        share = -(-sum(w.numel for w in learning) // processes)
        gradients, optimizer = share * trained_item, share * 4 * (1 + _MOMENTS)
    else:
        gradients = sum(w.held(shards, rows=rows) for w in learning) * trained_item
        optimizer = gradients * _MOMENTS + _COUNTER_BYTES * len(learning)
        # DDP's buckets are a second copy.
        gradients *= 2 if kind == "ddp" and processes > 1 else 1
    return Memory(
        weights=held,
        gradients=gradients,
        optimizer=optimizer,
        gathered=_gathered(weights, recipe) if shards > 1 else 0,
        activations=activations,
    )


def item_sizes(recipe: Recipe) -> tuple[int, int]:
    """Bytes of a value of a frozen weight and of one that learns, as the engine keeps them."""
    if recipe.parallel == "fsdp2":
        # Slices of one dtype: fp32, computed with in bf16.
        return 4, 4
    if recipe.parallel in ("zero2", "zero3"):
        size = 4 if recipe.precision == "fp32" else 2
        return size, size
    return {"fp32": (4, 4), "bf16": (2, 4), "bf16-pure": (2, 2)}[recipe.precision]


def nf4_bytes(numel: int) -> int:
    """A weight in 4 bits with its scales."""
    blocks = -(-numel // _BLOCK)
    return -(-numel // 2) + blocks + 4 * (-(-blocks // _SCALE_BLOCK)) + _TABLES


def _gathered(weights: list[Weight], recipe: Recipe) -> int:
    """The two largest layers, and everything that is in no layer (embedding, head, connectors, audio tower)."""
    item = 4 if recipe.precision == "fp32" else 2
    layers: dict[str, int] = {}
    rest = 0
    for weight in weights:
        before, found, after = weight.name.partition(".layers.")
        if found and weight.part in ("language_model", "vision_tower"):
            key = f"{before}.{after.partition('.')[0]}"
            layers[key] = layers.get(key, 0) + weight.numel
        else:
            rest += weight.numel
    return item * (rest + sum(sorted(layers.values())[-2:]))


def activation_bytes(recipe: Recipe, config: Any) -> int:
    """Estimate of what one micro-batch keeps for its backward pass, and of the largest layer's own needs."""
    item = 4 if recipe.precision == "fp32" else 2
    text = config.text_config
    positions = recipe.batch.micro * recipe.max_tokens
    width, layers = text.hidden_size, text.num_hidden_layers
    experts = getattr(text, "num_experts_per_tok", None) or 1
    # A layer keeps: two norms' inputs and outputs, queries, keys and values, attention's output, three of the MLP.
    layer = positions * (9 * width + 4 * text.intermediate_size * experts)
    kept = positions * width * layers + layer if recipe.gradient_checkpointing else layer * layers
    logits = min(positions, POSITIONS_PER_CHUNK) * text.vocab_size * 4 * 3
    return (
        item * (kept + 2 * positions * width + _vision_values(recipe, config) + _audio_values(recipe, config)) + logits
    )


def _vision_values(recipe: Recipe, config: Any) -> int:
    vision = config.vision_config
    if vision is None or "patch_size" not in vision:
        return 0
    frames = recipe.batch.micro * (recipe.num_frames or int(config.num_frames))
    patches = frames * (vision["image_size"] // vision["patch_size"]) ** 2
    depth = vision["num_hidden_layers"] - 1 if "vision_tower" in recipe.train else 1
    layer = patches * (8 * vision["hidden_size"] + 2 * vision["intermediate_size"])
    tower = layer * depth if not recipe.gradient_checkpointing else layer + patches * vision["hidden_size"] * depth
    if not {"connector", "vision_tower"} & set(recipe.train):
        # No gradient passes: one block's inputs and outputs.
        return tower + 4 * patches * config.text_config.hidden_size
    blocks = config.mm_connector_depth if config.mm_connector_depth is not None else 4
    # Ten tensors a block before the downsampler; an eighth of that after it.
    return tower + round(10 * blocks * 1.125) * patches * (config.mm_connector_width or config.text_config.hidden_size)


def _audio_values(recipe: Recipe, config: Any) -> int:
    if config.audio_config is None:
        return 0
    width = int(config.audio_config.get("encoder_embed_dim", 768))
    depth = int(config.audio_config.get("encoder_layers", 12)) if "audio_tower" in recipe.train else 1
    tokens = recipe.batch.micro * 1496
    return tokens * (14 * width * depth + 3 * config.text_config.hidden_size)
