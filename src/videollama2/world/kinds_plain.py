"""The first seven kinds of scene, and the only ones of collections drawn without a mix.

Stored features and a trained model depend on what they draw, number by number: nothing here may change.
"""

from __future__ import annotations

import random

from videollama2.errors import MissingFilesError
from videollama2.world.assets import Catalogue
from videollama2.world.graph import DIRECTIONS, SIDES, Sprite
from videollama2.world.placing import appearance, cells, coloured_shape, stay, thing, track
from videollama2.world.shapes import COLOURS, SHAPES
from videollama2.world.sounding import NOUN_SOUNDS, belongs


def _move(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    return (thing(rng, catalogue, split, **track(rng, rng.uniform(0.22, 0.55), rng.choice(DIRECTIONS))),)


def _close(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    size = rng.uniform(0.5, 0.95)
    return (thing(rng, catalogue, split, **stay((rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)), size)),)


def match_pair(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[str, str, str]:
    """A thing, its own sound and a foreign one.

    Two things that are foreign to each other both ways are drawn, and the second lends its sound. As the draw is
    symmetric, things and sounds are distributed alike among matching and foreign pairs: neither alone tells.
    """
    by_kind: dict[str, list[str]] = {}
    for noun in catalogue.nouns(split):
        if noun in NOUN_SOUNDS:
            by_kind.setdefault(NOUN_SOUNDS[noun][0], []).append(noun)
    makers = [kind for kind in catalogue.sound_kinds(split) if kind in by_kind]
    for _ in range(1000):
        kinds = rng.choices(makers, k=2) if makers else []
        first, second = (rng.choice(by_kind[kind]) for kind in kinds) if kinds else ("", "")
        if kinds and not belongs(kinds[1], first) and not belongs(kinds[0], second):
            return first, kinds[0], kinds[1]
    raise MissingFilesError(f"{catalogue.folder} has no two things with different sounds; fetch the assets again")


def match(rng: random.Random, catalogue: Catalogue, split: str, noun: str) -> tuple[Sprite, ...]:
    """The thing of a matching or foreign pair, moving or large and still."""
    if rng.random() < 0.5:
        return (thing(rng, catalogue, split, noun, **track(rng, rng.uniform(0.3, 0.55), rng.choice(DIRECTIONS))),)
    place = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))
    return (thing(rng, catalogue, split, noun, **stay(place, rng.uniform(0.4, 0.85))),)


def _order(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    nouns = catalogue.nouns(split)
    number = min(rng.choice((2, 2, 2, 3, 4, 4)), len(nouns))
    names = rng.sample(nouns, number)
    overlap = number == 2 and rng.random() < 0.4
    # both windows grow over the middle by the same amount, so that played backwards the scene is as likely
    reach = rng.uniform(0.08, 0.25) if overlap else -rng.uniform(0.0, 0.02)
    sides = rng.sample((0.27, 0.73), 2)
    sprites = []
    for slot, name in enumerate(names):
        size = rng.uniform(0.3, 0.42) if overlap else rng.uniform(0.3, 0.75)
        place = (sides[slot], rng.uniform(0.25, 0.75)) if overlap else (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8))
        window = {
            "appear": max(0.0, slot / number - reach) if slot else 0.0,
            "disappear": min(1.0, (slot + 1) / number + reach) if slot < number - 1 else 1.0,
        }
        sprites.append(thing(rng, catalogue, split, name, **stay(place, size), **window))
    return tuple(sprites)


def _count(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    number, size = rng.randint(1, 4), rng.uniform(0.18, 0.3)
    first = thing(rng, catalogue, split, **stay((0.5, 0.5), size))
    others = rng.choice((0, 0, 0, 1, 2))
    places = cells(rng, number + others)
    sprites = []
    for k, place in enumerate(places):
        own = size * rng.uniform(0.85, 1.05)
        if k < number:  # alike, but not copies
            same = {"brightness": first.brightness, "saturation": first.saturation, "detail": first.detail}
            fields = {**appearance(rng), **same, **stay(place, own)}
            sprites.append(Sprite(name=first.name, file=first.file, **fields))
        else:
            other = rng.choice([noun for noun in catalogue.nouns(split) if noun != first.name])
            sprites.append(thing(rng, catalogue, split, other, **stay(place, own)))
    return tuple(sprites)


def _colour(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    number = rng.choice((1, 1, 2))
    shapes, colours = rng.sample(SHAPES, number), rng.sample(list(COLOURS), number)
    if number == 1:
        fields = track(rng, rng.uniform(0.22, 0.55), rng.choice(DIRECTIONS))
        return (coloured_shape(rng, shapes[0], colours[0], **fields),)
    places = cells(rng, 2)
    return tuple(
        coloured_shape(rng, s, c, **stay(p, rng.uniform(0.22, 0.3))) for s, c, p in zip(shapes, colours, places)
    )


def _place(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    size, far, middle = rng.uniform(0.2, 0.36), rng.uniform(0.18, 0.25), rng.uniform(0.42, 0.58)
    places = {"left": (far, middle), "right": (1 - far, middle), "top": (middle, far), "bottom": (middle, 1 - far)}
    side = rng.choice(SIDES)
    if rng.random() < 0.5:
        return (thing(rng, catalogue, split, **stay(places[side], size)),)
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[side]
    first, second = rng.sample(catalogue.nouns(split), 2)
    return (
        thing(rng, catalogue, split, first, **stay(places[side], size)),
        thing(rng, catalogue, split, second, **stay(places[opposite], size * rng.uniform(0.8, 1.0))),
    )


PLAIN_MAKERS = {
    "move": _move,
    "order": _order,
    "count": _count,
    "colour": _colour,
    "place": _place,
    "close": _close,
}
"""Kind of scene -> what draws its things; "match" needs its sounds as well and is drawn apart."""
