"""The whole model against the official results of the three tiny checkpoints."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration
from videollama2.model.splice import sentinels_of

from .helpers import CHECKPOINTS, GOLDEN, load_golden

MODULE_TOLERANCE = 1e-5  # relative to the largest magnitude: single modules in fp32
MODEL_TOLERANCE = 1e-4  # logits, losses, gradient norms of the whole model


@cache
def golden(name: str) -> tuple[VideoLLaMA2ForConditionalGeneration, dict[str, Any], dict[str, Tensor]]:
    record = json.loads((GOLDEN / "model" / f"{name}.json").read_text())
    return load_golden(name), record, load_file(GOLDEN / "model" / f"{name}.safetensors")


def cases(kind: str) -> list[Any]:
    found = []
    for name in CHECKPOINTS:
        record = json.loads((GOLDEN / "model" / f"{name}.json").read_text())
        for case, content in record["cases"].items():
            if case.startswith("batch_") == (kind == "batch"):
                found.append(pytest.param(name, case, content, id=f"{name}-{case}"))
    return found


def deviation(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape
    return ((a.detach().float() - b.float()).abs().max() / b.float().abs().max()).item()


def pixels(tensors: dict[str, Tensor], name: str) -> Tensor:
    return tensors[f"in.{name}"].float() / 127.5 - 1


def media_arguments(tensors: dict[str, Tensor], media: list[Any]) -> dict[str, Tensor]:
    """Arguments for media in order of their sentinels; an entry is a name, or a video's and its sound's name."""
    frames, counts, flags, sounds = [], [], [], []
    for entry in media:
        names = entry if isinstance(entry, dict) else {"audio" if entry.startswith("audio") else "video": entry}
        if "video" in names:
            frames.append(pixels(tensors, names["video"]))
            counts.append(len(frames[-1]))
            flags.append("audio" in names)
        if "audio" in names:
            sounds.append(tensors[f"in.{names['audio']}"].float())
    arguments: dict[str, Tensor] = {}
    if frames:
        arguments |= {"pixel_values": torch.cat(frames), "num_frames": torch.tensor(counts)}
        arguments |= {"video_has_audio": torch.tensor(flags)}
    if sounds:
        arguments |= {"audio_values": torch.cat(sounds)}
        arguments |= {"audio_lengths": torch.tensor([s.shape[1] for s in sounds])}
    return arguments


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_towers_connector_and_projector(name: str) -> None:
    model, _, tensors = golden(name)
    with torch.no_grad():
        grid = model.model.vision_tower(pixels(tensors, "image")).grid.flatten(1, 2)
        assert deviation(grid, tensors["vision.image.features"]) < MODULE_TOLERANCE
        grid = model.model.vision_tower(pixels(tensors, "video")[:2]).grid.flatten(1, 2)
        assert deviation(grid, tensors["vision.video.features_frames0_1"]) < MODULE_TOLERANCE
        frames = torch.cat([pixels(tensors, "image"), pixels(tensors, "video")])
        image, video = model.encode_visual(frames, [1, len(frames) - 1], [True, False])
        assert deviation(image, tensors["mm.image"][0]) < MODULE_TOLERANCE
        assert deviation(video, tensors["mm.video"][0]) < MODULE_TOLERANCE
        for sound in [key.removeprefix("mm.") for key in tensors if key.startswith("mm.audio")]:
            fbank = tensors[f"in.{sound}"].float()
            features = model.model.audio_tower(fbank, torch.tensor([fbank.shape[1]]))[0]
            assert deviation(features, tensors[f"beats.{sound}.features"][0]) < MODULE_TOLERANCE
            assert deviation(model.encode_audio(fbank)[0], tensors[f"mm.{sound}"][0]) < MODULE_TOLERANCE


@pytest.mark.parametrize(("name", "case", "content"), cases("single"))
def test_single_requests(name: str, case: str, content: dict[str, Any]) -> None:
    model, _, tensors = golden(name)
    if "error" in content:  # the official code cannot show an audio-visual model one image; ours can
        arguments = media_arguments(tensors, [content["media"]])
        assert len(model.encode_visual(arguments["pixel_values"], [1], [True])) == 1
        return
    input_ids = torch.tensor([content["input_ids"]])
    arguments = media_arguments(tensors, [] if content["media"] is None else [content["media"]])
    with torch.no_grad():
        spliced = model.model.splice_media(input_ids, **arguments)
        output = model(input_ids, **arguments)
        kept = model(input_ids, logits_to_keep=2, **arguments).logits
    assert deviation(spliced.inputs_embeds[0], tensors[f"{case}.inputs_embeds"]) < MODULE_TOLERANCE
    assert torch.equal(spliced.attention_mask[0].long(), tensors[f"{case}.attention_mask"].long())
    logits = output.logits[0, content["logit_positions"]]
    assert (logits - tensors[f"{case}.logits"]).abs().max() < MODEL_TOLERANCE
    torch.testing.assert_close(kept[0], output.logits[0, -2:], atol=1e-5, rtol=0)
    for expected, settings in (
        (content["generated_ids"], {}),
        (content["generated_ids_repetition_penalty_1"], {"repetition_penalty": 1.0}),
    ):
        ids = model.generate(
            input_ids,
            max_new_tokens=content["max_new_tokens"],
            do_sample=False,
            pad_token_id=2,
            **settings,
            **arguments,
        )
        assert ids[0].tolist() == expected


@pytest.mark.parametrize(("name", "case", "content"), cases("batch"))
def test_training_batches(name: str, case: str, content: dict[str, Any]) -> None:
    model, _, tensors = golden(name)
    ids, mask, labels = (tensors[f"{case}.{key}"] for key in ("input_ids", "attention_mask", "labels"))
    # The official code feeds a dummy to every row without media; ours has nothing to feed.
    names = [entry[0] for entry in content["media"] if entry[0] != "zeros3d"]
    assert len(sentinels_of(ids, mask)) == len(names)
    arguments = media_arguments(tensors, names)
    spliced = model.model.splice_media(ids, mask, labels, **arguments)
    visible = tensors[f"{case}.out.attention_mask"]
    assert torch.equal(spliced.attention_mask, visible)
    assert spliced.labels is not None
    assert torch.equal(spliced.labels, tensors[f"{case}.out.labels"])
    assert deviation(spliced.inputs_embeds, tensors[f"{case}.out.inputs_embeds"]) < MODULE_TOLERANCE

    model.zero_grad()
    output = model(ids, attention_mask=mask, labels=labels, **arguments)
    assert output.loss.item() == pytest.approx(content["loss"], rel=MODEL_TOLERANCE)
    output.loss.backward()
    for row, last in enumerate(visible.long().cumsum(1).argmax(1).tolist()):
        rows = output.logits[row, last - 3 : last + 1]
        assert (rows - tensors[f"{case}.logits_last"][row]).abs().max() < MODEL_TOLERANCE
    gradients = {k: p.grad.norm().item() for k, p in model.named_parameters() if p.grad is not None}
    for key, expected in content["mm_projector_param_grad_norms"].items():
        assert gradients.get(key, 0.0) == pytest.approx(expected, rel=1e-3, abs=MODEL_TOLERANCE), key
    for group, prefix in {
        "mm_projector": "model.mm_projector.",
        "mm_projector_a": "model.mm_projector_a.",
        "lm_head": "lm_head",
        "layers": "model.language_model.layers",
        "embed": "model.language_model.embed_tokens",
        "vision_tower": "model.vision_tower",
    }.items():
        norm = sum(v**2 for k, v in gradients.items() if k.startswith(prefix)) ** 0.5
        assert norm == pytest.approx(content["grad_norm"][group], rel=MODEL_TOLERANCE, abs=1e-6), group
