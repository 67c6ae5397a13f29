"""Tag tokens: what the tower's own classifier sees in each time slot, said in the language model's word embeddings.

A property of towers with a classifier (the default model's), not of the paper's model. For each time slot one token is
the mixture of the embeddings of the slot's most probable class names; it stands before the connector's tokens.

Shape legend: T frames, C classes, K best classes, P time slots, E language-model width.
"""

from __future__ import annotations

import torch
from torch import Tensor

TOP_K = 3


def tag_tokens(tags_tc: Tensor, tag_embeddings_ce: Tensor, num_slots: int, top_k: int = TOP_K) -> Tensor:
    """One token for each time slot of a clip.

    Slot i covers frames floor(i * T / P) up to, not including, ceil((i + 1) * T / P): pairs of frames where P = T / 2.

    Args:
        tags_tc: class probabilities of each frame, [T, C], in [0, 1].
        tag_embeddings_ce: embedding of each class name, [C, E]; or [C + 1, E], where the last row stands for doubt.
        num_slots: P, >= 1.
        top_k: classes in each mixture.

    Returns:
        [P, E] in the dtype of the embeddings: the best classes' embeddings weighted by their probabilities averaged
        over the slot's frames, and what is missing to 1 in weight goes to the row of doubt, so that the token shows how
        sure the classifier is. Without that row the weights are scaled to sum to 1.
    """
    num_frames, num_classes = tags_tc.shape
    slots = [(i * num_frames // num_slots, -(-(i + 1) * num_frames // num_slots)) for i in range(num_slots)]
    probabilities_pc = torch.stack([tags_tc[start:stop].float().mean(0) for start, stop in slots])
    weights_pk, classes_pk = probabilities_pc.topk(min(top_k, num_classes))
    if tag_embeddings_ce.shape[0] == num_classes + 1:
        doubt_p1 = (1 - weights_pk.sum(-1, keepdim=True)).clamp_min(0)
        weights_pk = torch.cat([weights_pk, doubt_p1], dim=-1)
        classes_pk = torch.cat([classes_pk, torch.full_like(classes_pk[:, :1], num_classes)], dim=-1)
    else:
        # Scores that are all zero would divide by zero; they mix nothing.
        weights_pk = weights_pk / weights_pk.sum(-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    embeddings_pke = tag_embeddings_ce[classes_pk]
    return (weights_pk.unsqueeze(-1).to(embeddings_pke.dtype) * embeddings_pke).sum(1)
