"""The loss at label positions against all logits, in chunks and packed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from videollama2.training.loss import label_loss, num_labels

WIDTH, VOCABULARY = 6, 11


def example(rows: int, positions: int, seed: int, share: float) -> tuple[torch.Tensor, torch.Tensor, torch.nn.Linear]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, positions, WIDTH, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, VOCABULARY, (rows, positions), generator=generator)
    labels[torch.rand(rows, positions, generator=generator) > share] = -100
    torch.manual_seed(seed)
    return hidden.requires_grad_(), labels, torch.nn.Linear(WIDTH, VOCABULARY, bias=False, dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(0, 99), st.sampled_from([0.0, 0.3, 1.0]), st.integers(1, 5))
def test_equals_all_logits(rows: int, positions: int, seed: int, share: float, chunk: int) -> None:
    hidden, labels, head = example(rows, positions, seed, share)
    whole = F.cross_entropy(
        head(hidden)[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum"
    )
    expected = torch.autograd.grad(whole, [hidden, head.weight])
    loss = label_loss(hidden, labels, head, chunk=chunk)
    found = torch.autograd.grad(loss, [hidden, head.weight])
    torch.testing.assert_close(loss, whole, rtol=1e-5, atol=1e-6)
    for ours, reference in zip(found, expected):
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5)
    assert num_labels(labels) == (labels[:, 1:] != -100).sum()


def test_only_label_positions_reach_the_head() -> None:
    hidden, labels, head = example(2, 50, 0, 0.1)
    sizes = []

    def logits_of(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return head(x)

    label_loss(hidden, labels, logits_of, chunk=4).backward()
    wanted = num_labels(labels)
    # Each chunk once forward and once more when its gradient is needed.
    assert max(sizes) <= 4
    assert sum(sizes) == 2 * wanted


def test_first_positions_of_segments_are_not_labels() -> None:
    labels = torch.tensor([[1, 2, 3, 4, -100]])
    assert num_labels(labels) == 3
    assert num_labels(labels, torch.tensor([[1, 1, 2, 2, 2]])) == 2


def test_no_label_is_a_loss_of_zero_with_gradients() -> None:
    hidden, _, head = example(1, 3, 0, 0.0)
    loss = label_loss(hidden, torch.full((1, 3), -100), head)
    loss.backward()
    assert loss.item() == 0
    assert head.weight.grad is not None
    assert head.weight.grad.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_is_added_up_in_fp32(dtype: torch.dtype) -> None:
    hidden, labels, head = example(2, 8, 1, 1.0)
    assert label_loss(hidden.detach().to(dtype), labels, head.to(dtype)).dtype == torch.float32
