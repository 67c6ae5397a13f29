"""BEATs against the official results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from videollama2.errors import RequestError
from videollama2.model.audio import build_audio_tower
from videollama2.model.audio.beats import QUERIES_PER_CHUNK, BeatsTower
from videollama2.model.audio.plain import plain_features

from .helpers import beats_state_dict

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = {case["name"]: case for case in json.loads((GOLDEN / "beats" / "beats.json").read_text())["cases"]}
TENSORS = load_file(GOLDEN / "beats" / "beats.safetensors")
TOLERANCE = 1e-5  # relative to the largest magnitude: two correct fp32 implementations


@pytest.fixture(scope="module")
def tower() -> BeatsTower:
    file = torch.load(GOLDEN / "towers" / "beats-tiny.pt", weights_only=True)
    tower = build_audio_tower({"tower": "beats", **file["cfg"]})
    assert isinstance(tower, BeatsTower)
    tower.load_state_dict(beats_state_dict(file["model"]), strict=True)
    return tower.eval()


def mask_of(name: str) -> torch.Tensor | None:
    fbank = TENSORS[f"{name}.fbank"]
    if CASES[name]["mask"] == "none":
        return None
    if CASES[name]["mask"] == "zeros":
        return torch.zeros(fbank.shape, dtype=torch.bool)
    return TENSORS[f"{name}.padding_mask_per_frame"].unsqueeze(-1).expand(fbank.shape)


@pytest.mark.parametrize("name", [n for n in CASES if not n.startswith("predict")])
def test_features_equal_the_official_ones(tower: BeatsTower, name: str) -> None:
    with torch.no_grad():
        features = tower.extract_features(TENSORS[f"{name}.fbank"].float(), mask_of(name))
    expected = TENSORS[f"{name}.features"]
    assert features.shape == expected.shape
    assert features.shape[1] == tower.num_tokens(CASES[name]["shape"][1]) == CASES[name]["T"] * CASES[name]["F"]
    assert (features - expected).abs().max() < TOLERANCE * expected.abs().max()


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("predict")])
def test_class_probabilities_equal_the_official_ones(tower: BeatsTower, name: str) -> None:
    with torch.no_grad():
        probabilities, padding = tower.predict(TENSORS[f"{name}.fbank"].float(), mask_of(name))
    expected = TENSORS[f"{name}.probs"]
    assert (probabilities - expected).abs().max() < TOLERANCE
    if f"{name}.out_padding_mask" in TENSORS:
        assert padding is not None
        assert torch.equal(padding, TENSORS[f"{name}.out_padding_mask"])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, TOLERANCE), (torch.bfloat16, 4e-2)])
def test_a_sound_does_not_depend_on_its_batch(tower: BeatsTower, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    sounds = [torch.randn(length, 128) * 5 + 15 for length in (320, 64, 331, 64)]
    batch = torch.nn.utils.rnn.pad_sequence(sounds, batch_first=True)
    model = build_audio_tower({"tower": "beats", **CONFIG}).eval()
    model.load_state_dict(tower.state_dict())
    with torch.no_grad():
        together = model.to(dtype)(batch.to(dtype), torch.tensor([len(s) for s in sounds]))
        for sound, features in zip(sounds, together):
            alone = tower.extract_features(sound.unsqueeze(0))[0]
            assert features.shape == alone.shape
            # bf16: eight mantissa bits through three layers.
            assert (features.float() - alone).abs().max() < tolerance * alone.abs().max()


CONFIG = json.loads((GOLDEN / "towers" / "beats-tiny.cfg.json").read_text())


def test_gradients_reach_every_weight_of_the_features(tower: BeatsTower) -> None:
    model = build_audio_tower({"tower": "beats", **CONFIG, "finetuned_model": False})
    model(torch.randn(1, 64, 128), torch.tensor([64]))[0].square().mean().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # A key bias shifts all scores of a query alike, so that softmax removes it.
    assert [name for name in without if not name.endswith("k_proj.bias")] == []


def test_gradients_decay_by_layer_and_features_do_not(tower: BeatsTower) -> None:
    fbank = torch.randn(1, 64, 128) * 5 + 15
    gradients, features = {}, {}
    for ratio in (1.0, 0.5):
        model = build_audio_tower({"tower": "beats", **CONFIG, "layer_wise_gradient_decay_ratio": ratio})
        model.load_state_dict(tower.state_dict())
        features[ratio] = model(fbank, torch.tensor([64]))[0]
        features[ratio].square().mean().backward()
        gradients[ratio] = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert torch.equal(features[1.0], features[0.5])
    for name, power in (("encoder.layers.2.fc1.weight", 0), ("encoder.layers.0.fc1.weight", 2), ("layer_norm.bias", 3)):
        torch.testing.assert_close(gradients[0.5][name], gradients[1.0][name] * 0.5**power)


def test_bad_input_is_named(tower: BeatsTower) -> None:
    with pytest.raises(RequestError, match="shorter than one patch"):
        tower(torch.zeros(2, 64, 128), torch.tensor([64, 15]))
    with pytest.raises(RequestError, match="post-norm"):
        build_audio_tower({"tower": "beats", **CONFIG, "layer_norm_first": True})
    with pytest.raises(RequestError, match="beats"):
        build_audio_tower({"tower": "none"})
    assert tower(torch.zeros(0, 64, 128), torch.zeros(0, dtype=torch.long)) == []


def test_thirty_seconds_give_the_published_number_of_tokens(tower: BeatsTower) -> None:
    assert tower.num_tokens(2998) == 1496


@pytest.mark.parametrize("gated", [True, False])
def test_long_sounds_equal_the_plain_computation(gated: bool) -> None:
    """More tokens than one chunk of queries, and distances beyond the exact buckets."""
    torch.manual_seed(0)
    model = build_audio_tower({"tower": "beats", **CONFIG, "gru_rel_pos": gated, "max_distance": 300}).eval()
    assert isinstance(model, BeatsTower)
    fbank = torch.randn(2, 1100, 128) * 5 + 15
    assert model.num_tokens(1100) > 2 * QUERIES_PER_CHUNK
    with torch.no_grad():
        fast, plain = model.extract_features(fbank), plain_features(model, fbank)
    assert (fast - plain).abs().max() < TOLERANCE * plain.abs().max()
