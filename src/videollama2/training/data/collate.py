"""Samples to the tensors of a batch (docs/architecture.md): one sample a row, or several packed into one row.

Shape letters: B rows, L tokens, F frames of all samples, V visual items, A sounds, S steps, M mel bins, H side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from videollama2.processing.labels import IGNORE_INDEX
from videollama2.training.data.encode import Encoded

Batch = dict[str, Tensor | list[Tensor]]


def collate_rows(rows: Sequence[Sequence[Encoded]], *, pad_token_id: int, packed: bool) -> Batch:
    """Make a batch.

    Args:
        rows: Samples of each row of the batch; without packing one a row.
        pad_token_id: Fills `input_ids` on the right.
        packed: Add `segment_ids`, long [B, L]: 1, 2, ... along a row, 0 at padding.

    Returns:
        `input_ids`, `labels`, `attention_mask` long [B, L]; with visual items `video_has_audio` bool [V] and
        `pixel_values` float32 [F, 3, H, H] with `num_frames` long [V], or `frame_features`, a list of [T, H, W, D];
        with sounds `audio_values` float32 [A, S, M] and `audio_lengths` long [A], or `audio_features`, a list of
        [N, D].
    """
    assert packed or all(len(row) == 1 for row in rows), "without packing a row holds one sample"
    ids = [torch.tensor([token for sample in row for token in sample.text.input_ids]) for row in rows]
    labels = [torch.tensor([label for sample in row for label in sample.text.labels]) for row in rows]
    masks = [torch.ones(len(row), dtype=torch.long) for row in ids]
    batch: Batch = {
        "input_ids": pad_sequence(ids, batch_first=True, padding_value=pad_token_id),
        "labels": pad_sequence(labels, batch_first=True, padding_value=IGNORE_INDEX),
        "attention_mask": pad_sequence(masks, batch_first=True, padding_value=0),
    }
    if packed:
        numbers = [[n for n, sample in enumerate(row, 1) for _ in sample.text.input_ids] for row in rows]
        batch["segment_ids"] = pad_sequence([torch.tensor(row) for row in numbers], batch_first=True, padding_value=0)
    samples = [sample for row in rows for sample in row]
    return batch | _visual(samples) | _sounds(samples)


def filler_batch(pad_token_id: int, *, packed: bool) -> Batch:
    """Two tokens of which nothing is learnt, for a process that has no sample where the others have one.

    Processes that share parameters must pass forward equally often.
    """
    shape = (1, 2)
    batch: Batch = {
        "input_ids": torch.full(shape, pad_token_id, dtype=torch.long),
        "labels": torch.full(shape, IGNORE_INDEX, dtype=torch.long),
        "attention_mask": torch.ones(shape, dtype=torch.long),
    }
    return {**batch, "segment_ids": torch.ones(shape, dtype=torch.long)} if packed else batch


def _visual(samples: Sequence[Encoded]) -> Batch:
    visual = [sample for sample in samples if sample.has_visual]
    if not visual:
        return {}
    batch: Batch = {"video_has_audio": torch.tensor([sample.has_sound for sample in visual])}
    features = [sample.frame_features for sample in visual if sample.frame_features is not None]
    if features:
        assert len(features) == len(visual), "features of some items and pixels of others"
        return {**batch, "frame_features": features}
    pixels = [sample.pixels for sample in visual if sample.pixels is not None]
    return {
        **batch,
        "pixel_values": torch.cat(pixels),
        "num_frames": torch.tensor([len(frames) for frames in pixels]),
    }


def _sounds(samples: Sequence[Encoded]) -> Batch:
    heard = [sample for sample in samples if sample.has_sound]
    if not heard:
        return {}
    features = [sample.audio_features for sample in heard if sample.audio_features is not None]
    if features:
        assert len(features) == len(heard), "features of some sounds and values of others"
        return {"audio_features": features}
    sounds = [sample.sound for sample in heard if sample.sound is not None]
    return {
        "audio_values": pad_sequence(sounds, batch_first=True),
        "audio_lengths": torch.tensor([len(sound) for sound in sounds]),
    }
