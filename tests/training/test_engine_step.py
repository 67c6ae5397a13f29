"""One optimiser step against recorded losses and gradients of the official code, and against its own other cuts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from videollama2.training.loss import num_labels
from videollama2.training.objective import Objective, save_activations
from videollama2.training.step import seed_step

from .tiny import golden_batch, golden_cases, golden_model, golden_record, packed, recipe_of, rows_of, stepper_of

ALL = {"connector": 1e-3, "language_model": 1e-3}
AV = {**ALL, "audio_tower": 1e-3, "audio_projector": 1e-3}
GROUPS = {
    "mm_projector": "model.mm_projector.",
    "mm_projector_a": "model.mm_projector_a.",
    "lm_head": "lm_head",
    "layers": "model.language_model.layers",
    "embed": "model.language_model.embed_tokens",
    "vision_tower": "model.vision_tower",
}


def parts_for(name: str) -> dict[str, float]:
    return AV if name.endswith("AV") else ALL


def gradients_of(name: str, micro_batches: list[dict[str, Tensor]], **fields: Any) -> tuple[float, dict[str, Tensor]]:
    """Loss and gradients of one step, taken where the optimiser would use them."""
    stepper, model = stepper_of(golden_model(name), recipe_of(parts_for(name), **fields))
    if stepper.recipe.gradient_checkpointing:
        save_activations(model)
    found: dict[str, Tensor] = {}
    strategy: Any = stepper.strategy
    strategy.update = lambda rates, clip: (
        found.update({n: p.grad for n, p in strategy.named() if p.grad is not None}) or 0.0
    )
    return stepper(0, micro_batches).loss, found


def assert_equal_gradients(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> None:
    assert found.keys() == expected.keys()
    assert len(expected) > 20
    scale = max(g.abs().max() for g in expected.values())
    for name, gradient in expected.items():
        assert (found[name] - gradient).abs().max() < tolerance * scale, name


@pytest.mark.parametrize(("name", "case"), golden_cases())
def test_losses_and_gradient_norms_of_the_official_code(name: str, case: str) -> None:
    content = golden_record(name)[0]["cases"][case]
    loss, gradients = gradients_of(name, [golden_batch(name, case)])
    assert loss == pytest.approx(content["loss"], rel=1e-4)
    for group, prefix in GROUPS.items():
        norm = sum(float(g.norm()) ** 2 for n, g in gradients.items() if n.startswith(prefix)) ** 0.5
        assert norm == pytest.approx(content["grad_norm"][group], rel=1e-4, abs=1e-6), group
    for key, expected in content["mm_projector_param_grad_norms"].items():
        norm = float(gradients[key].norm()) if key in gradients else 0.0
        assert norm == pytest.approx(expected, rel=1e-3, abs=1e-4), key


@pytest.mark.parametrize(("name", "case"), golden_cases())
def test_any_cut_into_micro_batches_and_packing_gives_the_same_step(name: str, case: str) -> None:
    batch = golden_batch(name, case)
    rows = rows_of(batch)
    assert len(rows) > 1
    loss, gradients = gradients_of(name, [batch])
    for micro_batches in (rows, [packed(rows)], [packed(rows[:-1]), rows[-1]]):
        other, other_gradients = gradients_of(name, micro_batches)
        assert other == pytest.approx(loss, rel=1e-5)
        assert_equal_gradients(other_gradients, gradients, 1e-5)


def test_logits_at_labels_equal_those_of_the_whole_forward_pass() -> None:
    name, case = golden_cases()[-1]
    model, batch = golden_model(name), golden_batch(name, case)
    whole = model(**batch).loss * num_labels(batch["labels"])
    for chunk in (3, None):
        assert Objective(model, chunk=chunk)(batch).item() == pytest.approx(whole.item(), rel=1e-5)


def test_activations_computed_again_change_nothing() -> None:
    name, case = golden_cases()[-1]
    loss, gradients = gradients_of(name, [golden_batch(name, case)])
    again, same = gradients_of(name, [golden_batch(name, case)], gradient_checkpointing=True)
    assert again == loss
    assert_equal_gradients(same, gradients, 1e-6)


def test_an_empty_item_counts_nothing() -> None:
    name, case = golden_cases()[-1]
    objective, batch = Objective(golden_model(name)), golden_batch(name, case)
    assert objective(batch, frozenset({"visual", "audio"})).item() == objective(batch).item()


def test_a_step_without_labels_updates_nothing_and_says_so() -> None:
    name, case = golden_cases()[0]
    batch = golden_batch(name, case)
    stepper, model = stepper_of(golden_model(name), recipe_of(ALL))
    before = {n: p.clone() for n, p in model.named_parameters()}
    report = stepper(0, [{**batch, "labels": torch.full_like(batch["labels"], -100)}])
    assert not report.applied
    assert "nothing was updated" in report.events[0]
    assert stepper(1, []).labels == 0
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


def test_a_gradient_that_is_not_finite_is_not_applied() -> None:
    name, case = golden_cases()[0]
    stepper, model = stepper_of(golden_model(name), recipe_of(ALL))
    with torch.no_grad():
        model.lm_head.weight[5] = float("nan")
    before = {n: p.clone() for n, p in model.named_parameters()}
    report = stepper(0, [golden_batch(name, case)])
    assert "norm is nan" in report.events[0]
    assert all(torch.equal(p, before[n]) or "lm_head" in n for n, p in model.named_parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("train", [ALL, {"connector": 3e-3}, {"language_model": {"lr": 1e-2, "lora": {"r": 4}}}])
def test_the_loss_falls_and_frozen_weights_stay(train: dict[str, Any], precision: str) -> None:
    name, case = golden_cases()[1]
    schedule = {"clip": 1.0, "warmup_ratio": 0.0}
    stepper, model = stepper_of(golden_model(name), recipe_of(train, precision=precision, schedule=schedule))
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    losses = [stepper(step, [golden_batch(name, case)]).loss for step in range(5)]
    assert losses[-1] < losses[0]
    assert frozen
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)


def test_dropout_is_a_function_of_seed_step_process_and_micro_batch() -> None:
    drawn = set()
    for numbers in [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]:
        seed_step(*numbers)
        first = torch.rand(4)
        torch.rand(3)
        seed_step(*numbers)
        assert torch.equal(torch.rand(4), first)
        drawn.add(tuple(first.tolist()))
    assert len(drawn) == 5
