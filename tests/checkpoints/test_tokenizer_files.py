"""Tokenizers give the official ids, from `tokenizer.json` and from `tokenizer.model` alone."""

from __future__ import annotations

import json
import shutil

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
