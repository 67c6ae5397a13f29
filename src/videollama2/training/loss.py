"""The loss: cross-entropy summed over label positions, with logits computed at these positions only.

Most positions of a multimodal row are media and questions, which nothing is learned at; the output head is as wide as
the vocabulary. So the head sees label positions only, some at a time, and their logits are computed again in the
backward pass instead of being kept. The sum is divided by the labels of the whole optimiser step (all micro-batches,
all processes), which makes the loss of a step independent of how it is cut up.

Shape legend: B rows, P positions, E width, N label positions, Y vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from videollama2.model.splice import IGNORE_LABEL

# Label positions whose logits are held at once; 1024 of a vocabulary of 152,000 are 0.6 GB in fp32.
POSITIONS_PER_CHUNK = 1024


def label_loss(
    hidden_bpe: Tensor,
    labels_bp: Tensor,
    logits_of: Callable[[Tensor], Tensor],
    *,
    chunk: int = POSITIONS_PER_CHUNK,
) -> Tensor:
    """Sum of the cross-entropies of all labels, each predicted by the position before it.

    Args:
        hidden_bpe: The language model's last hidden states, [B, P, E].
        labels_bp: [B, P] long; -100 where nothing is learned. The first position of a row has nothing before it and
            is not counted, whatever its label.
        logits_of: The output head, [n, E] to [n, Y].
        chunk: Label positions whose logits are held at once, at least 1.

    Returns:
        A scalar in fp32; 0 (with gradients that are 0) where there is no label.
    """
    learned_bp = labels_bp[:, 1:] != IGNORE_LABEL
    hidden_ne = hidden_bpe[:, :-1][learned_bp]
    labels_n = labels_bp[:, 1:][learned_bp]
    if not len(labels_n):
        # Every process must run the same backward pass, also one whose rows hold nothing to learn.
        return (logits_of(hidden_bpe[0, :1]) * 0.0).sum().float()

    def part(x_ne: Tensor, y_n: Tensor) -> Tensor:
        return F.cross_entropy(logits_of(x_ne).float(), y_n, reduction="sum")

    pieces = list(zip(hidden_ne.split(chunk), labels_n.split(chunk)))
    if len(pieces) == 1 or not torch.is_grad_enabled():
        sums = [part(x, y) for x, y in pieces]
    else:
        sums = [checkpoint(part, x, y, use_reentrant=False) for x, y in pieces]
    return torch.stack(sums).sum()


def num_labels(labels_bl: Tensor, segment_ids_bl: Tensor | None = None) -> int:
    """Labels that `label_loss` counts, known before the splice (media have none).

    Args:
        labels_bl: [B, L] long.
        segment_ids_bl: Of packed rows, [B, L]: the first position of each segment is not counted either.
    """
    learned_bl = labels_bl[:, 1:] != IGNORE_LABEL
    if segment_ids_bl is not None:
        learned_bl = learned_bl & (segment_ids_bl[:, 1:] == segment_ids_bl[:, :-1])
    return int(learned_bl.sum())
