"""Tokenizers give the official ids, from `tokenizer.json` and from `tokenizer.model` alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from official_checkpoints import AV, GOLDEN, MISTRAL

from videollama2.checkpoints import load_tokenizer
from videollama2.errors import CheckpointError, MissingFilesError

SENTINELS = {"<image>": -200, "<video>": -201, "<audio>": -202}


@pytest.mark.parametrize("branch", ["main", "av"])
@pytest.mark.parametrize(("name", "folder"), [("mistral", MISTRAL), ("qwen2", AV)])
def test_golden_ids(branch, name, folder):
    cases = json.loads((GOLDEN / "prompts" / f"prompts_{branch}.json").read_text())["split_cases"]
    tokenizer = load_tokenizer(folder)
    cases = [case for case in cases if case["tokenizer"] == name]
    assert len(cases) == 80
    for case in cases:
        tag = case["modal_token"] if case["modal_token"] in SENTINELS else None
        pieces = case["text"].split(tag) if tag else [case["text"]]
        ids: list[int] = []
        for i, piece in enumerate(pieces):
            ids += [SENTINELS[tag]] if i and tag else []
            ids += tokenizer(piece, add_special_tokens=False).input_ids
        assert ids == case["ids"], case


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentencepiece")
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(MISTRAL / name, folder / name)
    return load_tokenizer(MISTRAL), load_tokenizer(folder)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_the_sentencepiece_model_alone_gives_the_same(both, text):
    fast, rebuilt = both
    assert rebuilt(text).input_ids == fast(text).input_ids
    ids = fast(text, add_special_tokens=False).input_ids
    assert rebuilt.decode(ids) == fast.decode(ids)


def test_the_rebuilt_one_keeps_template_and_special_tokens(both):
    fast, rebuilt = both
    assert rebuilt.chat_template == fast.chat_template
    assert (rebuilt.bos_token_id, rebuilt.eos_token_id, rebuilt.pad_token_id) == (1, 2, 0)
    assert rebuilt.padding_side == fast.padding_side


PIECES = [*"Aan  dogs.\n", "é", "<|end|>", "<|user|>", "<start_of_turn>", "<bos>"]
VARIANTS = Path(__file__).parents[1] / "golden_variants" / "tokenizers"


@pytest.fixture(scope="module", params=["gemma", "phi3"])
def newer(request, tmp_path_factory):
    """Tokenizers with added tokens and other rules for the space mark; from tokenizer.json and tokenizer.model."""
    folder = tmp_path_factory.mktemp(request.param)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(VARIANTS / request.param / name, folder / name)
    return load_tokenizer(VARIANTS / request.param), load_tokenizer(folder), folder


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.sampled_from([*"Aan  dogs.\n", "é", "<|end|>", "<|user|>", "<start_of_turn>", "<bos>"]), max_size=30)
)
def test_the_model_file_of_newer_tokenizers_gives_the_same(newer, pieces):
    fast, rebuilt, _ = newer
    text = "".join(pieces)
    ids = fast(text, add_special_tokens=False).input_ids
    assert rebuilt(text, add_special_tokens=False).input_ids == ids
    assert rebuilt.decode(ids) == fast.decode(ids)


def test_newer_ones_keep_template_and_special_tokens(newer):
    fast, rebuilt, _ = newer
    assert rebuilt.chat_template == fast.chat_template
    assert len(rebuilt) == len(fast)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id"):
        assert getattr(rebuilt, name) == getattr(fast, name), name


def test_added_tokens_without_a_place_are_refused(newer, tmp_path):
    _, _, folder = newer
    shutil.copyfile(folder / "tokenizer.model", tmp_path / "tokenizer.model")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config["added_tokens_decoder"]["999"] = {"content": "<far>", "special": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="the id 999"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_of_another_kind_is_refused(tmp_path):
    # trainer_spec.model_type = 1, a unigram vocabulary of one piece
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x03\x0a\x01a\x12\x02\x18\x01")
    with pytest.raises(CheckpointError, match="another kind than byte-pair"):
        load_tokenizer(tmp_path)


def test_damaged_and_missing_tokenizers(tmp_path):
    with pytest.raises(MissingFilesError, match="No tokenizer in"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "tokenizer.model").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="not a SentencePiece model"):
        load_tokenizer(tmp_path)
