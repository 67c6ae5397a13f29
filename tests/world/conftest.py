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
from videollama2.world.nouns import NOUNS
from videollama2.world.synth import SYNTHESISERS

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
    index = {"version": 1, "nouns": nouns, "sounds": write_sounds(rows, waves, folder)}
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def catalogue(asset_dir: Path) -> Catalogue:
    return Catalogue(asset_dir)
