"""Golden data of the processing room: where it lies and how it is read."""

import json
from functools import cache
from pathlib import Path

import pytest
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@cache
def golden_json(name: str):
    return json.loads((GOLDEN / name).read_text())


@cache
def golden_tensors(name: str):
    return load_file(GOLDEN / name)


@pytest.fixture
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def tokenizers():
    from videollama2.processing.tokenizer import load_tokenizer

    folders = {"mistral": "VideoLLaMA2-tiny-mistral", "qwen2": "VideoLLaMA2.1-tiny-qwen2-16F"}
    return {name: load_tokenizer(GOLDEN / "checkpoints" / folder) for name, folder in folders.items()}
