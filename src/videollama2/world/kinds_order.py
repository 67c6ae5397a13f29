"""Kinds of scene whose things come one after another: pairs and sequences of four."""

from __future__ import annotations

import random

from videollama2.world.assets import Catalogue
from videollama2.world.graph import Sprite
from videollama2.world.placing import stay, thing

_SHORTEST = 0.14  # of the clip: more than an eighth, so that one of eight even frames always shows the thing


def pair(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """Two things, one after the other, with a moment of both or of neither between them.

    The change comes anywhere in the middle half and both windows reach over it equally far: played backwards the
    scene is as likely.
    """
    change = rng.uniform(0.3, 0.7)
    both = rng.random() < 0.4
    reach = rng.uniform(0.04, 0.15) if both else -rng.uniform(0.0, 0.03)
    sides, sprites = rng.sample((0.27, 0.73), 2), []
    for slot, name in enumerate(rng.sample(catalogue.nouns(split), 2)):
        size = rng.uniform(0.3, 0.42) if both else rng.uniform(0.3, 0.75)
        place = (sides[slot], rng.uniform(0.25, 0.75)) if both else (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8))
        window = {"appear": change - reach} if slot else {"disappear": change + reach}
        sprites.append(thing(rng, catalogue, split, name, **stay(place, size), **window))
    return {"sprites": tuple(sprites)}


def _boundaries(rng: random.Random) -> list[float]:
    """Moments 0 = b0 < ... < b4 = 1 that cut the clip into four parts, one long and three short.

    The long one is drawn evenly and always holds the middle of the clip: neither a frame of an unknown moment nor the
    middle frame tells which part it is from.
    """
    lengths = [_SHORTEST + rng.uniform(0.0, 0.02) for _ in range(4)]
    long = rng.randrange(4)
    lengths[long] += 1 - sum(lengths)
    cuts = [sum(lengths[:k]) for k in range(4)]
    return [*cuts, 1.0]


def sequence(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """Four things, one after another; one of them, whichever, is seen for half of the clip."""
    cuts = _boundaries(rng)
    sprites: list[Sprite] = []
    for slot, name in enumerate(rng.sample(catalogue.nouns(split), 4)):
        size = rng.uniform(0.3, 0.75)
        place = (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8))
        window = {"appear": cuts[slot], "disappear": cuts[slot + 1]}
        sprites.append(thing(rng, catalogue, split, name, **stay(place, size), **window))
    return {"sprites": tuple(sprites)}
