"""The splice: sentinels in the token ids are replaced by the features of their media. Pure functions on tensors.

Positions that the attention mask hides stay in place when rows are padded on the right, as in the official code; rows
padded on the left are first freed of them, so that every row ends with its last token.

Shape legend: B rows, L token ids of the longest row, N features of an item, P positions of the longest spliced row,
E width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """[B, P] long; -100 at media and padding. None where none were given."""


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
) -> Spliced:
    """Replace the i-th sentinel, in reading order, by the i-th entry of `features`.

    Args:
        input_ids_bl: token ids with sentinels (-200 image, -201 video, -202 audio), [B, L].
        features: one [N_i, E] for each sentinel; N_i may differ and may be 0.
        embed: the language model's embedding, ids [n] to [n, E].
        attention_mask_bl: true at tokens, [B, L]; None: all are.
        labels_bl: [B, L]; media get -100.
        padding_side: where rows shorter than the longest are filled.

    Returns:
        Embeddings, mask and labels of the spliced rows.

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
    remaining = iter(features)
    rows = []
    for row in range(input_ids_bl.shape[0]):
        keep = mask_bl[row] if padding_side == "left" else slice(None)
        labels_l = None if labels_bl is None else labels_bl[row][keep]
        rows.append(_splice_row(input_ids_bl[row][keep], mask_bl[row][keep], labels_l, remaining, embed))
    embeds, masks, labels = zip(*rows)
    return Spliced(
        inputs_embeds=_pad(embeds, 0.0, padding_side),
        attention_mask=_pad(masks, False, padding_side),
        labels=None if labels_bl is None else _pad(labels, IGNORE_LABEL, padding_side),
    )


def position_ids_of(attention_mask_bp: Tensor) -> Tensor:
    """Positions counted over visible tokens only, so that padding on either side does not move them; [B, P] long."""
    return (attention_mask_bp.long().cumsum(-1) - 1).clamp_min(0)


def _splice_row(
    ids_l: Tensor, mask_l: Tensor, labels_l: Tensor | None, remaining, embed: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor | None]:
    is_media = _is_sentinel(ids_l) & mask_l
    # Ids that stand for no word (a sentinel under the mask) still need some embedding.
    embeds_le = embed(ids_l.masked_fill(ids_l < 0, 0))
    embeds, masks, labels = [], [], []
    start = 0
    for stop in [*is_media.nonzero().flatten().tolist(), len(ids_l)]:
        embeds.append(embeds_le[start:stop])
        masks.append(mask_l[start:stop])
        if labels_l is not None:
            labels.append(labels_l[start:stop])
        if stop < len(ids_l):
            item_ne = next(remaining).to(embeds_le)
            embeds.append(item_ne)
            masks.append(mask_l.new_ones(len(item_ne)))
            if labels_l is not None:
                labels.append(labels_l.new_full((len(item_ne),), IGNORE_LABEL))
        start = stop + 1
    return torch.cat(embeds), torch.cat(masks), torch.cat(labels) if labels_l is not None else None


def _is_sentinel(ids: Tensor) -> Tensor:
    return (ids == IMAGE_SENTINEL) | (ids == VIDEO_SENTINEL) | (ids == AUDIO_SENTINEL)


def _pad(rows: Sequence[Tensor], value: float, padding_side: PaddingSide) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=value, padding_side=padding_side)
