"""Everyday sounds computed from a random seed: sirens, alarms, phones, rain, wind, engines, clocks, steps, waves, ...

Each function takes a numpy generator and a number of samples and returns a mono float32 waveform at 16 kHz in [-1, 1].
Every draw of the generator gives another instance of the kind (other pitch, tempo, timbre), which is what lets whole
instances be held out for testing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import signal

from videollama2.world.sounding import SAMPLE_RATE

Array = np.ndarray


def _normalise(wave: Array) -> Array:
    peak = float(np.abs(wave).max())
    return (wave / peak * 0.9 if peak > 0 else wave).astype(np.float32)


def _times(num_samples: int) -> Array:
    return np.arange(num_samples) / SAMPLE_RATE


def _tone(frequency: Array, harmonics: Array) -> Array:
    """A harmonic tone whose frequency (Hz, one value a sample) may glide."""
    phase = 2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE
    return sum(amplitude * np.sin((k + 1) * phase) for k, amplitude in enumerate(harmonics))


def _filtered_noise(rng: np.random.Generator, num_samples: int, low: float, high: float, order: int = 2) -> Array:
    sos = signal.butter(order, [low, min(high, 7900.0)], "bandpass", fs=SAMPLE_RATE, output="sos")
    return signal.sosfilt(sos, rng.standard_normal(num_samples))


def _slow_curve(rng: np.random.Generator, num_samples: int, rate: float) -> Array:
    """A smooth random curve in [0, 1] that changes about `rate` times a second."""
    knots = max(4, int(num_samples / SAMPLE_RATE * rate) + 3)
    return np.interp(np.linspace(0, knots - 1, num_samples), np.arange(knots), rng.random(knots))


def _place(out: Array, piece: Array, start: float) -> None:
    first = int(start * SAMPLE_RATE)
    if 0 <= first < len(out):
        piece = piece[: len(out) - first]
        out[first : first + len(piece)] += piece


def siren(rng: np.random.Generator, num_samples: int) -> Array:
    """Wail, yelp or two-tone siren of an emergency vehicle."""
    t = _times(num_samples)
    low, high = rng.uniform(400, 700), rng.uniform(1000, 1700)
    style = rng.integers(3)
    if style == 0:
        cycle = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(0.2, 0.5) * t + rng.uniform(0, 6.28))
    elif style == 1:
        cycle = 0.5 + 0.5 * signal.sawtooth(2 * np.pi * rng.uniform(1.5, 4.0) * t, 0.6)
    else:
        cycle = (signal.square(2 * np.pi * rng.uniform(0.6, 1.2) * t + rng.uniform(0, 6.28)) + 1) / 2
        high = low * rng.uniform(1.25, 1.5)
    return _normalise(_tone(low + (high - low) * cycle, 0.6 ** np.arange(rng.integers(3, 8))))


def alarm(rng: np.random.Generator, num_samples: int) -> Array:
    """Electronic beeps in groups, as of an alarm clock or a smoke alarm."""
    t = _times(num_samples)
    frequency, beep = rng.uniform(800, 3200), rng.uniform(0.06, 0.25)
    per_group, gap = rng.integers(1, 5), rng.uniform(0.3, 0.7)
    group = per_group * 2 * beep + (gap if per_group > 1 else 0.0)
    position = (t + rng.uniform(0, group)) % group
    gate = (position < per_group * 2 * beep) & (position % (2 * beep) < beep)
    tone = _tone(np.full(num_samples, frequency), np.array([1.0, 0.0, rng.uniform(0, 0.4), 0.0, rng.uniform(0, 0.2)]))
    return _normalise(tone * np.convolve(gate, np.ones(32) / 32, "same"))


def phone(rng: np.random.Generator, num_samples: int) -> Array:
    """A mechanical or electronic telephone bell: a trill, a pause, a trill."""
    t = _times(num_samples)
    low = rng.uniform(450, 1400)
    trill = rng.uniform(14, 28)
    on, off = rng.uniform(0.6, 1.6), rng.uniform(0.5, 1.4)
    double = rng.random() < 0.4
    position = (t + rng.uniform(0, on)) % (on + off)
    gate = (position < on) & ~(double & (abs(position - on / 2) < 0.08))
    if rng.random() < 0.5:  # two gongs struck in turn
        strikes = signal.sawtooth(2 * np.pi * trill * t) * -0.5 + 0.5
        which = ((t * trill).astype(int) % 2)[:]
        tone = np.where(which == 0, np.sin(2 * np.pi * low * t), np.sin(2 * np.pi * low * 1.25 * t))
        tone = (tone + 0.5 * np.sin(2 * np.pi * low * 2.76 * t)) * strikes
    else:  # warbling electronic ringer
        frequency = np.where((t * trill).astype(int) % 2 == 0, low, low * rng.uniform(1.15, 1.35))
        tone = _tone(frequency, np.array([1.0, 0.4, 0.3]))
    return _normalise(tone * np.convolve(gate, np.ones(200) / 200, "same"))


def rain(rng: np.random.Generator, num_samples: int) -> Array:
    """A steady hiss with many small drops."""
    wave = _filtered_noise(rng, num_samples, rng.uniform(400, 1500), rng.uniform(5000, 7800), 1) * rng.uniform(0.3, 0.8)
    drops = np.zeros(num_samples)
    count = int(rng.uniform(40, 400) * num_samples / SAMPLE_RATE)
    drops[rng.integers(0, num_samples, count)] = rng.exponential(1.0, count) * rng.choice([-1, 1], count)
    sos = signal.butter(2, [rng.uniform(600, 1500), rng.uniform(3000, 7000)], "bandpass", fs=SAMPLE_RATE, output="sos")
    wave += signal.sosfilt(sos, drops) * rng.uniform(1, 6)
    return _normalise(np.clip(wave / (3.5 * wave.std()), -1, 1))


def wind(rng: np.random.Generator, num_samples: int) -> Array:
    """Low noise whose loudness and resonance wander in gusts."""
    gust = _slow_curve(rng, num_samples, rng.uniform(0.4, 1.2))
    low = _filtered_noise(rng, num_samples, 60, rng.uniform(250, 500))
    centre = rng.uniform(350, 900)
    howl = _filtered_noise(rng, num_samples, centre * 0.9, centre * 1.15)
    return _normalise(low / low.std() * (0.3 + gust) + howl / howl.std() * gust**2 * rng.uniform(0.4, 1.5))


def engine(rng: np.random.Generator, num_samples: int) -> Array:
    """A combustion engine: low pulses at a wandering rate of turns, revving now and then."""
    t = _times(num_samples)
    base = rng.uniform(22, 70)
    revs = 1 + rng.uniform(0, 0.9) * _slow_curve(rng, num_samples, rng.uniform(0.3, 0.8))
    pulse = _tone(base * revs, rng.uniform(0.3, 1.0, 14) * 0.88 ** np.arange(14))
    shake = 1 + 0.3 * np.sin(2 * np.pi * base / 2 * t)
    noise = _filtered_noise(rng, num_samples, 100, rng.uniform(800, 2500), 1)
    return _normalise(np.tanh(pulse * shake * rng.uniform(0.6, 1.5)) + noise * rng.uniform(0.1, 0.4))


def clock(rng: np.random.Generator, num_samples: int) -> Array:
    """A mechanical clock: dry ticks (and tocks) at an even tempo."""
    out = np.zeros(num_samples)
    period = float(rng.choice([0.25, 0.4, 0.5, 1.0])) * rng.uniform(0.95, 1.05)
    pitch, tock = rng.uniform(1800, 4500), rng.uniform(0.6, 1.0)
    t = _times(800)
    ticks = []
    for factor in (1.0, tock):
        click = np.exp(-t * rng.uniform(250, 500)) * np.sin(2 * np.pi * pitch * factor * t)
        ticks.append(click + np.exp(-t * 900) * rng.standard_normal(800) * 0.6)
    start, step = rng.uniform(0, period), 0
    while start < num_samples / SAMPLE_RATE:
        _place(out, ticks[step % 2], start)
        start, step = start + period, step + 1
    return _normalise(out + 0.002 * rng.standard_normal(num_samples))


def footsteps(rng: np.random.Generator, num_samples: int) -> Array:
    """A person walking: soft thuds with a heel click and a little grit, slightly uneven."""
    out = np.zeros(num_samples)
    period, pitch = rng.uniform(0.35, 0.7), rng.uniform(70, 180)
    grit, heel = rng.uniform(0.05, 0.6), rng.uniform(0.1, 0.8)
    length = 2400
    t = _times(length)
    start = rng.uniform(0, period)
    while start < num_samples / SAMPLE_RATE:
        thud = np.exp(-t * rng.uniform(35, 60)) * np.sin(2 * np.pi * pitch * rng.uniform(0.9, 1.1) * t)
        scrape = _filtered_noise(rng, length, 800, 5000, 1) * np.exp(-t * 30) * grit
        click = np.exp(-t * 300) * rng.standard_normal(length) * heel
        _place(out, (thud + scrape + click) * rng.uniform(0.7, 1.0), start)
        start += period * rng.uniform(0.93, 1.07)
    return _normalise(out + 0.002 * rng.standard_normal(num_samples))


def waves(rng: np.random.Generator, num_samples: int) -> Array:
    """Sea waves: broad noise that swells, breaks and draws back every few seconds."""
    t = _times(num_samples)
    phase = (t / rng.uniform(2.5, 5.0) + rng.random()) % 1.0
    rise = rng.uniform(0.4, 0.7)
    swell = np.where(phase < rise, (phase / rise) ** 2, np.exp(-(phase - rise) * rng.uniform(3, 6)))
    rumble = _filtered_noise(rng, num_samples, 80, 600, 1)
    hiss = _filtered_noise(rng, num_samples, 800, 6000, 1)
    return _normalise(rumble * (0.2 + swell) + hiss * swell**1.5 * rng.uniform(0.6, 1.4) + 0.03 * hiss)


def birds(rng: np.random.Generator, num_samples: int) -> Array:
    """Chirps and whistles: short glides of a high tone, repeated in phrases."""
    out = np.zeros(num_samples)
    for _ in range(rng.integers(1, 4)):
        centre, glide = rng.uniform(2200, 5500), rng.uniform(-1500, 1500)
        length, gap, per_phrase = rng.uniform(0.05, 0.22), rng.uniform(0.04, 0.15), int(rng.integers(2, 8))
        warble = rng.uniform(0, 300)
        t = _times(int(length * SAMPLE_RATE))
        curve = centre + glide * (t / length - 0.5) + warble * np.sin(2 * np.pi * rng.uniform(15, 45) * t)
        chirp = _tone(np.clip(curve, 1200, 7500), np.array([1.0, 0.1])) * np.hanning(len(t))
        start = rng.uniform(0, 0.8)
        while start < num_samples / SAMPLE_RATE:
            for k in range(per_phrase):
                _place(out, chirp * rng.uniform(0.6, 1.0), start + k * (length + gap))
            start += per_phrase * (length + gap) + rng.uniform(0.2, 1.2)
    return _normalise(out + 0.003 * rng.standard_normal(num_samples))


def helicopter(rng: np.random.Generator, num_samples: int) -> Array:
    """Rotor blades chopping the air over a turbine's hum."""
    t = _times(num_samples)
    rate = rng.uniform(9, 20)
    chop = np.exp(-((t * rate + rng.random()) % 1.0) * rng.uniform(4, 9))
    noise = _filtered_noise(rng, num_samples, 60, rng.uniform(600, 1800), 1)
    hum = _tone(np.full(num_samples, rng.uniform(150, 500)), np.array([1.0, 0.5, 0.3])) * rng.uniform(0, 0.08)
    thump = np.sin(2 * np.pi * rng.uniform(50, 90) * t)
    return _normalise((noise / noise.std() + thump * rng.uniform(0.5, 1.5)) * chop + hum)


def applause(rng: np.random.Generator, num_samples: int) -> Array:
    """Many hands clapping, each with its own tempo and tone."""
    out = np.zeros(num_samples)
    length = 700
    t = _times(length)
    for _ in range(int(rng.integers(10, 60))):
        clap = _filtered_noise(rng, length, rng.uniform(500, 1200), rng.uniform(1800, 4500), 1) * np.exp(-t * 120)
        period, start, loud = rng.uniform(0.16, 0.35), rng.uniform(0, 0.3), rng.uniform(0.2, 1.0)
        while start < num_samples / SAMPLE_RATE:
            _place(out, clap * loud * rng.uniform(0.6, 1.0), start)
            start += period * rng.uniform(0.9, 1.1)
    return _normalise(out)


def bell(rng: np.random.Generator, num_samples: int) -> Array:
    """A struck bell: inharmonic partials that die away, struck again at its own tempo."""
    out = np.zeros(num_samples)
    base = rng.uniform(250, 1300)
    ratios = np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.74, 3.76]) * rng.uniform(0.985, 1.015, 7)
    period = rng.uniform(0.6, 2.2)
    t = _times(int(3 * SAMPLE_RATE))
    decay = rng.uniform(0.8, 2.5)
    levels = rng.uniform(0.3, 1.0, 7)
    strike = sum(a * np.sin(2 * np.pi * base * r * t) * np.exp(-t * decay * r) for a, r in zip(levels, ratios))
    start = rng.uniform(0, 0.5)
    while start < num_samples / SAMPLE_RATE:
        _place(out, strike, start)
        start += period
    return _normalise(out)


SYNTHESISERS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "siren": siren,
    "alarm": alarm,
    "phone": phone,
    "rain": rain,
    "wind": wind,
    "engine": engine,
    "clock": clock,
    "footsteps": footsteps,
    "waves": waves,
    "birds": birds,
    "helicopter": helicopter,
    "applause": applause,
    "bell": bell,
}
