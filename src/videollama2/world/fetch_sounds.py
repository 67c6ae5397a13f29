"""Renders the sounds of the world once: soundfont phrases, spoken sentences and synthesised noises, into `sounds.npy`.

Every row of the index is one instance (program, phrase, voice, seed) and belongs to one split, so that training and
test never share a sound.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
import zlib
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.io import wavfile

from videollama2.errors import MissingDependencyError
from videollama2.world.instruments import INSTRUMENTS, SLOT_SECONDS, SOUND_SECONDS, phrase, write_midi
from videollama2.world.sounding import SAMPLE_RATE
from videollama2.world.synth import SYNTHESISERS

NUM_SAMPLES = int(SOUND_SECONDS * SAMPLE_RATE)

INSTANCES = {"train": 40, "test": 16}
"""Instances of each kind and source in each split."""

VOICES = {
    "train": ("en-us+m1", "en-us+m3", "en-us+f1", "en-us+f3", "en-gb+m2", "en-gb+m7", "en-gb+f2", "en-gb+f4",
              "en-gb-x-rp+m4", "en-gb-scotland+m6", "en-029+f5", "en-us+klatt2", "en-gb+linda", "en-us+adam"),
    "test": ("en-us+m5", "en-us+f4", "en-gb+m8", "en-gb-x-rp+f5", "en-us+klatt4", "en-gb-scotland+f2", "en-gb+paul"),
}  # fmt: skip

_SENTENCES = (
    "Good morning, how are you today?", "The train leaves in ten minutes from platform four.",
    "Please remember to close the door when you go.", "I think it is going to be a beautiful day.",
    "We walked along the river until it was dark.", "Could you tell me where the station is?",
    "She bought some bread and a bottle of milk.", "My brother works in a small town near the sea.",
    "There are many people waiting outside the shop.", "He told us a story about his first journey.",
    "Turn left at the corner and go straight ahead.", "The meeting starts at nine o'clock tomorrow.",
    "I would like a cup of tea without sugar.", "The children are playing in the garden.",
    "It takes about an hour to get there by car.", "Let me know if you need any help with that.",
    "The weather was cold but the sky was clear.", "You can find the answer on the next page.",
    "They have lived in this house for twenty years.", "Nobody knew what had happened to the letter.",
)  # fmt: skip


def _int16(wave: np.ndarray) -> np.ndarray:
    """Peak-normalises and fits to `NUM_SAMPLES`, repeating nothing: what is short is followed by silence."""
    wave = wave[:NUM_SAMPLES].astype(np.float64)
    wave = np.pad(wave, (0, NUM_SAMPLES - len(wave)))
    peak = max(float(np.abs(wave).max()), 1e-9)
    return np.round(wave / peak * 0.9 * 32767).astype(np.int16)


def _soundfont_rows(soundfont: Path, folder: Path) -> tuple[list[dict], list[np.ndarray]]:
    rows, phrases = [], []
    for kind, instrument in INSTRUMENTS.items():
        for split, count in INSTANCES.items():
            programs = instrument.train if split == "train" else instrument.test
            # effects sound much the same on every note: a few instances are enough beside the synthesised ones
            for k in range(count // 3 if instrument.style in ("effect", "bell") else count):
                rng = random.Random(f"{kind}/{split}/{k}")
                program = programs[k % len(programs)]
                phrases.append((program, instrument.style == "drums", phrase(instrument, rng)))
                rows.append({"kind": kind, "split": split, "source": f"soundfont program {program}"})
    midi, wav = folder / "phrases.mid", folder / "phrases.wav"
    write_midi(phrases, midi)
    command = ["fluidsynth", "-ni", "-R", "0", "-C", "0", "-g", "0.6", "-r", str(2 * SAMPLE_RATE), "-F"]
    subprocess.run([*command, str(wav), str(soundfont), str(midi)], check=True, capture_output=True)
    rate, stereo = wavfile.read(wav, mmap=True)
    slots = []
    for k in range(len(rows)):
        first = int(k * SLOT_SECONDS * rate)
        slot = stereo[first : first + int(SOUND_SECONDS * rate)].astype(np.float64).mean(axis=1)
        slots.append(_int16(signal.resample_poly(slot, SAMPLE_RATE, rate)))
    return rows, slots


def _speech_rows(folder: Path) -> tuple[list[dict], list[np.ndarray]]:
    rows, waves = [], []
    for split, count in INSTANCES.items():
        for k in range(2 * count):
            rng = random.Random(f"speech/{split}/{k}")
            voice = VOICES[split][k % len(VOICES[split])]
            half = len(_SENTENCES) // 2  # test speaks other sentences with other voices
            text = " ".join(rng.sample(_SENTENCES[:half] if split == "train" else _SENTENCES[half:], 3))
            wav = folder / "speech.wav"
            command = ["espeak-ng", "-v", voice, "-s", str(rng.randint(130, 190)), "-p", str(rng.randint(25, 75))]
            subprocess.run([*command, "-w", str(wav), text], check=True, capture_output=True)
            rate, wave = wavfile.read(wav)
            waves.append(_int16(signal.resample_poly(wave.astype(np.float64), 320, int(320 * rate / SAMPLE_RATE))))
            rows.append({"kind": "speech", "split": split, "source": f"espeak-ng {voice}", "text": text})
    return rows, waves


def synthesised_rows() -> tuple[list[dict], list[np.ndarray]]:
    """All instances of the kinds computed by `synth`; needs no program and no download."""
    rows, waves = [], []
    for kind, make in SYNTHESISERS.items():
        for split, count in INSTANCES.items():
            for k in range(count):
                seed = [zlib.crc32(kind.encode()), zlib.crc32(split.encode()), k]
                waves.append(_int16(make(np.random.default_rng(seed), NUM_SAMPLES)))
                rows.append({"kind": kind, "split": split, "source": f"synthesised {k}"})
    return rows, waves


def write_sounds(rows: list[dict], waves: list[np.ndarray], out: Path) -> list[dict]:
    """Stores the waveforms as `sounds.npy` [n, samples] int16 and returns the index rows."""
    np.save(out / "sounds.npy", np.stack(waves))
    return rows


def build_sounds(soundfont: Path, out: Path) -> tuple[list[dict], list[dict[str, str]]]:
    """Renders every sound into `out`.

    Returns:
        Index rows (kind, split, source) in the order of `sounds.npy`; ledger rows of what was made here.
    """
    for program in ("fluidsynth", "espeak-ng"):
        if shutil.which(program) is None:
            raise MissingDependencyError(f"the program {program} is not installed; install the package {program}")
    rows, waves = synthesised_rows()
    with tempfile.TemporaryDirectory() as folder:
        for more_rows, more_waves in (_soundfont_rows(soundfont, Path(folder)), _speech_rows(Path(folder))):
            rows, waves = rows + more_rows, waves + more_waves
    ledger = [
        {"source": "synthesised by videollama2.world.synth", "licence": "Apache-2.0 (this package)"},
        {"source": "speech rendered with espeak-ng", "licence": "the program's output is free of its licence"},
    ]
    return write_sounds(rows, waves, out), ledger
