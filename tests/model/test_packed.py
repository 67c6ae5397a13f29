"""Packed rows: several samples in one row give what they give alone, with either attention and every backbone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration
from videollama2.model.splice import packed_position_ids, splice

from .helpers import BACKBONES, Request, batch_of, tiny_model

KINDS = ("video", "text", "av", "audio", "image")
# fp32: rows of other lengths add up in another order.
TOLERANCE = 1e-5


def pack(requests: list[Request], rows: list[list[int]]) -> dict[str, Tensor]:
    """Arguments of forward for requests laid into rows, in order, with labels at every text token."""
    batch = batch_of(requests)
    del batch["attention_mask"]
    ids = [torch.cat([torch.tensor(requests[i].ids) for i in row]) for row in rows]
    segments = [torch.cat([torch.full((len(requests[i].ids),), n + 1) for n, i in enumerate(row)]) for row in rows]
    batch["input_ids"] = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True)
    batch["segment_ids"] = torch.nn.utils.rnn.pad_sequence(segments, batch_first=True)
    batch["labels"] = batch["input_ids"].masked_fill((batch["input_ids"] < 0) | (batch["segment_ids"] == 0), -100)
    return batch


def alone(model: VideoLLaMA2ForConditionalGeneration, request: Request) -> tuple[Tensor, Tensor]:
    """Hidden states and summed loss of one request."""
    batch = batch_of([request])
    ids = batch["input_ids"]
    hidden = model.model(**batch).last_hidden_state
    output = model(**batch, labels=ids.masked_fill(ids < 0, -100))
    return hidden[0], output.loss * (ids[:, 1:] >= 0).sum()


@pytest.mark.parametrize(
    ("backbone", "attention"),
    # Gemma2 softens its scores, which sdpa cannot.
    [(backbone, "sdpa") for backbone in BACKBONES if backbone != "gemma2"]
    + [("qwen2", "eager"), ("gemma2", "eager"), ("mistral", "eager")],
)
def test_packed_rows_equal_their_samples(backbone: str, attention: str) -> None:
    model = tiny_model(backbone)
    model.set_attn_implementation(attention)
    requests = [Request(kind, seed) for seed, kind in enumerate(KINDS)]
    batch = pack(requests, [[0, 1, 2], [3, 4]])
    with torch.no_grad():
        packed = model.model(**{k: v for k, v in batch.items() if k != "labels"}).last_hidden_state
        loss = model(**batch, num_items_in_batch=1).loss
        expected = [alone(model, request) for request in requests]
    visible = [torch.cat([h for h, _ in expected[:3]]), torch.cat([h for h, _ in expected[3:]])]
    for row, hidden in enumerate(visible):
        assert (packed[row, : len(hidden)] - hidden).abs().max() < TOLERANCE * hidden.abs().max()
    assert loss.item() == pytest.approx(sum(part.item() for _, part in expected), rel=TOLERANCE)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.integers(0, 3))
def test_positions_start_anew_at_every_segment(lengths: list[int], padding: int) -> None:
    ids = torch.cat([torch.full((n,), i + 1) for i, n in enumerate(lengths)] + [torch.zeros(padding, dtype=torch.long)])
    expected = [place for n in lengths for place in range(n)] + [0] * padding
    assert packed_position_ids(ids.unsqueeze(0))[0].tolist() == expected


def test_media_belong_to_the_segment_of_their_sentinel_and_starts_are_not_learnt() -> None:
    ids = torch.tensor([[5, -200, 6, -201, 7, 0]])
    segments = torch.tensor([[1, 1, 1, 2, 2, 0]])
    result = splice(
        ids,
        [torch.ones(2, 3), torch.ones(3, 3)],
        lambda ids: ids.unsqueeze(-1).expand(*ids.shape, 3).float(),
        labels_bl=torch.tensor([[5, -100, 6, -100, 7, -100]]),
        segment_ids_bl=segments,
    )
    assert result.segment_ids is not None
    assert result.segment_ids.tolist() == [[1, 1, 1, 1, 2, 2, 2, 2, 0]]
    assert result.labels is not None
    assert result.labels.tolist() == [[-100, -100, -100, 6, -100, -100, -100, 7, -100]]
    text = splice(
        torch.tensor([[5, 6, 7, 8]]),
        [],
        lambda ids: ids.unsqueeze(-1).float(),
        labels_bl=torch.tensor([[5, 6, 7, 8]]),
        segment_ids_bl=torch.tensor([[1, 1, 2, 2]]),
    )
    assert text.labels is not None
    assert text.labels.tolist() == [[-100, 6, -100, 8]]
