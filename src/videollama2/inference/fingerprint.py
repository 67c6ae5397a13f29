"""Hashes that say which weights an answer comes from and which weights made cached features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

SAMPLES_PER_TENSOR = 4096


def weights_hash(tensors: Iterable[tuple[str, torch.Tensor]], *, whole: bool) -> str:
    """SHA-256 hex over names, shapes, dtypes and values of tensors.

    Args:
        tensors: (name, tensor) pairs; their order does not matter.
        whole: True reads every value (what cached features are keyed by); False reads up to 4096 evenly spaced values
            of every tensor, which is enough to tell checkpoints apart and takes no time on the largest.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda pair: pair[0]):
        digest.update(f"{name}|{tuple(tensor.shape)}|{tensor.dtype}|".encode())
        values = tensor.detach().reshape(-1)
        if not whole and values.numel() > SAMPLES_PER_TENSOR:
            step = values.numel() // SAMPLES_PER_TENSOR
            values = values[::step][:SAMPLES_PER_TENSOR]
        if values.numel() and values.device.type != "meta":
            digest.update(values.contiguous().cpu().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def encoder_hash(modules: Mapping[str, nn.Module | None], tensors: Mapping[str, torch.Tensor] | None = None) -> str:
    """Hash of everything that turns media into features: towers, connectors and single tensors, every value read."""
    pairs = list((tensors or {}).items()) + [
        (f"{prefix}.{name}", tensor)
        for prefix, module in modules.items()
        if module is not None
        for name, tensor in module.state_dict().items()
        if isinstance(tensor, torch.Tensor)
    ]
    return weights_hash(pairs, whole=True)


def model_fingerprint(model: nn.Module, config: Mapping[str, Any]) -> str:
    """Short fingerprint of a whole model: its configuration and samples of all its weights."""
    pairs = [(name, tensor) for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)]
    digest = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    digest.update(weights_hash(pairs, whole=False).encode())
    return digest.hexdigest()
