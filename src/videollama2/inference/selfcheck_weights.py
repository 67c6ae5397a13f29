"""Weights that are a pure function of a parameter's name, shape and role: the same on every machine and version.

PCG64's raw stream is fixed by its definition (torch's and numpy's normal draws are not), so stored numbers stay valid.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from torch import nn


def seeded_uniform(name: str, num: int) -> np.ndarray:
    """`num` float64 values in [-1, 1) that depend on the name alone."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    raw = np.random.PCG64(seed).random_raw(num)
    return (raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def seeded_parameter(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """float32 values for one parameter: scales near 1, small biases, matrices of unit gain."""
    uniform = seeded_uniform(name, int(np.prod(shape, dtype=np.int64))).reshape(shape)
    if len(shape) <= 1:
        is_scale = name.endswith("weight") or name.endswith(("weight_g", "original0"))
        values = 1.0 + 0.1 * uniform if is_scale else 0.1 * uniform
    else:
        fan_in = int(np.prod(shape[1:], dtype=np.int64))
        values = uniform * np.sqrt(3.0 / fan_in)
    return torch.from_numpy(values.astype(np.float32))


@torch.no_grad()
def fill_with_seeded_weights(module: nn.Module, salt: str = "") -> None:
    """Gives every parameter of a module its seeded values; another salt gives others; buffers stay as they are."""
    seen: set[int] = set()
    for name, parameter in module.named_parameters():
        if id(parameter) not in seen:
            seen.add(id(parameter))
            parameter.copy_(seeded_parameter(f"{salt}{name}", tuple(parameter.shape)).to(parameter))
