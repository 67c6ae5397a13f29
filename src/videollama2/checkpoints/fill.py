"""From a config to a model with its weights: build it empty, then put in one tensor at a time.

The model is built without memory for its weights; each weight is read, looked at, cast and moved alone. So the peak
is the model plus one tensor, whatever the size and dtype of the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from videollama2.checkpoints import keymaps
from videollama2.checkpoints.hub import Progress
from videollama2.checkpoints.sources import Sources
from videollama2.checkpoints.verify import WeightReport, check_tensor

# Puts a loaded tensor into its module in place of plain assignment; returns False to leave it to that.
Placer = Callable[[nn.Module, str, torch.Tensor], bool]

_RANDOM_OR_RAW = (torch.empty, torch.rand, torch.randn)


class _EmptyWeights(TorchFunctionMode):
    """While on, new raw tensors in this thread take no memory; tables (arange and the like) stay real."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _RANDOM_OR_RAW and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


@contextmanager
def empty_weights() -> Iterator[None]:
    """Builds modules without memory for their weights. Buffers that are computed keep their values."""
    with _EmptyWeights():
        yield


def weight_targets(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Our name -> shape, of every weight a checkpoint must give (parameters and saved buffers)."""
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def tied_names(model: Any) -> set[str]:
    """Our names that share the storage of another weight."""
    text_config = getattr(model.config, "text_config", model.config)
    tied = getattr(text_config, "tie_word_embeddings", False)
    if isinstance(text_config, dict):
        tied = text_config.get("tie_word_embeddings", False)
    return {"lm_head.weight"} if tied else set()


def fill(
    model: nn.Module,
    plan: keymaps.Plan,
    sources: Sources,
    *,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
    merge_lora: bool = True,
    placer: Placer | None = None,
    progress: Progress | None = None,
) -> WeightReport:
    """Puts the weights into a model that was built under `empty_weights`.

    Args:
        model: The model.
        plan: From `keymaps.make_plan`.
        sources: The tensors.
        dtype: Of all floating weights in the model.
        device: Where they go.
        merge_lora: Add the LoRA, if there is one.
        placer: Takes weights that are not simply assigned (quantised ones).
        progress: Told of weights done.

    Returns:
        The ledger. Weights that are misshapen or damaged are in it and not in the model.
    """
    report = WeightReport(
        missing=list(plan.missing),
        unused=dict(plan.unused),
        unexpected=list(plan.unexpected),
        notes=list(sources.notes),
    )
    if sources.adapter is not None:
        report.bad_content.update(sources.adapter.faults())
    slots = _slots(model)
    for done, recipe in enumerate(plan.recipes):
        if progress is not None and (done % 50 == 0 or done + 1 == len(plan.recipes)):
            progress("loading weights", done + 1, len(plan.recipes))
        pieces = [sources.load(name) for name in recipe.sources]
        faults = {name: fault for name, piece in zip(recipe.sources, pieces) if (fault := check_tensor(name, piece))}
        if faults:
            report.bad_content.update(faults)
            continue
        if merge_lora:
            pieces = [sources.merged(name, piece) for name, piece in zip(recipe.sources, pieces)]
        module, leaf, old = slots[recipe.target]
        shapes = {tuple(piece.shape) for piece in pieces}
        if recipe.how in ("experts", "stack") and len(shapes) > 2:
            report.wrong_shape[recipe.target] = f"(its experts have different sizes: {sorted(shapes)})"
            continue
        tensor = recipe.make(pieces)
        if tensor.shape != old.shape:
            report.wrong_shape[recipe.target] = f"({list(tensor.shape)} in the files, {list(old.shape)} by config.json)"
            continue
        if tensor.dtype.is_floating_point:
            cast = tensor.to(dtype)
            if dtype == torch.float16 and tensor.dtype != dtype and bool(torch.isinf(cast).any()):
                report.bad_content[recipe.target] = "too large for float16 (choose bfloat16 or float32)"
                continue
            tensor = cast
        if placer is None or not placer(module, leaf, tensor):
            _assign(module, leaf, tensor.to(device), old)
        report.loaded.append(recipe.target)
    _check_bias_copies(sources)
    return report


def _slots(model: nn.Module) -> dict[str, tuple[nn.Module, str, torch.Tensor]]:
    """Name -> module, attribute and empty tensor, of all weights."""
    slots = {}
    for prefix, module in model.named_modules():
        for leaf, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None:
                slots[f"{prefix}.{leaf}" if prefix else leaf] = (module, leaf, tensor)
    return slots


def _assign(module: nn.Module, leaf: str, tensor: torch.Tensor, old: torch.Tensor) -> None:
    if leaf in module._parameters:
        module._parameters[leaf] = nn.Parameter(tensor, requires_grad=old.requires_grad and tensor.is_floating_point())
    else:
        module._buffers[leaf] = tensor


def _check_bias_copies(sources: Sources) -> None:
    copies = sources.bias_copies()
    if len(copies) > 1:
        keymaps.check_bias_copies({name: sources.load(name) for name in copies})


def move_buffers(model: nn.Module, device: torch.device | str) -> None:
    """Moves what is not a weight (computed tables) to the device of the weights."""
    for module in model.modules():
        for leaf, buffer in module._buffers.items():
            if buffer is not None and not buffer.is_meta:
                module._buffers[leaf] = buffer.to(device)


def still_empty(model: nn.Module) -> list[str]:
    """Names of parameters and buffers that have no memory yet."""
    return [name for name, tensor in (*model.named_parameters(), *model.named_buffers()) if tensor.is_meta]
