"""How the processes share a model: alone, DDP (each holds all), FSDP2 (each holds a slice of every weight).

A strategy wraps the objective, owns the optimiser, and shows weights and moments as slices with their place in the
whole, which is what the training state is written from and read into (`state.py`). DeepSpeed is in `zero.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from videollama2.training import parts
from videollama2.training.objective import Objective, layers_of
from videollama2.training.processes import Processes
from videollama2.training.recipe import Recipe
from videollama2.training.state import SavedState, Slice

# What AdamW remembers of a weight, beside the number of its updates.
MOMENTS = ("exp_avg", "exp_avg_sq")
# What a result may have to hold although it did not learn.
SMALL_PARTS = ("connector", "audio_tower", "audio_projector")


class Strategy(ABC):
    """One way to share a model.

    Attributes:
        run: The objective as it is called: `run(batch, empty)` gives the summed loss.
        in_step: Whether all processes must run the same modules equally often.
    """

    run: Callable[..., Tensor]
    in_step: bool = False

    @abstractmethod
    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add a micro-batch's gradients; `last` of the step. Gradients end up as the mean over processes."""

    @abstractmethod
    def update(self, rates: list[float], clip: float) -> float:
        """One update with a learning rate for each parameter group; the gradients' norm before clipping.

        Where the norm is not finite nothing is updated. Gradients are forgotten either way.
        """

    def accumulating(self, *, last: bool) -> Any:
        """Context in which a micro-batch's forward and backward pass run."""
        return nullcontext()

    @abstractmethod
    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups with `names`, `part`, `lr` (peak), as of `parts.parameter_groups`."""

    @abstractmethod
    def slices(self) -> Iterator[Slice]:
        """What this process holds of weights that learn and of their moments."""

    @abstractmethod
    def load(self, saved: SavedState) -> None:
        """Take weights and moments from a saved state, whatever layout it was written in."""

    @abstractmethod
    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Weights that learn, and all of connectors and audio tower, whole, on the CPU; by plain name.

        Every process must go through it.
        """


class Plain(Strategy):
    """One process, or several with DDP.

    Args:
        objective: On its device.
        recipe: Rates and optimiser.
        processes: More than one: DDP.
    """

    def __init__(self, objective: Objective, recipe: Recipe, processes: Processes) -> None:
        self._parts = parts.parts_of(objective)
        self._groups = parts.parameter_groups(self._parts, recipe)
        self.optimizer = adamw(self._groups, recipe)
        self._ddp: nn.parallel.DistributedDataParallel | None = None
        self.run = objective
        if processes.size > 1:
            # Which weights take part differs from step to step with the modalities.
            self._ddp = nn.parallel.DistributedDataParallel(
                objective, find_unused_parameters=True, forward_sync_buffers=False
            )
            self.run = self._ddp

    def accumulating(self, *, last: bool) -> Any:
        """Gradients travel once a step, with the last micro-batch."""
        return nullcontext() if last or self._ddp is None else self._ddp.no_sync()

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Backward pass; DDP averages in the last one."""
        loss.backward()

    def update(self, rates: list[float], clip: float) -> float:
        """Clip and update."""
        for group, rate in zip(self.optimizer.param_groups, rates):
            group["lr"] = rate
        weights = [weight for group in self.optimizer.param_groups for weight in group["params"]]
        for weight in weights:
            # What took no part has a gradient of zero, however the step was cut and whoever computed it.
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        norm_tensor = nn.utils.clip_grad_norm_(weights, clip if clip > 0 else float("inf"))
        norm = _whole(norm_tensor).item()
        if norm == norm and norm != float("inf"):
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def groups(self) -> list[dict[str, Any]]:
        """As given to the optimiser."""
        return self._groups

    def named(self) -> list[tuple[str, nn.Parameter]]:
        """Weights that learn, by plain name."""
        return [pair for group in self._groups for pair in zip(group["names"], group["params"])]

    def slices(self) -> Iterator[Slice]:
        """Whole tensors; the others of a DDP run hold the same."""
        for name, weight in self.named():
            yield _slice_of(f"weights/{name}", weight.detach())
            moments = self.optimizer.state.get(weight, {})
            for key in MOMENTS:
                if key in moments:
                    yield _slice_of(f"{key}/{name}", moments[key])
            if "step" in moments:
                yield Slice(name=f"step/{name}", tensor=torch.as_tensor(moments["step"]).reshape(1), shape=(1,))

    @torch.no_grad()
    def load(self, saved: SavedState) -> None:
        """Copy into weights; moments are made where the saved state has them."""
        for name, weight in self.named():
            _copy(saved, f"weights/{name}", weight)
            if not saved.has(f"step/{name}"):
                continue  # never updated: its modality was not seen yet
            moments = {key: torch.zeros_like(weight, memory_format=torch.preserve_format) for key in MOMENTS}
            for key, tensor in moments.items():
                _copy(saved, f"{key}/{name}", tensor)
            self.optimizer.state[weight] = {"step": saved.read(f"step/{name}").reshape(()), **moments}

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Whole weights; of sharded ones, gathered one at a time."""
        for part, weights in self._parts.items():
            for name, weight in weights:
                if weight.requires_grad or part in SMALL_PARTS:
                    yield name, _whole(weight.detach()).cpu()


class FSDP2(Plain):
    """Every weight, gradient and moment in slices over the processes, gathered layer by layer.

    Decoder layers and the vision tower's layers are gathered one at a time. Everything else (embedding, head,
    connector, the audio tower, which runs once for each length of sound) stays gathered through a step.
    """

    in_step = True

    def __init__(self, objective: Objective, recipe: Recipe, processes: Processes) -> None:
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        mesh = init_device_mesh(processes.device.type, (processes.size,))
        half = torch.bfloat16 if recipe.precision != "fp32" else None
        policy = MixedPrecisionPolicy(param_dtype=half, reduce_dtype=torch.float32 if half else None)
        model = objective.core.model
        layers = layers_of(model.language_model)
        whole: set[nn.Parameter] = set()
        if recipe.cache_features is not None:
            # Frozen towers are called beside the objective, by one process and not the others.
            for tower in filter(None, (getattr(model, "vision_tower", None), getattr(model, "audio_tower", None))):
                if not any(weight.requires_grad for weight in tower.parameters()):
                    whole |= set(tower.to(processes.device).parameters())
        elif getattr(model, "vision_tower", None) is not None:
            layers += layers_of(model.vision_tower)
        for layer in layers:
            fully_shard(layer, mesh=mesh, mp_policy=policy)
        fully_shard(objective, mesh=mesh, mp_policy=policy, ignored_params=whole)
        self._parts = parts.parts_of(objective)
        self._groups = parts.parameter_groups(self._parts, recipe)
        self.optimizer = adamw(self._groups, recipe)
        self._ddp = None
        self.run = objective


def adamw(groups: list[dict[str, Any]], recipe: Recipe) -> torch.optim.AdamW:
    """The official recipe's optimiser."""
    chosen = [{key: group[key] for key in ("params", "lr", "weight_decay")} for group in groups]
    return torch.optim.AdamW(chosen, betas=recipe.schedule.betas)


def _whole(tensor: Tensor) -> Tensor:
    full_tensor = getattr(tensor, "full_tensor", None)
    return tensor if full_tensor is None else full_tensor()


def _placed(tensor: Tensor) -> tuple[Tensor, int]:
    """This process's rows of a tensor and the number of the first; DTensors are cut along their first dimension."""
    to_local = getattr(tensor, "to_local", None)
    if to_local is None:
        return tensor, 0
    mesh = tensor.device_mesh  # type: ignore[attr-defined]
    rows = -(-tensor.shape[0] // mesh.size())
    return to_local(), min(mesh.get_local_rank() * rows, tensor.shape[0])


def _slice_of(name: str, tensor: Tensor) -> Slice:
    local, start = _placed(tensor)
    return Slice(name=name, tensor=local, shape=tuple(tensor.shape), start=start, cut=hasattr(tensor, "to_local"))


def _copy(saved: SavedState, name: str, target: Tensor) -> None:
    local, start = _placed(target)
    if target.ndim == 0:
        local.copy_(saved.read(name))
    elif local.shape[0]:
        local.copy_(saved.read(name, start, start + local.shape[0]))
