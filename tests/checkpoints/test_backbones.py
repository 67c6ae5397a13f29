"""Full official checkpoints on every backbone, made with transformers' own models."""

from __future__ import annotations

import pytest
import torch
from official_checkpoints import assert_same_weights, text_logits, write_backbone
from safetensors.torch import load_file

from videollama2.checkpoints import export_official, load_checkpoint, save_checkpoint

BACKBONES = {
    "mistral": {},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2": {},
    "llama": {},
    "gemma2": {"head_dim": 16, "query_pre_attn_scalar": 16},
    "phi3": {},
}


@pytest.fixture(params=list(BACKBONES))
def checkpoint(request, tmp_path):
    folder, llm = write_backbone(tmp_path / request.param, request.param, **BACKBONES[request.param])
    return request.param, folder, llm


def test_it_gives_the_language_models_own_logits_and_travels(checkpoint, tmp_path):
    kind, folder, llm = checkpoint
    loaded = load_checkpoint(folder)
    assert loaded.model_type == f"videollama2_{kind}"
    assert loaded.report.ok
    expected = text_logits(llm)
    assert (text_logits(loaded.model) - expected).abs().max() <= 1e-5 * expected.abs().max()

    save_checkpoint(loaded, tmp_path / "ours", max_shard_bytes=400_000)
    assert_same_weights(load_checkpoint(tmp_path / "ours").model, loaded.model)

    export_official(loaded, tmp_path / "official")
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "official" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert_same_weights(load_checkpoint(tmp_path / "official").model, loaded.model)


def test_mixtral_files_hold_each_expert_alone(tmp_path):
    folder, _ = write_backbone(tmp_path / "mixtral", "mixtral", **BACKBONES["mixtral"])
    assert "model.layers.1.block_sparse_moe.experts.3.w2.weight" in load_file(folder / "model.safetensors")
