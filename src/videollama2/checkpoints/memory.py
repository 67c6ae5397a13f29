"""How much memory a model needs, by dtype, and how much this machine has.

Weights are counted exactly. Keys and values are counted exactly for one answer of a given length. Activations are an
estimate of the largest moment (a chunk of frames in the tower, all frames in the connector, the prefill), good to about
a factor of two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DTYPES = ("float32", "bfloat16", "8bit", "4bit")
TEXT_TOKENS = 512
# nf4 with double quantisation: 4 bits, and 0.127 bits of scales.
_BYTES_4BIT = (4 + 0.127) / 8
_FRAMES_PER_CHUNK = 8


@dataclass(frozen=True, kw_only=True)
class Device:
    """Memory of one place a model can be.

    Attributes:
        name: `cpu`, `cuda:0`, `mps`.
        total: Bytes in all.
        free: Bytes free now.
    """

    name: str
    total: int
    free: int


@dataclass(frozen=True, kw_only=True)
class MemoryNeed:
    """Memory for one answer in one dtype, in bytes.

    Attributes:
        dtype: One of `DTYPES`.
        weights: All weights; with 8 and 4 bit only the language model's linear layers are smaller.
        cache: Keys and values.
        activations: Estimate of the rest.
        fits: Names of devices with enough free memory.
    """

    dtype: str
    weights: int
    cache: int
    activations: int
    fits: tuple[str, ...]

    @property
    def total(self) -> int:
        """Sum of the three."""
        return self.weights + self.cache + self.activations


def devices() -> list[Device]:
    """Memory of this machine: of the CPU (within a container's limit), and of each GPU."""
    import torch

    found = [_cpu()]
    for i in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(i)
        found.append(Device(name=f"cuda:{i}", total=total, free=free))
    if torch.backends.mps.is_available():
        total = torch.mps.recommended_max_memory()
        found.append(Device(name="mps", total=total, free=max(total - torch.mps.driver_allocated_memory(), 0)))
    return found


def _cpu() -> Device:
    import os

    page = os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page
    free = total
    meminfo = Path("/proc/meminfo")
    if meminfo.is_file():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    limit_file, used_file = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit_file.is_file() and used_file.is_file() and (limit := limit_file.read_text().strip()).isdigit():
        total = min(total, int(limit))
        free = min(free, max(int(limit) - int(used_file.read_text()), 0))
    return Device(name="cpu", total=total, free=free)


def visual_tokens(config: Any) -> tuple[int, int, int]:
    """Frames, grid side and tokens of one video of `num_frames` frames; zeros for a model without eyes."""
    from videollama2.model.connectors import num_tokens

    vision = config.vision_config
    if vision is None or "image_size" not in vision or "patch_size" not in vision:
        return 0, 0, 0
    side = vision["image_size"] // vision["patch_size"]
    return config.num_frames, side, num_tokens(config.mm_projector_type, config.num_frames, side, side)


def needs(config: Any, parameters: Mapping[str, int], quantizable: int, places: list[Device]) -> list[MemoryNeed]:
    """Memory for one answer about one video and `TEXT_TOKENS` tokens of text, by dtype.

    Args:
        config: `VideoLLaMA2Config`.
        parameters: Part -> number of parameters.
        quantizable: Parameters of the language model's linear layers.
        places: See `devices`.
    """
    text = config.text_config
    frames, side, video = visual_tokens(config)
    tokens = video + TEXT_TOKENS + (1496 if config.audio_config is not None else 0)
    heads = text.num_attention_heads
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    cached_values = 2 * text.num_hidden_layers * kv_heads * head_dim * tokens
    prefill = tokens * (4 * text.hidden_size + 3 * text.intermediate_size) + 2 * text.vocab_size
    tower = connector = 0
    if frames:
        vision = config.vision_config
        width = vision["hidden_size"]
        patches = min(frames, _FRAMES_PER_CHUNK) * side * side
        tower = patches * (6 * width + vision["intermediate_size"]) + frames * side * side * width
        connector = 4 * frames * side * side * max(text.hidden_size, width)
    values = max(prefill, tower, connector)
    total = sum(parameters.values())
    rows = []
    for dtype in DTYPES:
        itemsize = 4 if dtype == "float32" else 2
        per_linear = {"8bit": 1.0, "4bit": _BYTES_4BIT}.get(dtype, float(itemsize))
        weights = int((total - quantizable) * itemsize + quantizable * per_linear)
        need = weights + (cached_values + values) * itemsize
        rows.append(
            MemoryNeed(
                dtype=dtype,
                weights=weights,
                cache=cached_values * itemsize,
                activations=values * itemsize,
                fits=tuple(place.name for place in places if need <= place.free),
            )
        )
    return rows
