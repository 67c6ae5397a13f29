"""Tokenizers give the ids of the released checkpoints from whatever files a folder holds."""

import shutil

import pytest
from golden_files import GOLDEN, golden_json
from transformers import AutoTokenizer

from videollama2.errors import CheckpointError, MissingFilesError
from videollama2.processing.prompt import tokenize_multimodal
from videollama2.processing.tokenizer import decode_ids, ensure_pad_token, load_tokenizer, tokenizer_hash

FOLDERS = {"mistral": "VideoLLaMA2-tiny-mistral", "qwen2": "VideoLLaMA2.1-tiny-qwen2-16F"}


def check(tokenizer, which):
    for case in golden_json("prompts/prompts_main.json")["cases"]:
        if case["tokenizer"] == which:
            tag = {"image": "<image>", "video": "<video>"}.get(case["modal"])
            assert tokenize_multimodal(case["prompt"], tokenizer, tag) == case["input_ids"]


def copy_of(which, target, *, without=()):
    shutil.copytree(GOLDEN / "checkpoints" / FOLDERS[which], target, ignore=shutil.ignore_patterns("model*", *without))
    return target


@pytest.mark.parametrize("which", FOLDERS)
@pytest.mark.parametrize("without", [(), ("tokenizer.json",), ("config.json",)])
def test_ids_from_any_set_of_files(tmp_path, which, without):
    check(load_tokenizer(copy_of(which, tmp_path / "checkpoint", without=without)), which)


@pytest.mark.parametrize("which", FOLDERS)
def test_saved_again_it_is_itself(tmp_path, tokenizers, which):
    tokenizers[which].save_pretrained(tmp_path)
    check(AutoTokenizer.from_pretrained(tmp_path), which)
    assert tokenizer_hash(load_tokenizer(tmp_path)) == tokenizer_hash(tokenizers[which])


@pytest.mark.parametrize("name", [*FOLDERS.values(), "VideoLLaMA2.1-tiny-AV"])
def test_decodes_the_recorded_texts(name):
    tokenizer = load_tokenizer(GOLDEN / "checkpoints" / name)
    cases = [case for case in golden_json(f"model/{name}.json")["cases"].values() if "generated_ids" in case]
    assert cases
    for case in cases:
        ids = case["generated_ids"]
        assert decode_ids(tokenizer, ids).strip() == case["text"]


@pytest.mark.parametrize("which", FOLDERS)
@pytest.mark.parametrize("text", ["A dog runs.", "  two  spaces", "café 日本 🙂 12", "line\nline", ""])
def test_decode_agrees_with_the_tokenizer_on_valid_text(tokenizers, which, text):
    tokenizer = tokenizers[which]
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert decode_ids(tokenizer, [*ids, tokenizer.eos_token_id]) == text
    assert decode_ids(tokenizer, ids) == tokenizer.decode(ids)


def test_invalid_bytes_are_replaced_one_by_one(tokenizers):
    tokenizer = tokenizers["mistral"]
    pieces = ["<0x41>", "<0xE6>", "<0x97>", "<0x42>", "<0xFF>", "▁a", "<0xE6>", "<0x97>", "<0xA5>"]
    assert decode_ids(tokenizer, tokenizer.convert_tokens_to_ids(pieces)) == "A\ufffd\ufffdB\ufffd a日"


def test_pad_token(tokenizers):
    assert tokenizers["mistral"].pad_token == "<unk>"
    tokenizer = load_tokenizer(GOLDEN / "checkpoints" / FOLDERS["qwen2"])
    tokenizer.pad_token = None
    ensure_pad_token(tokenizer)
    assert tokenizer.pad_token == tokenizer.eos_token


def test_hash_sees_vocabulary_and_template(tokenizers):
    tokenizer = load_tokenizer(GOLDEN / "checkpoints" / FOLDERS["qwen2"])
    assert tokenizer_hash(tokenizer) == tokenizer_hash(tokenizers["qwen2"])
    assert tokenizer_hash(tokenizer) != tokenizer_hash(tokenizers["mistral"])
    tokenizer(["a", "bb"], padding=True, truncation=True, max_length=4)
    assert tokenizer_hash(tokenizer) == tokenizer_hash(tokenizers["qwen2"])
    tokenizer.chat_template += " "
    assert tokenizer_hash(tokenizer) != tokenizer_hash(tokenizers["qwen2"])


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(MissingFilesError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)
    folder = copy_of("qwen2", tmp_path / "damaged")
    (folder / "tokenizer.json").write_text('{"version": "1.0"')
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tokenizer(folder)
