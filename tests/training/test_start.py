"""Starting points: what is loaded, what begins fresh, what learns, and what is refused."""

from __future__ import annotations

import shutil

import pytest
import torch
from safetensors.torch import load_file

from training.starting_points import AV, BEATS, MISTRAL, QWEN2, compose, make, write_base, write_plain_llm
from videollama2.checkpoints import load_checkpoint
from videollama2.errors import CheckpointError, MissingDependencyError, MissingFilesError, RequestError
from videollama2.training import parts, start

GOLDEN = MISTRAL.parents[1]


@pytest.fixture(autouse=True)
def golden_folder(monkeypatch):
    """The golden configs name their towers relative to this folder."""
    monkeypatch.chdir(GOLDEN)


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    return write_plain_llm(tmp_path_factory.mktemp("start") / "llm")


@pytest.fixture(scope="module")
def base(llm):
    return write_base(llm.parent / "base", llm)


def learning(started):
    return {part: len(pairs) for part, pairs in parts.trained(started.parts).items()}


def test_a_full_checkpoint_and_its_freeze_set():
    started = start.build(make({"from": str(MISTRAL)}, {"connector": 1e-3}))
    assert learning(started) == {"connector": 113}
    assert set(started.parts) == {"vision_tower", "connector", "language_model"}
    names = [name for pairs in started.parts.values() for name, _ in pairs]
    assert sorted(names) == sorted(name for name, _ in started.model.named_parameters())
    assert started.processor.num_frames == 8
    assert (started.base, started.own) == (str(MISTRAL), frozenset())


def test_bf16_keeps_masters_of_what_learns():
    for precision, frozen, trained in (
        ("fp32", torch.float32, torch.float32),
        ("bf16", torch.bfloat16, torch.float32),
        ("bf16-pure", torch.bfloat16, torch.bfloat16),
    ):
        train = {"connector": 1e-3, "language_model": {"lr": 1e-4, "lora": {"r": 2}}}
        started = start.build(make({"from": str(MISTRAL)}, train, precision=precision))
        for pairs in started.parts.values():
            assert {p.dtype for _, p in pairs if p.requires_grad} <= {trained}
            assert {p.dtype for _, p in pairs if not p.requires_grad} <= {frozen}


def test_a_base_checkpoint(base, llm):
    started = start.build(make({"from": str(base)}, {"connector": 1e-3, "language_model": 1e-5}))
    expected = load_checkpoint(MISTRAL).model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in started.model.state_dict().items())
    # What a result would lie on is the plain language model, and it must bring the connector.
    assert (started.base, started.own) == (str(llm), {"connector"})


def test_plain_language_model_and_tower_with_a_fresh_connector(llm):
    recipe = make(compose(llm), {"connector": 1e-3})
    first, second = start.build(recipe), start.build(recipe)
    other = start.build(make(compose(llm), {"connector": 1e-3}, seed=7))
    assert any("begins with fresh weights (seed 42)" in note for note in first.notes)
    assert first.own == {"connector"}
    expected = load_checkpoint(MISTRAL).model.state_dict()
    a, b, c = (s.model.state_dict() for s in (first, second, other))
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name
        if "mm_projector" not in name:
            assert torch.equal(tensor, expected[name]), name
    weight = "model.mm_projector.readout.0.weight"
    assert not torch.equal(a[weight], c[weight])
    assert first.config.num_frames == 8


def test_the_connector_of_stage_1(llm, base):
    model = compose(llm) | {"connector_weights": str(base)}
    started = start.build(make(model, {"language_model": 1e-5}))
    expected = load_checkpoint(MISTRAL).model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in started.model.state_dict().items())
    assert started.own == {"connector"}


def test_ears_for_a_model_without(tmp_path):
    started = start.build(make({"from": str(QWEN2), "audio_tower": str(BEATS)}, {"audio_projector": 1e-3}))
    assert learning(started) == {"audio_projector": 4}
    assert started.own == {"audio_projector"}
    gain = torch.load(BEATS, weights_only=True)["model"]["encoder.pos_conv.0.weight_g"]
    state = started.model.state_dict()
    assert torch.equal(state["model.audio_tower.encoder.pos_conv.0.parametrizations.weight.original0"], gain)
    assert started.processor.audio_spec.kind == "beats-fbank"
    # The projector of another run, in place of the fresh one.
    shutil.copyfile(AV / "model.safetensors", tmp_path / "whole.safetensors")
    weights = {k: v for k, v in load_file(AV / "model.safetensors").items() if ".mm_projector_a." in k}
    torch.save(weights, tmp_path / "mm_projector_a.bin")
    model = {"from": str(QWEN2), "audio_tower": str(BEATS), "audio_projector_weights": str(tmp_path)}
    state = start.build(make(model, {"audio_projector": 1e-3})).model.state_dict()
    assert torch.equal(state["model.mm_projector_a.0.weight"], weights["model.mm_projector_a.0.weight"])


def test_the_recipes_number_of_frames():
    started = start.build(make({"from": str(MISTRAL)}, {"connector": 1e-3}, num_frames=4))
    assert (started.config.num_frames, started.processor.num_frames) == (4, 4)


def test_lora_starts_as_no_change_and_leaves_towers_and_head_alone():
    train = {"connector": 1e-3, "language_model": {"lr": 1e-4, "lora": {"r": 4, "dropout": 0.0}}}
    started = start.build(make({"from": str(AV)}, train))
    factors = [name for name, p in started.parts["language_model"] if p.requires_grad]
    assert len(factors) == 2 * 7 * 2
    assert all(".lora_" in name and "layers" in name for name in factors)
    assert learning(started)["connector"] == 113
    assert "audio_tower" not in learning(started)
    plain = load_checkpoint(AV).model
    ids = torch.arange(5, 25)[None]
    started.model.eval()
    with torch.no_grad():
        assert torch.equal(started.model(input_ids=ids).logits, plain(input_ids=ids).logits)


def test_qlora_keeps_the_language_model_in_4_bits():
    import bitsandbytes as bnb

    train = {"language_model": {"lr": 1e-4, "lora": {"r": 4, "quantize": "nf4"}}}
    started = start.build(make({"from": str(QWEN2)}, train, precision="bf16"))
    core = start.core_of(started.model)
    layer = core.model.language_model.layers[0].mlp.up_proj
    assert isinstance(layer.base_layer, bnb.nn.Linear4bit)
    assert layer.base_layer.weight.quant_type == "nf4"
    assert layer.base_layer.weight.quant_state.nested
    assert core.lm_head.weight.dtype == torch.bfloat16
    assert {p.dtype for _, p in started.parts["language_model"] if p.requires_grad} == {torch.float32}


def test_groups_have_each_parts_rate_and_decay_only_where_it_belongs():
    recipe = make({"from": str(AV)}, {"connector": 1e-3, "audio_tower": 1e-5}, schedule={"weight_decay": 0.1})
    started = start.build(recipe)
    groups = parts.parameter_groups(started.parts, recipe)
    assert {(g["part"], g["lr"], g["weight_decay"]) for g in groups} == {
        ("connector", 1e-3, 0.1),
        ("connector", 1e-3, 0.0),
        ("audio_tower", 1e-5, 0.1),
        ("audio_tower", 1e-5, 0.0),
    }
    undecayed = [name for g in groups if g["weight_decay"] == 0.0 for name in g["names"]]
    assert "model.mm_projector.s1.b1.conv1.bn.weight" in undecayed
    assert all("bias" in n or "norm" in n or ".bn." in n or "grep_a" in n for n in undecayed)
    names = [name for g in groups for name in g["names"]]
    assert len(names) == len(set(names)) == sum(learning(started).values())


def test_wrapped_names_are_plain_names():
    name = "module.base_model.model.model.language_model.layers.0.mlp.up_proj.base_layer.weight"
    assert parts.plain_name(name) == "model.language_model.layers.0.mlp.up_proj.weight"
    assert parts.part_of("model.mm_projector_a.0.weight") == "audio_projector"
    assert parts.part_of("lm_head.weight") == "language_model"
    with pytest.raises(RequestError, match="belongs to none"):
        parts.part_of("classifier.weight")


@pytest.mark.parametrize(
    ("model", "train", "error", "message"),
    [
        ({"from": str(MISTRAL)}, {"audio_tower": 1e-5}, RequestError, r"has no audio_tower.*give model\.audio_tower"),
        ({"from": "nowhere/at/all"}, {"connector": 1e-3}, MissingFilesError, "There is nothing at"),
        ({"from": str(BEATS)}, {"connector": 1e-3}, CheckpointError, r"give it as model\.audio_tower"),
        ({"from": "LLM"}, {"connector": 1e-3}, CheckpointError, "plain language model"),
        ({"compose": {"language_model": str(MISTRAL)}}, {"connector": 1e-3}, CheckpointError, "start `from` it"),
        ({"compose": {"language_model": "LLM"}}, {"connector": 1e-3}, RequestError, "has no connector"),
        ({"from": str(QWEN2), "connector_weights": "BASE"}, {"connector": 1e-3}, CheckpointError, "wrong shape"),
        ({"from": str(MISTRAL), "connector_weights": str(BEATS)}, {"connector": 1e-3}, CheckpointError, "no weight of"),
        (
            {"from": str(MISTRAL), "connector_weights": "LLM"},
            {"connector": 1e-3},
            MissingFilesError,
            "mm_projector file",
        ),
        ({"from": str(MISTRAL), "audio_tower": "gone.pt"}, {"connector": 1e-3}, MissingFilesError, r"gone\.pt"),
        (
            {"from": str(MISTRAL), "audio_tower": str(MISTRAL / "model.safetensors")},
            {"connector": 1e-3},
            CheckpointError,
            "no BEATs",
        ),
    ],
)
def test_what_cannot_be_started_from(model, train, error, message, llm, base):
    words = {"LLM": str(llm), "BASE": str(base)}

    def filled(value):
        return {k: filled(v) for k, v in value.items()} if isinstance(value, dict) else words.get(value, value)

    with pytest.raises(error, match=message):
        start.build(make(filled(model), train))


@pytest.mark.parametrize(
    ("package", "train", "fields", "hint"),
    [
        ("peft", {"language_model": {"lr": 1e-4, "lora": {}}}, {}, r"videollama2\[train\]"),
        ("bitsandbytes", {"language_model": {"lr": 1e-4, "lora": {"quantize": "nf4"}}}, {}, r"videollama2\[quant\]"),
        ("deepspeed", {"connector": 1e-3}, {"parallel": "zero2"}, r"videollama2\[deepspeed\]"),
    ],
)
def test_a_missing_package_is_named_before_anything_is_loaded(package, train, fields, hint, monkeypatch):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == package else real(name, *a))
    with pytest.raises(MissingDependencyError, match=hint):
        start.build(make({"from": "nowhere"}, train, **fields))
