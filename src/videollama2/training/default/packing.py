"""Several questions about one clip in one row: they share the clip's prefix and cannot see each other.

Pure functions on token ids and embeddings; equal to separate rows up to rounding, at a fraction of the cost (the prefix
of some fifty media tokens is computed once).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PREFIX, PAD = 0, -1


@dataclass(frozen=True)
class Suffix:
    """A question and its answer after the media: token ids, of which the last `num_answer` are learned."""

    ids: tuple[int, ...]
    num_answer: int


@dataclass(frozen=True)
class PackedBatch:
    """inputs_embeds_BLD, mask_B1LL (additive), position_ids_BL and where answers stand.

    `rows`, `positions` index the hidden state that predicts each answer token, `targets` that token's id and
    `owners` the suffix it belongs to (numbered through the batch).
    """

    embeds: Tensor
    mask: Tensor
    position_ids: Tensor
    rows: Tensor
    positions: Tensor
    targets: Tensor
    owners: Tensor


def pack(prefixes: list[Tensor], suffixes: list[list[Suffix]], embedding: torch.nn.Embedding) -> PackedBatch:
    """Rows of [prefix | suffix 1 | suffix 2 | ...], padded right to the longest.

    Args:
        prefixes: B tensors [P, D]: embeddings of everything before the questions.
        suffixes: Each row's questions.
        embedding: The LLM's input embedding.
    """
    num_rows = len(prefixes)
    lengths = [len(p) + sum(len(s.ids) for s in row) for p, row in zip(prefixes, suffixes)]
    longest, width = max(lengths), prefixes[0].shape[-1]
    dtype = prefixes[0].dtype
    segments = torch.full((num_rows, longest), PAD)
    position_ids = torch.zeros((num_rows, longest), dtype=torch.long)
    rows, positions, targets, owners = [], [], [], []
    embeds = []
    owner = 0
    for row, (prefix, questions) in enumerate(zip(prefixes, suffixes)):
        cursor = len(prefix)
        segments[row, :cursor] = PREFIX
        position_ids[row, :cursor] = torch.arange(cursor)
        pieces = [prefix]
        for number, suffix in enumerate(questions, start=1):
            size = len(suffix.ids)
            ids = torch.tensor(suffix.ids)
            pieces.append(embedding(ids).to(dtype))
            segments[row, cursor : cursor + size] = number
            position_ids[row, cursor : cursor + size] = len(prefix) + torch.arange(size)
            for offset in range(size - suffix.num_answer, size):
                rows.append(row)
                positions.append(cursor + offset - 1)
                targets.append(suffix.ids[offset])
                owners.append(owner)
            owner += 1
            cursor += size
        pieces.append(prefix.new_zeros(longest - cursor, width))
        embeds.append(torch.cat(pieces))
    causal = torch.ones(longest, longest, dtype=torch.bool).tril()
    same = segments[:, None, :] == segments[:, :, None]
    allowed = causal & (same | (segments[:, None, :] == PREFIX))
    allowed |= torch.eye(longest, dtype=torch.bool)
    mask = torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)[:, None]
    return PackedBatch(
        embeds=torch.stack(embeds),
        mask=mask,
        position_ids=position_ids,
        rows=torch.tensor(rows),
        positions=torch.tensor(positions),
        targets=torch.tensor(targets),
        owners=torch.tensor(owners),
    )


def answer_logprobs(llm, packed: PackedBatch) -> Tensor:
    """Log-probability [n] of every answer token; logits are computed at these positions alone."""
    hidden = llm.model(
        inputs_embeds=packed.embeds,
        attention_mask=packed.mask,
        position_ids=packed.position_ids,
        use_cache=False,
    ).last_hidden_state
    logits = llm.lm_head(hidden[packed.rows, packed.positions]).float()
    return torch.log_softmax(logits, dim=-1).gather(-1, packed.targets[:, None])[:, 0]
