"""A folder of assets without any download: figures for things, synthesised sounds, and melodies for words.

For trying the machinery (miniatures, tests, benchmarks), not for a model that is meant to know a dog when it sees one:
`python -m videollama2.world.stand_in DIR`. Every noun has a figure of its own, drawn by each style a little otherwise.
"""

from __future__ import annotations

import argparse
import json
import random
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from videollama2.world.fetch_sounds import NUM_SAMPLES, write_sounds
from videollama2.world.fetch_words import write_words
from videollama2.world.nouns import NOUNS
from videollama2.world.shapes import COLOURS, SHAPES, draw_shape
from videollama2.world.sounding import NOUN_SOUNDS, SAMPLE_RATE, SOUND_NAMES
from videollama2.world.synth import SYNTHESISERS
from videollama2.world.words import NEW_WORDS, WORDS

STYLES = ("fluent", "twemoji", "noto")
"""Styles that are drawn; the last is the test split's (see `assets.HELD_OUT_STYLES`)."""

_SIDE = 96


def _figure(noun: str, style: str) -> Image.Image:
    """Two coloured shapes, one on the other: which, and in which colours, is the noun's; size and tone the style's."""
    rng = random.Random(f"figure/{noun}")
    shapes, colours = rng.sample(SHAPES, 2), rng.sample(list(COLOURS), 2)
    touch = random.Random(f"style/{noun}/{style}")
    image = draw_shape(shapes[0], touch.choice(COLOURS[colours[0]]), touch.random()).resize((_SIDE, _SIDE))
    inner = round(_SIDE * touch.uniform(0.35, 0.5))
    top = draw_shape(shapes[1], touch.choice(COLOURS[colours[1]]), 0.0).resize((inner, inner))
    image.alpha_composite(top, ((_SIDE - inner) // 2, (_SIDE - inner) // 2))
    return image


def _melody(name: str, instance: int, num_samples: int, note: float) -> np.ndarray:
    """Notes that belong to a name, an instance transposing and colouring them: float in [-1, 1]."""
    count = int(note * SAMPLE_RATE)
    own = np.random.default_rng(zlib.crc32(name.encode()))
    played = np.random.default_rng([zlib.crc32(name.encode()), instance])
    notes = own.integers(0, 14, 8)
    pitch = 220 * 2 ** (np.resize(notes, num_samples // count + 1) / 7) * 2 ** played.uniform(-0.04, 0.04)
    phase = 2 * np.pi * np.cumsum(np.repeat(pitch, count)[:num_samples]) / SAMPLE_RATE
    return (np.sin(phase) + played.uniform(0.1, 0.5) * np.sin(3 * phase)) / 1.5


def _int16(wave: np.ndarray) -> np.ndarray:
    return np.round(np.clip(wave, -1, 1) * 0.9 * 32767).astype(np.int16)


def build_stand_in(out: Path, *, num_nouns: int = 60, instances: int = 3) -> Path:
    """Makes the folder; a few seconds.

    Args:
        out: Where to; it is made.
        num_nouns: Nouns to draw; those that make sounds come first.
        instances: Instances of each sound and word in each split.

    Returns:
        The folder, which `Catalogue` opens.
    """
    out.mkdir(parents=True, exist_ok=True)
    others = [noun for noun in NOUNS if noun not in NOUN_SOUNDS]
    # every seventh, so that few of them may be confused with one another
    chosen = [*NOUN_SOUNDS, *others[::7], *others[3::7]][:num_nouns]
    nouns: dict[str, dict[str, list[str]]] = {}
    for noun in chosen:
        for style in STYLES:
            file = f"sprites/{style}/{noun.replace(' ', '_')}.png"
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            _figure(noun, style).save(out / file)
            nouns.setdefault(noun, {})[style] = [file]
    rows, waves = [], []
    for kind in SOUND_NAMES:
        for split in ("train", "test"):
            for k in range(instances):
                instance = k + (1000 if split == "test" else 0)
                if kind in SYNTHESISERS:
                    seed = [zlib.crc32(kind.encode()), instance]
                    wave = SYNTHESISERS[kind](np.random.default_rng(seed), NUM_SAMPLES)
                else:
                    wave = _melody(kind, instance, NUM_SAMPLES, 0.4)
                waves.append(_int16(wave))
                rows.append({"kind": kind, "split": split, "source": f"computed {instance}"})
    said = [(word, "train", k) for word in WORDS for k in range(instances)]
    said += [(word, "test", 1000 + k) for word in (*WORDS, *NEW_WORDS) for k in range(instances)]
    write_words(
        [{"word": word, "split": split, "voice": f"melody {k}"} for word, split, k in said],
        [_int16(_melody(f"word {word}", k, SAMPLE_RATE // 2, 0.0625) * np.hanning(SAMPLE_RATE // 2) ** 0.2)
         for word, _, k in said],
        out,
    )  # fmt: skip
    index = {"version": 1, "nouns": nouns, "sounds": write_sounds(rows, waves, out)}
    ledger = [{"source": "computed by videollama2.world.stand_in", "licence": "Apache-2.0 (this package)"}]
    (out / "ledger.json").write_text(json.dumps(ledger, indent=1) + "\n")
    (out / "index.json").write_text(json.dumps(index) + "\n")  # written last: a folder with an index is complete
    return out


def main() -> None:
    """Command line of the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the assets")
    build_stand_in(parser.parse_args().out)


if __name__ == "__main__":
    main()
