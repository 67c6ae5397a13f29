"""The splice: sentinels in the token ids are replaced by the features of their media. Pure functions on tensors.

Positions that the attention mask hides stay in place when rows are padded on the right, as in the official code; rows
padded on the left are first freed of them, so that every row ends with its last token. A packed row holds several
samples, told apart by segment ids; media belong to the segment of their sentinel.

Shape legend: B rows, L token ids of the longest row, N features of an item, P positions of the longest spliced row,
E width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import RequestError

IMAGE_SENTINEL = -200
VIDEO_SENTINEL = -201
AUDIO_SENTINEL = -202
SENTINELS = (IMAGE_SENTINEL, VIDEO_SENTINEL, AUDIO_SENTINEL)
IGNORE_LABEL = -100

PaddingSide = Literal["left", "right"]


@dataclass(frozen=True, kw_only=True)
class Spliced:
    """What the language model gets."""

    inputs_embeds: Tensor
    """[B, P, E]; zeros at padding."""
    attention_mask: Tensor
    """[B, P] bool; false at padding and where the given mask was false."""
    labels: Tensor | None
    """[B, P] long; -100 at media and padding, and at the first position of a segment, which nothing before it may
    predict. None where none were given."""
    segment_ids: Tensor | None = None
    """[B, P] long; 0 at padding. None where none were given."""


def sentinels_of(input_ids_bl: Tensor, attention_mask_bl: Tensor | None = None) -> list[int]:
    """Sentinels in reading order, row by row; what the mask hides does not count."""
    if attention_mask_bl is not None:
        input_ids_bl = input_ids_bl[attention_mask_bl.bool()]
    return input_ids_bl[_is_sentinel(input_ids_bl)].tolist()


def splice(
    input_ids_bl: Tensor,
    features: Sequence[Tensor],
    embed: Callable[[Tensor], Tensor],
    attention_mask_bl: Tensor | None = None,
    labels_bl: Tensor | None = None,
    padding_side: PaddingSide = "right",
    segment_ids_bl: Tensor | None = None,
) -> Spliced:
    """Replace the i-th sentinel, in reading order, by the i-th entry of `features`.

    Args:
        input_ids_bl: token ids with sentinels (-200 image, -201 video, -202 audio), [B, L].
        features: one [N_i, E] for each sentinel; N_i may differ and may be 0.
        embed: the language model's embedding, ids [B, L] to [B, L, E].
        attention_mask_bl: true at tokens, [B, L]; None: all are.
        labels_bl: [B, L]; media get -100.
        padding_side: where rows shorter than the longest are filled.
        segment_ids_bl: which sample of a packed row an id belongs to, 1 and up, 0 at padding, [B, L].

    Returns:
        Embeddings, mask, labels and segments of the spliced rows.

    Raises:
        RequestError: the numbers of sentinels and of features differ.
    """
    mask_bl = torch.ones_like(input_ids_bl, dtype=torch.bool) if attention_mask_bl is None else attention_mask_bl.bool()
    num_sentinels = len(sentinels_of(input_ids_bl, mask_bl))
    if num_sentinels != len(features):
        raise RequestError(
            f"the prompt has {num_sentinels} media placeholder(s) but {len(features)} media item(s) were given;"
            " give exactly one item for each placeholder."
        )
    # Once for all rows; ids that stand for no word (a sentinel under the mask) still need some embedding.
    embeds_ble = embed(input_ids_bl.masked_fill(input_ids_bl < 0, 0))
    remaining = iter(features)
    rows = []
    for row in range(input_ids_bl.shape[0]):
        keep = mask_bl[row] if padding_side == "left" else slice(None)
        labels_l = None if labels_bl is None else labels_bl[row][keep]
        segments_l = None if segment_ids_bl is None else segment_ids_bl[row][keep]
        row_le, ids_l, mask_l = embeds_ble[row][keep], input_ids_bl[row][keep], mask_bl[row][keep]
        rows.append(_splice_row(row_le, ids_l, mask_l, labels_l, segments_l, remaining))
    embeds, masks, labels, segments = zip(*rows)
    labels_bp = None if labels_bl is None else _pad(labels, IGNORE_LABEL, padding_side)
    segment_ids_bp = None if segment_ids_bl is None else _pad(segments, 0, padding_side)
    if labels_bp is not None and segment_ids_bp is not None:
        labels_bp = labels_bp.masked_fill(_starts(segment_ids_bp), IGNORE_LABEL)
    return Spliced(
        inputs_embeds=_pad(embeds, 0.0, padding_side),
        attention_mask=_pad(masks, False, padding_side),
        labels=labels_bp,
        segment_ids=segment_ids_bp,
    )


def position_ids_of(attention_mask_bp: Tensor) -> Tensor:
    """Positions counted over visible tokens only, so that padding on either side does not move them; [B, P] long."""
    return (attention_mask_bp.long().cumsum(-1) - 1).clamp_min(0)


def packed_position_ids(segment_ids_bp: Tensor) -> Tensor:
    """Positions that start anew at every segment; 0 at each position of padding, which so is a segment of its own.

    Args:
        segment_ids_bp: segment of each position, equal ids side by side, 0 at padding, [B, P].

    Returns:
        [B, P] long. With no attention mask beside them, transformers 5 reads from these positions that segments do
        not see one another (sdpa, eager and flex attention; flash attention for a batch of one row).
    """
    place_bp = torch.arange(segment_ids_bp.shape[1], device=segment_ids_bp.device).expand_as(segment_ids_bp)
    start_bp = place_bp.masked_fill(~_starts(segment_ids_bp), 0).cummax(-1).values
    return (place_bp - start_bp).masked_fill(segment_ids_bp == 0, 0)


def _starts(segment_ids_bp: Tensor) -> Tensor:
    """True at the first position of every segment, [B, P]."""
    first_b1 = torch.ones_like(segment_ids_bp[:, :1], dtype=torch.bool)
    return torch.cat([first_b1, segment_ids_bp[:, 1:] != segment_ids_bp[:, :-1]], dim=1)


def _splice_row(
    embeds_le: Tensor,
    ids_l: Tensor,
    mask_l: Tensor,
    labels_l: Tensor | None,
    segments_l: Tensor | None,
    remaining: Iterator[Tensor],
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    is_media = _is_sentinel(ids_l) & mask_l
    # What stands beside the embeddings, and its value at the positions of a medium (None: its sentinel's).
    rows, fills = (mask_l, labels_l, segments_l), (True, IGNORE_LABEL, None)
    embeds: list[Tensor] = []
    pieces: tuple[list[Tensor], ...] = ([], [], [])
    start = 0
    for stop in [*is_media.nonzero().flatten().tolist(), len(ids_l)]:
        embeds.append(embeds_le[start:stop])
        item_ne = next(remaining).to(embeds_le) if stop < len(ids_l) else embeds_le[:0]
        embeds.append(item_ne)
        for row, fill, parts in zip(rows, fills, pieces):
            if row is not None:
                value = row[stop : stop + 1] if fill is None else row.new_full((1,), fill)
                parts += [row[start:stop], value.expand(len(item_ne))]
        start = stop + 1
    mask, labels, segments = (torch.cat(parts) if parts else None for parts in pieces)
    assert mask is not None
    return torch.cat(embeds), mask, labels, segments


def _is_sentinel(ids: Tensor) -> Tensor:
    return (ids == IMAGE_SENTINEL) | (ids == VIDEO_SENTINEL) | (ids == AUDIO_SENTINEL)


def _pad(rows: Sequence[Tensor], value: float, padding_side: PaddingSide) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side=padding_side)
