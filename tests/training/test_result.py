"""What a run leaves: every layout loads again with the same logits, merges, exports, and reads by official names."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from training.starting_points import AV, BEATS, MISTRAL, QWEN2, compose, learn, make, write_base, write_plain_llm
from videollama2.checkpoints import export_official, load_checkpoint, merge_checkpoint
from videollama2.checkpoints.merge import probe_logits
from videollama2.errors import CheckpointError
from videollama2.training import parts, result, start

GOLDEN = MISTRAL.parents[1]
LORA = {"lr": 1e-4, "lora": {"r": 4, "alpha": 8, "dropout": 0.1}}


@pytest.fixture(autouse=True)
def golden_folder(monkeypatch):
    """The golden configs name their towers relative to this folder."""
    monkeypatch.chdir(GOLDEN)


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return write_plain_llm(tmp_path_factory.mktemp("result") / "llm")


@pytest.fixture(scope="module")
def base(llm):
    return write_base(llm.parent / "base", llm)


def finish(folder, model, train, **fields):
    """Trains in pretence and writes the result; also its logits before."""
    recipe = make(model, train, **fields)
    started = start.build(recipe)
    learn(started)
    result.write(started, recipe, folder)
    started.model.eval()
    probe = SimpleNamespace(model=start.core_of(started.model), config=started.config)
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision != "fp32"):
        logits = probe_logits(probe)
    return folder, logits, result.layout(started, recipe)


def assert_same_logits(folder, expected, tolerance):
    actual = probe_logits(load_checkpoint(folder))
    assert (actual - expected).abs().max() <= tolerance * expected.abs().max()


def test_connector_alone_from_every_start(tmp_path, llm, base):
    for number, model in enumerate(({"from": str(MISTRAL)}, {"from": str(base)}, compose(llm))):
        folder, expected, layout = finish(tmp_path / str(number), model, {"connector": 1e-3})
        assert layout == "parts"
        assert {path.name for path in folder.iterdir()} == {
            "config.json",
            "mm_projector.safetensors",
            "training_recipe.yaml",
        }
        assert_same_logits(folder, expected, 0)
        official = {name for name in load_file(MISTRAL / "model.safetensors") if ".mm_projector." in name}
        assert set(load_file(folder / "mm_projector.safetensors")) == official
        config = json.loads((folder / "config.json").read_text())
        assert config["tune_mm_mlp_adapter"] is True
        assert config["model_type"] == "videollama2_mistral"


@pytest.mark.parametrize("dora", [False, True])
def test_lora_is_an_official_lora_folder(tmp_path, base, llm, dora):
    train = {"connector": 1e-3, "language_model": {"lr": 1e-4, "lora": {"r": 4, "alpha": 8, "dora": dora}}}
    folder, expected, layout = finish(tmp_path / "lora", {"from": str(base)}, train)
    assert layout == "lora"
    # The same product summed in another order: A and B apart, or added to the weight.
    assert_same_logits(folder, expected, 1e-5)
    names = set(load_file(folder / "adapter_model.safetensors"))
    stem = "base_model.model.model.layers.1.mlp.up_proj"
    assert {f"{stem}.lora_A.weight", f"{stem}.lora_B.weight"} <= names
    assert (f"{stem}.lora_magnitude_vector" in names) == dora
    assert len(names) == 14 * (3 if dora else 2)
    adapter = json.loads((folder / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"], adapter["use_dora"]) == (4, 8.0, dora)
    assert adapter["base_model_name_or_path"] == str(llm)
    others = load_file(folder / "non_lora_trainables.safetensors")
    assert all(name.startswith("base_model.model.model.mm_projector.") for name in others)
    merged = merge_checkpoint(folder, tmp_path / "merged")
    assert (merged.form, merged.max_difference, merged.weights_changed) == ("official", 0.0, 14)
    assert_same_logits(tmp_path / "merged", expected, 1e-5)
    assert set(load_file(tmp_path / "merged" / "model.safetensors")) == set(load_file(MISTRAL / "model.safetensors"))


def test_dora_is_what_peft_merges_and_can_be_kept_apart(tmp_path, base):
    recipe = make({"from": str(base)}, {"language_model": {"lr": 1e-4, "lora": {"r": 4, "dora": True}}})
    started = start.build(recipe)
    learn(started)
    result.write(started, recipe, tmp_path / "dora")
    merged = started.model.merge_and_unload().state_dict()
    state = load_checkpoint(tmp_path / "dora").model.state_dict()
    for name, tensor in merged.items():
        assert torch.allclose(state[name], tensor, atol=1e-6), name
    apart = load_checkpoint(tmp_path / "dora", merge_lora=False).model
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        a, b = apart(input_ids=ids).logits, load_checkpoint(tmp_path / "dora").model(input_ids=ids).logits
    assert (a - b).abs().max() <= 1e-5 * b.abs().max()


def test_a_pattern_in_the_adapter_means_the_language_model_alone(tmp_path, base):
    import re

    folder, _, _ = finish(tmp_path / "lora", {"from": str(base)}, {"language_model": LORA})
    pattern = json.loads((folder / "adapter_config.json").read_text())["target_modules"]
    names = [name.removesuffix(".weight") for name in load_file(MISTRAL / "model.safetensors")]
    matched = {name for name in names if re.fullmatch(pattern, name)}
    factors = load_file(folder / "adapter_model.safetensors")
    assert matched == {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in factors}


def test_the_audio_stages_and_the_joint_stage(tmp_path):
    """Each stage starts from the result of the one before; the last one exports with the official names."""
    first, expected, layout = finish(
        tmp_path / "a1", {"from": str(QWEN2), "audio_tower": str(BEATS)}, {"audio_projector": 1e-3}
    )
    assert layout == "parts"
    assert_same_logits(first, expected, 0)
    second, expected, layout = finish(
        tmp_path / "a2", {"from": str(first)}, {"audio_projector": 1e-3, "audio_tower": 1e-5}
    )
    assert layout == "parts"
    assert_same_logits(second, expected, 0)
    # It needs nothing of the stage before.
    config = json.loads((second / "config.json").read_text())
    assert config["_name_or_path"] == str(QWEN2)
    everything = dict.fromkeys(("connector", "audio_tower", "audio_projector", "language_model"), 1e-5)
    joint, expected, layout = finish(tmp_path / "joint", {"from": str(second)}, everything)
    assert layout == "full"
    assert_same_logits(joint, expected, 0)
    official = export_official(load_checkpoint(joint), tmp_path / "official")
    golden = load_file(AV / "model.safetensors")
    exported = load_file(official / "model.safetensors")
    assert {k: v.shape for k, v in exported.items()} == {k: v.shape for k, v in golden.items()}
    assert_same_logits(official, expected, 0)
    ask = load_checkpoint(official)
    assert ask.modalities == ("text", "image", "video", "audio")


def test_a_full_result_answers(tmp_path, llm):
    from videollama2 import VideoLLaMA2

    folder, expected, layout = finish(tmp_path / "full", compose(llm), {"connector": 1e-3, "language_model": 1e-5})
    assert layout == "full"
    assert_same_logits(folder, expected, 0)
    model = VideoLLaMA2.from_pretrained(folder, device="cpu", dtype="float32")
    assert isinstance(model.ask("hello", max_new_tokens=3).text, str)
    # Stage 3 on it: LoRA on our own format.
    tuned, expected, layout = finish(
        tmp_path / "tuned", {"from": str(folder)}, {"connector": 1e-3, "language_model": LORA}
    )
    assert layout == "lora"
    assert load_checkpoint(tuned).kind == "ours-lora"
    assert_same_logits(tuned, expected, 1e-5)
    assert merge_checkpoint(tuned, tmp_path / "merged").form == "ours"


def test_lora_with_an_audio_tower_and_a_vision_tower(tmp_path):
    train = {"vision_tower": 1e-6, "audio_tower": 1e-5, "language_model": LORA}
    folder, expected, layout = finish(tmp_path / "lora", {"from": str(AV)}, train)
    assert layout == "lora"
    assert_same_logits(folder, expected, 1e-5)


def test_bf16_results_are_bf16_where_whole_and_fp32_where_small(tmp_path):
    whole, _, _ = finish(tmp_path / "a", {"from": str(MISTRAL)}, {"language_model": 1e-5}, precision="bf16")
    assert {t.dtype for t in load_file(whole / "model.safetensors").values()} == {torch.bfloat16}
    small, _, _ = finish(tmp_path / "b", {"from": str(MISTRAL)}, {"connector": 1e-5}, precision="bf16")
    assert {t.dtype for t in load_file(small / "mm_projector.safetensors").values()} == {torch.float32}


def test_qlora_trains_and_merges_onto_whole_weights(tmp_path):
    recipe = make(
        {"from": str(QWEN2)}, {"language_model": {"lr": 1e-2, "lora": {"r": 4, "quantize": "nf4"}}}, precision="bf16"
    )
    started = start.build(recipe)
    ids = torch.arange(5, 25)[None]
    learning = [p for pairs in parts.trained(started.parts).values() for _, p in pairs]
    optimizer = torch.optim.AdamW(learning, lr=1e-2)
    losses = []
    for _ in range(5):
        with torch.autocast("cpu", torch.bfloat16):
            loss = started.model(input_ids=ids, labels=ids).loss
        losses.append(float(loss))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert losses[-1] < losses[0] - 0.1
    result.write(started, recipe, tmp_path / "qlora")
    merged = merge_checkpoint(tmp_path / "qlora", tmp_path / "merged", dtype="float32")
    assert merged.weights_changed == 14
    with torch.no_grad():
        tuned = load_checkpoint(tmp_path / "merged").model(input_ids=ids, labels=ids).loss
        before = load_checkpoint(QWEN2).model(input_ids=ids, labels=ids).loss
    assert float(tuned) < float(before) - 0.1


def test_weights_given_by_name_are_the_ones_written(tmp_path):
    recipe = make({"from": str(MISTRAL)}, {"connector": 1e-3})
    started = start.build(recipe)
    given = [(name, torch.full_like(p, 0.25)) for name, p in started.parts["connector"]]
    result.write(started, recipe, tmp_path / "given", weights=iter(given))
    written = load_file(tmp_path / "given" / "mm_projector.safetensors")
    assert all(bool((tensor == 0.25).all()) for tensor in written.values())


def test_a_result_is_not_written_over_another_unless_told(tmp_path):
    recipe = make({"from": str(MISTRAL)}, {"connector": 1e-3})
    started = start.build(recipe)
    result.write(started, recipe, tmp_path / "r")
    with pytest.raises(CheckpointError, match="is there already"):
        result.write(started, recipe, tmp_path / "r")
    result.write(started, recipe, tmp_path / "r", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize("train", [{"connector": 1e-3}, {"language_model": 1e-5}, {"language_model": LORA}])
def test_a_full_disk_leaves_nothing(tmp_path, train):
    """No file may grow beyond 20 kB, which is what a full disk looks like to whoever writes."""
    import resource
    import signal

    recipe = make({"from": str(MISTRAL)}, train)
    started = start.build(recipe)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match="make room on the disk"):
            result.write(started, recipe, tmp_path / "r")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []
    # With room it is whole.
    result.write(started, recipe, tmp_path / "r")
    assert load_checkpoint(tmp_path / "r").model is not None


def test_nothing_is_trained_on_a_lora_but_the_whole(tmp_path, base):
    folder, _, _ = finish(tmp_path / "lora", {"from": str(base)}, {"language_model": LORA})
    with pytest.raises(CheckpointError, match="merge it first with `videollama2 merge`"):
        start.build(make({"from": str(folder)}, {"connector": 1e-3}))
    again, expected, layout = finish(tmp_path / "full", {"from": str(folder)}, {"language_model": 1e-5})
    assert layout == "full"
    assert_same_logits(again, expected, 0)
