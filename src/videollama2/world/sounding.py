"""What the kinds of sound are called, and which sound a thing makes."""

from __future__ import annotations

SAMPLE_RATE = 16000
"""Samples a second of every sound."""

SOUND_NAMES: dict[str, str] = {
    "alarm": "an alarm",
    "applause": "applause",
    "bell": "a bell",
    "birds": "birds",
    "clock": "a ticking clock",
    "drums": "drums",
    "engine": "an engine",
    "flute": "a flute",
    "footsteps": "footsteps",
    "guitar": "a guitar",
    "helicopter": "a helicopter",
    "phone": "a ringing phone",
    "piano": "a piano",
    "rain": "rain",
    "siren": "a siren",
    "speech": "a person speaking",
    "trumpet": "a trumpet",
    "violin": "a violin",
    "waves": "sea waves",
    "wind": "wind",
}
"""Kind of sound -> how an answer names it."""

PLURAL_SOUNDS = frozenset({"birds", "drums", "footsteps", "waves"})

NO_SOUND = "no sound"

NOUN_SOUNDS: dict[str, tuple[str, ...]] = {
    "guitar": ("guitar",),
    "piano keyboard": ("piano",),
    "violin": ("violin",),
    "trumpet": ("trumpet",),
    "flute": ("flute",),
    "drum": ("drums",),
    "bell": ("bell",),
    "ambulance": ("siren", "engine"),
    "fire engine": ("siren", "engine"),
    "police car": ("siren", "engine"),
    "alarm clock": ("alarm", "clock", "bell"),
    "telephone": ("phone", "bell"),
    "mobile phone": ("phone", "alarm"),
    "car": ("engine",),
    "truck": ("engine",),
    "bus": ("engine",),
    "motorcycle": ("engine",),
    "racing car": ("engine",),
    "tractor": ("engine",),
    "clock": ("clock", "alarm", "bell"),
    "watch": ("clock", "alarm"),
    "bird": ("birds",),
    "parrot": ("birds",),
    "helicopter": ("helicopter", "engine"),
    "wave": ("waves",),
    "shoe": ("footsteps",),
    "boot": ("footsteps",),
}
"""Noun -> its sound first, then other kinds it could make, which are never called foreign to it."""


def belongs(kind: str, noun: str) -> bool:
    """Whether a sound could come from the thing."""
    return kind in NOUN_SOUNDS.get(noun, ())


def sound_is(kind: str) -> str:
    """`"guitar"` -> `"a guitar is"`, `"drums"` -> `"drums are"`."""
    return f"{SOUND_NAMES[kind]} {'are' if kind in PLURAL_SOUNDS else 'is'}"
