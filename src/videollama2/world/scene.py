"""Scene graphs: what is to be seen and heard in a clip, drawn purely from (split, seed, index).

Everything a question may ask is a field here, so answers are read off, never recognised. Where a family claims to need
time, the draw is symmetric in time: for direction, the place of the thing at a random moment has the same distribution
whichever way it moves; for order, every time slot is alike. A single frame then says nothing beyond chance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from videollama2.errors import MissingFilesError, RequestError
from videollama2.world.assets import Catalogue, check_split
from videollama2.world.backgrounds import BACKGROUNDS
from videollama2.world.shapes import COLOURS, SHAPES
from videollama2.world.sounding import NOUN_SOUNDS, belongs

SCENE_KINDS: dict[str, float] = {
    "move": 0.26,
    "order": 0.20,
    "count": 0.15,
    "colour": 0.15,
    "place": 0.10,
    "close": 0.06,
    "match": 0.08,
}
"""Kind of scene -> share of all scenes."""

DIRECTIONS = ("left", "right", "up", "down", "still")
SIDES = ("left", "right", "top", "bottom")
SILENT_SHARE, TWO_SOUNDS_SHARE = 0.18, 0.20

_STEP = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}


@dataclass(frozen=True, kw_only=True)
class Sprite:
    """One thing in the picture. Places are centres, in fractions of the frame's width and height (0, 0 = top left).

    Attributes:
        name: Noun, or shape where `colour` is set.
        file: Sprite file in the catalogue; empty for a shape.
        colour: Name of the colour of a shape, else None.
        rgb: Fill of a shape.
        size: Longest side in fractions of the frame's side.
        start: Place at the beginning of the clip.
        end: Place at the end; between them it moves evenly.
        direction: One of `DIRECTIONS`; what `start` and `end` amount to.
        appear: Moment it becomes visible, in fractions of the clip.
        disappear: Moment it vanishes.
        flip: Mirrored left to right.
        angle: Rotation in degrees.
        brightness: Factor on its colours.
        saturation: 0 grey to 1 as drawn.
        detail: Pixels to which its longest side is reduced before drawing (a blurred, coarse look), or 0 for none.
        shading: 0 flat to 1 shaded, for shapes.
    """

    name: str
    file: str
    size: float
    start: tuple[float, float]
    end: tuple[float, float]
    colour: str | None = None
    rgb: tuple[int, int, int] = (0, 0, 0)
    direction: str = "still"
    appear: float = 0.0
    disappear: float = 1.0
    flip: bool = False
    angle: float = 0.0
    brightness: float = 1.0
    saturation: float = 1.0
    detail: int = 0
    shading: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Sound:
    """One sound of the clip.

    Attributes:
        kind: What it is ("guitar", "rain", ...).
        number: Row of the catalogue's sound table.
        start: Beginning in fractions of the clip.
        end: End in fractions of the clip.
        gain_db: Level below full scale (negative).
        offset: Seconds skipped of the stored sound.
        speed: Playback rate; 1.05 is faster and higher by 5 %.
        tilt: Tone control from -1 (dull) to 1 (thin).
    """

    kind: str
    number: int
    start: float
    end: float
    gain_db: float
    offset: float
    speed: float
    tilt: float


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A clip's scene graph.

    Attributes:
        split: "train", "val" or "test".
        seed: Seed of the collection.
        index: Number of the clip in it.
        kind: One of `SCENE_KINDS`.
        duration: Seconds.
        background: One of `BACKGROUNDS`.
        background_seed: Decides the background's look.
        sprites: Things, back to front; the first is the one asked about, or the first to appear.
        sounds: In order of time; empty for silence.
        softness: Radius of the lens blur in thousandths of the frame's side; 0 for none.
        noise_db: Level of the recording noise below full scale.
        noise_seed: Decides the noise.
    """

    split: str
    seed: int
    index: int
    kind: str
    duration: float
    background: str
    background_seed: int
    sprites: tuple[Sprite, ...]
    sounds: tuple[Sound, ...]
    softness: float
    noise_db: float
    noise_seed: int


def make_scene(catalogue: Catalogue, split: str, seed: int, index: int, kind: str | None = None) -> Scene:
    """Draws scene `index` of a collection.

    Args:
        catalogue: Sprites and sounds; the same folder gives the same scenes.
        split: "train", "val" or "test".
        seed: Seed of the collection.
        index: Number of the scene, from 0.
        kind: Forces a kind of scene (for looking and testing); None draws one by `SCENE_KINDS`.

    Raises:
        RequestError: Unknown split or kind.
    """
    check_split(split)
    if kind is not None and kind not in SCENE_KINDS:
        raise RequestError(f"unknown kind of scene {kind!r}; choose one of {', '.join(SCENE_KINDS)}")
    rng = random.Random(f"scene/{split}/{seed}/{index}")
    drawn = rng.choices(list(SCENE_KINDS), list(SCENE_KINDS.values()))[0]
    kind = kind or drawn
    choices: tuple[str, ...] = ()
    if kind == "match":
        noun, own, foreign = _match_pair(rng, catalogue, split)
        sprites, choices = _match(rng, catalogue, split, noun), (own, foreign)
    else:
        sprites = _MAKERS[kind](rng, catalogue, split)
    return Scene(
        split=split,
        seed=seed,
        index=index,
        kind=kind,
        duration=round(rng.uniform(4.0, 6.0), 2),
        background=rng.choice(BACKGROUNDS),
        background_seed=rng.randrange(2**32),
        sprites=sprites,
        sounds=_sounds(rng, catalogue, split, choices),
        softness=rng.choice((0.0, 0.0, rng.uniform(0.5, 5.0))),
        noise_db=rng.uniform(-70, -32),
        noise_seed=rng.randrange(2**32),
    )


def _look(rng: random.Random) -> dict:
    return {
        "flip": rng.random() < 0.5,
        "angle": rng.uniform(-12, 12) if rng.random() < 0.5 else 0.0,
        "brightness": rng.uniform(0.7, 1.15),
        "saturation": rng.choice((1.0, rng.uniform(0.4, 1.0))),
        "detail": rng.choice((0, 0, 0, 40, 64, 90)),
    }


def _thing(rng: random.Random, catalogue: Catalogue, split: str, noun: str | None = None, **fields) -> Sprite:
    noun = noun or rng.choice(catalogue.nouns(split))
    file = rng.choice(rng.choice(catalogue.drawings(noun, split)))
    return Sprite(name=noun, file=file, **{**_look(rng), **fields})


def _shape(rng: random.Random, shape: str, colour: str, **fields) -> Sprite:
    rgb = tuple(min(255, max(0, value + rng.randint(-8, 8))) for value in rng.choice(COLOURS[colour]))
    look = {**_look(rng), "brightness": 1.0, "saturation": 1.0, "detail": 0, "shading": rng.choice((0.0, rng.random()))}
    return Sprite(name=shape, file="", colour=colour, rgb=(rgb[0], rgb[1], rgb[2]), **{**look, **fields})


def _track(rng: random.Random, size: float, direction: str) -> dict:
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


def _stay(place: tuple[float, float], size: float) -> dict:
    """A thing that stays, drawn inside the frame."""
    x, y = (min(max(value, size / 2), 1 - size / 2) for value in place)
    return {"size": size, "start": (x, y), "end": (x, y)}


def _move(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    return (_thing(rng, catalogue, split, **_track(rng, rng.uniform(0.22, 0.55), rng.choice(DIRECTIONS))),)


def _close(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    size = rng.uniform(0.5, 0.95)
    return (_thing(rng, catalogue, split, **_stay((rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7)), size)),)


def _match_pair(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[str, str, str]:
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


def _match(rng: random.Random, catalogue: Catalogue, split: str, noun: str) -> tuple[Sprite, ...]:
    if rng.random() < 0.5:
        return (_thing(rng, catalogue, split, noun, **_track(rng, rng.uniform(0.3, 0.55), rng.choice(DIRECTIONS))),)
    place = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))
    return (_thing(rng, catalogue, split, noun, **_stay(place, rng.uniform(0.4, 0.85))),)


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
        sprites.append(_thing(rng, catalogue, split, name, **_stay(place, size), **window))
    return tuple(sprites)


def _cells(rng: random.Random, number: int) -> list[tuple[float, float]]:
    """Places in different cells of a 3 x 3 grid, a little off the cells' centres."""
    cells = rng.sample([(column, row) for column in range(3) for row in range(3)], number)
    return [((c + 0.5) / 3 + rng.uniform(-0.02, 0.02), (r + 0.5) / 3 + rng.uniform(-0.02, 0.02)) for c, r in cells]


def _count(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    number, size = rng.randint(1, 4), rng.uniform(0.18, 0.3)
    first = _thing(rng, catalogue, split, **_stay((0.5, 0.5), size))
    others = rng.choice((0, 0, 0, 1, 2))
    places = _cells(rng, number + others)
    sprites = []
    for k, place in enumerate(places):
        own = size * rng.uniform(0.85, 1.05)
        if k < number:  # alike, but not copies
            same = {"brightness": first.brightness, "saturation": first.saturation, "detail": first.detail}
            fields = {**_look(rng), **same, **_stay(place, own)}
            sprites.append(Sprite(name=first.name, file=first.file, **fields))
        else:
            other = rng.choice([noun for noun in catalogue.nouns(split) if noun != first.name])
            sprites.append(_thing(rng, catalogue, split, other, **_stay(place, own)))
    return tuple(sprites)


def _colour(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    number = rng.choice((1, 1, 2))
    shapes, colours = rng.sample(SHAPES, number), rng.sample(list(COLOURS), number)
    if number == 1:
        fields = _track(rng, rng.uniform(0.22, 0.55), rng.choice(DIRECTIONS))
        return (_shape(rng, shapes[0], colours[0], **fields),)
    places = _cells(rng, 2)
    return tuple(_shape(rng, s, c, **_stay(p, rng.uniform(0.22, 0.3))) for s, c, p in zip(shapes, colours, places))


def _place(rng: random.Random, catalogue: Catalogue, split: str) -> tuple[Sprite, ...]:
    size, far, middle = rng.uniform(0.2, 0.36), rng.uniform(0.18, 0.25), rng.uniform(0.42, 0.58)
    places = {"left": (far, middle), "right": (1 - far, middle), "top": (middle, far), "bottom": (middle, 1 - far)}
    side = rng.choice(SIDES)
    if rng.random() < 0.5:
        return (_thing(rng, catalogue, split, **_stay(places[side], size)),)
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[side]
    first, second = rng.sample(catalogue.nouns(split), 2)
    return (
        _thing(rng, catalogue, split, first, **_stay(places[side], size)),
        _thing(rng, catalogue, split, second, **_stay(places[opposite], size * rng.uniform(0.8, 1.0))),
    )


_MAKERS = {
    "move": _move,
    "order": _order,
    "count": _count,
    "colour": _colour,
    "place": _place,
    "close": _close,
}


def side_of(sprite: Sprite) -> str:
    """The side of the frame a still thing is on: one of `SIDES`, by its larger distance from the middle."""
    x, y = sprite.start[0] - 0.5, sprite.start[1] - 0.5
    if abs(x) >= abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"


def _sounds(rng: random.Random, catalogue: Catalogue, split: str, choices: tuple[str, ...]) -> tuple[Sound, ...]:
    """Sounds of a scene: one of the kinds in `choices` if there are any, else whatever comes."""
    kinds = catalogue.sound_kinds(split)

    def sound(kind: str, start: float, end: float) -> Sound:
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

    if choices:
        return (sound(rng.choice(choices), 0.0, 1.0),)
    draw = rng.random()
    if draw < SILENT_SHARE:
        return ()
    if draw < SILENT_SHARE + TWO_SOUNDS_SHARE:
        first, second = rng.sample(kinds, 2)
        return (sound(first, 0.0, 0.49), sound(second, 0.51, 1.0))
    return (sound(rng.choice(kinds), 0.0, 1.0),)
