"""The trained weights as they ship: connector, projector and LoRA factors in bf16, with the recipe as metadata."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import torch

from videollama2.training.default.recipe import Recipe


def export_weights(work: Path, out: Path, recipe: Recipe) -> str:
    """Read `work`/language/weights.safetensors, write default.safetensors and default.json into `out`.

    Returns:
        One line: number of tensors, bytes and SHA-256.
    """
    from safetensors.torch import load_file, save_file

    trained = load_file(work / "language" / "weights.safetensors")
    shipped = {}
    for name, tensor in trained.items():
        if name.startswith("net.connector."):
            name = name.replace("net.connector.", "mm_projector.")
        elif name.startswith("net.projector."):
            name = name.replace("net.projector.", "mm_projector_a.")
        elif not name.startswith("lora."):
            continue
        shipped[name] = tensor.to(torch.bfloat16).contiguous()
    out.mkdir(parents=True, exist_ok=True)
    metadata = {"lora_rank": str(recipe.lora_rank), "lora_alpha": str(recipe.lora_alpha), "format": "pt"}
    scratch = out / ".default.safetensors.tmp"
    save_file(shipped, scratch, metadata=metadata)
    os.replace(scratch, out / "default.safetensors")
    digest = hashlib.sha256((out / "default.safetensors").read_bytes()).hexdigest()
    size = (out / "default.safetensors").stat().st_size
    record = {"sha256": digest, "bytes": size, "tensors": len(shipped), "recipe": dataclasses.asdict(recipe)}
    (out / "default.json").write_text(json.dumps(record, indent=1) + "\n")
    return f"{len(shipped)} tensors, {size} bytes, sha256 {digest}"
