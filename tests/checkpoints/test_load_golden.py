"""The golden checkpoints load, whole, and give the official logits."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from official_checkpoints import (
    ALL,
    AV,
    GOLDEN,
    MISTRAL,
    QWEN2,
    assert_same_weights,
    edit_config,
    edit_weights,
    split_weights,
)
from safetensors.torch import load_file

from videollama2.checkpoints import load_checkpoint
from videollama2.errors import CheckpointError


@pytest.mark.parametrize("folder", ALL, ids=lambda p: p.name)
def test_logits_are_the_official_ones(folder):
    loaded = load_checkpoint(folder)
    recorded = load_file(GOLDEN / "model" / f"{folder.name}.safetensors")
    cases = json.loads((GOLDEN / "model" / f"{folder.name}.json").read_text())["cases"]
    cases = cases.items() if isinstance(cases, dict) else [(case["name"], case) for case in cases]
    compared = 0
    for name, case in cases:
        if f"{name}.inputs_embeds" not in recorded or "logit_positions" not in case:
            continue
        embeds, mask = recorded[f"{name}.inputs_embeds"], recorded[f"{name}.attention_mask"]
        embeds, mask = embeds.reshape(1, *embeds.shape[-2:]), mask.reshape(1, -1)
        expected = recorded[f"{name}.logits"]
        with torch.no_grad():
            logits = loaded.model(inputs_embeds=embeds, attention_mask=mask).logits[0, case["logit_positions"]]
        assert (logits - expected.reshape(logits.shape)).abs().max() <= 1e-4 * expected.abs().max()
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("folder", ALL, ids=lambda p: p.name)
def test_every_weight_is_accounted_for(folder):
    loaded = load_checkpoint(folder)
    report = loaded.report
    in_file = load_file(folder / "model.safetensors")
    assert report.ok
    assert not report.missing
    assert set(report.loaded) == set(loaded.model.state_dict())
    made_of_one = len(report.loaded) + len(report.unused)
    assert made_of_one == len(in_file)
    assert "good" in report.verdict


def test_what_belongs_to_the_model_comes_with_it():
    loaded = load_checkpoint(AV)
    assert loaded.family == "VideoLLaMA2.1-AV"
    assert loaded.model_type == "videollama2_qwen2"
    assert loaded.modalities == ("text", "image", "video", "audio")
    assert loaded.generation_config.eos_token_id == [902, 900]
    assert loaded.generation_config.repetition_penalty == 1.05
    assert loaded.model.generation_config is loaded.generation_config
    assert loaded.preprocessor_config["size"] == {"height": 100, "width": 100}
    assert loaded.audio_preprocessing["kind"] == "beats-fbank"
    assert len(loaded.model_hash) == 64
    assert not loaded.model.training
    video = load_checkpoint(MISTRAL)
    assert video.audio_preprocessing is None
    assert video.family == "VideoLLaMA2"
    assert video.preprocessor_config["crop_size"] == {"height": 84, "width": 84}
    assert load_checkpoint(QWEN2).family == "VideoLLaMA2.1"


def test_the_hash_follows_the_weights(copy):
    folder = copy(MISTRAL)
    assert load_checkpoint(folder).model_hash == load_checkpoint(MISTRAL).model_hash
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-3] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    assert load_checkpoint(folder).model_hash != load_checkpoint(MISTRAL).model_hash


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_load_as_one(copy, suffix):
    folder = copy(MISTRAL)
    names = split_weights(folder, suffix=suffix, num_shards=3)
    assert len(names) == 3
    assert_same_weights(load_checkpoint(folder).model, load_checkpoint(MISTRAL).model)


def test_shards_without_an_index_are_found_by_name(copy):
    folder = copy(MISTRAL)
    split_weights(folder, suffix="safetensors", num_shards=2)
    (folder / "model.safetensors.index.json").unlink()
    loaded = load_checkpoint(folder)
    assert_same_weights(loaded.model, load_checkpoint(MISTRAL).model)
    assert any("found by their names" in note for note in loaded.report.notes)


def test_one_pickle_loads(copy):
    folder = copy(QWEN2)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert_same_weights(load_checkpoint(folder).model, load_checkpoint(QWEN2).model)


def test_safetensors_come_before_pickles(copy):
    folder = copy(MISTRAL)
    torch.save({"model.norm.weight": torch.zeros(64)}, folder / "pytorch_model.bin")
    loaded = load_checkpoint(folder)
    assert_same_weights(loaded.model, load_checkpoint(MISTRAL).model)
    assert any("left aside" in note for note in loaded.report.notes)


def test_old_model_type_is_mistral(copy):
    folder = copy(MISTRAL)
    edit_config(folder, model_type="videollama2")
    loaded = load_checkpoint(folder)
    assert loaded.model_type == "videollama2"
    assert loaded.config.text_config.model_type == "mistral"
    assert_same_weights(loaded.model, load_checkpoint(MISTRAL).model)


def test_dtype_is_a_choice():
    assert {p.dtype for p in load_checkpoint(MISTRAL).model.parameters()} == {torch.float32}
    half = load_checkpoint(MISTRAL, dtype="bfloat16")
    assert {p.dtype for p in half.model.parameters()} == {torch.bfloat16}
    assert half.config.dtype == torch.bfloat16
    with pytest.raises(CheckpointError, match="Unknown dtype 'half'"):
        load_checkpoint(MISTRAL, dtype="half")


def test_auto_dtype_is_that_on_disk(copy):
    folder = copy(MISTRAL)
    edit_weights(folder, lambda w: w.update({k: v.bfloat16() for k, v in w.items()}))
    assert {p.dtype for p in load_checkpoint(folder, dtype="auto").model.parameters()} == {torch.bfloat16}


def test_float16_that_does_not_hold_the_weights_is_refused(copy):
    folder = copy(MISTRAL)
    edit_weights(folder, lambda w: w["model.norm.weight"].mul_(1e6))
    with pytest.raises(CheckpointError, match="too large for float16"):
        load_checkpoint(folder, dtype=torch.float16)


def test_attention_is_a_choice():
    eager = load_checkpoint(MISTRAL, attn_implementation="eager")
    assert eager.model.model.language_model.config._attn_implementation == "eager"
    default = load_checkpoint(MISTRAL)
    assert default.model.model.language_model.config._attn_implementation == "sdpa"


def test_tower_sizes_are_found_where_the_user_says(copy, tmp_path, monkeypatch):
    folder = copy(MISTRAL)
    monkeypatch.chdir(tmp_path)
    tower = tmp_path / "elsewhere"
    shutil.copytree(GOLDEN / "towers" / "clip-vit-tiny-patch14-84", tower)
    (tower / "model.safetensors").unlink()
    loaded = load_checkpoint(folder, parts={"vision_tower": tower})
    assert loaded.report.ok


def test_beats_sizes_are_read_off_the_shapes_without_its_file(copy, monkeypatch, tmp_path):
    folder = copy(AV)
    edit_config(folder, mm_audio_tower="nowhere/beats.pt")
    loaded = load_checkpoint(folder)
    assert_same_weights(loaded.model, load_checkpoint(AV).model)
    assert loaded.config.audio_config["encoder_layers"] == 3


def test_progress_is_told():
    seen = []
    load_checkpoint(MISTRAL, progress=lambda what, done, total: seen.append((what, done, total)))
    assert seen[-1][0] == "loading weights"
    assert seen[-1][1] == seen[-1][2] > 100


def test_loading_does_not_disturb_the_random_state():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    load_checkpoint(MISTRAL)
    assert torch.equal(torch.rand(4), expected)


def test_a_lone_beats_file_is_no_model():
    with pytest.raises(CheckpointError, match="BEATs audio tower alone"):
        load_checkpoint(Path("towers/beats-tiny.pt"))
