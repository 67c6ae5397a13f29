"""`inspect_checkpoint` says what a folder is without loading it."""

from __future__ import annotations

import json

import pytest
import torch
from official_checkpoints import ALL, AV, BEATS, MISTRAL, edit_config, write_backbone

from videollama2.checkpoints import inspect_checkpoint, load_checkpoint
from videollama2.checkpoints.detect import describe
from videollama2.checkpoints.memory import devices, needs


@pytest.mark.parametrize("folder", ALL, ids=lambda p: p.name)
def test_it_agrees_with_what_loading_finds(folder):
    inspection, loaded = inspect_checkpoint(folder), load_checkpoint(folder)
    assert inspection.ok
    assert inspection.verdict == loaded.report.verdict
    assert inspection.model_hash == loaded.model_hash
    assert inspection.family == loaded.family
    assert inspection.modalities == loaded.modalities
    assert sum(inspection.parameters.values()) == sum(p.numel() for p in loaded.model.parameters())
    assert inspection.bytes_on_disk == (folder / "model.safetensors").stat().st_size


def test_the_demonstration_model_is_not_called_by_an_official_name():
    config = json.loads((AV / "config.json").read_text())
    assert describe(config)["family"] == "VideoLLaMA2.1-AV"
    ours = describe({**config, "mm_model_name": "videollama2-default"})
    assert "demonstration" in ours["family"]
    assert ours["modalities"] == ("text", "image", "video", "audio")


def test_text_and_json_say_the_same():
    inspection = inspect_checkpoint(AV)
    text, plain = inspection.render(), json.loads(json.dumps(inspection.to_dict()))
    for word in ("VideoLLaMA2.1-AV", "stc_connector_v35", "audio tower", "bfloat16", "good: 247 weights loaded"):
        assert word in text
    assert plain["ok"] is True
    assert plain["video_tokens"] == 36
    assert plain["needs"][0]["dtype"] == "float32"
    assert plain["needs"][0]["weights"] == 4 * sum(plain["parameters"].values())


def test_memory_shrinks_with_the_dtype_and_the_cache_is_counted_exactly():
    inspection = inspect_checkpoint(MISTRAL)
    weights = [need.weights for need in inspection.needs]
    assert weights == sorted(weights, reverse=True)
    assert len(set(weights)) == 4
    # 2 (keys, values) x 2 layers x 2 heads x 16 wide x (80 video + 512 text tokens) x 4 bytes
    assert inspection.needs[0].cache == 2 * 2 * 2 * 16 * (80 + 512) * 4


def test_what_does_not_fit_is_said():
    config = load_checkpoint(MISTRAL).config
    small = [type(devices()[0])(name="cpu", total=10_000_000, free=1_000_000)]
    fits = {need.dtype: need.fits for need in needs(config, {"language model": 300_000}, 200_000, small)}
    assert fits["float32"] == ()
    big = [type(devices()[0])(name="cpu", total=10**9, free=10**9)]
    assert needs(config, {"language model": 300_000}, 200_000, big)[0].fits == ("cpu",)


def test_a_beats_file():
    inspection = inspect_checkpoint(BEATS)
    assert inspection.kind == "beats"
    assert inspection.ok
    assert inspection.parameters["audio tower"] == sum(
        tensor.numel() for tensor in torch.load(BEATS, weights_only=True)["model"].values()
    )


def test_a_mixture_of_experts(tmp_path):
    folder, llm = write_backbone(tmp_path / "mixtral", "mixtral", num_local_experts=4)
    inspection = inspect_checkpoint(folder)
    assert inspection.ok
    assert inspection.backbone == "mixtral"
    assert inspection.parameters["language model"] == sum(p.numel() for p in llm.parameters())


def test_the_old_model_type(copy):
    folder = copy(MISTRAL)
    edit_config(folder, model_type="videollama2")
    assert inspect_checkpoint(folder).backbone == "mistral"
