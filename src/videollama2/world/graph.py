"""The scene graph: things, sounds and clips as plain records. Everything a question may ask is a field here."""

from __future__ import annotations

from dataclasses import dataclass

DIRECTIONS = ("left", "right", "up", "down", "still")
SIDES = ("left", "right", "top", "bottom")


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
        number: Row of the catalogue's sound table, or of its word table where `text` is set.
        start: Beginning in fractions of the clip.
        end: End in fractions of the clip.
        gain_db: Level below full scale (negative).
        offset: Seconds skipped of the stored sound.
        speed: Playback rate; 1.05 is faster and higher by 5 %.
        tilt: Tone control from -1 (dull) to 1 (thin).
        text: What is said, where the sound is one spoken word.
    """

    kind: str
    number: int
    start: float
    end: float
    gain_db: float
    offset: float
    speed: float
    tilt: float
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A clip's scene graph.

    Attributes:
        split: "train", "val" or "test".
        seed: Seed of the collection.
        index: Number of the clip in it.
        kind: One of `KINDS`.
        duration: Seconds.
        background: One of `BACKGROUNDS` or `TEXTURES`.
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


def side_of(sprite: Sprite) -> str:
    """The side of the frame a still thing is on: one of `SIDES`, by its larger distance from the middle."""
    x, y = sprite.start[0] - 0.5, sprite.start[1] - 0.5
    if abs(x) >= abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"
