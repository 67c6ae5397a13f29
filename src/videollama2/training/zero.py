"""DeepSpeed ZeRO-2 (gradients and moments in slices) and ZeRO-3 (weights too), as the official scripts train.

The same optimiser, loss and order as everywhere else; DeepSpeed only shares them out. Its fp32 masters and moments are
written whole into the training state, so that a run may go on with another strategy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from videollama2.errors import MissingDependencyError, RequestError
from videollama2.training import parts
from videollama2.training.objective import Objective
from videollama2.training.processes import Processes
from videollama2.training.recipe import Recipe
from videollama2.training.state import SavedState, Slice
from videollama2.training.strategies import MOMENTS, SMALL_PARTS, Strategy, adamw


class Zero(Strategy):
    """A model shared by DeepSpeed.

    Args:
        model: On the CPU.
        recipe: `parallel` is zero2 or zero3.
        processes: Who takes part.

    Raises:
        MissingDependencyError: DeepSpeed is not installed.
        RequestError: The recipe keeps features of towers, which ZeRO-3 has in slices.
    """

    in_step = True

    def __init__(self, model: nn.Module, recipe: Recipe, processes: Processes) -> None:
        _import_deepspeed()
        if recipe.cache_features is not None and recipe.parallel == "zero3":
            raise RequestError("cache_features needs whole towers, and zero3 cuts them; use ddp, fsdp2 or zero2.")
        # The head's logits in one piece: ZeRO-3 gathers its weight at each call, equally often on all processes.
        self.objective = Objective(model, chunk=None)
        self.recipe, self.processes = recipe, processes
        self._parts = parts.parts_of(self.objective)
        self._groups = parts.parameter_groups(self._parts, recipe)
        self._engine: Any = None

    @property
    def engine(self) -> Any:
        """DeepSpeed's engine, made when it is first needed: a state is loaded into whole weights before."""
        if self._engine is None:
            deepspeed = _import_deepspeed()
            uneven = self._uneven_parts() if self.recipe.parallel == "zero3" else []
            with _without_hooks_inside(deepspeed, uneven):
                self._engine, *_ = deepspeed.initialize(
                    model=self.objective, optimizer=adamw(self._groups, self.recipe), config=configuration(self.recipe)
                )
            for module in uneven:
                for parameter in module.parameters():
                    deepspeed.zero.register_external_parameter(self.objective, parameter)
        return self._engine

    def run(self, batch: Any, empty: frozenset[str] = frozenset()) -> Tensor:  # type: ignore[override]
        """The summed loss of a batch."""
        return self.engine(batch, empty)

    def _uneven_parts(self) -> list[nn.Module]:
        """Connectors and audio tower: they run as often as a batch has kinds of items, which differs by process."""
        model = self.objective.core.model
        found = (getattr(model, name, None) for name in ("mm_projector", "mm_projector_a", "audio_tower"))
        return [module for module in found if module is not None]

    def backward(self, loss: Tensor, *, last: bool) -> None:
        """Add gradients; DeepSpeed averages over processes."""
        self.engine.set_gradient_accumulation_boundary(last)
        self.engine.backward(loss, scale_wrt_gas=False)
        if not last:
            # Counts the micro-batch; the update waits for the last one.
            self.engine.step()

    def update(self, rates: list[float], clip: float) -> float:
        """Clip and update.

        Raises:
            RequestError: The gradient is not finite: DeepSpeed has no way to leave the step out.
        """
        for group, rate in zip(self.engine.optimizer.param_groups, rates):
            group["lr"] = rate
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        if not math.isfinite(norm):
            raise RequestError(
                f"The gradient's norm is {norm}, and with {self.recipe.parallel} it is in the weights already; start"
                " again from the newest state with a lower learning rate, or with fsdp2, which leaves such steps out."
            )
        return norm

    def groups(self) -> list[dict[str, Any]]:
        """As given to the optimiser."""
        return self._groups

    def _named(self) -> list[tuple[str, nn.Parameter]]:
        return [pair for group in self._groups for pair in zip(group["names"], group["params"])]

    def slices(self) -> Iterator[Slice]:
        """Whole masters and moments, gathered one at a time; the first process writes them."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        step = self._updates()
        self._link()
        for name, weight in self._named():
            yield _whole(f"weights/{name}", safe_get_full_fp32_param(weight))
            if step is not None:
                for key in MOMENTS:
                    yield _whole(f"{key}/{name}", safe_get_full_optimizer_state(weight, key))
                yield Slice(name=f"step/{name}", tensor=torch.tensor([step]), shape=(1,))

    def _updates(self) -> float | None:
        states = [state for state in self.engine.optimizer.optimizer.state.values() if "step" in state]
        return float(states[0]["step"]) if states else None

    @torch.no_grad()
    def load(self, saved: SavedState) -> None:
        """Whole weights first, then DeepSpeed's masters and moments."""
        from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

        for name, weight in self._named():
            weight.copy_(saved.read(f"weights/{name}"))
        steps = [saved.read(f"step/{name}") for name, _ in self._named() if saved.has(f"step/{name}")]
        for flat in self._flat_masters():
            moments = {key: torch.zeros_like(flat) for key in MOMENTS}
            step = steps[0].reshape(()).clone() if steps else torch.zeros(())
            self.engine.optimizer.optimizer.state[flat] = {"step": step, **moments}
        self._link()
        for name, weight in self._named():
            safe_set_full_fp32_param(weight, saved.read(f"weights/{name}"))
            for key in MOMENTS:
                if saved.has(f"{key}/{name}"):
                    safe_set_full_optimizer_state(weight, saved.read(f"{key}/{name}"), key)

    def _flat_masters(self) -> list[Tensor]:
        """This process's slices of the fp32 masters, flat tensors by which the optimiser keeps its moments."""
        name = "fp32_partitioned_groups_flat" if self.recipe.parallel == "zero3" else "single_partition_of_fp32_groups"
        return list(getattr(self.engine.optimizer, name))

    def _link(self) -> None:
        """Let DeepSpeed find the moments of a weight.

        ZeRO-2 (0.19) does so after the first update of its first parameter group, when the others have none yet.
        """
        optimizer = self.engine.optimizer
        if hasattr(optimizer, "_lazy_init_hp_params_optimizer_state"):
            optimizer._hp_optimizer_states_linked = False
            optimizer._lazy_init_hp_params_optimizer_state()

    def full_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Masters of what learned, weights of what else a result may hold."""
        deepspeed = _import_deepspeed()
        from deepspeed.utils import safe_get_full_fp32_param

        _ = self.engine
        for part, weights in self._parts.items():
            for name, weight in weights:
                if weight.requires_grad:
                    yield name, safe_get_full_fp32_param(weight).detach().cpu().clone()
                elif part in SMALL_PARTS:
                    with deepspeed.zero.GatheredParameters([weight], enabled=self.recipe.parallel == "zero3"):
                        yield name, weight.detach().cpu().clone()


def configuration(recipe: Recipe) -> dict[str, Any]:
    """DeepSpeed's configuration for a recipe."""
    return {
        # Micro-batches of a step are counted by the engine's own boundary; these two only have to be there.
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": recipe.schedule.clip,
        "zero_optimization": {
            "stage": 3 if recipe.parallel == "zero3" else 2,
            "overlap_comm": torch.cuda.is_available(),
            "contiguous_gradients": True,
        },
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": recipe.precision != "fp32"},
        "steps_per_print": 10**12,
        "wall_clock_breakdown": False,
    }


@contextmanager
def _without_hooks_inside(deepspeed: Any, modules: list[nn.Module]) -> Iterator[None]:
    """Make an engine that gathers nothing at calls inside these modules, but reduces their gradients as any other.

    ZeRO-3 demands that all processes call the same modules in the same order, and would wait for ever (or refuse)
    where one has more kinds of media than another. Its leaf modules are called as a whole; these are entered by their
    stages, so only half of what a leaf is fits: no hooks inside, but gradients weight by weight.
    """
    if not modules:
        yield
        return
    from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3 as Stage3

    create = Stage3.create_reduce_and_remove_grad_hooks

    def create_for_each_weight(self: Any) -> None:
        for module in modules:
            for parameter in module.parameters():
                del parameter.ds_z3_leaf_module  # type: ignore[attr-defined]
        create(self)

    for module in modules:
        deepspeed.utils.set_z3_leaf_module(module, True)
    Stage3.create_reduce_and_remove_grad_hooks = create_for_each_weight
    try:
        yield
    finally:
        Stage3.create_reduce_and_remove_grad_hooks = create


def _whole(name: str, tensor: Tensor) -> Slice:
    return Slice(name=name, tensor=tensor, shape=tuple(tensor.shape))


def _import_deepspeed() -> Any:
    try:
        import deepspeed
    except ImportError as error:
        raise MissingDependencyError(
            "parallel: zero2 and zero3 need DeepSpeed: pip install 'videollama2[deepspeed]'; fsdp2 needs nothing more."
        ) from error
    return deepspeed
