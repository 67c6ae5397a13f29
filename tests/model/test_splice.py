"""The splice against a plain list computation, on random batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videollama2.errors import RequestError
from videollama2.model.splice import SENTINELS, position_ids_of, sentinels_of, splice

WIDTH = 3
ROWS = st.lists(st.lists(st.sampled_from([5, 6, 7, *SENTINELS]), min_size=1, max_size=8), min_size=1, max_size=4)


def embed(ids: torch.Tensor) -> torch.Tensor:
    return ids.unsqueeze(-1).expand(*ids.shape, WIDTH).float()


def feature(item: int, length: int) -> torch.Tensor:
    return torch.full((length, WIDTH), 1000.0 + item)


@settings(max_examples=60, deadline=None)
@given(
    rows=ROWS, lengths=st.lists(st.integers(0, 4), min_size=32, max_size=32), left=st.booleans(), labelled=st.booleans()
)
def test_equals_a_list_computation(rows: list[list[int]], lengths: list[int], left: bool, labelled: bool) -> None:
    side = "left" if left else "right"
    pad = {"batch_first": True, "padding_side": side}
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], **pad)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row)) for row in rows], **pad)
    labels = torch.where(ids > 0, ids, -100) if labelled else None
    items = [token for row in rows for token in row if token < 0]
    features = [feature(i, lengths[i]) for i in range(len(items))]
    result = splice(ids, features, embed, mask, labels, side)

    item = 0
    for row, tokens in enumerate(rows):
        values, targets = [], []
        for token in tokens:
            if token < 0:
                values += [1000.0 + item] * lengths[item]
                targets += [-100] * lengths[item]
                item += 1
            else:
                values.append(float(token))
                targets.append(token)
        visible = result.attention_mask[row]
        assert result.inputs_embeds[row, visible, 0].tolist() == values
        assert position_ids_of(result.attention_mask)[row, visible].tolist() == list(range(len(values)))
        if result.labels is not None:
            assert result.labels[row, visible].tolist() == targets
            assert (result.labels[row, ~visible] == -100).all()
        edge = visible.flip(0) if left else visible
        assert edge[: len(values)].all()


def test_right_padding_stays_where_it_is() -> None:
    ids = torch.tensor([[5, -200, 6], [5, 0, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    result = splice(ids, [feature(0, 2)], embed, mask)
    assert result.attention_mask.tolist() == [[True] * 4, [True, False, False, False]]


def test_right_padded_rows_end_with_their_last_token_when_padded_left() -> None:
    ids = torch.tensor([[5, -200, 6], [7, 0, 0]])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
    result = splice(ids, [feature(0, 2)], embed, mask, padding_side="left")
    assert result.inputs_embeds[1, -1, 0] == 7
    assert result.attention_mask.tolist() == [[True] * 4, [False, False, False, True]]


def test_hidden_sentinels_take_no_features() -> None:
    ids, mask = torch.tensor([[-201, 5, -200]]), torch.tensor([[0, 1, 1]])
    assert sentinels_of(ids, mask) == [-200]
    assert splice(ids, [feature(0, 2)], embed, mask).attention_mask.tolist() == [[False, True, True, True]]


@pytest.mark.parametrize("given_items", [0, 1, 3])
def test_both_numbers_are_in_the_error(given_items: int) -> None:
    ids = torch.tensor([[5, -200, 6], [-202, 5, 5]])
    with pytest.raises(RequestError, match=rf"2 media placeholder\(s\) but {given_items} media"):
        splice(ids, [feature(0, 1)] * given_items, embed)


def test_features_take_the_dtype_of_the_text_and_keep_their_gradient() -> None:
    item = torch.ones(2, WIDTH, dtype=torch.float64, requires_grad=True)
    result = splice(torch.tensor([[5, -200]]), [item], embed)
    assert result.inputs_embeds.dtype == torch.float32
    result.inputs_embeds.sum().backward()
    assert item.grad is not None
    assert (item.grad == 1).all()
