"""Fixtures of the processing room."""

from pathlib import Path

import pytest
from golden_files import GOLDEN


@pytest.fixture
def golden() -> Path:
    return GOLDEN


@pytest.fixture(scope="session")
def tokenizers():
    from videollama2.processing.tokenizer import load_tokenizer

    folders = {"mistral": "VideoLLaMA2-tiny-mistral", "qwen2": "VideoLLaMA2.1-tiny-qwen2-16F"}
    return {name: load_tokenizer(GOLDEN / "checkpoints" / folder) for name, folder in folders.items()}
