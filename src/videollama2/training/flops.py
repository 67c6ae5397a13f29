"""Floating-point operations of a training step, and what a device can do at most: their ratio is the MFU.

Counted is what the mathematics needs (no recomputed activations): for each position and weight two operations forward,
two for the gradient that goes through, two for the weight's own; attention and towers are added likewise.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from videollama2.training.objective import Objective

# Dense peak in bf16 with fp32 sums, operations a second (vendors' data sheets, no sparsity).
PEAK_BF16 = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}
# The matrix product by which a CPU is measured: large enough for its full speed, 0.1 s in all.
_GEMM = 1024
_GEMM_RUNS = 3


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Operations a second that a device can do at most: GPUs by name, CPUs by a measured matrix product.

    None for a GPU that is not in the table, and for fp32 on GPUs (it depends on torch's settings).
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        known = next((peak for key, peak in PEAK_BF16.items() if key in name), None)
        return known if dtype == torch.bfloat16 else None
    if device.type != "cpu":
        return None
    a = torch.ones(_GEMM, _GEMM, dtype=dtype)
    a @ a
    seconds = []
    for _ in range(_GEMM_RUNS):
        begin = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - begin)
    return 2 * _GEMM**3 / min(seconds)


@dataclass(frozen=True, kw_only=True)
class FlopsCounter:
    """What is needed to count a step's operations.

    Attributes:
        layers: Weights of the language model's layers.
        layers_trained: Of these, weights that learn.
        head: Weights of the output head.
        head_trained: Whether they learn.
        passes: Whether a gradient goes through the language model to its inputs.
        attention: 4 * layers * heads * head width: operations of a pair of positions, forward.
        frame: Operations of one frame in the vision tower, with what learns there.
        sound_step: Operations of one input step in the audio tower.
    """

    layers: int
    layers_trained: int
    head: int
    head_trained: bool
    passes: bool
    attention: int
    frame: float = 0.0
    sound_step: float = 0.0

    def count(
        self, *, positions: int, lengths: Iterable[int], labels: int, frames: int = 0, sound_steps: int = 0
    ) -> float:
        """Operations of a step.

        Args:
            positions: After the splice, all samples together, without padding.
            lengths: Positions of each sample, for attention (causal: half the square).
            labels: Label positions.
            frames: Frames that passed the tower.
            sound_steps: Input steps that passed the audio tower.
        """
        back = 2 if self.passes else 0
        work = float(positions) * ((2 + back) * self.layers + 2 * self.layers_trained)
        work += labels * self.head * (2 + 2 + 2 * self.head_trained)
        work += self.attention * sum(n * n for n in lengths) / 2 * (1 + back)
        return work + frames * self.frame + sound_steps * self.sound_step


def counter_of(model: nn.Module) -> FlopsCounter:
    """The counter of a model whose freeze set is put on."""
    core = Objective(model).core
    text = core.config.text_config
    layers = [p for n, p in core.model.language_model.named_parameters() if "embed" not in n]
    head = core.lm_head.weight
    learning = any(p.requires_grad for p in core.model.parameters())
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    vision, audio = getattr(core.model, "vision_tower", None), getattr(core.model, "audio_tower", None)
    per_step = audio.num_tokens(1000) / 1000 if audio is not None else 0.0
    return FlopsCounter(
        layers=_active(layers, text),
        layers_trained=sum(p.numel() for p in layers if p.requires_grad),
        head=head.numel(),
        head_trained=head.requires_grad,
        passes=learning,
        attention=4 * text.num_hidden_layers * text.num_attention_heads * width,
        frame=_tower(vision) * vision.grid_size[0] * vision.grid_size[1] if vision is not None else 0.0,
        sound_step=_tower(audio) * per_step,
    )


def work_of(batch: Mapping[str, Any]) -> tuple[int, int]:
    """Frames and sound steps of a batch that pass the towers (cached features do not)."""
    pixels, lengths = batch.get("pixel_values"), batch.get("audio_lengths")
    return (0 if pixels is None else len(pixels)), (0 if lengths is None else int(lengths.sum()))


def _active(weights: list[nn.Parameter], text: Any) -> int:
    """Weights a position meets: of stacked experts only those that are chosen."""
    experts, chosen = getattr(text, "num_local_experts", 0), getattr(text, "num_experts_per_tok", 0)
    share = chosen / experts if experts else 1.0
    return sum(int(p.numel() * share) if p.ndim == 3 and p.shape[0] == experts else p.numel() for p in weights)


def _tower(tower: nn.Module | None) -> float:
    """Operations a token: forward, and backward where it learns."""
    if tower is None:
        return 0.0
    weights = list(tower.parameters())
    return sum(p.numel() for p in weights) * (6.0 if any(p.requires_grad for p in weights) else 2.0)
