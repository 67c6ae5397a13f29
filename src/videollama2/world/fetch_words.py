"""Renders the spoken words of the world once: `python -m videollama2.world.fetch_words DIR`.

Every word of `words` is said by every voice of a split at a random rate and pitch; no voice belongs to two splits. The
folder gets `words.npy` (all utterances, one after the other) and `words.json` (which is where). They stand beside the
other sounds and do not change them, so collections without words stay what they were.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.io import wavfile

from videollama2.errors import MissingDependencyError
from videollama2.world.fetch_sounds import VOICES
from videollama2.world.sounding import SAMPLE_RATE
from videollama2.world.words import NEW_WORDS, WORDS

FLITE_VOICES = {"train": ("rms", "awb", "kal16"), "test": ("slt",)}
"""Voices cut from recordings of people, beside the synthetic ones of espeak-ng."""

_TAKES = 2  # of each recorded voice, as they are few

_LEDGER = (
    {"source": "words rendered with espeak-ng", "licence": "the program's output is free of its licence"},
    {
        "source": "words rendered with flite and its voices",
        "licence": "BSD-like (Carnegie Mellon University; Alan W Black and others)",
    },
)


def _trimmed(wave: np.ndarray) -> np.ndarray:
    """Without the silence before and after, at full level, int16."""
    level = np.abs(wave.astype(np.float64))
    loud = np.flatnonzero(level > 0.02 * max(level.max(), 1.0))
    first, last = max(0, loud[0] - SAMPLE_RATE // 50), min(len(wave), loud[-1] + SAMPLE_RATE // 20)
    return np.round(wave[first:last] / max(level.max(), 1.0) * 0.9 * 32767).astype(np.int16)


def _say(word: str, voice: str, rng: random.Random, path: Path) -> np.ndarray:
    if voice.startswith("flite "):
        settings = ["--setf", f"duration_stretch={rng.uniform(0.85, 1.3):.2f}"]
        command = ["flite", "-voice", voice.split()[1], *settings, "-t", word, "-o", str(path)]
    else:
        tone = ["-s", str(rng.randint(115, 180)), "-p", str(rng.randint(25, 75))]
        command = ["espeak-ng", "-v", voice.split()[1], *tone, "-w", str(path), word]
    subprocess.run(command, check=True, capture_output=True)
    rate, wave = wavfile.read(path)
    if rate != SAMPLE_RATE:
        wave = signal.resample_poly(wave.astype(np.float64), 320, int(320 * rate / SAMPLE_RATE))
    return _trimmed(wave)


def voices(split: str) -> list[str]:
    """Every voice of a split as "program voice", recorded ones as often as there are takes of them."""
    return [f"espeak-ng {voice}" for voice in VOICES[split]] + [f"flite {v}" for v in FLITE_VOICES[split]] * _TAKES


def build_words(out: Path) -> list[dict[str, str]]:
    """Renders every word into `out`, which may already hold other assets.

    Returns:
        Ledger rows of the voices.

    Raises:
        MissingDependencyError: espeak-ng or flite is not installed.
    """
    for program in ("espeak-ng", "flite"):
        if shutil.which(program) is None:
            raise MissingDependencyError(f"the program {program} is not installed; install the package {program}")
    out.mkdir(parents=True, exist_ok=True)
    jobs = [
        (word, split, voice, take)
        for split, words in (("train", WORDS), ("test", WORDS + NEW_WORDS))
        for word in words
        for take, voice in enumerate(voices(split))
    ]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:

        def run(job: tuple[str, str, str, int]) -> np.ndarray:
            word, split, voice, take = job
            rng = random.Random(f"word/{word}/{split}/{take}")
            return _say(word, voice, rng, Path(folder) / f"{split}-{word}-{take}.wav")

        waves = list(pool.map(run, jobs))
    write_words([{"word": w, "split": s, "voice": v} for w, s, v, _ in jobs], waves, out)
    return [dict(row) for row in _LEDGER]


def write_words(rows: list[dict], waves: list[np.ndarray], out: Path) -> None:
    """Stores utterances (int16, 16 kHz, of any lengths) and their table; a folder with the table is complete."""
    np.save(out / "words.npy", np.concatenate(waves))
    first, table = 0, []
    for row, wave in zip(rows, waves, strict=True):
        table.append({**row, "first": first, "length": len(wave)})
        first += len(wave)
    partial = out / "words.json.part"
    partial.write_text(json.dumps({"version": 1, "words": table}, indent=0) + "\n")
    partial.replace(out / "words.json")


def main() -> None:
    """Command line of the module: adds the words to an asset folder and their voices to its ledger."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="asset folder")
    out = parser.parse_args().out
    rows = build_words(out)
    ledger = out / "ledger.json"
    known = json.loads(ledger.read_text()) if ledger.exists() else []
    known += [row for row in rows if row not in known]
    ledger.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
