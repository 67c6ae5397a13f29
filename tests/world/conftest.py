"""A small folder of world assets made on the spot: drawn sprites and synthesised sounds."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from videollama2.world.assets import Catalogue
from videollama2.world.fetch_sounds import NUM_SAMPLES, write_sounds
from videollama2.world.fetch_words import write_words
from videollama2.world.nouns import NOUNS
from videollama2.world.sounding import SOUND_NAMES
from videollama2.world.synth import SYNTHESISERS
from videollama2.world.words import NEW_WORDS, WORDS

SOUNDING = [
    "bell",
    "ambulance",
    "fire engine",
    "alarm clock",
    "telephone",
    "car",
    "truck",
    "clock",
    "bird",
    "helicopter",
]
PLAIN = [name for name in NOUNS if name not in SOUNDING][::8]


def _draw(noun: str, style: str, path: Path) -> None:
    rng = np.random.default_rng(zlib.crc32(f"{noun}/{style}".encode()))
    image = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((0, 0, 59, 59), fill=(*(int(v) for v in rng.integers(0, 256, 3)), 255))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def _utterance(word: str, split: str, voice: int) -> np.ndarray:
    """A tone whose pitch is the word's, standing in for a voice."""
    t = np.arange(8000) / 16000
    pitch = 200 + zlib.crc32(word.encode()) % 2000
    tone = np.sin(2 * np.pi * pitch * t) * (0.9 if split == "train" else 0.7) * np.hanning(8000) ** (1 + voice)
    return (tone * 32767).astype(np.int16)


def _melody(kind: str, split: str, number: int) -> np.ndarray:
    rng = np.random.default_rng([zlib.crc32(kind.encode()), len(split), number])
    pitch = np.repeat(rng.uniform(200, 900, NUM_SAMPLES // 4000 + 1), 4000)[:NUM_SAMPLES]
    tone = np.sin(2 * np.pi * np.cumsum(pitch) / 16000) + 0.3 * np.sin(6 * np.pi * np.cumsum(pitch) / 16000)
    return (0.7 * tone * 32767 / 1.3).astype(np.int16)


@pytest.fixture(scope="session")
def asset_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assets")
    nouns: dict[str, dict[str, list[str]]] = {}
    for noun in SOUNDING + PLAIN:
        for style in ("fluent", "twemoji", "noto"):
            file = f"sprites/{style}/{noun.replace(' ', '_')}.png"
            _draw(noun, style, folder / file)
            nouns.setdefault(noun, {})[style] = [file]
    rows, waves = [], []
    for kind, make in SYNTHESISERS.items():
        for split in ("train", "test"):
            for number in range(2):
                wave = make(np.random.default_rng([number, len(split)]), NUM_SAMPLES)
                waves.append((wave * 32767).astype(np.int16))
                rows.append({"kind": kind, "split": split, "source": f"synthesised {number}"})
    for kind in sorted(set(SOUND_NAMES) - set(SYNTHESISERS)):  # played or spoken by programs that tests do not have
        for split in ("train", "test"):
            for number in range(2):
                waves.append(_melody(kind, split, number))
                rows.append({"kind": kind, "split": split, "source": f"stand-in {number}"})
    said = [(w, "train") for w in WORDS[:20]] + [(w, "test") for w in (*WORDS[:20], *NEW_WORDS[:6])]
    write_words(
        [{"word": word, "split": split, "voice": f"{split} {k}"} for word, split in said for k in range(2)],
        [_utterance(word, split, k) for word, split in said for k in range(2)],
        folder,
    )
    index = {"version": 1, "nouns": nouns, "sounds": write_sounds(rows, waves, folder)}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def catalogue(asset_dir: Path) -> Catalogue:
    return Catalogue(asset_dir)
