"""Labels and collation against the recorded ones of both branches."""

import pytest
import torch
from golden_files import golden_json

from videollama2.errors import RequestError
from videollama2.processing.labels import (
    IGNORE_INDEX,
    LabelledIds,
    collate,
    conversation_labels,
    place_tag,
    plain_labels,
    truncated_tokens,
)

BRANCH = {"main": "main", "av": "audio_visual"}
RECORDED = {name: golden_json(f"training/labels_{name}.json") for name in BRANCH}
CASES = [(name, number) for name in BRANCH for number in range(len(RECORDED[name]["cases"]))]


def modality_of(case):
    return case["modal_token"].strip("<>") if case["modal_token"] else None


def placed(case):
    modality = modality_of(case)
    return place_tag(case["conversations"], modality) if modality else case["conversations"]


def labelled(tokenizers, case):
    return conversation_labels(tokenizers[case["tokenizer"]], placed(case), modality_of(case))


@pytest.mark.parametrize(("name", "number"), CASES)
def test_conversations(tokenizers, name, number):
    case = RECORDED[name]["cases"][number]
    before = [dict(turn) for turn in case["conversations"]]
    assert placed(case) == case["after_preprocess_multimodal"]
    assert case["conversations"] == before
    sample = labelled(tokenizers, case)
    assert list(sample.input_ids) == case["preprocess"]["input_ids"]
    assert list(sample.labels) == case["preprocess"]["labels"]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_plain(tokenizers, name, number):
    case = RECORDED[name]["cases"][number]
    recorded, tokenizer = case["preprocess_plain"], tokenizers[case["tokenizer"]]
    if "error" in recorded:
        with pytest.raises(RequestError, match=r"two turns|no tag"):
            plain_labels(tokenizer, placed(case), modality_of(case) or "none", branch=BRANCH[name])
        return
    sample = plain_labels(tokenizer, placed(case), modality_of(case), branch=BRANCH[name])
    assert list(sample.input_ids) == recorded["input_ids"]
    assert list(sample.labels) == recorded["labels"]


@pytest.mark.parametrize("name", BRANCH)
@pytest.mark.parametrize("number", range(4))
def test_collator(tokenizers, name, number):
    recorded = RECORDED[name]["collator"][number]
    tokenizer = tokenizers[recorded["tokenizer"]]
    cases = [case for case in RECORDED[name]["cases"] if case["tokenizer"] == recorded["tokenizer"]]
    samples = [labelled(tokenizers, case) for case in cases[: recorded["first_n_cases"]]]
    batch = collate(samples, pad_token_id=tokenizer.pad_token_id, max_length=recorded["model_max_length"])
    for key in ("input_ids", "labels", "attention_mask"):
        assert batch[key].dtype == torch.long
        assert batch[key].tolist() == recorded[key]
    lost = truncated_tokens(samples, recorded["model_max_length"])
    assert (sum(lost) > 0) == (recorded["model_max_length"] == 20)


def test_a_pad_id_inside_the_text_stays_visible():
    batch = collate([LabelledIds(input_ids=(5, 0, 6), labels=(-100, 0, 6))], pad_token_id=0)
    assert batch["attention_mask"].tolist() == [[1, 1, 1]]


def test_learnt_tokens_are_the_answers(tokenizers):
    talk = [{"from": "human", "value": "One?"}, {"from": "gpt", "value": "Yes it is."}] * 2
    for tokenizer in tokenizers.values():
        sample = conversation_labels(tokenizer, talk, None)
        learnt = [token for token in sample.labels if token != IGNORE_INDEX]
        assert tokenizer.decode(learnt, skip_special_tokens=True).count("Yes it is.") == 2
        assert "One" not in tokenizer.decode(learnt)
        assert tokenizer.eos_token_id in learnt


@pytest.mark.parametrize(
    "turns",
    [
        [],
        [("human", "a")],
        [("human", "a"), ("human", "b")],
        [("human", "a"), ("gpt", "b"), ("human", "c")],
        [("system", "a"), ("gpt", "b")],
    ],
)
def test_bad_conversations(tokenizers, turns):
    with pytest.raises(RequestError, match=r"human"):
        conversation_labels(tokenizers["qwen2"], [{"from": role, "value": text} for role, text in turns], None)


def test_bad_arguments():
    with pytest.raises(RequestError, match="no tag"):
        place_tag([], "smell")
    with pytest.raises(RequestError, match="nothing to collate"):
        collate([], pad_token_id=0)
