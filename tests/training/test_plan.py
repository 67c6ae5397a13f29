"""The dry run against reality: bytes that torch holds, gradients and moments of a real step, steps of a real loader."""

from __future__ import annotations

import json
import re
from functools import cache

import pytest
import torch

from training.starting_points import AV, MISTRAL, QWEN2, compose, make, write_plain_llm
from videollama2.checkpoints import load
from videollama2.errors import CheckpointError, MissingFilesError, RequestError
from videollama2.training import engine, parts, plan, start
from videollama2.training import recipe as recipes
from videollama2.training.memory import activation_bytes, memory_of, nf4_bytes
from videollama2.training.processes import Processes

GOLDEN = MISTRAL.parents[1]
LORA = {"lr": 1e-4, "lora": {"r": 4, "dropout": 0.0}}
RUNS = {
    "connector": {"connector": 1e-3},
    "full": {"connector": 1e-3, "language_model": 1e-5},
    "lora": {"connector": 1e-3, "language_model": LORA},
    "dora": {"language_model": {"lr": 1e-4, "lora": {"r": 4, "dora": True}}},
    "audio": {"audio_projector": 1e-3, "audio_tower": 1e-5},
    "vision": {"vision_tower": 1e-6},
}


@pytest.fixture(autouse=True)
def golden_folder(monkeypatch):
    """The golden configs name their towers relative to this folder."""
    monkeypatch.chdir(GOLDEN)
    monkeypatch.delenv("WORLD_SIZE", raising=False)


def num_bytes(tensors):
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("precision", recipes.PRECISIONS)
@pytest.mark.parametrize("train", RUNS.values(), ids=RUNS)
def test_weights_gradients_and_moments_are_counted_exactly(train, precision):
    recipe = make({"from": str(AV)}, train, precision=precision)
    planned = plan.plan(recipe)
    started = start.build(recipe)
    weights = [p for pairs in started.parts.values() for _, p in pairs]
    learning = [p for p in weights if p.requires_grad]
    counted = {
        part: (sum(p.numel() for _, p in pairs), sum(p.numel() for _, p in pairs if p.requires_grad))
        for part, pairs in started.parts.items()
    }
    assert planned.parameters == counted
    assert planned.memory.weights == num_bytes(weights)
    optimizer = torch.optim.AdamW(parts_groups(started, recipe))
    for parameter in learning:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert planned.memory.gradients == num_bytes(p.grad for p in learning)
    held = [tensor for state in optimizer.state.values() for tensor in state.values()]
    assert planned.memory.optimizer == num_bytes(held)


def parts_groups(started, recipe):
    return [{"params": g["params"], "lr": g["lr"]} for g in parts.parameter_groups(started.parts, recipe)]


def test_4_bit_weights_are_counted_exactly():
    recipe = make(
        {"from": str(QWEN2)}, {"language_model": {"lr": 1e-4, "lora": {"r": 4, "quantize": "nf4"}}}, precision="bf16"
    )
    planned = plan.plan(recipe)
    total = 0
    for _, parameter in (pair for pairs in start.build(recipe).parts.values() for pair in pairs):
        total += parameter.numel() * parameter.element_size()
        if (state := getattr(parameter, "quant_state", None)) is not None:
            total += num_bytes([state.absmax, state.code, state.state2.absmax, state.state2.code, state.offset])
    assert planned.memory.weights == total
    # Numbers of parameters are those of the model, not of its packed form.
    assert (
        planned.parameters["language_model"][0]
        == plan.plan(make({"from": str(QWEN2)}, {"language_model": LORA})).parameters["language_model"][0]
    )


def test_processes_share_what_their_strategy_shares():
    train, model = {"connector": 1e-3, "language_model": 1e-5}, {"from": str(AV)}
    alone = plan.plan(make(model, train)).memory
    ddp = plan.plan(make(model, train, parallel="ddp"), processes=4).memory
    assert (ddp.weights, ddp.gradients, ddp.optimizer) == (alone.weights, 2 * alone.gradients, alone.optimizer)
    fsdp = plan.plan(make(model, train, parallel="fsdp2"), processes=4).memory
    zero2 = plan.plan(make(model, train, parallel="zero2"), processes=4).memory
    zero3 = plan.plan(make(model, train, parallel="zero3"), processes=4).memory
    for kind in ("weights", "gradients", "optimizer"):
        whole = getattr(alone, kind)
        # A tensor with fewer rows than processes, or rows that do not divide, costs the first process a little more.
        assert whole / 4 <= getattr(fsdp, kind) <= whole / 4 * 1.15, kind
    assert alone.weights / 4 <= zero3.weights <= alone.weights / 4 * 1.01
    # Masters in fp32 beside two moments.
    assert zero3.optimizer == zero2.optimizer == pytest.approx(alone.optimizer / 4 * 1.5, rel=0.01)
    assert zero2.weights == alone.weights
    assert fsdp.gathered > 0
    assert alone.gathered == 0


@pytest.fixture
def four_processes():
    """The first of four processes whose messages go nowhere: enough to see what each would hold."""
    import torch.distributed as dist
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=4)
    yield Processes(rank=0, size=4)
    dist.destroy_process_group()


@pytest.mark.parametrize("train", [RUNS["full"], RUNS["lora"]], ids=["full", "lora"])
def test_slices_of_fsdp2_are_counted_exactly(train, four_processes):
    recipe = make({"from": str(AV)}, train, parallel="fsdp2", precision="bf16", gradient_checkpointing=False)
    planned = plan.plan(recipe, processes=4).memory
    strategy = engine.share_model(recipe, start.build(recipe), four_processes)
    weights = list(strategy.run.parameters())
    learning = [p for p in weights if p.requires_grad]
    for parameter in learning:
        parameter.grad = torch.ones_like(parameter)
    strategy.optimizer.step()
    held = [tensor for state in strategy.optimizer.state.values() for tensor in state.values()]
    assert planned.weights == num_bytes(map(local, weights))
    assert planned.gradients == num_bytes(local(p.grad) for p in learning)
    assert planned.optimizer == num_bytes(map(local, held))


def local(tensor):
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def saved_bytes(started, recipe, length):
    """What autograd keeps for the backward pass of a batch of text and video, without the weights themselves."""
    weights = {p.untyped_storage().data_ptr() for _, p in (x for pairs in started.parts.values() for x in pairs)}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    config, micro = started.config, recipe.batch.micro
    size = config.vision_config["image_size"]
    frames = micro * config.num_frames
    ids = torch.randint(5, 800, (micro, length))
    ids[:, 3] = -201
    batch = {
        "input_ids": ids,
        "labels": torch.where(ids < 0, -100, ids),
        "attention_mask": torch.ones_like(ids),
        "pixel_values": torch.randn(frames, 3, size, size),
        "num_frames": torch.full((micro,), config.num_frames),
    }
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = started.model(**batch).loss
    return sum(kept.values()), loss


@pytest.mark.parametrize("train", [RUNS["connector"], RUNS["full"], RUNS["lora"]], ids=["connector", "full", "lora"])
@pytest.mark.parametrize("micro", [1, 4])
def test_activations_are_estimated_within_a_factor_of_three(train, micro):
    recipe = make(
        {"from": str(MISTRAL)},
        train,
        max_tokens=400,
        batch={"samples": micro, "micro": micro},
        gradient_checkpointing=False,
    )
    started = start.build(recipe)
    started.model.train()
    # 8 frames of 6x6 patches are 80 positions.
    kept, _ = saved_bytes(started, recipe, 321)
    assert 1 / 3 <= activation_bytes(recipe, started.config) / kept <= 3


def test_gradient_checkpointing_is_seen():
    recipe = make({"from": str(MISTRAL)}, RUNS["full"])
    config = start.build(recipe).config
    without = make({"from": str(MISTRAL)}, RUNS["full"], gradient_checkpointing=False)
    assert activation_bytes(recipe, config) < activation_bytes(without, config)


BUILD_EMPTY = load.build_empty


@cache
def empty(key):
    from videollama2.model.configuration import VideoLLaMA2Config

    return BUILD_EMPTY(VideoLLaMA2Config.from_dict(json.loads(key)))


def test_every_recipe_of_the_package_fits_the_cards_it_names(monkeypatch):
    monkeypatch.setattr(load, "build_empty", lambda config: empty(json.dumps(config.to_dict(), default=str)))
    for name in recipes.names():
        if name.startswith("tiny/"):
            continue
        recipe = recipes.load(name)
        if str(recipe.model.from_).startswith("runs/"):
            recipe = recipes.load(name, ["model.from=DAMO-NLP-SG/VideoLLaMA2.1-7B-AV"])
        planned = plan.plan(recipe)
        cards = re.search(r" (\d+) x (\d+) GB\.$", recipe.about)
        assert cards is not None, name
        assert planned.processes == int(cards[1]), name
        # A tenth of a card goes to the driver and to fragments.
        assert planned.memory.total < 0.9e9 * int(cards[2]), name
        assert "sizes known by name" in planned.notes[0]


def test_released_sizes():
    """Parameters as the repositories and the paper state them."""
    planned = plan.plan(recipes.load("videollama2.1-7b/video-2"))
    assert planned.parameters["connector"] == (376_889_248, 376_889_248)
    assert planned.parameters["language_model"][0] == 7_615_616_512
    av = plan.plan(recipes.load("videollama2.1-7b-av/joint", ["model.from=DAMO-NLP-SG/VideoLLaMA2.1-7B-AV"]))
    assert av.parameters["audio_tower"][0] == pytest.approx(90.7e6, rel=0.01)
    mistral = plan.plan(recipes.load("videollama2-7b/video-1"))
    assert mistral.parameters["language_model"] == (7_241_732_096, 0)


def test_steps_are_those_of_the_loader(tmp_path):
    rows = [
        {"id": n, "conversations": [{"from": "human", "value": f"say {n}"}, {"from": "gpt", "value": "so " * (n + 1)}]}
        for n in range(21)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    recipe = make(
        {"from": str(QWEN2)},
        {"connector": 1e-3},
        data=[{"path": str(tmp_path / "rows.json"), "weight": 2.0}],
        batch={"samples": 8, "micro": 2},
        schedule={"epochs": 3, "warmup_ratio": 0.1},
        workers=0,
    )
    planned = plan.plan(recipe)
    assert (planned.rows, planned.steps, planned.warmup_steps, planned.micro_batches) == (42, 18, 2, 4)
    from videollama2.training.data.loader import build_loader

    started = start.build(recipe)
    loader = build_loader(recipe, started.processor, started.config)
    assert loader.num_steps == planned.steps
    lengths = [step.num_tokens / step.num_samples for step in loader]
    assert planned.positions_per_row == pytest.approx(sum(lengths) / len(lengths), rel=0.15)
    assert plan.plan(make({"from": str(QWEN2)}, {"connector": 1e-3})).steps is None


def test_the_table_and_the_plain_data_say_the_same(tmp_path):
    llm = write_plain_llm(tmp_path / "llm")
    planned = plan.plan(make(compose(llm), {"connector": 1e-3}, schedule={"max_steps": 7}))
    text = planned.render()
    assert f"{planned.parameters['connector'][1]:,}" in text
    assert "steps            7 (1 of warm-up)" in text
    data = json.loads(json.dumps(planned.to_dict()))
    assert data["memory"]["total"] == planned.memory.total
    assert data["parameters"]["connector"]["trained"] == planned.parameters["connector"][1]
    assert any("names no data" in note for note in planned.notes)


def test_experts_are_said_to_stay():
    planned = plan.plan(recipes.load("videollama2-8x7b/video-2-lora"))
    assert any("experts" in note for note in planned.notes)


def test_what_cannot_be_planned(tmp_path):
    with pytest.raises(RequestError, match="has no audio_tower"):
        plan.plan(make({"from": str(MISTRAL)}, {"audio_tower": 1e-5}))
    with pytest.raises(MissingFilesError, match="There is nothing at"):
        plan.plan(recipes.load("tiny/video-1"))
    with pytest.raises(CheckpointError, match="plain language model"):
        plan.plan(make({"from": str(write_plain_llm(tmp_path / "llm"))}, {"connector": 1e-3}))
    with pytest.raises(RequestError, match=r"rows\.json"):
        plan.plan(make({"from": str(MISTRAL)}, {"connector": 1e-3}, data=[{"path": str(tmp_path / "rows.json")}]))


def test_nf4_of_odd_sizes():
    assert nf4_bytes(64) == 32 + 1 + 4 + 4 * 273
    assert nf4_bytes(65) == 33 + 2 + 4 + 4 * 273
    assert (
        memory_of(
            [],
            make({"from": "x"}, {"connector": 1e-3}),
            start.build(make({"from": str(MISTRAL)}, {"connector": 1e-3})).config,
            1,
        ).weights
        == 0
    )
