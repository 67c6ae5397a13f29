"""Tag tokens against mixtures computed by hand."""

from __future__ import annotations

import torch

from videollama2.model.tags import tag_tokens


def test_pairs_of_frames_mix_their_three_best_classes() -> None:
    tags = torch.tensor([[0.6, 0.2, 0.1, 0.1, 0.0], [0.2, 0.4, 0.3, 0.0, 0.1]] + [[0.0, 0.0, 0.0, 0.0, 1.0]] * 2)
    embeddings = torch.eye(5)
    tokens = tag_tokens(tags, embeddings, num_slots=2)
    expected = torch.tensor([0.4, 0.3, 0.2, 0.0, 0.0]) / 0.9
    torch.testing.assert_close(tokens, torch.stack([expected, torch.eye(5)[4]]))


def test_more_slots_than_pairs_and_odd_counts() -> None:
    tags = torch.eye(5)
    embeddings = torch.arange(5.0).unsqueeze(1)
    assert tag_tokens(tags, embeddings, num_slots=2, top_k=5)[:, 0].tolist() == [1.0, 3.0]  # frames 0-2 and 2-4
    assert tag_tokens(tags[:2], embeddings, num_slots=4).shape == (4, 1)


def test_no_probability_gives_no_token_of_nan() -> None:
    assert tag_tokens(torch.zeros(2, 4), torch.ones(4, 3), num_slots=1).tolist() == [[0.0, 0.0, 0.0]]


def test_embeddings_keep_their_dtype() -> None:
    assert tag_tokens(torch.rand(4, 7), torch.randn(7, 3).bfloat16(), num_slots=2).dtype == torch.bfloat16
