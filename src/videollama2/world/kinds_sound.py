"""Sounds of a scene, and the kinds of scene that are made for the ear: two sounds in order, words, repeated sounds."""

from __future__ import annotations

import random
from dataclasses import replace

from videollama2.errors import RequestError
from videollama2.world.assets import Catalogue
from videollama2.world.graph import DIRECTIONS, Sound, Sprite
from videollama2.world.placing import stay, thing, track
from videollama2.world.sounding import SAMPLE_RATE

SILENT_SHARE, TWO_SOUNDS_SHARE = 0.18, 0.20

WORD = "word"
"""Kind of the sounds that are one spoken word; `Sound.text` says which."""

CELLS = 8
"""Parts of a clip that a repetition is laid out on: eight even frames show every one of them."""


def draw_sound(rng: random.Random, catalogue: Catalogue, split: str, kind: str, start: float, end: float) -> Sound:
    """One instance of a kind of sound between two moments."""
    return Sound(
        kind=kind,
        number=rng.choice(catalogue.sound_numbers(kind, split)),
        start=start,
        end=end,
        gain_db=rng.uniform(-20, -3),
        offset=rng.uniform(0.0, 0.4),
        speed=rng.uniform(0.92, 1.08),
        tilt=rng.uniform(-0.8, 0.8),
    )


def any_sounds(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sound, ...]:
    """Whatever comes: silence, one sound or two, one after the other."""
    draw = rng.random()
    if draw < SILENT_SHARE:
        return ()
    if draw < SILENT_SHARE + TWO_SOUNDS_SHARE:
        return two_sounds(rng, catalogue, split)
    return (draw_sound(rng, catalogue, split, rng.choice(catalogue.sound_kinds(split)), 0.0, 1.0),)


def two_sounds(
    rng: random.Random, catalogue: Catalogue, split: str, first_end: float = 0.49, second_start: float = 0.51
) -> tuple[Sound, Sound]:
    """Two different sounds, one after the other."""
    first, second = rng.sample(catalogue.sound_kinds(split), 2)
    return (
        draw_sound(rng, catalogue, split, first, 0.0, first_end),
        draw_sound(rng, catalogue, split, second, second_start, 1.0),
    )


def any_thing(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    """One thing, moving or not: what is to be seen where only the sound is asked about."""
    if rng.random() < 0.5:
        return (thing(rng, catalogue, split, **track(rng, rng.uniform(0.22, 0.55), rng.choice(DIRECTIONS))),)
    place = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))
    return (thing(rng, catalogue, split, **stay(place, rng.uniform(0.35, 0.9))),)


def sounds(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """Two sounds, one after the other; the change comes anywhere in the middle half."""
    change, gap = rng.uniform(0.3, 0.7), rng.uniform(0.0, 0.06)
    heard = two_sounds(rng, catalogue, split, change - gap / 2, change + gap / 2)
    return {"sprites": any_thing(rng, catalogue, split), "sounds": heard}


def _utterances(
    rng: random.Random, catalogue: Catalogue, split: str, new: bool, times: int = 0, pause: float = 0.0
) -> dict:
    """One word, said `times` times (0: once or twice) by one voice, with `pause` (of the clip) or more between."""
    number = rng.choice(catalogue.word_numbers(rng.choice(catalogue.words(split, new=new)), split))
    row, duration = catalogue.word_row(number), round(rng.uniform(4.0, 6.0) + 20 * pause, 2)
    times, speed = times or rng.choice((1, 1, 2)), rng.uniform(0.92, 1.08)
    length = row["length"] / SAMPLE_RATE / speed / duration
    gain, tilt, utterances = rng.uniform(-16, -3), rng.uniform(-0.8, 0.8), []
    for k in range(times):
        start = rng.uniform(k / times, (k + 1) / times - length - pause)
        utterances.append(
            Sound(
                kind=WORD, text=row["word"], number=number, start=start, end=start + length, gain_db=gain, offset=0.0,
                speed=speed, tilt=tilt,
            )
        )  # fmt: skip
    return {"sprites": any_thing(rng, catalogue, split), "sounds": tuple(utterances), "duration": duration}


def word(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A voice says one of the words of every split."""
    return _utterances(rng, catalogue, split, new=False)


def new_word(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A voice says a word that is never said in training.

    Raises:
        RequestError: The split is not "test".
    """
    if split != "test":
        raise RequestError(
            f"scenes of kind 'new_word' exist in the split 'test' only, not in {split!r}; ask for 'word'"
        )
    return _utterances(rng, catalogue, split, new=True)


def runs(rng: random.Random, number: int) -> tuple[tuple[float, float], ...]:
    """`number` spans that fill half of the clip and begin or end with it.

    Spans and pauses alternate and are equally many, so the spans of one draw are the pauses of another, equally likely
    one: at every moment the chance to be within a span is one half whatever the number.
    """

    def parts() -> list[int]:
        cuts = sorted(rng.sample(range(1, CELLS // 2), number - 1))
        return [b - a for a, b in zip([0, *cuts], [*cuts, CELLS // 2])]

    lengths = [length for both in zip(parts(), parts()) for length in both]
    edges = [sum(lengths[:k]) / CELLS for k in range(2 * number + 1)]
    edges = [edge if edge in (0, 1) else edge + rng.uniform(-0.03, 0.03) for edge in edges]
    first = rng.randrange(2)
    return tuple((edges[k], edges[k + 1]) for k in range(first, 2 * number, 2))


SUSTAINED = ("engine", "flute", "rain", "siren", "trumpet", "violin", "wind")
"""Kinds of sound without pauses of their own, whose repetitions can be counted."""


def heard(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A sound that is heard once to four times, for half of the clip in all."""
    kind = rng.choice([kind for kind in SUSTAINED if kind in catalogue.sound_kinds(split)])
    one = draw_sound(rng, catalogue, split, kind, 0.0, 1.0)
    spans = runs(rng, rng.randint(1, 4))
    repeated = tuple(replace(one, start=start, end=end) for start, end in spans)
    sprites = any_thing(rng, catalogue, split)
    return {"sprites": sprites, "sounds": repeated, "duration": round(rng.uniform(5.0, 8.0), 2)}


def said(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A word that is said once to four times."""
    return _utterances(rng, catalogue, split, new=False, times=rng.randint(1, 4), pause=0.03)
