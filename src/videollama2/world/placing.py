"""Draws single things of a scene: how they look, where they are and how they move."""

from __future__ import annotations

import random

from videollama2.world.assets import Catalogue
from videollama2.world.graph import Camera, Sprite
from videollama2.world.shapes import COLOURS

_STEP = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}


def appearance(rng: random.Random) -> dict:
    """Small differences between two drawings of the same thing."""
    return {
        "flip": rng.random() < 0.5,
        "angle": rng.uniform(-12, 12) if rng.random() < 0.5 else 0.0,
        "brightness": rng.uniform(0.7, 1.15),
        "saturation": rng.choice((1.0, rng.uniform(0.4, 1.0))),
        "detail": rng.choice((0, 0, 0, 40, 64, 90)),
    }


def thing(rng: random.Random, catalogue: Catalogue, split: str, noun: str | None = None, **fields) -> Sprite:
    """A drawing of a noun (by default any) in one of the split's styles; `fields` are those of `Sprite`."""
    noun = noun or rng.choice(catalogue.nouns(split))
    file = rng.choice(rng.choice(catalogue.drawings(noun, split)))
    return Sprite(name=noun, file=file, **{**appearance(rng), **fields})


def coloured_shape(rng: random.Random, shape: str, colour: str, **fields) -> Sprite:
    """A shape of the colour's name; `fields` are those of `Sprite`."""
    rgb = tuple(min(255, max(0, value + rng.randint(-8, 8))) for value in rng.choice(COLOURS[colour]))
    look = {
        **appearance(rng),
        "brightness": 1.0,
        "saturation": 1.0,
        "detail": 0,
        "shading": rng.choice((0.0, rng.random())),
    }
    return Sprite(name=shape, file="", colour=colour, rgb=(rgb[0], rgb[1], rgb[2]), **{**look, **fields})


def track(rng: random.Random, size: float, direction: str) -> dict:
    """A straight path in `direction` whose places, at a random moment, are distributed alike for all directions."""

    def travel() -> tuple[float, float]:
        length = rng.uniform(0.3, max(0.32, min(0.62, 0.96 - size)))
        low = (size + length) / 2
        return rng.uniform(min(low, 0.5), max(1 - low, 0.5)), length

    place, moves = [], _STEP[direction]
    for axis in range(2):
        centre, length = travel()
        half = length * moves[axis] / 2
        if moves[axis] == 0:  # stay where a mover might be caught at a random moment
            centre += length * (rng.random() - 0.5)
        place.append((centre - half, centre + half))
    return {
        "size": size,
        "start": (place[0][0], place[1][0]),
        "end": (place[0][1], place[1][1]),
        "direction": direction,
    }


def stay(place: tuple[float, float], size: float) -> dict:
    """A thing that stays, drawn inside the frame."""
    x, y = (min(max(value, size / 2), 1 - size / 2) for value in place)
    return {"size": size, "start": (x, y), "end": (x, y)}


def cells(rng: random.Random, number: int) -> list[tuple[float, float]]:
    """Places in different cells of a 3 x 3 grid, a little off the cells' centres."""
    cells = rng.sample([(column, row) for column in range(3) for row in range(3)], number)
    return [((c + 0.5) / 3 + rng.uniform(-0.02, 0.02), (r + 0.5) / 3 + rng.uniform(-0.02, 0.02)) for c, r in cells]


def lens(rng: random.Random, *, things: bool = True, strong: bool = False) -> Camera | None:
    """How the view moves: mostly as a distractor, by less than would change an answer.

    Args:
        rng: Source of chance.
        things: Whether the things are seen to move with the background.
        strong: A clear pan to the left or right with a clear zoom, to be asked about.
    """
    if strong:
        pan = (rng.choice((-1, 1)) * rng.uniform(0.2, 0.32), rng.uniform(-0.04, 0.04))
        return Camera(pan=pan, zoom=rng.uniform(1.4, 1.8) ** rng.choice((-1, 1)))
    if rng.random() < 0.5:
        return None
    reach = 0.08 if things else 0.3
    pan = (rng.uniform(-reach, reach), rng.uniform(-reach, reach))
    zoom = 1.0 if things else 1.25 ** rng.uniform(-1, 1)
    shake = rng.choice((0.0, rng.uniform(0.0, 0.02)))
    return Camera(pan=pan, zoom=zoom, shake=shake, shake_seed=rng.randrange(2**32), things=things)
