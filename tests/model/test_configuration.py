"""Configs: the official flat files and ours, there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, CLIPVisionConfig, SiglipConfig

from videollama2.errors import CheckpointError, RequestError
from videollama2.model import register
from videollama2.model.audio.beats import BeatsConfig
from videollama2.model.configuration import CONFIG_CLASSES, VideoLLaMA2Config
from videollama2.model.presets import normalize_vision_config
from videollama2.model.vision import build_vision_tower

from .helpers import BACKBONES, CHECKPOINTS, GOLDEN, TEXT, VISION


def official(name: str) -> dict[str, Any]:
    return json.loads((GOLDEN / "checkpoints" / name / "config.json").read_text())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_every_official_key_is_found_again(name: str) -> None:
    flat = official(name)
    config = VideoLLaMA2Config.from_official(flat, VISION)
    for key, value in flat.items():
        if key in ("model_type", "_name_or_path", "torch_dtype", "transformers_version", "rope_theta"):
            continue
        if key == "sliding_window" and not flat.get("use_sliding_window", True):
            assert config.text_config.sliding_window is None  # transformers 5 says it so
            continue
        part = config if hasattr(config, key) and key not in TEXT else config.text_config
        assert getattr(part, key) == value, key
    assert config.text_config.rope_parameters["rope_theta"] == flat["rope_theta"]
    assert str(config.dtype) == "torch." + flat["torch_dtype"]
    assert config.official_model_type == flat["model_type"]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_the_official_form_is_written_back(name: str) -> None:
    flat = official(name)
    exported = VideoLLaMA2Config.from_official(flat, VISION).to_official()
    dropped = {"transformers_version", "sliding_window"}
    assert {k: exported.get(k, "absent") for k in flat if k not in dropped} == {
        k: v for k, v in flat.items() if k not in dropped
    }
    again = VideoLLaMA2Config.from_official(exported, VISION)
    assert again.text_config.to_dict() == VideoLLaMA2Config.from_official(flat, VISION).text_config.to_dict()


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_ours_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    register()
    config = VideoLLaMA2Config.from_official({**official(name), "mm_future_key": [1, 2]}, VISION)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is VideoLLaMA2Config
    before, after = config.to_dict(), loaded.to_dict()
    for volatile in ("_name_or_path", "transformers_version"):
        before.pop(volatile, None)
        after.pop(volatile, None)
    assert after == before
    assert loaded.mm_future_key == [1, 2]


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_auto_config_reads_official_folders(name: str) -> None:
    register()
    register()  # a second call changes nothing
    config = AutoConfig.from_pretrained(GOLDEN / "checkpoints" / name)
    assert type(config) is VideoLLaMA2Config
    assert config.hidden_size == 64
    assert config.vision_config is None  # the folder names a tower whose sizes it does not hold


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_has_an_official_model_type(backbone: str) -> None:
    flat = {**TEXT, **BACKBONES[backbone], "model_type": f"videollama2_{backbone}", "mm_projector_type": "linear"}
    config = VideoLLaMA2Config.from_official(flat, VISION)
    assert config.text_config.model_type == backbone
    assert config.text_config.hidden_size == config.hidden_size == TEXT["hidden_size"]
    assert CONFIG_CLASSES[flat["model_type"]](**flat).text_config.to_dict() == config.text_config.to_dict()


def test_the_oldest_model_type_is_mistral() -> None:
    config = VideoLLaMA2Config.from_official({**official(CHECKPOINTS[0]), "model_type": "videollama2"}, VISION)
    assert config.text_config.model_type == "mistral"
    assert config.official_model_type == "videollama2_mistral"


def test_published_towers_are_known_by_name() -> None:
    flat = official(CHECKPOINTS[2])
    flat |= {"mm_vision_tower": "google/siglip-so400m-patch14-384", "mm_audio_tower": "/some/BEATs_iter3_plus_AS2M.pt"}
    config = VideoLLaMA2Config.from_official(flat)
    assert (config.vision_config["tower"], config.vision_config["hidden_size"]) == ("siglip", 1152)
    assert BeatsConfig.from_mapping(config.audio_config) == BeatsConfig()
    config = VideoLLaMA2Config.from_official({**flat, "mm_vision_tower": "openai/clip-vit-large-patch14-336"})
    assert (config.vision_config["tower"], config.vision_config["image_size"]) == ("clip", 336)


def test_vision_configs_of_transformers_are_understood() -> None:
    assert normalize_vision_config(CLIPVisionConfig().to_dict())["tower"] == "clip"
    whole = SiglipConfig().to_dict()
    assert normalize_vision_config(whole)["hidden_size"] == 768
    del whole["vision_config"]["model_type"]
    assert normalize_vision_config(whole)["tower"] == "siglip"
    with pytest.raises(RequestError, match="dinov2"):
        build_vision_tower(normalize_vision_config({"model_type": "dinov2"}))


@pytest.mark.parametrize("model_type", ["llava", None, "videollama3"])
def test_other_models_are_refused_by_name(model_type: str | None) -> None:
    with pytest.raises(CheckpointError, match="videollama2_qwen2"):
        VideoLLaMA2Config.from_official({"model_type": model_type})


@pytest.mark.parametrize("wrong", [{"num_frames": 0}, {"num_frames": 33}, {"mm_vision_select_feature": "cls"}])
def test_wrong_values_are_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="choose"):
        VideoLLaMA2Config(text_config={**TEXT, "model_type": "llama"}, **wrong)


@pytest.mark.parametrize(
    ("backbone", "scaling"),
    [
        ("llama", {"type": "linear", "factor": 4.0}),
        ("llama", {"type": "dynamic", "factor": 2.0}),
        ("phi3", {"type": "su", "short_factor": [1.0, 1.5, 2.0], "long_factor": [2.0, 3.0, 4.0]}),
    ],
)
def test_scaled_positions_keep_the_official_form(backbone: str, scaling: dict[str, Any]) -> None:
    """The official code's transformers takes these fields and no others."""
    text = {k: v for k, v in TEXT.items() if k != "model_type"} | {"original_max_position_embeddings": 64}
    flat = {**text, "model_type": f"videollama2_{backbone}", "rope_theta": 1e4, "rope_scaling": scaling}
    config = VideoLLaMA2Config.from_official(flat)
    assert config.text_config.rope_parameters["rope_type"] == ("longrope" if backbone == "phi3" else scaling["type"])
    assert config.to_official()["rope_scaling"] == scaling
