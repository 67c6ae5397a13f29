"""Questions with as many options as a layout wants, and sentences about scenes to choose between."""

from __future__ import annotations

import itertools
import random

from videollama2.world.collection import Collection
from videollama2.world.describe import DIRECTION_ANSWERS
from videollama2.world.graph import Scene
from videollama2.world.nouns import CONFUSABLE, with_article
from videollama2.world.shapes import COLOURS
from videollama2.world.sounding import SOUND_NAMES
from videollama2.world.writer import Question

LETTERS = "ABCDEFGH"
ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

PLACES = {
    "clouds": ("in", "the sky"),
    "grass": ("on", "a meadow"),
    "wood": ("on", "a wooden table"),
    "stone": ("in front of", "a rock"),
    "water": ("on", "water"),
    "foliage": ("among", "leaves"),
    "bokeh": ("in", "a street at night"),
    "brick": ("in front of", "a brick wall"),
    "fabric": ("on", "a piece of cloth"),
    "sand": ("on", "sand"),
}
"""Photograph-like background -> where the scene takes place: preposition, place."""

ON_TEXTURE = {texture: " ".join(place) for texture, place in PLACES.items()}
"""Photograph-like background -> "on a meadow"."""


def more_options(collection: Collection, scene: Scene, question: Question) -> list[str]:
    """Further wrong answers of the kind that is on offer; empty where all are on offer already."""
    family, offered = str(question["family"]), set(map(str, question["options"]))  # type: ignore[call-overload]
    split, answer = collection.settings.split, str(question["answer"])
    if family in ("object", "first", "last", "together", "order"):
        seen = {sprite.name for sprite in scene.sprites} | CONFUSABLE.get(answer, frozenset())
        pool = [noun for noun in collection.catalogue.nouns(split) if noun not in seen]
    elif family == "colour":
        pool = list(COLOURS)
    elif family == "sound":
        heard = {SOUND_NAMES.get(sound.kind) for sound in scene.sounds}
        pool = [SOUND_NAMES[kind] for kind in collection.catalogue.sound_kinds(split) if SOUND_NAMES[kind] not in heard]
    elif family == "word":
        pool = collection.catalogue.words(split)
    elif family == "direction":
        pool = list(DIRECTION_ANSWERS.values())
    else:
        pool = []
    return [item for item in pool if item not in offered]


def n_way(collection: Collection, scene: Scene, question: Question, number: int, rng: random.Random) -> list[str]:
    """`number` options, shuffled, the right one among them.

    Raises:
        AssertionError: The family has not so many answers; the format asks for what cannot be.
    """
    answer = str(question["answer"])
    wrong = [option for option in question["options"] if option != answer]  # type: ignore[attr-defined]
    wrong = rng.sample(wrong, len(wrong))[: number - 1]
    missing = number - 1 - len(wrong)
    wrong += rng.sample(more_options(collection, scene, question), missing) if missing else []
    return rng.sample([answer, *wrong], number)


def order_sentence(names: list[str]) -> str:
    """`"a dog, then a cat, then a cup"`."""
    return ", then ".join(with_article(name) for name in names)


def orders(names: list[str], number: int, rng: random.Random) -> list[list[str]]:
    """The right order first, then `number - 1` other orders of the same names."""
    others = [list(order) for order in itertools.permutations(names) if list(order) != names]
    return [names, *rng.sample(others, number - 1)]


def lettered(options: list[str], right: str) -> str:
    """The letter of the right option."""
    return LETTERS[options.index(right)]


def lower(text: str) -> str:
    """A question as some releases write it: lower case, without its mark."""
    return text[0].lower() + text[1:].rstrip("?.")
