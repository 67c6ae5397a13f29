"""Base (pre-training) and LoRA checkpoints in the official layout, on a plain language model."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from official_checkpoints import (
    AV,
    BEATS,
    MISTRAL,
    QWEN2,
    assert_same_weights,
    edit_config,
    edit_weights,
    text_logits,
    write_base,
    write_plain_llm,
)
from safetensors.torch import load_file, save_file

from videollama2.checkpoints import load_checkpoint, merge_checkpoint, save_checkpoint
from videollama2.checkpoints.detect import OFFICIAL_BASE, OFFICIAL_LORA, OURS_LORA
from videollama2.checkpoints.merge import probe_logits
from videollama2.errors import CheckpointError, MissingFilesError

RANK, ALPHA = 4, 16


@pytest.fixture
def llm(tmp_path):
    return write_plain_llm(tmp_path / "llm")


@pytest.fixture
def base(tmp_path, llm):
    return write_base(tmp_path / "base", llm)


@pytest.fixture
def lora(tmp_path, llm):
    """A LoRA checkpoint as the official training leaves it; also what peft itself merges the language model to."""
    from peft import LoraConfig, get_peft_model
    from transformers import MistralForCausalLM

    torch.manual_seed(1)
    model = MistralForCausalLM.from_pretrained(llm)
    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    wrapped = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=names, task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    folder = tmp_path / "finetune_lora"
    wrapped.save_pretrained(folder)
    config = json.loads((MISTRAL / "config.json").read_text()) | {"_name_or_path": str(llm)}
    (folder / "config.json").write_text(json.dumps(config))
    connector = {k: v for k, v in load_file(MISTRAL / "model.safetensors").items() if ".mm_projector." in k}
    prefixed = {f"base_model.model.{name}": tensor for name, tensor in connector.items()}
    torch.save(prefixed, folder / "non_lora_trainables.bin")
    merged = wrapped.merge_and_unload().eval()
    return folder, merged


def test_base_is_the_full_model_again(base):
    loaded = load_checkpoint(base)
    assert loaded.kind == OFFICIAL_BASE
    assert_same_weights(loaded.model, load_checkpoint(MISTRAL).model)
    assert loaded.generation_config.eos_token_id == 2
    assert loaded.tokenizer.decode([261, 812, 285]) == "a  b"


def test_base_with_its_language_model_given(base, llm, tmp_path):
    edit_config(base, _name_or_path="mistralai/Mistral-7B-Instruct-v0.2")
    with pytest.raises(MissingFilesError, match=r"mistralai/Mistral-7B-Instruct-v0\.2 \(language model\)"):
        load_checkpoint(base)
    loaded = load_checkpoint(base, parts={"language_model": llm})
    assert_same_weights(loaded.model, load_checkpoint(MISTRAL).model)


def test_base_without_its_connector_names_it(base):
    (base / "mm_projector.bin").unlink()
    with pytest.raises(MissingFilesError, match=r"mm_projector\.bin"):
        load_checkpoint(base)


def test_base_on_another_language_model_is_refused(base, tmp_path):
    other = write_plain_llm(tmp_path / "qwen", QWEN2)
    with pytest.raises(CheckpointError, match="needs a mistral language model"):
        load_checkpoint(base, parts={"language_model": other})


def test_a_connector_that_lacks_a_layer_stops_the_load(base):
    weights = torch.load(base / "mm_projector.bin", weights_only=True)
    del weights["model.mm_projector.readout.2.weight"]
    torch.save(weights, base / "mm_projector.bin")
    with pytest.raises(CheckpointError, match=r"1 weights are missing \(connector 1: .*readout\.2\.weight"):
        load_checkpoint(base)


def test_audio_stage_sits_on_a_whole_video_checkpoint(tmp_path):
    video = tmp_path / "video"
    shutil.copytree(AV, video)
    audio_names = [
        name for name in load_file(AV / "model.safetensors") if "audio_tower" in name or "_projector_a" in name
    ]
    edit_weights(video, lambda weights: [weights.pop(name) for name in audio_names])
    config = json.loads((AV / "config.json").read_text())
    no_audio = {k: v for k, v in config.items() if not k.endswith("_a") and "audio" not in k and "projector_a" not in k}
    (video / "config.json").write_text(json.dumps(no_audio))
    stage = tmp_path / "audio_stage"
    stage.mkdir()
    (stage / "config.json").write_text(
        json.dumps(config | {"tune_mm_mlp_adapter_a": True, "_name_or_path": str(video)})
    )
    weights = load_file(AV / "model.safetensors")
    torch.save({k: v for k, v in weights.items() if ".mm_projector_a." in k}, stage / "mm_projector_a.bin")

    loaded = load_checkpoint(stage)
    assert loaded.modalities == ("text", "image", "video", "audio")
    state = loaded.model.state_dict()
    for name, tensor in load_checkpoint(AV).model.state_dict().items():
        if not name.startswith("model.audio_tower."):
            assert torch.equal(state[name], tensor), name
    beats = torch.load(BEATS, weights_only=True)["model"]
    assert torch.equal(state["model.audio_tower.encoder.layers.2.fc1.weight"], beats["encoder.layers.2.fc1.weight"])
    gain = state["model.audio_tower.encoder.pos_conv.0.parametrizations.weight.original0"]
    assert torch.equal(gain, beats["encoder.pos_conv.0.weight_g"])


def test_lora_merges_as_peft_does(lora):
    folder, merged = lora
    loaded = load_checkpoint(folder)
    assert loaded.kind == OFFICIAL_LORA
    state = loaded.model.model.language_model.state_dict()
    plain = load_checkpoint(MISTRAL).model.model.language_model.state_dict()
    for name, tensor in merged.model.state_dict().items():
        assert torch.allclose(state[name], tensor, atol=1e-6), name
    assert not torch.allclose(state["layers.0.mlp.up_proj.weight"], plain["layers.0.mlp.up_proj.weight"], atol=1e-3)
    expected = text_logits(merged)
    assert (text_logits(loaded.model) - expected).abs().max() <= 1e-5 * expected.abs().max()
    connector = load_checkpoint(MISTRAL).model.model.mm_projector.state_dict()
    assert all(torch.equal(t, connector[n]) for n, t in loaded.model.model.mm_projector.state_dict().items())


def test_lora_kept_apart_gives_the_same(lora):
    folder, _ = lora
    merged, apart = load_checkpoint(folder), load_checkpoint(folder, merge_lora=False)
    assert apart.model.peft_config
    a, b = text_logits(merged.model), text_logits(apart.model)
    assert (a - b).abs().max() <= 1e-5 * a.abs().max()
    with apart.model.disable_adapter():
        assert torch.equal(text_logits(apart.model), text_logits(load_checkpoint(MISTRAL).model))


def test_pickled_adapter_on_the_vision_tower_too(lora):
    # The official training matches layers by the end of their names, so CLIP's get a LoRA as well.
    folder, _ = lora
    weights = load_file(folder / "adapter_model.safetensors")
    stem = "base_model.model.model.vision_tower.vision_tower.vision_model.encoder.layers.0.self_attn.q_proj"
    a, b = torch.randn(RANK, 32), torch.randn(32, RANK)
    weights |= {f"{stem}.lora_A.weight": a, f"{stem}.lora_B.weight": b}
    torch.save(weights, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()
    name = "model.vision_tower.encoder.layers.0.self_attn.q_proj.weight"
    before = load_checkpoint(MISTRAL).model.state_dict()[name]
    after = load_checkpoint(folder).model.state_dict()[name]
    assert torch.allclose(after - before, b @ a * ALPHA / RANK, atol=1e-4)


def test_a_few_trained_weights_of_the_tower_lie_over_the_towers_own(lora):
    folder, _ = lora
    name = "vision_tower.encoder.layers.0.layer_norm1.bias"
    trained = torch.randn(32)
    rest = torch.load(folder / "non_lora_trainables.bin", weights_only=True)
    stem = "base_model.model.model.vision_tower.vision_tower.vision_model.encoder.layers.0.layer_norm1.bias"
    torch.save(rest | {stem: trained}, folder / "non_lora_trainables.bin")
    state = load_checkpoint(folder).model.model.state_dict()
    assert torch.equal(state[name], trained)
    whole = load_checkpoint(MISTRAL).model.model.state_dict()
    other = "vision_tower.encoder.layers.0.layer_norm2.bias"
    assert torch.equal(state[other], whole[other])


def test_rslora_scale_and_rank(lora):
    folder, _ = lora
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"use_rslora": True}))
    name = "model.language_model.layers.0.self_attn.q_proj.weight"
    weights = load_file(folder / "adapter_model.safetensors")
    stem = "base_model.model.model.layers.0.self_attn.q_proj"
    product = weights[f"{stem}.lora_B.weight"] @ weights[f"{stem}.lora_A.weight"]
    change = load_checkpoint(folder).model.state_dict()[name] - load_checkpoint(MISTRAL).model.state_dict()[name]
    assert torch.allclose(change, product * ALPHA / RANK**0.5, atol=1e-5)


@pytest.mark.parametrize("to", ["official", "ours"])
def test_merge_writes_a_checkpoint_with_the_same_logits(lora, tmp_path, to):
    folder, merged = lora
    report = merge_checkpoint(folder, tmp_path / "merged", to=to)
    assert report.max_difference == 0.0
    assert report.weights_changed == 14
    assert report.logits_compared > 10_000
    again = load_checkpoint(report.path)
    assert_same_weights(again.model, load_checkpoint(folder).model)
    expected = text_logits(merged)
    assert (text_logits(again.model) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_a_full_checkpoint_is_not_merged(tmp_path):
    with pytest.raises(CheckpointError, match="full checkpoint already"):
        merge_checkpoint(MISTRAL, tmp_path / "merged")


def test_lora_trained_on_ours(tmp_path):
    from peft import LoraConfig, get_peft_model

    loaded = load_checkpoint(MISTRAL)
    whole = save_checkpoint(loaded, tmp_path / "whole")
    torch.manual_seed(2)
    config = LoraConfig(r=2, target_modules=r"model\.language_model\..*\.(q_proj|v_proj)", init_lora_weights=False)
    wrapped = get_peft_model(loaded.model, config)
    wrapped.save_pretrained(tmp_path / "adapter")
    with torch.no_grad():
        expected = text_logits(wrapped)
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": str(whole)}))
    tuned = load_checkpoint(tmp_path / "adapter")
    assert tuned.kind == OURS_LORA
    assert tuned.preprocessor_config is not None
    assert (text_logits(tuned.model) - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("name", ["adapter_config.json", "non_lora_trainables.bin", "adapter_model.safetensors"])
def test_a_lora_that_lacks_a_file_names_it(lora, name):
    folder, _ = lora
    (folder / name).unlink()
    with pytest.raises(MissingFilesError, match=name.replace(".", r"\.")):
        load_checkpoint(folder)


def test_lora_of_another_size_is_refused(lora):
    folder, _ = lora
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    stem = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    save_file(weights | {stem: torch.randn(RANK, 48)}, path)
    with pytest.raises(CheckpointError, match="is for a weight of"):
        load_checkpoint(folder)


def test_a_damaged_lora_is_refused(lora):
    folder, _ = lora
    path = folder / "adapter_model.safetensors"
    name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"
    weights = load_file(path)
    weights[name][0, 0] = float("nan")
    save_file(weights, path)
    with pytest.raises(CheckpointError, match=r"up_proj\.lora_B\.weight is NaN"):
        load_checkpoint(folder)


def test_half_a_lora_and_dora_are_refused(lora):
    folder, _ = lora
    config_path, path = folder / "adapter_config.json", folder / "adapter_model.safetensors"
    config = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(config | {"use_dora": True}))
    with pytest.raises(CheckpointError, match="DoRA"):
        load_checkpoint(folder)
    config_path.write_text(json.dumps(config))
    weights = load_file(path)
    del weights["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
    save_file(weights, path)
    with pytest.raises(CheckpointError, match="only one of the two LoRA factors"):
        load_checkpoint(folder)


def test_lora_mixed_up_with_full_weights_is_refused(lora):
    folder, _ = lora
    shutil.copyfile(MISTRAL / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="mixed up"):
        load_checkpoint(folder)


def test_the_probe_hears_every_part():
    loaded = load_checkpoint(AV)
    before = probe_logits(loaded)
    for name, parameter in loaded.model.named_parameters():
        if name.endswith(("mm_projector.readout.2.bias", "mm_projector_a.2.bias")):
            with torch.no_grad():
                parameter.add_(1.0)
            after = probe_logits(loaded)
            assert not torch.equal(before, after)
            before = after
