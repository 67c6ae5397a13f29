"""LoRA on the linear layers of a causal language model: injection, parameters, merged deltas.

Small and explicit on purpose: the trained factors ship as `lora.<module path>.A` [r, in] and `.B` [out, r] and are
added to the LLM's weights when the default model is assembled, W + (alpha / r) B A.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class LoRALinear(nn.Module):
    """A frozen linear layer plus a trainable low-rank update computed in float32 master weights."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        """Wrap `base` (bias-free or not) with factors A [rank, in] and B [out, rank] (zero)."""
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.A = nn.Parameter(torch.empty(rank, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        low = nn.functional.linear(x, self.A.to(x.dtype))
        return self.base(x) + nn.functional.linear(low, (self.B * self.scale).to(x.dtype))


def inject_lora(model: nn.Module, rank: int, alpha: float) -> dict[str, LoRALinear]:
    """Replace every `nn.Linear` under `model` except `lm_head`; returns module path -> wrapper."""
    targets = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear) and "lm_head" not in name]
    wrapped = {}
    for name, linear in targets:
        parent_name, _, leaf = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        wrapped[name] = LoRALinear(linear, rank, alpha)
        setattr(parent, leaf, wrapped[name])
    return wrapped


def lora_tensors(wrapped: dict[str, LoRALinear], dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """The trained factors under their shipping names."""
    tensors = {}
    for name, layer in wrapped.items():
        tensors[f"lora.{name}.A"] = layer.A.detach().to(dtype).contiguous()
        tensors[f"lora.{name}.B"] = layer.B.detach().to(dtype).contiguous()
    return tensors


def load_lora(wrapped: dict[str, LoRALinear], tensors: dict[str, Tensor]) -> None:
    """Put shipped factors back into the wrappers."""
    with torch.no_grad():
        for name, layer in wrapped.items():
            layer.A.copy_(tensors[f"lora.{name}.A"])
            layer.B.copy_(tensors[f"lora.{name}.B"])
