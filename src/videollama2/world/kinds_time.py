"""Kinds of scene that need time: speed, repetition, change of state, actions and their reverses, what goes together.

Each draw is symmetric, so that a frame of an unknown moment (and the middle frame) is as likely under every answer:
what moves to and fro has a random phase; what comes and goes is seen for half of the clip under every count; an action
has its reverse, which is the same frames in another order.
"""

from __future__ import annotations

import random

from videollama2.world.assets import Catalogue
from videollama2.world.graph import Sprite
from videollama2.world.kinds_sound import draw_sound, runs
from videollama2.world.openings import OPENINGS
from videollama2.world.placing import coloured_shape, lens, stay, thing
from videollama2.world.shapes import COLOURS, SHAPES

CHANGES = ("colour", "size", "shape", "nothing")
SMALL, LARGE = 0.26, 0.52

_ROUND = """
    sun star moon planet globe snowflake gear wheel ring coin disc button frisbee yo-yo daisy sunflower hibiscus rose
    lotus clover doughnut cookie bagel pizza orange tomato egg basketball baseball volleyball dice fried-egg soccer-ball
    kiwi coconut melon watermelon bowling-ball crystal-ball cherry-blossom pie onion potato rock
"""
EVEN_ALL_ROUND = frozenset(_ROUND.split())
"""Nouns (with hyphens for blanks) that look much the same when they are turned."""


def repeat(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A thing that comes and goes once to four times."""
    place, number = (rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75)), rng.randint(1, 4)
    seen = thing(rng, catalogue, split, **stay(place, rng.uniform(0.3, 0.7)), windows=runs(rng, number))
    return {"sprites": (seen,), "camera": lens(rng)}


def size(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """Two things side by side, one clearly larger."""
    first, second = rng.sample(catalogue.nouns(split), 2)
    sides, large = rng.sample((0.26, 0.74), 2), rng.uniform(0.42, 0.48)
    sizes = [large, large / rng.uniform(2.0, 2.7)]
    rng.shuffle(sizes)
    y = [rng.uniform(0.35, 0.65) for _ in range(2)]
    return {
        "sprites": (
            thing(rng, catalogue, split, first, **{**stay((sides[0], y[0]), sizes[0]), "angle": 0.0}),
            thing(rng, catalogue, split, second, **{**stay((sides[1], y[1]), sizes[1]), "angle": 0.0}),
        ),
        "camera": lens(rng, things=False),
    }


def speed(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """Two things that go to and fro in lanes of their own, one of them four times as fast."""
    names, lanes = rng.sample(catalogue.nouns(split), 2), rng.sample((0.27, 0.73), 2)
    laps = rng.uniform(1.6, 2.2)
    pace = [laps, laps / rng.uniform(3.5, 5.0)]
    rng.shuffle(pace)
    upright, sprites = rng.random() < 0.5, []
    for name, lane, way in zip(names, lanes, pace):
        side = rng.uniform(0.24, 0.36)
        ends = [(side / 2, lane), (1 - side / 2, lane)]
        if upright:
            ends = [(y, x) for x, y in ends]
        fields: dict = {"size": side, "start": ends[0], "end": ends[1], "phase": rng.uniform(0, 2), "laps": way}
        sprites.append(thing(rng, catalogue, split, name, **fields, direction="to and fro"))
    return {"sprites": tuple(sprites), "camera": lens(rng, things=False)}


def change(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A shape that turns into one of another colour, size or shape, or into none."""
    what = rng.choice(CHANGES)
    shapes, colours, sizes = rng.sample(SHAPES, 2), rng.sample(list(COLOURS), 2), rng.sample((SMALL, LARGE), 2)
    place, moment = (rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65)), rng.uniform(0.3, 0.7)
    before = coloured_shape(rng, shapes[0], colours[0], **stay(place, sizes[0]), disappear=moment)
    same = {"flip": before.flip, "angle": before.angle, "shading": before.shading, "appear": moment}
    after = coloured_shape(
        rng,
        shapes[what == "shape"],
        colours[what == "colour"],
        **{**stay(place, sizes[what == "size"]), "start": before.start, "end": before.start, **same},
    )
    if what != "colour":
        after = Sprite(**{**after.__dict__, "rgb": before.rgb})
    return {"sprites": (before, after), "camera": lens(rng)}


def vanish(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A thing that appears during the clip, or vanishes during it."""
    moment = rng.uniform(0.3, 0.7)
    window: dict = rng.choice(({"appear": moment}, {"disappear": 1 - moment}))
    place = (rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75))
    return {"sprites": (thing(rng, catalogue, split, **stay(place, rng.uniform(0.3, 0.7)), **window),),
            "camera": lens(rng)}  # fmt: skip


def action(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A thing that grows or shrinks and at the same time turns one way or the other."""
    small = rng.uniform(0.24, 0.32)
    sizes = rng.sample((small, small * rng.uniform(2.0, 2.6)), 2)
    turn = rng.choice((-1, 1)) * rng.uniform(110, 220)
    place = (rng.uniform(0.4, 0.6), rng.uniform(0.4, 0.6))
    # turned about the angle in the middle of the clip, so that the reverse passes the same angles
    noun = rng.choice([noun for noun in catalogue.nouns(split) if noun.replace(" ", "-") not in EVEN_ALL_ROUND])
    look: dict = {"angle": rng.uniform(0, 360) - turn / 2, "turn": turn, "end_size": sizes[1]}
    return {"sprites": (thing(rng, catalogue, split, noun, size=sizes[0], start=place, end=place, **look),),
            "camera": lens(rng, things=False)}  # fmt: skip


def opening(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A door, a curtain, an eye, a mouth or a box that opens or closes."""
    name, colour = rng.choice(OPENINGS), rng.choice(list(COLOURS)[:8])
    degrees = rng.sample((rng.uniform(0.0, 0.15), rng.uniform(0.8, 1.0)), 2)
    place = (rng.uniform(0.35, 0.65), rng.uniform(0.35, 0.65))
    fields = {**stay(place, rng.uniform(0.35, 0.7)), "open_start": degrees[0], "open_end": degrees[1], "angle": 0.0}
    return {"sprites": (coloured_shape(rng, name, colour, **fields),), "camera": lens(rng)}


def meet(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """Two things that come together or move apart."""
    names = rng.sample(catalogue.nouns(split), 2)
    near, far = rng.uniform(0.15, 0.18), rng.uniform(0.34, 0.38)
    reach = rng.sample((near, far), 2)
    upright, lane, sprites = rng.random() < 0.5, rng.uniform(0.35, 0.65), []
    for name, sign in zip(names, (-1, 1)):
        ends = [(0.5 + sign * r, lane) for r in reach]
        if upright:
            ends = [(y, x) for x, y in ends]
        fields: dict = {"size": rng.uniform(0.2, 0.26), "start": ends[0], "end": ends[1], "direction": "to and fro"}
        sprites.append(thing(rng, catalogue, split, name, **fields))
    return {"sprites": tuple(sprites), "camera": lens(rng, things=False)}


def camera(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """A still scene over which the view moves to one side while it zooms in or out."""
    things = []
    for k, name in enumerate(rng.sample(catalogue.nouns(split), 2)):
        place = (0.3 + 0.4 * k + rng.uniform(-0.06, 0.06), rng.uniform(0.35, 0.65))
        things.append(thing(rng, catalogue, split, name, **stay(place, rng.uniform(0.2, 0.3))))
    return {"sprites": tuple(things), "camera": lens(rng, strong=True)}


def together(rng: random.Random, catalogue: Catalogue, split: str) -> dict:
    """Four things, one after another, and one sound that is heard during one of them."""
    names, heard = rng.sample(catalogue.nouns(split), 4), rng.randrange(4)
    sprites = []
    for k, name in enumerate(names):
        place = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))
        window = {"appear": k / 4, "disappear": (k + 1) / 4}
        sprites.append(thing(rng, catalogue, split, name, **stay(place, rng.uniform(0.35, 0.75)), **window))
    kind = rng.choice(catalogue.sound_kinds(split))
    sound = draw_sound(rng, catalogue, split, kind, heard / 4, (heard + 1) / 4)
    return {"sprites": tuple(sprites), "sounds": (sound,), "duration": round(rng.uniform(6.0, 8.0), 2)}
