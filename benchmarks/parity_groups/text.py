"""Prompts, token ids, split at tags, training labels and collation."""

from __future__ import annotations

from functools import cache
from typing import Any

from videollama2.processing.labels import collate, conversation_labels, place_tag, plain_labels
from videollama2.processing.prompt import official_generation_settings, official_prompt, tokenize_multimodal
from videollama2.processing.tokenizer import load_tokenizer

from .measure import GOLDEN, Table, golden_json

_FOLDERS = {"mistral": "VideoLLaMA2-tiny-mistral", "qwen2": "VideoLLaMA2.1-tiny-qwen2-16F"}
BRANCHES = {"main": "main", "av": "audio_visual"}


@cache
def tokenizer_of(name: str) -> Any:
    """One of the two golden tokenizers."""
    return load_tokenizer(GOLDEN / "checkpoints" / _FOLDERS[name])


def prompts(table: Table) -> None:
    """What `mm_infer` feeds to the language model."""
    for short, branch in BRANCHES.items():
        record, group = golden_json(f"prompts/prompts_{short}.json"), f"prompts ({short})"
        for number, case in enumerate(record["cases"]):
            tokenizer, name = tokenizer_of(case["tokenizer"]), f"case {number}"
            prompt = official_prompt(tokenizer, case["model_type"], case["modal"], case["instruct"], branch)
            zeros = [place for place, seen in enumerate(prompt.attention_mask) if not seen]
            table.equal(group, "text", name, prompt.text, case["prompt"])
            table.equal(group, "ids", name, list(prompt.input_ids), case["input_ids"])
            table.equal(group, "mask", name, zeros, case["attention_zero_positions"])
            settings = official_generation_settings(tokenizer)
            table.equal(group, "generation settings", name, settings, case["generate_defaults"])
        for number, case in enumerate(record["split_cases"]):
            ours = tokenize_multimodal(case["text"], tokenizer_of(case["tokenizer"]), case["modal_token"])
            table.equal(group, "split at tags", f"split {number}", ours, case["ids"])


def training(table: Table) -> None:
    """Conversations to ids and labels, and batches of them."""
    for short, branch in BRANCHES.items():
        record, group = golden_json(f"training/labels_{short}.json"), f"training labels ({short})"
        labelled: dict[str, list[Any]] = {name: [] for name in _FOLDERS}
        for number, case in enumerate(record["cases"]):
            name, tokenizer = f"case {number}", tokenizer_of(case["tokenizer"])
            modality = case["modal_token"].strip("<>") if case["modal_token"] else None
            turns = case["conversations"]
            if modality:
                turns = place_tag(turns, modality)
            table.equal(group, "tag placement", name, turns, case["after_preprocess_multimodal"])
            sample = conversation_labels(tokenizer, turns, modality)
            labelled[case["tokenizer"]].append(sample)
            table.equal(group, "conversation ids", name, list(sample.input_ids), case["preprocess"]["input_ids"])
            table.equal(group, "conversation labels", name, list(sample.labels), case["preprocess"]["labels"])
            plain = case["preprocess_plain"]
            if "error" in plain:
                arguments = (tokenizer, turns, modality or "none")
                table.refuses(group, name, lambda a=arguments, b=branch: plain_labels(*a, branch=b))
                continue
            sample = plain_labels(tokenizer, turns, modality, branch=branch)
            table.equal(group, "plain ids", name, list(sample.input_ids), plain["input_ids"])
            table.equal(group, "plain labels", name, list(sample.labels), plain["labels"])
        for number, case in enumerate(record["collator"]):
            tokenizer = tokenizer_of(case["tokenizer"])
            samples = labelled[case["tokenizer"]][: case["first_n_cases"]]
            batch = collate(samples, pad_token_id=tokenizer.pad_token_id, max_length=case["model_max_length"])
            for key in ("input_ids", "labels", "attention_mask"):
                table.equal(group, "collated batches", f"collator {number} {key}", batch[key].tolist(), case[key])
