"""CLIP and SigLIP towers against transformers' own models."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel

from videollama2.errors import RequestError
from videollama2.model.vision import VisionTower, build_vision_tower, vision_tower_names

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "image_size": 31,  # not a multiple of the patch: what is left over is dropped
    "patch_size": 7,
}
MODELS: dict[str, Any] = {
    "clip": (CLIPVisionConfig, CLIPVisionModel),
    "siglip": (SiglipVisionConfig, SiglipVisionModel),
}


def pair(name: str, **settings: Any) -> tuple[VisionTower, Any]:
    torch.manual_seed(0)
    config_class, model_class = MODELS[name]
    reference = model_class(config_class(**SIZES)).eval()
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.normal_(std=0.2)
    tower = build_vision_tower({"tower": name, **SIZES, **settings}).eval()
    report = tower.load_state_dict(reference.state_dict(), strict=False)
    assert report.missing_keys == []
    return tower, reference


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("select_layer", [-1, -2, -4, 0, 2])
@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
def test_selected_hidden_state(name: str, select_layer: int, attn_implementation: str) -> None:
    tower, reference = pair(name, select_layer=select_layer, attn_implementation=attn_implementation)
    pixels = torch.randn(11, 3, 31, 31)  # more than one chunk
    # What enters the first layer and leaves each: the last is not normalised, as in the official transformers 4.
    hidden: list[torch.Tensor] = []
    layers = reference.encoder.layers
    layers[0].register_forward_pre_hook(lambda module, inputs: hidden.append(inputs[0]))
    for layer in layers:
        layer.register_forward_hook(lambda module, inputs, output: hidden.append(output))
    with torch.no_grad():
        reference(pixels)
        grid = tower(pixels).grid
    assert grid.shape == (11, 4, 4, 24)
    expected = hidden[select_layer][:, 1:] if name == "clip" else hidden[select_layer]
    torch.testing.assert_close(grid.flatten(1, 2), expected, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("name", MODELS)
def test_unused_layers_are_built_only_on_request(name: str) -> None:
    tower, _ = pair(name)
    assert len(tower.encoder.layers) == 3
    whole, _ = pair(name, keep_unused_layers=True)
    assert len(whole.encoder.layers) == 4
    pixels = torch.randn(2, 3, 31, 31)
    torch.testing.assert_close(whole(pixels).grid, tower(pixels).grid)


@pytest.mark.parametrize("name", MODELS)
def test_bf16_stays_close_to_fp32(name: str) -> None:
    tower, _ = pair(name)
    pixels = torch.randn(2, 3, 31, 31)
    with torch.no_grad():
        exact = tower(pixels).grid
        rough = tower.bfloat16()(pixels.bfloat16()).grid.float()
    # Eight mantissa bits through three layers.
    assert (rough - exact).abs().max() < 3e-2 * exact.abs().max()


def test_class_token_can_be_kept() -> None:
    tower, reference = pair("clip", select_feature="cls_patch")
    pixels = torch.randn(2, 3, 31, 31)
    with torch.no_grad():
        expected = reference(pixels, output_hidden_states=True).hidden_states[-2]
        torch.testing.assert_close(tower(pixels).grid[:, 0], expected, atol=2e-5, rtol=2e-5)
    with pytest.raises(RequestError, match="cls_patch"):
        pair("siglip", select_feature="cls_patch")


@pytest.mark.parametrize("layer", [-6, 5])
def test_layers_that_do_not_exist_are_named(layer: int) -> None:
    with pytest.raises(RequestError, match="5 hidden states"):
        build_vision_tower({"tower": "clip", **SIZES, "select_layer": layer})


def test_towers_are_found_by_name() -> None:
    assert {"clip", "siglip"} <= set(vision_tower_names())
    with pytest.raises(RequestError, match="clip"):
        build_vision_tower({"tower": "nothing"})
