"""Features of towers in place of pixels and sounds: the same result and gradients, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from videollama2.errors import RequestError
from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration

from .helpers import Request, batch_of, tiny_model

KINDS = ("video", "image", "av", "audio", "text", "av")


def with_features(model: VideoLLaMA2ForConditionalGeneration, batch: dict[str, Tensor]) -> dict:
    with torch.no_grad():
        grid = model.model.vision_tower(batch["pixel_values"]).grid
        sounds = model.model.audio_tower(batch["audio_values"], batch["audio_lengths"])
    kept = {k: v for k, v in batch.items() if k not in ("pixel_values", "num_frames", "audio_values", "audio_lengths")}
    return {**kept, "frame_features": list(grid.split(batch["num_frames"].tolist())), "audio_features": sounds}


@pytest.mark.parametrize("connector", ["stc_connector_v35", "spatial_pool", "mlp2x_gelu"])
def test_equals_the_towers(connector: str) -> None:
    # spatial_pool has no width of its own, so tower and language model are of one.
    model = tiny_model(mm_projector_type=connector, mm_connector_width=16)
    batch = batch_of([Request(kind, seed) for seed, kind in enumerate(KINDS)])
    labels = batch["input_ids"].masked_fill((batch["input_ids"] < 0) | (batch["attention_mask"] == 0), -100)
    cached = with_features(model, batch)
    gradients = []
    for arguments in (batch, cached):
        model.zero_grad()
        output = model(**arguments, labels=labels)
        output.loss.backward()
        named = model.model.named_parameters()
        gradients.append({k: p.grad for k, p in named if k.startswith("mm_") and p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    assert len(gradients[0]) > 4
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-5, atol=1e-7, msg=name)
    with torch.no_grad():
        torch.testing.assert_close(model(**cached).logits, model(**batch).logits, rtol=1e-6, atol=1e-6)


def test_generate_takes_them_too() -> None:
    model = tiny_model()
    batch = batch_of([Request(kind, seed) for seed, kind in enumerate(KINDS)])
    settings = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(model.generate(**with_features(model, batch), **settings), model.generate(**batch, **settings))


@pytest.mark.parametrize(
    ("features", "said"),
    [
        ([torch.zeros(4, 4, 4, 17)], r"\(4, 4, 4, 17\) do not fit the vision tower, which gives \(frames, 4, 4, 16\)"),
        ([torch.zeros(4, 16, 16)], "do not fit the vision tower"),
        ([torch.zeros(0, 4, 4, 16)], "do not fit the vision tower"),
        ([torch.zeros(2, 4, 4, 16)], "of 2 frames|of one frame for an image"),
        ([torch.zeros(1, 4, 4, 16)] * 2, "ask for 1 images and videos but 2 were given"),
    ],
)
def test_wrong_features_are_refused(features: list[Tensor], said: str) -> None:
    model = tiny_model()
    with pytest.raises(RequestError, match=said):
        model(torch.tensor([[5, -200, 6]]), frame_features=features)
