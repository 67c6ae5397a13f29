"""Checkpoints of the recorded variants, made again from names, shapes and seeds, and their media.

Nothing here needs the package: `tests/golden_variants/record.py` makes the very same files for the official code.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

VARIANTS = Path(__file__).parents[1] / "golden_variants"
GOLDEN = VARIANTS.parent / "golden"
# Where the tokenizers of the variants are.
TOKENIZERS = {
    "llama": GOLDEN / "checkpoints" / "VideoLLaMA2-tiny-mistral",
    "qwen2": GOLDEN / "checkpoints" / "VideoLLaMA2.1-tiny-qwen2-16F",
    "gemma": VARIANTS / "tokenizers" / "gemma",
    "phi3": VARIANTS / "tokenizers" / "phi3",
}
# BEATs writes its one bias table once for each layer.
_SHARED = re.compile(r"layers\.\d+\.self_attn\.relative_attention_bias")


def seeded_uniform(name: str, num: int) -> np.ndarray:
    """float64 values in [-1, 1) that depend on the name alone: PCG64's raw stream is fixed by its definition."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    raw = np.random.PCG64(seed).random_raw(num)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def seeded_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """float32 weights: scales near 1, small biases, matrices of unit gain, a sharp output head.

    All values are float16's too: the official loader rounds a Base checkpoint's connector to it.
    """
    name = _SHARED.sub("shared.relative_attention_bias", name)
    uniform = seeded_uniform(name, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    if len(shape) <= 1:
        is_scale = name.endswith(("weight", "weight_g"))
        values = 1.0 + 0.1 * uniform if is_scale else 0.1 * uniform
    elif "embed_tokens" in name:
        values = 0.3 * uniform
    else:
        gain = 4.0 if "lm_head" in name else 0.5 if "lora_" in name else 1.0
        values = gain * uniform * np.sqrt(3.0 / np.prod(shape[1:], dtype=np.int64))
    return torch.from_numpy(values.astype(np.float16).astype(np.float32))


def write_files(root: Path, record: dict[str, Any]) -> None:
    """Writes all files of a variant: settings as recorded, weights from their names, tokenizers by copy."""
    for folder, kind in record["tokenizers"].items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        kind, _, left_out = kind.partition(":")
        for source in TOKENIZERS[kind].iterdir():
            # `:model` is a folder with tokenizer.model and no tokenizer.json.
            if not (left_out and source.name == "tokenizer.json") and source.name.startswith(
                ("tokenizer", "special_tokens", "added_tokens", "vocab", "merges")
            ):
                shutil.copyfile(source, root / folder / source.name)
    for path, content in record["json"].items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(content))
    for path, content in record["weights"].items():
        stem = record["salt"] + content["prefix"]
        tensors = {name: seeded_tensor(stem + name, tuple(s)) for name, s in content["tensors"].items()}
        if path.endswith(".safetensors"):
            save_file(tensors, root / path, {"format": "pt"})
        else:
            torch.save(tensors, root / path)


def thin(tensor: Tensor, record: dict[str, Any], kind: str) -> Tensor:
    """The rows and columns of [..., P, C] that are kept on record."""
    num = tensor.shape[-2]
    rows = np.unique(np.linspace(0, num - 1, record["rows"]).round().astype(int))
    return tensor.detach().float()[..., rows, :: record["columns"][kind]].contiguous()


def read_record(name: str) -> dict[str, Any]:
    """What was recorded of a variant, beside its tensors."""
    with gzip.open(VARIANTS / f"{name}.json.gz", "rt") as file:
        return json.load(file)


def seeded_pixels(name: str, num_frames: int, size: int) -> Tensor:
    """Normalised pixels [T, 3, S, S] of a picture or clip: coarse patches with noise over them, in 8 bits."""
    cells = seeded_uniform(name + ".cells", num_frames * 3 * 25).reshape(num_frames, 3, 5, 5)
    rows = np.arange(size) * 5 // size
    noise = seeded_uniform(name, num_frames * 3 * size * size).reshape(num_frames, 3, size, size)
    values = 0.7 * cells[:, :, rows][:, :, :, rows] + 0.3 * noise
    return torch.from_numpy(((values + 1) * 127.5).astype(np.uint8)).float() / 127.5 - 1


def seeded_fbank(name: str, num_steps: int) -> Tensor:
    """fbank [1, S, 128] of a sound, in the official dtype's values."""
    values = 15.4 + 13.0 * seeded_uniform(name, num_steps * 128).reshape(1, num_steps, 128)
    return torch.from_numpy(values.astype(np.float32)).to(torch.bfloat16).float()


def medium(spec: str, size: int) -> Tensor:
    """A medium by its recorded name: `image:NAME`, `video:NAME:FRAMES` or `audio:NAME:STEPS`."""
    kind, name, *number = spec.split(":")
    if kind == "audio":
        return seeded_fbank(name, int(number[0]))
    return seeded_pixels(name, int(number[0]) if number else 1, size)
