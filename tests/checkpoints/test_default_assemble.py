"""The default model's folder: what is in it, when it is made again, and what stops it. With tiny parts."""

import hashlib
import json
import time

import pytest
import torch
from default_files import write_tiny_parts
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from videollama2.checkpoints.default import assemble
from videollama2.checkpoints.default.join import DOUBT, TrainedWeights, join, tag_embeddings
from videollama2.checkpoints.default.parts import class_names
from videollama2.errors import CheckpointError, MissingFilesError
from videollama2.model.configuration import VideoLLaMA2Config
from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return write_tiny_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(autouse=True)
def cache(tmp_path, parts, monkeypatch):
    """An own cache, tiny parts in place of the fetched ones; counts how often they are asked for."""
    asked = []

    def fetch_parts(offline=None, progress=None):
        asked.append(offline)
        return parts

    monkeypatch.setenv("VIDEOLLAMA2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(assemble, "fetch_parts", fetch_parts)
    monkeypatch.setattr(assemble, "trained_weights_file", lambda: None)
    (tmp_path / "cache" / "default" / "1").mkdir(parents=True)
    return asked


@pytest.fixture
def trained(tmp_path, parts, monkeypatch):
    """Trained weights in place of the installed ones."""
    untrained = load_file(assemble.default_model_path(allow_untrained=True) / "model.safetensors")
    generator = torch.Generator().manual_seed(5)
    small = {
        name.removeprefix("model."): torch.randn(tensor.shape, generator=generator).bfloat16()
        for name, tensor in untrained.items()
        if name.startswith("model.mm_")
    }
    small["lora.model.layers.0.self_attn.q_proj.A"] = torch.randn(4, 64, generator=generator).bfloat16()
    small["lora.model.layers.0.self_attn.q_proj.B"] = torch.randn(64, 4, generator=generator).bfloat16()
    return install(tmp_path, monkeypatch, small)


def install(tmp_path, monkeypatch, tensors):
    path = tmp_path / "default.safetensors"
    save_file(tensors, path, metadata={"lora_rank": "4", "lora_alpha": "8"})
    path.with_suffix(".json").write_text(json.dumps({"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))
    monkeypatch.setattr(assemble, "trained_weights_file", lambda: path)
    return tensors


def test_names_and_shapes_are_the_model_s(trained):
    folder = assemble.default_model_path()
    config = VideoLLaMA2Config(**json.loads((folder / "config.json").read_text()))
    with torch.device("meta"):
        model = VideoLLaMA2ForConditionalGeneration(config)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    del wanted["lm_head.weight"]  # tied
    assert {name: tuple(t.shape) for name, t in load_file(folder / "model.safetensors").items()} == wanted


def test_trained_weights_are_in_place_and_lora_is_merged(trained, parts):
    folder = assemble.default_model_path()
    weights = load_file(folder / "model.safetensors")
    plain = load_file(assemble.default_cache() / f"assembled-{assemble.FORMAT}-untrained" / "model.safetensors")
    for name, tensor in trained.items():
        if not name.startswith("lora."):
            assert torch.equal(weights[f"model.{name}"], tensor)
    changed = {name for name in weights if not torch.equal(weights[name], plain[name]) and "mm_" not in name}
    target = "model.language_model.layers.0.self_attn.q_proj.weight"
    assert changed == {target}
    low = "lora.model.layers.0.self_attn.q_proj"
    expected = plain[target].float() + 2.0 * trained[low + ".B"].float() @ trained[low + ".A"].float()
    torch.testing.assert_close(weights[target].float(), expected, atol=0, rtol=2**-8)
    assert "mm_untrained" not in json.loads((folder / "config.json").read_text())


def test_config_says_what_the_parts_are(trained):
    folder = assemble.default_model_path()
    config = json.loads((folder / "config.json").read_text())
    assert (config["audio_config"]["hidden_size"], config["audio_config"]["max_positions"]) == (64, 50)
    assert config["mm_projector_type"] == "stc_connector_v35"
    assert (config["mm_hidden_size"], config["mm_connector_width"], config["mm_connector_depth"]) == (1280, 256, 4)
    assert (config["mm_use_tags"], config["num_frames"], config["text_config"]["hidden_size"]) == (True, 8, 64)
    processor = json.loads((folder / "processor_config.json").read_text())
    mean, std = processor["pixel_spec"]["mean"][0], processor["pixel_spec"]["std"][0]
    assert (255 / 255 - mean) / std == pytest.approx((255 - 127) / 128)


def test_turns_are_rendered_without_the_published_system_sentence(trained):
    tokenizer = AutoTokenizer.from_pretrained(assemble.default_model_path())
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


def test_tag_embeddings_are_means_over_the_words_of_names(trained):
    folder = assemble.default_model_path()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    words = weights["model.language_model.embed_tokens.weight"].float()
    found = tag_embeddings(tokenizer, words)
    for row, name in ((1, class_names()[1]), (1000, DOUBT)):
        ids = tokenizer(" " + name, add_special_tokens=False).input_ids
        torch.testing.assert_close(found[row], words[ids].sum(0) / len(ids))
    assert found.shape == (1001, 64)
    assert torch.equal(weights["model.tag_embeddings"], found.bfloat16())


def test_second_use_asks_for_nothing_and_is_quick(trained, cache):
    folder = assemble.default_model_path()
    cache.clear()
    started = time.perf_counter()
    assert assemble.default_model_path(offline=True) == folder
    assert time.perf_counter() - started < 0.5
    assert cache == []


def test_new_trained_weights_make_a_new_folder(trained, tmp_path, monkeypatch):
    first = assemble.default_model_path()
    install(tmp_path, monkeypatch, {name: tensor * 2 for name, tensor in trained.items()})
    second = assemble.default_model_path()
    assert first != second
    name = "model.mm_projector_a.0.weight"
    one, other = (load_file(folder / "model.safetensors")[name] for folder in (first, second))
    assert torch.equal(other, one * 2)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "manifest"])
def test_damaged_folder_is_made_again_and_said(trained, damage, caplog):
    folder = assemble.default_model_path()
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    if damage == "cut":
        path.write_bytes(whole[:-10])
    elif damage == "changed":
        path.write_bytes(whole[:-10] + bytes(10))
    elif damage == "gone":
        path.unlink()
    else:
        (folder / "manifest.json").write_text("{")
    assert assemble.default_model_path() == folder
    assert path.read_bytes() == whole
    assert "made again" in caplog.text


def test_touched_files_are_hashed_and_kept(trained, cache):
    folder = assemble.default_model_path()
    for path in folder.iterdir():
        path.touch()
    cache.clear()
    assert assemble.default_model_path() == folder
    assert cache == []


def test_untrained_is_never_used_in_silence():
    with pytest.raises(MissingFilesError, match=r"default\.safetensors"):
        assemble.default_model_path()
    folder = assemble.default_model_path(allow_untrained=True)
    assert folder.name.endswith("untrained")
    assert json.loads((folder / "config.json").read_text())["mm_untrained"] is True


def test_trained_weights_with_a_wrong_checksum_are_refused(trained, tmp_path):
    record = tmp_path / "default.json"
    record.write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(CheckpointError, match="checksum"):
        assemble.default_model_path()


@pytest.mark.parametrize("fault", ["missing", "unknown", "shape", "lora"])
def test_trained_weights_that_do_not_fit_are_named(trained, parts, fault):
    tensors = dict(trained)
    if fault == "missing":
        name = "mm_projector_a.0.weight"
        del tensors[name]
    elif fault == "unknown":
        name = "mm_projector.strange"
        tensors[name] = torch.zeros(1)
    elif fault == "shape":
        name = "mm_projector_a.0.bias"
        tensors[name] = torch.zeros(3)
    else:
        name = "model.layers.9.mlp"
        tensors[f"lora.{name}.A"] = tensors[f"lora.{name}.B"] = torch.zeros(4, 4)
    tokenizer = AutoTokenizer.from_pretrained(assemble.default_model_path(allow_untrained=True))
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        join(parts, tokenizer, TrainedWeights(tensors=tensors, lora_scale=1.0))


def test_converted_parts_load_into_transformers(cache):
    from transformers import AutoModelForCausalLM

    folder = assemble.converted_parts()
    model = AutoModelForCausalLM.from_pretrained(folder / "llm")
    assert model.config.hidden_size == 64
    assert "layers.0.fc1.weight" in load_file(folder / "whisper_encoder.safetensors")
    cache.clear()
    assert assemble.converted_parts(offline=True) == folder
    assert cache == []
