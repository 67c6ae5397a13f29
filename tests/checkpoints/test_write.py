"""What is written is whole, reads back bit for bit, and is what the official code's own file was."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from official_checkpoints import ALL, AV, MISTRAL, QWEN2, assert_same_weights, edit_config, text_logits
from safetensors.torch import load_file

from videollama2.checkpoints import convert_checkpoint, export_official, load_checkpoint, save_checkpoint
from videollama2.errors import CheckpointError


@pytest.mark.parametrize("folder", ALL, ids=lambda p: p.name)
def test_ours_is_the_same_model_and_needs_no_other_folder(folder, tmp_path, monkeypatch):
    loaded = load_checkpoint(folder)
    path = save_checkpoint(loaded, tmp_path / "ours", max_shard_bytes=500_000)
    assert len(list(path.glob("model-*.safetensors"))) > 2
    monkeypatch.chdir(tmp_path)
    again = load_checkpoint(path)
    assert again.kind == "ours"
    assert_same_weights(again.model, loaded.model)
    for field in ("model_type", "family", "modalities", "preprocessor_config", "audio_preprocessing"):
        assert getattr(again, field) == getattr(loaded, field), field
    assert again.generation_config.to_diff_dict() == loaded.generation_config.to_diff_dict()
    assert again.config.to_dict()["text_config"] == loaded.config.to_dict()["text_config"]
    text = "What is in <video> this?"
    assert again.tokenizer(text).input_ids == loaded.tokenizer(text).input_ids


@pytest.mark.parametrize("folder", ALL, ids=lambda p: p.name)
def test_the_official_export_is_the_official_file(folder, tmp_path):
    loaded = load_checkpoint(folder)
    path = export_official(loaded, tmp_path / "official")
    before, after = load_file(folder / "model.safetensors"), load_file(path / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    config, written = (json.loads((p / "config.json").read_text()) for p in (folder, path))
    for key in ("model_type", "architectures", "mm_projector_type", "mm_vision_tower", "hidden_size", "num_frames"):
        assert written[key] == config[key]
    assert written["rope_theta"] == config["rope_theta"]
    assert "text_config" not in written
    assert_same_weights(load_checkpoint(path).model, loaded.model)


def test_there_and_back_again(tmp_path):
    loaded = load_checkpoint(AV)
    ours = convert_checkpoint(AV, tmp_path / "ours", to="ours")
    official = convert_checkpoint(ours, tmp_path / "official", to="official")
    again = load_checkpoint(official)
    assert_same_weights(again.model, loaded.model)
    # Our format does not carry what no model uses.
    lost = load_file(AV / "model.safetensors").keys() - load_file(official / "model.safetensors").keys()
    assert lost
    assert all(word.startswith(("model.vision_tower", "model.audio_tower.predictor")) for word in lost)


def test_transformers_reads_ours(tmp_path):
    from transformers import AutoModelForCausalLM

    from videollama2.model.auto import register

    register()
    loaded = load_checkpoint(AV)
    path = save_checkpoint(loaded, tmp_path / "ours")
    model = AutoModelForCausalLM.from_pretrained(path).eval()
    assert_same_weights(model, loaded.model)
    assert torch.equal(text_logits(model), text_logits(loaded.model))


def test_bin_to_safetensors_keeps_names_and_bits(copy, tmp_path):
    folder = copy(QWEN2)
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    path = convert_checkpoint(folder, tmp_path / "safe", to="safetensors", max_shard_bytes=400_000)
    assert not list(path.glob("*.bin"))
    again = {}
    for shard in path.glob("*.safetensors"):
        again |= load_file(shard)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert (path / "config.json").read_text() == (folder / "config.json").read_text()
    with pytest.raises(CheckpointError, match=r"no pytorch_model\.bin"):
        convert_checkpoint(QWEN2, tmp_path / "again", to="safetensors")


def test_converting_to_another_dtype(tmp_path):
    path = convert_checkpoint(MISTRAL, tmp_path / "half", to="official", dtype="bfloat16")
    assert {tensor.dtype for tensor in load_file(path / "model.safetensors").values()} == {torch.bfloat16}
    assert json.loads((path / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_a_place_that_is_taken_is_kept(tmp_path):
    loaded = load_checkpoint(MISTRAL)
    target = tmp_path / "taken"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is there already"):
        save_checkpoint(loaded, target)
    assert (target / "mine.txt").exists()
    save_checkpoint(loaded, target, overwrite=True)
    assert not (target / "mine.txt").exists()
    assert load_checkpoint(target).report.ok


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    from videollama2.checkpoints import write

    loaded = load_checkpoint(MISTRAL)

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(write, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(loaded, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_what_the_official_format_cannot_hold_is_refused(tmp_path):
    loaded = load_checkpoint(MISTRAL)
    config = type(loaded.config).from_dict(loaded.config.to_dict() | {"mm_connector_width": 32})
    with pytest.raises(CheckpointError, match="neither tag tokens nor other connector sizes"):
        export_official(dataclasses.replace(loaded, config=config), tmp_path / "x")
    with pytest.raises(CheckpointError, match="Unknown format 'gguf'"):
        convert_checkpoint(MISTRAL, tmp_path / "x", to="gguf")


def test_the_old_model_type_comes_back(copy, tmp_path):
    folder = copy(MISTRAL)
    edit_config(folder, model_type="videollama2")
    ours = save_checkpoint(load_checkpoint(folder), tmp_path / "ours")
    again = load_checkpoint(ours)
    assert again.model_type == "videollama2"
    official = export_official(again, tmp_path / "official")
    assert json.loads((official / "config.json").read_text())["model_type"] == "videollama2"
