"""Human sounds that are not speech, computed from a seed: a buzzing voice and breath noise under moving envelopes."""

from __future__ import annotations

import zlib

import numpy as np
from scipy import signal

from videollama2.world.sounding import SAMPLE_RATE

Array = np.ndarray

VOCALS = ("laughter", "sigh", "cough", "throatclearing", "sneeze", "sniff")
"""Kinds, spelt as the benchmark VocalSound spells them in its file names."""


def _breath(rng: np.random.Generator, seconds: float, low: float, high: float) -> Array:
    noise = rng.standard_normal(int(seconds * SAMPLE_RATE))
    sections = signal.butter(2, [low, high], "bandpass", fs=SAMPLE_RATE, output="sos")
    return signal.sosfilt(sections, noise)


def _voice(rng: np.random.Generator, seconds: float, pitch: Array | float, formants: tuple[float, ...]) -> Array:
    """A pulse train through resonances, a little rough."""
    count = int(seconds * SAMPLE_RATE)
    curve = np.broadcast_to(pitch, count) * (1 + 0.03 * np.interp(np.arange(count), np.linspace(0, count, 12),
                                                                 rng.standard_normal(12)))  # fmt: skip
    pulses = np.diff(np.floor(np.cumsum(curve) / SAMPLE_RATE), prepend=0.0) + 0.01 * rng.standard_normal(count)
    out = np.zeros(count)
    for formant in formants:
        b, a = signal.iirpeak(min(formant, 7000), 6, fs=SAMPLE_RATE)
        out += signal.lfilter(b, a, pulses)
    return out / max(np.abs(out).max(), 1e-9)


def _hump(count: int, rise: float, fall: float) -> Array:
    t = np.linspace(0, 1, count)
    return np.minimum(t / max(rise, 1e-3), 1.0) * np.exp(-np.maximum(t - rise, 0) * fall)


def _put(out: Array, part: Array, start: float, level: float = 1.0) -> None:
    first = int(start * SAMPLE_RATE)
    room = max(0, min(len(part), len(out) - first))
    out[first : first + room] += level * part[:room]


def vocal_sound(kind: str, seed: int, seconds: float = 4.0) -> Array:
    """One recording of a person's sound.

    Args:
        kind: One of `VOCALS`.
        seed: Decides the person and everything else.
        seconds: Length; the sound is somewhere near its beginning.

    Returns:
        float32 [samples] in [-1, 1], mono, 16 kHz.
    """
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    out = 0.002 * rng.standard_normal(int(seconds * SAMPLE_RATE))
    person = rng.uniform(0.8, 1.25)  # larger or smaller head
    formants = tuple(person * f for f in (700, 1200, 2600))
    pitch, start = rng.uniform(95, 260), rng.uniform(0.1, 0.8)
    if kind == "laughter":
        step = rng.uniform(0.16, 0.24)
        for k in range(rng.integers(5, 10)):
            ha = _voice(rng, step * 0.6, pitch * 1.3 * 0.97**k, formants)
            _put(out, ha * _hump(len(ha), 0.15, 3), start + k * step, 0.93**k)
            puff = _breath(rng, step * 0.35, 800, 5000)
            _put(out, puff * _hump(len(puff), 0.3, 3), start + (k + 0.62) * step, 0.25)
    elif kind == "sigh":
        air = _breath(rng, rng.uniform(1.2, 2.0), 250 * person, 2200 * person)
        _put(out, air * _hump(len(air), 0.25, 3.5), start)
        tone = _voice(rng, 1.0, np.linspace(pitch, 0.6 * pitch, SAMPLE_RATE), formants)
        _put(out, tone * _hump(len(tone), 0.2, 5), start + 0.2, rng.uniform(0.05, 0.3))
    elif kind == "cough":
        for k in range(rng.integers(2, 4)):
            burst = _breath(rng, 0.28, 300 * person, 4500)
            rasp = _voice(rng, 0.28, 0.9 * pitch, formants)
            _put(out, burst * _hump(len(burst), 0.03, 7) + 0.35 * rasp * _hump(len(rasp), 0.2, 6),
                 start + k * rng.uniform(0.38, 0.5))  # fmt: skip
    elif kind == "throatclearing":
        for k in range(2):
            growl = _voice(rng, 0.5, rng.uniform(38, 60), tuple(person * f for f in (450, 1000, 2000)))
            rough = growl * (1 + 0.8 * np.sign(np.sin(2 * np.pi * 27 * np.arange(len(growl)) / SAMPLE_RATE)))
            _put(out, rough * _hump(len(rough), 0.3, 3) + 0.15 * _breath(rng, 0.5, 300, 2500), start + 0.62 * k)
    elif kind == "sneeze":
        drawn = _breath(rng, 0.6, 900, 5000)
        _put(out, drawn * np.linspace(0, 1, len(drawn)) ** 2, start, 0.35)
        blast = _breath(rng, 0.5, 1500, 7500)
        _put(out, blast * _hump(len(blast), 0.03, 6), start + 0.68, 1.6)
        voiced = _voice(rng, 0.22, np.linspace(2.2 * pitch, pitch, int(0.22 * SAMPLE_RATE)), formants)
        _put(out, voiced * _hump(len(voiced), 0.1, 4), start + 0.66, 0.6)
    elif kind == "sniff":
        for k in range(rng.integers(2, 4)):
            air = _breath(rng, 0.22, 2200 * person, 7200)
            _put(out, air * np.linspace(0.2, 1, len(air)) * _hump(len(air), 0.7, 12), start + 0.42 * k)
    else:
        raise AssertionError(f"no such human sound: {kind!r}")
    return (out / max(np.abs(out).max(), 1e-9) * rng.uniform(0.4, 0.95)).astype(np.float32)
