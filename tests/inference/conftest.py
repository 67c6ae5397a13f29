"""Tiny official checkpoints in fp32, loaded once for the room, and media made on the spot."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from videollama2.inference.engine import VideoLLaMA2
from videollama2.inference.selfcheck_media import make_clip

GOLDEN = Path(__file__).parents[1] / "golden"
MISTRAL = "VideoLLaMA2-tiny-mistral"
QWEN2 = "VideoLLaMA2.1-tiny-qwen2-16F"
AV = "VideoLLaMA2.1-tiny-AV"
_engines = {}


def load_engine(name):
    """The engine of a golden checkpoint, shared by all tests; its caches are emptied."""
    if name not in _engines:
        folder = GOLDEN / "checkpoints" / name
        _engines[name] = VideoLLaMA2.from_pretrained(folder, device="cpu", dtype="float32", offline=True)
    engine = _engines[name]
    engine.clear_cache()
    engine.core.features.hits = engine.core.features.misses = 0
    return engine


def golden_model(name):
    """Cases and tensors of a golden checkpoint."""
    facts = json.loads((GOLDEN / "model" / f"{name}.json").read_text())
    return facts, load_file(GOLDEN / "model" / f"{name}.safetensors")


def golden_media(tensors, media):
    """Inputs of a case as the official processors give them: u8/127.5-1 pixels, bf16 fbank."""
    if media is None:
        return None
    if isinstance(media, dict):
        return {kind: golden_media(tensors, name) for kind, name in media.items()}
    tensor = tensors[f"in.{media}"]
    return tensor.float() / 127.5 - 1 if tensor.dtype == torch.uint8 else tensor


@pytest.fixture
def av():
    return load_engine(AV)


@pytest.fixture
def qwen2():
    return load_engine(QWEN2)


@pytest.fixture(scope="session")
def media_folder():
    return GOLDEN / "media"


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A short clip with sound, as a file."""
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    path.write_bytes(make_clip())
    return path
