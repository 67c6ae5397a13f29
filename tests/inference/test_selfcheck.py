"""The self-check passes here, fails where something is wrong, and its stored numbers are safe to compare with."""

import json
from importlib import resources

import numpy as np
import pytest
import torch

from videollama2.errors import RequestError
from videollama2.inference import selfcheck
from videollama2.inference.selfcheck_models import VARIANTS, byte_tokenizer
from videollama2.inference.selfcheck_report import TOLERANCES, compare
from videollama2.inference.selfcheck_weights import seeded_parameter, seeded_uniform

NUMBERS = json.loads(resources.files("videollama2.inference").joinpath(selfcheck.NUMBERS_FILE).read_text())


def test_all_variants_pass_here():
    report = selfcheck.run_selfcheck()
    assert report.passed, report.table()
    assert report.seconds < 120
    assert {step.variant for step in report.steps} == {variant.name for variant in VARIANTS}
    assert report.to_dict()["passed"] is True
    assert report.table().count("PASS") == len(report.steps)


def test_every_part_of_the_family_is_covered():
    assert {variant.backbone for variant in VARIANTS} == {"mistral", "mixtral", "qwen2", "llama", "gemma2", "phi3"}
    assert {variant.connector for variant in VARIANTS} == {
        "stc_connector",
        "stc_connector_v35",
        "stp_connector",
        "spatial_conv",
        "spatial_pool",
        "mlp2x_gelu",
        "linear",
    }
    assert {variant.vision["tower"] for variant in VARIANTS} == {"clip", "siglip"}
    assert {variant.audio["tower"] for variant in VARIANTS if variant.audio} == {"beats"}


def test_stored_answers_do_not_hang_on_near_ties():
    assert set(NUMBERS) == {variant.name for variant in VARIANTS}
    for name, steps in NUMBERS.items():
        assert steps["answer"]["margin"] > 0.03, name
        assert steps["decode"]["exact"][1] is True


def test_a_wrong_number_fails():
    wrong = json.loads(json.dumps(NUMBERS["qwen2"]))
    right = json.loads(json.dumps(NUMBERS["qwen2"]))
    for step in right.values():
        step["seconds"] = 0.0
    assert all(step.passed for step in compare("qwen2", right, wrong, "cpu"))
    wrong["connector"]["values"][3] += 2 * TOLERANCES["connector"] * wrong["connector"]["largest"]
    wrong["answer"]["exact"][0] += 1
    wrong["vision"]["shape"][0] += 1
    right["pixels"]["values"][0] = float("nan")
    failed = {step.name for step in compare("qwen2", right, wrong, "cpu") if not step.passed}
    assert failed == {"connector", "answer", "vision", "pixels"}


def test_a_fault_in_the_model_fails_the_check(monkeypatch):
    build = selfcheck.build_variant

    def faulty(variant, device):
        loaded = build(variant, device)
        with torch.no_grad():
            loaded.model.model.mm_projector.readout[0].bias += 0.01
        return loaded

    monkeypatch.setattr(selfcheck, "build_variant", faulty)
    report = selfcheck.run_selfcheck(["qwen2"])
    assert not report.passed
    assert {step.name for step in report.steps if not step.passed} >= {"connector", "logits"}
    assert "FAIL" in report.table()


def test_unknown_variant():
    with pytest.raises(RequestError, match="qwen2-av"):
        selfcheck.run_selfcheck(["gpt"])


def test_seeded_weights_are_a_fixed_function():
    np.testing.assert_allclose(
        seeded_uniform("a.weight", 3), [0.817321100409661, 0.3583276202543879, -0.7672277821247604], rtol=0, atol=1e-15
    )
    assert not np.array_equal(seeded_uniform("a.weight", 3), seeded_uniform("b.weight", 3))
    weight = seeded_parameter("x.weight", (200, 300))
    assert weight.std().item() == pytest.approx(300**-0.5, rel=0.02)
    assert seeded_parameter("norm.weight", (50,)).mean().item() == pytest.approx(1, abs=0.1)
    assert seeded_parameter("norm.bias", (50,)).abs().max().item() <= 0.1


def test_byte_tokenizer_round_trip():
    tokenizer = byte_tokenizer()
    text = "Grüße, 世界 🎬\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids) == text
