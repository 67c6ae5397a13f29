"""Recipes: those of the package are sound, changes and grounds do what they say, and every mistake names its key."""

from __future__ import annotations

import dataclasses

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from videollama2.errors import RequestError
from videollama2.training import recipe as recipes

MINIMAL = {"name": "mine", "model": {"from": "FOLDER"}, "train": {"connector": 1e-3}}
STAGES = ("video-1", "video-2", "video-2-lora")


def write(folder, file="mine.yaml", **fields):
    path = folder / file
    path.write_text(yaml.safe_dump({**MINIMAL, **fields}))
    return path


def test_every_stage_of_every_family_is_there():
    names = recipes.names()
    for family in ("videollama2-7b", "videollama2-7b-16f", "videollama2-8x7b", "videollama2-72b", "videollama2.1-7b"):
        assert {f"{family}/{stage}" for stage in STAGES} <= set(names), family
    assert {f"videollama2.1-7b-av/{stage}" for stage in ("audio-1", "audio-2", "joint")} <= set(names)
    assert {f"tiny/{stage}" for stage in (*STAGES, "video-2-qlora", "audio-1", "audio-2", "joint")} <= set(names)


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_of_the_package_loads_and_survives_its_own_text(name, tmp_path):
    recipe = recipes.load(name)
    assert recipe.name == name
    assert recipe.about.endswith(".")
    path = tmp_path / "again.yaml"
    path.write_text(recipes.to_yaml(recipe))
    assert recipes.load(path) == recipe
    assert "vision_tower" not in recipe.train
    lines = (recipes.RECIPES / f"{name}.yaml").read_text().splitlines()
    assert len(lines) <= 30


def test_official_numbers():
    """Learning rates, batches, epochs and schedule of the official scripts (paper, appendix; scripts/)."""
    rates = {
        "video-1": ({"connector": 1e-3}, 256, 1),
        "video-2": ({"connector": 2e-5, "language_model": 2e-5}, 128, 1),
        "audio-1": ({"audio_projector": 1e-3}, 1024, 1),
        "audio-2": ({"audio_projector": 2e-5, "audio_tower": 2e-5}, 128, 2),
        "joint": (dict.fromkeys(("connector", "audio_tower", "audio_projector", "language_model"), 2e-5), 128, 2),
    }
    for stage, (train, samples, epochs) in rates.items():
        family = "videollama2.1-7b" if stage.startswith("video") else "videollama2.1-7b-av"
        recipe = recipes.load(f"{family}/{stage}")
        assert {part: how.lr for part, how in recipe.train.items()} == train
        assert (recipe.batch.samples, recipe.schedule.epochs) == (samples, epochs)
        assert (recipe.schedule.kind, recipe.schedule.warmup_ratio, recipe.schedule.weight_decay) == ("cosine", 0.03, 0)
        assert recipe.precision == "bf16"
        assert recipe.gradient_checkpointing
        assert recipe.labels == ("plain" if stage.endswith("1") else "chat")
        assert recipe.pad_frames == (stage in ("video-2", "joint"))
        assert recipe.sound_of_video == (stage == "joint")
    lora = recipes.load("videollama2.1-7b/video-2-lora").lora
    assert (lora.r, lora.alpha, lora.dropout, lora.quantize) == (128, 256, 0.05, None)
    assert recipes.load("videollama2.1-7b/video-2-qlora").quantize == "nf4"


def test_words_change_single_values():
    recipe = recipes.load(
        "videollama2.1-7b/video-2",
        [
            "schedule.epochs=2",
            "train.connector=1e-3",
            "train.language_model.lora.r=8",
            "data.0.path=rows.json",
            "data.0.folder=media",
            "data.1.path=more.jsonl",
            "data.1.weight=0.5",
            "save.folder=out/NAME",
            "cache_features=",
        ],
    )
    assert recipe.schedule.epochs == 2.0
    assert recipe.train["connector"].lr == 1e-3
    assert (recipe.train["language_model"].lr, recipe.lora.r, recipe.lora.alpha) == (2e-5, 8, 256.0)
    assert [(d.path, d.folder, d.weight) for d in recipe.data] == [
        ("rows.json", "media", 1.0),
        ("more.jsonl", None, 0.5),
    ]
    assert recipe.folder.as_posix() == "out/videollama2.1-7b/video-2"
    assert recipes.load("videollama2.1-7b/video-2", ["train.language_model=null"]).train.keys() == {"connector"}


def test_a_recipe_stands_on_another(tmp_path):
    write(tmp_path, "ground.yaml", batch={"samples": 8, "micro": 2}, seed=7)
    upper = tmp_path / "upper.yaml"
    upper.write_text("extends: ground.yaml\nbatch: {micro: 4}\ntrain: {connector: null, language_model: 1.0e-4}\n")
    recipe = recipes.load(upper)
    assert (recipe.batch.samples, recipe.batch.micro, recipe.seed) == (8, 4, 7)
    assert recipe.train.keys() == {"language_model"}
    third = tmp_path / "third.yaml"
    third.write_text("extends: upper.yaml\n")
    with pytest.raises(RequestError, match="extends one that stands alone"):
        recipes.load(third)


MISTAKES = [
    ({"schedul": {}}, r"unknown key schedul \(did you mean schedule\?\)"),
    ({"schedule": {"warmup_ration": 0.1}}, r"schedule\.warmup_ration \(did you mean schedule\.warmup_ratio\?\)"),
    ({"batch": {"samples": "many"}}, r"batch\.samples is 'many'; give a whole number"),
    ({"batch": {"samples": 2.5}}, r"batch\.samples is 2\.5; give a whole number"),
    ({"batch": {"samples": 2, "micro": 4}}, "choose micro <= samples"),
    ({"batch": {"packing": "yes please"}}, r"batch\.packing is 'yes please'; give true or false"),
    ({"schedule": {"epochs": 0}}, r"schedule\.epochs is 0\.0; choose a number above 0"),
    ({"schedule": {"epochs": float("nan")}}, r"schedule\.epochs is nan"),
    ({"schedule": {"warmup_ratio": 3}}, r"schedule\.warmup_ratio is 3\.0; choose a number from 0 to 1"),
    ({"schedule": {"betas": [0.9]}}, r"schedule\.betas has 1 values; give 2"),
    ({"schedule": {"kind": "cosin"}}, r"schedule\.kind is 'cosin' \(did you mean cosine\?\)"),
    ({"precision": "fp16"}, r"precision is 'fp16'.*fp32, bf16, bf16-pure"),
    ({"parallel": "zero4"}, r"parallel is 'zero4' \(did you mean zero3\?\)"),
    ({"labels": "chats"}, r"did you mean chat\?"),
    ({"num_frames": 33}, "num_frames is 33; choose a number from 1 to 32"),
    ({"train": {"conector": 1e-3}}, r"train\.conector is no part of the model \(did you mean connector\?\)"),
    ({"train": {"connector": "fast"}}, r"train\.connector is 'fast'; give a number"),
    ({"train": {"connector": 0}}, r"train\.connector: lr is 0\.0; choose a number between 0 and 1"),
    ({"train": {"connector": {"lr": 1e-3, "lora": {}}}}, "LoRA is for the language model's linear layers only"),
    (
        {"train": {"language_model": {"lr": 1e-3, "lora": {"rank": 4}}}},
        r"unknown key train\.language_model\.lora\.rank",
    ),
    ({"train": {"language_model": {"lr": 1e-3, "lora": {"quantize": "int4"}}}}, "choose one of nf4"),
    ({"train": {}}, "nothing would be learned"),
    ({"model": {}}, "give exactly one"),
    ({"model": {"from": "A", "compose": {"language_model": "B"}}}, "give exactly one"),
    ({"model": {"from": "A", "connector_wieghts": "x"}}, r"did you mean model\.connector_weights\?"),
    ({"data": "rows.json"}, "data is 'rows.json'; give a list"),
    ({"data": [{"path": "a", "weight": -1}]}, r"data\.weight is -1\.0"),
    ({"data": [{"folder": "a"}]}, r"data\.0\.path is missing"),
    ({"name": "../../etc"}, "use letters"),
    ({"cache_features": "f", "train": {"vision_tower": 1e-5}}, "features of frozen towers"),
]


@pytest.mark.parametrize(("fields", "message"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_names_its_key_and_the_file(fields, message, tmp_path):
    path = write(tmp_path, **fields)
    with pytest.raises(RequestError, match=message) as caught:
        recipes.load(path)
    assert str(path) in str(caught.value)


def test_4_bit_weights_are_not_sharded(tmp_path):
    with pytest.raises(RequestError, match="use ddp or zero2"):
        recipes.load("tiny/video-2-qlora", ["parallel=fsdp2"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("schedule.epochs", "is not key=value"),
        ("=2", "is not key=value"),
        ("shedule.epochs=2", r"did you mean schedule\?"),
        ("data.5.path=x", "is no place in a list"),
        ("schedule={", "not valid YAML"),
    ],
)
def test_wrong_words(word, message):
    with pytest.raises(RequestError, match=message):
        recipes.load("videollama2.1-7b/video-2", ["data.0.path=a.json", word])


def test_unknown_recipes_and_files_that_are_none(tmp_path):
    with pytest.raises(RequestError, match=r"did you mean videollama2\.1-7b/video-2"):
        recipes.load("videollama2.1-7b/vidio-2")
    with pytest.raises(RequestError, match="There is no recipe file"):
        recipes.load(tmp_path / "none.yaml")
    for text, message in (("- a\n", "no recipe"), ("a: [", "not valid YAML"), ("seed: 1\nseed: 2\n", "twice")):
        path = tmp_path / "bad.yaml"
        path.write_text(text)
        with pytest.raises(RequestError, match=message):
            recipes.load(path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RequestError, match="cannot be read"):
        recipes.load(tmp_path / "bytes.yaml")


def test_a_recipe_cannot_be_changed_afterwards():
    recipe = recipes.from_dict(MINIMAL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 1


@given(
    samples=st.integers(1, 10**6),
    epochs=st.floats(1e-3, 1e3),
    lr=st.floats(1e-9, 0.5),
    seed=st.integers(0, 2**63 - 1),
    precision=st.sampled_from(recipes.PRECISIONS),
)
def test_any_recipe_survives_plain_data(samples, epochs, lr, seed, precision):
    recipe = recipes.from_dict(
        {
            "name": "x",
            "model": {"from": "F"},
            "train": {"connector": lr},
            "batch": {"samples": samples, "micro": 1},
            "schedule": {"epochs": epochs},
            "seed": seed,
            "precision": precision,
        }
    )
    assert recipes.from_dict(yaml.safe_load(recipes.to_yaml(recipe))) == recipe
