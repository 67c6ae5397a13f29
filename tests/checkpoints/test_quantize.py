"""8- and 4-bit loading: what is asked for and not installed is said; where it is installed, only the LLM is changed."""

from __future__ import annotations

import sys

import pytest
import torch
from official_checkpoints import AV, MISTRAL, text_logits

from videollama2.checkpoints import load_checkpoint, save_checkpoint
from videollama2.errors import CheckpointError, MissingDependencyError


def test_without_bitsandbytes_the_install_command_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'videollama2\[quant\]'"):
        load_checkpoint(MISTRAL, quantization="4bit")
    with pytest.raises(CheckpointError, match="Unknown quantization '2bit'"):
        load_checkpoint(MISTRAL, quantization="2bit")


@pytest.mark.parametrize(("mode", "tolerance"), [("8bit", 0.1), ("4bit", 0.3)])
def test_only_the_language_models_layers_are_quantised(mode, tolerance, tmp_path):
    import bitsandbytes as bnb

    plain, small = load_checkpoint(AV), load_checkpoint(AV, quantization=mode, dtype="float32")
    kinds = (bnb.nn.Linear8bitLt, bnb.nn.Linear4bit)
    changed = [name for name, module in small.model.named_modules() if isinstance(module, kinds)]
    assert len(changed) == 14
    assert all(name.startswith("model.language_model.layers.") for name in changed)
    for part in ("vision_tower", "mm_projector", "audio_tower", "mm_projector_a"):
        a, b = getattr(plain.model.model, part).state_dict(), getattr(small.model.model, part).state_dict()
        assert all(torch.equal(a[name], b[name]) for name in a)
    expected = text_logits(plain.model)
    difference = (text_logits(small.model) - expected).norm() / expected.norm()
    assert 0 < difference < tolerance
    with pytest.raises(CheckpointError, match="quantised model cannot be written"):
        save_checkpoint(small, tmp_path / "x")
