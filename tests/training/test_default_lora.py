"""LoRA wrappers: zero at the start, shipped factors reproduce the trained layer, merging equals wrapping."""

from __future__ import annotations

import torch
from torch import nn

from videollama2.training.default.lora import inject_lora, load_lora, lora_tensors


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict(
        {"a": nn.Linear(6, 5, bias=False), "b": nn.Sequential(nn.Linear(5, 4)), "lm_head": nn.Linear(4, 9)}
    )


def forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    return model["lm_head"](model["b"](model["a"](x)))


def test_starts_as_the_base_and_leaves_the_head_alone():
    model, x = net(), torch.randn(3, 6)
    before = forward(model, x)
    wrapped = inject_lora(model, rank=2, alpha=4.0)
    assert sorted(wrapped) == ["a", "b.0"]
    torch.testing.assert_close(forward(model, x), before)


def test_shipped_factors_and_merged_weights_give_the_trained_output():
    model, x = net(), torch.randn(3, 6)
    wrapped = inject_lora(model, rank=2, alpha=4.0)
    with torch.no_grad():
        for layer in wrapped.values():
            layer.B.normal_()
    trained = forward(model, x)
    shipped = lora_tensors(wrapped, dtype=torch.float32)
    again = net()
    load_lora(inject_lora(again, rank=2, alpha=4.0), shipped)
    torch.testing.assert_close(forward(again, x), trained)
    merged = net()
    with torch.no_grad():
        for name in wrapped:
            merged.get_submodule(name).weight += 2.0 * shipped[f"lora.{name}.B"] @ shipped[f"lora.{name}.A"]
    torch.testing.assert_close(forward(merged, x), trained, atol=1e-5, rtol=1e-5)
