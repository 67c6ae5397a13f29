"""Phrases for a General MIDI soundfont: which programs play which kind of sound, and a small MIDI file writer.

One long MIDI file holds all phrases, each in its own slot of `SLOT_SECONDS`; the renderer's output is cut at the slots.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from pathlib import Path

SLOT_SECONDS = 8.0
SOUND_SECONDS = 6.5

_TICKS = 480  # a quarter note, which at the file's tempo (120 a minute) lasts 0.5 s
_DRUM_CHANNEL = 9


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """How one kind of sound is played.

    Attributes:
        train: General MIDI programs (0-based) heard in training.
        test: Programs kept for testing; where only one program exists it appears in both and the phrases differ.
        low: Lowest MIDI note.
        high: Highest MIDI note.
        style: "melody", "chords" (both plus arpeggios), "drums" or "effect" (long notes).
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    low: int
    high: int
    style: str


INSTRUMENTS: dict[str, Instrument] = {
    "guitar": Instrument(train=(24, 25, 27), test=(26, 25), low=43, high=76, style="chords"),
    "piano": Instrument(train=(0, 2, 3), test=(1, 0), low=40, high=88, style="chords"),
    "violin": Instrument(train=(40,), test=(40, 110), low=57, high=92, style="melody"),
    "trumpet": Instrument(train=(56,), test=(56,), low=54, high=82, style="melody"),
    "flute": Instrument(train=(73, 74), test=(73, 75), low=64, high=93, style="melody"),
    "drums": Instrument(train=(0, 16, 24, 40), test=(8, 32), low=35, high=59, style="drums"),
    "bell": Instrument(train=(14,), test=(14,), low=55, high=79, style="bell"),
    "waves": Instrument(train=(122,), test=(122,), low=40, high=72, style="effect"),
    "birds": Instrument(train=(123,), test=(123,), low=50, high=76, style="effect"),
    "phone": Instrument(train=(124,), test=(124,), low=50, high=76, style="effect"),
    "helicopter": Instrument(train=(125,), test=(125,), low=44, high=70, style="effect"),
    "applause": Instrument(train=(126,), test=(126,), low=44, high=72, style="effect"),
}

_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9))

Note = tuple[float, float, int, int]
"""Start (s), length (s), MIDI note, velocity."""


def phrase(instrument: Instrument, rng: random.Random) -> list[Note]:
    """Notes of one phrase within `SOUND_SECONDS`."""
    if instrument.style == "drums":
        return _drum_pattern(rng)
    if instrument.style == "effect":
        # struck again and again: some of these samples die away within a second or two
        note, step = rng.randint(instrument.low, instrument.high), rng.uniform(1.1, 2.0)
        velocity = rng.randint(90, 127)
        return [(0.05 + k * step, step * 0.97, note, velocity) for k in range(int(SOUND_SECONDS / step))]
    if instrument.style == "bell":
        note, step = rng.randint(instrument.low, instrument.high), rng.uniform(0.6, 1.6)
        return [(0.05 + k * step, step, note, rng.randint(80, 120)) for k in range(int(6 / step))]
    scale, root = rng.choice(_SCALES), rng.randint(instrument.low, instrument.low + 12)
    pool = [
        root + 12 * octave + degree
        for octave in range(5)
        for degree in scale
        if root + 12 * octave + degree <= instrument.high
    ]
    step = rng.uniform(0.15, 0.6)
    place, start, notes = rng.randrange(len(pool)), 0.05, []
    chords = instrument.style == "chords" and rng.random() < 0.5
    while start < SOUND_SECONDS - 0.6:
        length = step * rng.choice((1, 1, 1, 2, 3))
        place = min(max(place + rng.choice((-3, -2, -1, 1, 2, 3)), 0), len(pool) - 1)
        velocity = rng.randint(70, 120)
        members = [place, place + 2, place + 4] if chords else [place]
        notes += [(start, length * 0.95, pool[m], velocity) for m in members if m < len(pool)]
        start += length
    return notes


def _drum_pattern(rng: random.Random) -> list[Note]:
    step = rng.uniform(0.11, 0.22)
    kick = [rng.random() < 0.3 or k % 8 == 0 for k in range(16)]
    snare = [rng.random() < 0.12 or k % 8 == 4 for k in range(16)]
    hat = [rng.random() < 0.7 for _ in range(16)]
    toms, tom = rng.random() < 0.4, [rng.random() < 0.25 for _ in range(16)]
    notes: list[Note] = []
    for k in range(int((SOUND_SECONDS - 0.4) / step)):
        at = 0.05 + k * step
        if kick[k % 16]:
            notes.append((at, 0.1, 36, rng.randint(95, 125)))
        if snare[k % 16]:
            notes.append((at, 0.1, 38, rng.randint(85, 120)))
        if hat[k % 16]:
            notes.append((at, 0.1, 42, rng.randint(50, 90)))
        if toms and tom[k % 16]:
            notes.append((at, 0.1, rng.choice((41, 45, 48, 50)), rng.randint(80, 115)))
    return notes


def _variable_length(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(0x80 | (value & 0x7F))
    return bytes(reversed(out))


def write_midi(phrases: list[tuple[int, bool, list[Note]]], path: Path) -> None:
    """Writes a MIDI file with phrase `k` starting at `k * SLOT_SECONDS`.

    Args:
        phrases: (program, is a drum kit, notes) of each slot.
        path: File to write.
    """
    events: list[tuple[float, int, bytes]] = []
    for k, (program, drums, notes) in enumerate(phrases):
        at, channel = k * SLOT_SECONDS, _DRUM_CHANNEL if drums else 0
        events.append((at, 0, bytes((0xC0 | channel, program))))
        for start, length, note, velocity in notes:
            events.append((at + start, 2, bytes((0x90 | channel, note, velocity))))
            events.append((at + min(start + length, SOUND_SECONDS), 1, bytes((0x80 | channel, note, 0))))
        events.append((at + SOUND_SECONDS, 3, bytes((0xB0 | channel, 120, 0))))  # all sound off
    track, last = bytearray(), 0
    for seconds, _, message in sorted(events):
        tick = round(seconds * 2 * _TICKS)
        track += _variable_length(tick - last) + message
        last = tick
    track += _variable_length(_TICKS) + b"\xff\x2f\x00"
    header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, _TICKS)
    path.write_bytes(header + b"MTrk" + struct.pack(">I", len(track)) + bytes(track))
