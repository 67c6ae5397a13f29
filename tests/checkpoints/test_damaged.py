"""Damaged, incomplete and mixed-up checkpoints: each gets an error that names what is wrong, never a traceback."""

from __future__ import annotations

import json
import pickle
import shutil

import pytest
import torch
from official_checkpoints import AV, CLIP, MISTRAL, QWEN2, edit_config, edit_weights, split_weights, write_plain_llm
from safetensors.torch import load_file, save_file

from videollama2.checkpoints import inspect_checkpoint, load_checkpoint
from videollama2.errors import CheckpointError, MissingFilesError

UP = "model.layers.1.mlp.up_proj.weight"


def rewrite_header(folder, change):
    """Changes the JSON header of model.safetensors, keeping the bytes after it."""
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    change(header)
    new = json.dumps(header).encode()
    path.write_bytes(len(new).to_bytes(8, "little") + new + raw[8 + length :])


def resize(folder, size=None, head=b""):
    path = folder / "model.safetensors"
    raw = path.read_bytes()
    path.write_bytes(head + raw[len(head) : size])


FILES = {
    "cut at the end": (lambda f: resize(f, -1000), r"at byte \d+: it is cut: \d+ bytes are expected, \d+ are there"),
    "cut in the header": (lambda f: resize(f, 500), "the header needs"),
    "a few bytes": (lambda f: resize(f, 5), "too few"),
    "empty": (lambda f: resize(f, 0), "the file is empty"),
    "garbage": (lambda f: resize(f, None, b"\xff" * 64), "not a safetensors file"),
    "broken JSON": (lambda f: resize(f, None, (500).to_bytes(8, "little") + b"not json"), "header is not JSON"),
    "LFS pointer": (
        lambda f: (f / "model.safetensors").write_text("version https://git-lfs.github.com/x"),
        "git lfs pull",
    ),
    "web page": (lambda f: (f / "model.safetensors").write_text("<!DOCTYPE html><html></html>"), "a web page"),
    "longer than it says": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes() + b"\0" * 16),
        "16 bytes follow the last tensor",
    ),
    "wrong offsets": (
        lambda f: rewrite_header(f, lambda h: h[UP].update(data_offsets=[0, 4])),
        "its byte range is 0:4",
    ),
    "overlap": (
        lambda f: rewrite_header(f, lambda h: h[UP].update(data_offsets=[0, 128 * 64 * 4])),
        "was expected",
    ),
    "unknown dtype": (lambda f: rewrite_header(f, lambda h: h[UP].update(dtype="F3")), "has dtype 'F3'"),
    "shape without sense": (lambda f: rewrite_header(f, lambda h: h[UP].update(shape=[-1, 5])), "its byte range is"),
    "entry without a shape": (
        lambda f: rewrite_header(f, lambda h: h[UP].pop("shape")),
        "has no dtype, shape or offsets",
    ),
}


@pytest.mark.parametrize("damage", FILES)
def test_damaged_files(copy, damage):
    folder = copy(MISTRAL)
    do, message = FILES[damage]
    do(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert "model.safetensors" in str(caught.value)
    inspection = inspect_checkpoint(folder)
    assert not inspection.ok
    assert inspection.verdict.startswith("bad: ")


CONTENT = {
    "NaN": (lambda w: w[UP].view(-1)[7].fill_(float("nan")), r"up_proj\.weight is NaN \(1 of 8192 values\)"),
    "infinite": (lambda w: w[UP][0].fill_(float("inf")), r"is infinite \(64 of 8192 values\)"),
    "zero layer": (lambda w: w[UP].zero_(), "is all zero"),
    "constant": (lambda w: w[UP].fill_(0.25), r"is constant \(every value is 0\.25\)"),
    "zero gain": (lambda w: w["model.norm.weight"].zero_(), r"norm\.weight is all zero"),
    "zeros where a download stopped": (lambda w: w[UP][80:].zero_(), "its last quarter is zero"),
    "bits": (lambda w: w[UP][3, 3].fill_(1e30), "is out of range"),
    "vision layer": (
        lambda w: w["model.vision_tower.vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight"].zero_(),
        r"model\.vision_tower\.encoder\.layers\.1\.mlp\.fc1\.weight is all zero",
    ),
    "connector": (
        lambda w: w["model.mm_projector.sampler.0.weight"].zero_(),
        r"mm_projector\.sampler\.0\.weight is all",
    ),
}


@pytest.mark.parametrize("damage", CONTENT)
def test_damaged_content(copy, damage):
    folder = copy(MISTRAL)
    change, message = CONTENT[damage]
    edit_weights(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)
    inspection = inspect_checkpoint(folder)
    assert not inspection.ok
    assert len(inspection.report.bad_content) == 1
    assert inspect_checkpoint(folder, content=False).ok


def test_what_may_be_constant_is_not_called_damaged(copy):
    folder = copy(MISTRAL)

    def change(weights):
        weights["model.mm_projector.readout.0.bias"].zero_()
        weights["model.norm.weight"].fill_(1.0)
        weights["model.layers.0.input_layernorm.weight"].fill_(1.0)
        weights["model.embed_tokens.weight"][600:].zero_()
        weights[UP][:40].zero_()

    edit_weights(folder, change)
    assert load_checkpoint(folder).report.ok


NAMES = {
    "no connector": (
        lambda w: [w.pop(n) for n in list(w) if "mm_projector" in n],
        r"weights are missing \(connector \d+",
    ),
    "no vision layer": (
        lambda w: [w.pop(n) for n in list(w) if "vision_model.encoder.layers.0" in n],
        r"16 weights are missing \(vision tower 16",
    ),
    "no head": (lambda w: w.pop("lm_head.weight"), r"1 weights are missing \(language model 1: lm_head\.weight\)"),
    "unknown": (lambda w: w.update({"model.extra.weight": torch.randn(3, 3)}), "1 weights are not of this model"),
    "shape": (
        lambda w: w.update({UP: w[UP][:100].clone()}),
        r"wrong shape \(.*\(\[100, 64\] in the files, \[128, 64\]",
    ),
}


@pytest.mark.parametrize("damage", NAMES)
def test_weights_that_do_not_fit(copy, damage):
    folder = copy(MISTRAL)
    change, message = NAMES[damage]
    edit_weights(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)
    assert not inspect_checkpoint(folder).ok


def test_unknown_weights_can_be_left_aside_missing_ones_cannot(copy):
    folder = copy(MISTRAL)
    edit_weights(folder, lambda w: w.update({"model.extra.weight": torch.randn(3, 3)}))
    loaded = load_checkpoint(folder, strict=False)
    assert loaded.report.unexpected == ["model.language_model.extra.weight"]
    edit_weights(folder, lambda w: w.pop(UP))
    with pytest.raises(CheckpointError, match="missing"):
        load_checkpoint(folder, strict=False)


def test_the_vision_tower_is_taken_from_its_own_folder_when_the_checkpoint_lacks_it(copy, tmp_path):
    folder = copy(MISTRAL)
    edit_weights(folder, lambda w: [w.pop(name) for name in list(w) if "vision_tower" in name])
    loaded = load_checkpoint(folder)
    assert loaded.report.ok
    own = load_file(CLIP / "model.safetensors")["vision_model.encoder.layers.0.mlp.fc1.weight"]
    assert torch.equal(loaded.model.state_dict()["model.vision_tower.encoder.layers.0.mlp.fc1.weight"], own)
    edit_config(folder, mm_vision_tower="openai/clip-vit-large-patch14-336")
    with pytest.raises(MissingFilesError, match=r"openai/clip-vit-large-patch14-336 \(vision tower\)"):
        load_checkpoint(folder)


def test_every_missing_file_is_named_at_once(copy, tmp_path, monkeypatch):
    folder = copy(MISTRAL)
    names = split_weights(folder, suffix="safetensors", num_shards=4)
    for name in (names[1], names[3], "tokenizer.json", "tokenizer.model"):
        (folder / name).unlink()
    edit_config(folder, mm_vision_tower="some/unknown-tower")
    with pytest.raises(MissingFilesError) as caught:
        load_checkpoint(folder)
    for name in (names[1], names[3], "tokenizer.json", "some/unknown-tower"):
        assert name in str(caught.value)
    assert "downloads are off" in str(caught.value).lower()
    assert "4 files are missing" in str(caught.value)
    assert names[1] in inspect_checkpoint(folder).verdict


def test_index_of_another_checkpoint(copy):
    folder = copy(MISTRAL)
    split_weights(folder, suffix="safetensors", num_shards=2)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["model.layers.7.mlp.up_proj.weight"] = "model-00001-of-00002.safetensors"
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="index and shards are of different checkpoints"):
        load_checkpoint(folder)
    index["weight_map"] = {"a": "../outside.safetensors"}
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match="not a file of its folder"):
        load_checkpoint(folder)


def test_two_checkpoints_in_one_folder(copy):
    folder = copy(MISTRAL)
    whole = (folder / "model.safetensors").read_bytes()
    split_weights(folder, suffix="safetensors", num_shards=2)
    (folder / "model.safetensors").write_bytes(whole)
    with pytest.raises(CheckpointError, match="mixed up"):
        load_checkpoint(folder)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").unlink()
    save_file({"x": torch.ones(1)}, folder / "model-00001-of-00003.safetensors")
    with pytest.raises(CheckpointError, match="shards of more than one checkpoint"):
        load_checkpoint(folder)


def test_shards_that_repeat_a_name(copy):
    folder = copy(MISTRAL)
    names = split_weights(folder, suffix="safetensors", num_shards=2)
    (folder / "model.safetensors.index.json").unlink()
    second = load_file(folder / names[1])
    second |= dict(list(load_file(folder / names[0]).items())[:1])
    save_file(second, folder / names[1])
    with pytest.raises(CheckpointError, match="is in both"):
        load_checkpoint(folder)


def test_weights_of_another_model(copy):
    folder = copy(MISTRAL)
    shutil.copyfile(QWEN2 / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"The config\.json and the weights look as if they came from"):
        load_checkpoint(folder)


def test_tokenizer_of_another_model(copy):
    folder = copy(MISTRAL)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"):
        shutil.copyfile(AV / name, folder / name)
    with pytest.raises(CheckpointError, match="the tokenizer has 903 tokens, the model's embedding 900 rows"):
        load_checkpoint(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"model_type": "bert"}', '{"model_type": "videollama2_gpt9"}'])
def test_configs_that_are_none(copy, text):
    folder = copy(MISTRAL)
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": "many"},
        {"num_attention_heads": 0},
        {"mm_projector_type": "qformer"},
        {"num_frames": 4000},
        {"num_hidden_layers": 3},
        {"vocab_size": 901},
        {"mm_vision_select_layer": -9},
        {"mm_hidden_size": 31},
    ],
)
def test_config_values_that_cannot_be(copy, change):
    from videollama2.errors import VideoLLaMA2Error

    folder = copy(MISTRAL)
    edit_config(folder, **change)
    with pytest.raises(VideoLLaMA2Error):
        load_checkpoint(folder)


def test_a_beats_bias_that_differs_between_layers(copy):
    folder = copy(AV)
    name = "model.audio_tower.encoder.layers.2.self_attn.relative_attention_bias.weight"
    edit_weights(folder, lambda w: w[name].add_(1.0))
    with pytest.raises(CheckpointError, match="BEATs has one bias for all its layers"):
        load_checkpoint(folder)
    assert "one bias" in inspect_checkpoint(folder).verdict


def test_a_pickle_with_code_is_refused_and_not_run(copy, tmp_path):
    folder = copy(MISTRAL)
    (folder / "model.safetensors").unlink()
    mark = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(mark), "w"))

    torch.save({"x": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="is refused: it holds Python objects"):
        load_checkpoint(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError):
        load_checkpoint(folder)
    assert not mark.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut zip", b"nonsense", b"\x80\x02}q\x00."])
def test_pickles_that_are_none(copy, content):
    folder = copy(MISTRAL)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin"):
        load_checkpoint(folder)


def test_a_cut_pickle(copy):
    folder = copy(MISTRAL)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    raw = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(CheckpointError, match="is damaged: it is not a whole torch file"):
        load_checkpoint(folder)


def test_what_is_no_checkpoint(tmp_path, copy):
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFilesError, match="is empty"):
        load_checkpoint(tmp_path / "empty")
    with pytest.raises(MissingFilesError, match="There is nothing at"):
        load_checkpoint(tmp_path / "nowhere")
    (tmp_path / "empty" / "notes.txt").write_text("x")
    with pytest.raises(MissingFilesError, match=r"No config\.json .*notes\.txt"):
        load_checkpoint(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_checkpoint(tmp_path / "empty" / "notes.txt")
    with pytest.raises(CheckpointError, match=r"a lone tower \(clip\)"):
        load_checkpoint(CLIP)
    with pytest.raises(CheckpointError, match=r"a plain language model \(mistral\)"):
        load_checkpoint(write_plain_llm(tmp_path / "llm"))
    folder = copy(MISTRAL)
    (folder / "model.safetensors").unlink()
    with pytest.raises(MissingFilesError, match="No weights in"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="Unknown parts: tower"):
        load_checkpoint(MISTRAL, parts={"tower": "x"})
