"""Whole official checkpoints of kinds that `tests/golden` does not hold, against what the official code gave."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
import torch
from official_variants import VARIANTS, medium, read_record, thin, write_files
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from videollama2 import VideoLLaMA2, mm_infer
from videollama2.checkpoints.keymaps import canonical_name, canonical_target
from videollama2.processing.tokenizer import decode_ids

NAMES = sorted(path.name.removesuffix(".json.gz") for path in VARIANTS.glob("*.json.gz"))
MODULE_TOLERANCE = 1e-5  # of the largest magnitude
MODEL_TOLERANCE = 1e-4  # logits, losses, gradient norms


@pytest.fixture(scope="module", params=NAMES)
def variant(request, tmp_path_factory):
    """(record, recorded tensors, engine) of a variant; its files are made again from seeds."""
    record = read_record(request.param)
    root = tmp_path_factory.mktemp("variant")
    write_files(root, record)
    engine = VideoLLaMA2.from_pretrained(root / request.param, device="cpu", dtype="float32", offline=True)
    return record, load_file(VARIANTS / f"{request.param}.safetensors"), engine


def single_cases(record: dict[str, Any]) -> dict[str, Any]:
    return {name: case for name, case in record["cases"].items() if "rows" not in case}


def media_of(item: Any, size: int) -> Any:
    """What `mm_infer` takes."""
    if isinstance(item, dict):
        return {kind: medium(spec, size) for kind, spec in item.items()}
    return None if item is None else medium(item, size)


def media_arguments(items: list[Any], size: int) -> dict[str, Tensor]:
    """What `forward` takes, for media in order of their sentinels."""
    frames, flags, sounds = [], [], []
    for item in items:
        parts = item if isinstance(item, dict) else {"audio" if item.startswith("audio") else "video": item}
        if "video" in parts:
            frames.append(medium(parts["video"], size))
            flags.append("audio" in parts)
        if "audio" in parts:
            sounds.append(medium(parts["audio"], size)[0])
    arguments: dict[str, Tensor] = {}
    if frames:
        arguments |= {"pixel_values": torch.cat(frames), "num_frames": torch.tensor([len(f) for f in frames])}
        arguments |= {"video_has_audio": torch.tensor(flags)}
    if sounds:
        arguments["audio_values"] = pad_sequence(sounds, batch_first=True)
        arguments["audio_lengths"] = torch.tensor([len(s) for s in sounds])
    return arguments


def deviation(ours: Tensor, theirs: Tensor, largest: float) -> float:
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().max().item() / largest


@contextlib.contextmanager
def watched(model: Any):
    """The token ids that go into and come out of `generate`."""
    seen: dict[str, list[int]] = {}
    inner = model.generate

    def generate(input_ids: Tensor, **kwargs: Any) -> Tensor:
        output = inner(input_ids, **kwargs)
        seen.update(prompt=input_ids[0].tolist(), new=output[0].tolist())
        return output

    model.generate = generate
    yield seen
    del model.generate


def test_official_scripts_give_the_official_answers(variant):
    record, _, engine = variant
    model, tokenizer = engine.core.model, engine.core.processor.tokenizer
    for name, case in single_cases(record).items():
        assert case["margin"] > 1e-3, name
        medium_ = media_of(case["media"], record["image_size"])
        with watched(model) as seen:
            text = mm_infer(
                medium_, case["instruct"], model, tokenizer, modal=case["modal"], max_new_tokens=record["new_tokens"]
            )
        assert seen["prompt"] == case["input_ids"], name
        assert seen["new"] == case["generated_ids"], name
        assert text == case["text"], name
        assert text == decode_ids(tokenizer, case["generated_ids"], skip_special_tokens=True).strip()


def test_asking_gives_the_official_answers_one_by_one_and_together(variant):
    record, _, engine = variant
    exact = any(path.startswith("towers/siglip") for path in record["json"])  # pixels there are bytes / 127.5 - 1
    requests, expected = [], []
    for case in single_cases(record).values():
        if not isinstance(case["instruct"], str):
            continue
        request = {"question": case["instruct"], "max_new_tokens": record["new_tokens"]}
        if case["modal"] in ("image", "video") and isinstance(case["media"], str) and exact:
            pixels = medium(case["media"], record["image_size"])
            frames = ((pixels + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
            request[case["modal"]] = frames if case["modal"] == "video" else frames[0]
        elif case["modal"] != "text":
            continue
        requests.append(request)
        expected.append(case["text"])
    assert [str(engine.ask(**request)) for request in requests] == expected
    assert [str(answer) for answer in engine.ask_batch(requests)] == expected


def test_embeddings_and_logits(variant):
    record, tensors, engine = variant
    model = engine.core.model
    for name, case in single_cases(record).items():
        ids = torch.tensor([case["input_ids"]])
        arguments = media_arguments([] if case["media"] is None else [case["media"]], record["image_size"])
        with torch.no_grad():
            spliced = model.model.splice_media(ids, **arguments)
            logits = model(ids, **arguments).logits
        for kind, ours, tolerance in (
            ("inputs_embeds", unscaled(model, spliced.inputs_embeds), MODULE_TOLERANCE),
            ("logits", logits, MODEL_TOLERANCE),
        ):
            found = deviation(thin(ours[0], record, kind), tensors[f"{name}.{kind}"], case["max"][kind])
            assert found < tolerance, (name, kind)


def test_training_batches(variant):
    record, tensors, engine = variant
    model = engine.core.model
    for name, case in record["cases"].items():
        if "rows" not in case:
            continue
        ids = pad_sequence([torch.tensor(row) for row in case["input_ids"]], batch_first=True)
        mask = pad_sequence([torch.ones(len(row), dtype=torch.bool) for row in case["input_ids"]], batch_first=True)
        labels = torch.tensor(case["labels"])
        arguments = media_arguments([item for row in case["rows"] for item in row], record["image_size"])
        spliced = model.model.splice_media(ids, mask, labels, **arguments)
        visible = torch.tensor(case["out_mask"], dtype=torch.bool)
        assert torch.equal(spliced.attention_mask, visible)
        assert spliced.labels is not None
        assert torch.equal(spliced.labels, torch.tensor(case["out_labels"]))
        embeds = unscaled(model, spliced.inputs_embeds)
        found = deviation(
            thin(embeds, record, "inputs_embeds"), tensors[f"{name}.inputs_embeds"], case["max"]["inputs_embeds"]
        )
        assert found < MODULE_TOLERANCE

        model.zero_grad()
        model.requires_grad_(True)
        model.model.vision_tower.requires_grad_(False)
        output = model(ids, attention_mask=mask, labels=labels, **arguments)
        assert output.loss.item() == pytest.approx(case["loss"], rel=MODEL_TOLERANCE)
        seen = thin(visible[..., None].expand_as(output.logits), record, "logits").bool()
        ours = thin(output.logits, record, "logits").where(seen, 0.0)
        theirs = tensors[f"{name}.logits"].where(seen, 0.0)
        assert deviation(ours, theirs, case["max"]["logits"]) < MODEL_TOLERANCE
        output.loss.backward()
        check_gradients(model, case)


def check_gradients(model: Any, case: dict[str, Any]) -> None:
    norms = {canonical_target(k): p.grad.norm().item() for k, p in model.named_parameters() if p.grad is not None}
    whole = torch.tensor(list(norms.values())).norm().item()
    assert whole == pytest.approx(case["grad_norm"], rel=MODEL_TOLERANCE)
    compared = 0
    for official, expected in case["grad_norms"].items():
        name = canonical_name(official)
        if name in norms:
            assert norms[name] == pytest.approx(expected, rel=1e-3, abs=1e-5 * whole), name
            compared += 1
    assert compared > 0.7 * len(case["grad_norms"])


def unscaled(model: Any, embeds: Tensor) -> Tensor:
    """Gemma2's factor is inside the embedding in transformers 5, behind it in the official code."""
    return embeds / getattr(model.get_input_embeddings(), "embed_scale", 1.0)
