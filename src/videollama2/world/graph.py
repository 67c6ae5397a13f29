"""The scene graph: things, sounds and clips as plain records. Everything a question may ask is a field here."""

from __future__ import annotations

import math
import random
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
        windows: Spans of the clip in which it is seen, where it comes and goes (instead of `appear`, `disappear`).
        phase: Where between `start` (0) and `end` (1) it begins; from 1 to 2 it is on its way back.
        laps: Ways between `start` and `end` it makes in the clip, to and fro.
        end_size: Size at the end of the clip, where it changes evenly (by ratio).
        turn: Degrees it turns during the clip, counter-clockwise.
        open_start: How far it is open at the beginning, 0 to 1, for the things of `openings`.
        open_end: How far it is open at the end.
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
    windows: tuple[tuple[float, float], ...] = ()
    phase: float = 0.0
    laps: float = 1.0
    end_size: float | None = None
    turn: float = 0.0
    open_start: float | None = None
    open_end: float = 0.0

    def seen(self, moment: float) -> bool:
        """Whether it is visible at a moment (fraction of the clip)."""
        spans = self.windows or ((self.appear, self.disappear),)
        return any(first <= moment < last or moment >= 1.0 <= last for first, last in spans)

    def place(self, moment: float) -> tuple[float, float]:
        """Centre at a moment."""
        way = (self.phase + self.laps * moment) % 2.0
        share = way if way <= 1.0 else 2.0 - way
        (x, y), (to_x, to_y) = self.start, self.end
        return x + (to_x - x) * share, y + (to_y - y) * share

    def size_at(self, moment: float) -> float:
        """Longest side at a moment."""
        return self.size if self.end_size is None else self.size * (self.end_size / self.size) ** moment

    def openness(self, moment: float) -> float:
        """How far it is open at a moment, 0 to 1."""
        first = self.open_start or 0.0
        return first + (self.open_end - first) * moment

    @property
    def steady(self) -> bool:
        """Whether it looks the same all the time, wherever it is."""
        return self.end_size is None and not self.turn and self.open_start is None


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
class Camera:
    """How the view moves over the scene; at the middle of the clip it looks straight at it, unless it shakes.

    Attributes:
        pan: Way of the view over the clip in fractions of the frame, (to the right, down).
        zoom: Ratio of magnification between the end and the beginning; above 1 it zooms in.
        shake: Size of a trembling, in fractions of the frame.
        shake_seed: Decides the trembling.
        things: Whether things are seen to move with the background; False lets only the background drift.
    """

    pan: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    shake: float = 0.0
    shake_seed: int = 0
    things: bool = True

    def view(self, moment: float) -> tuple[float, float, float]:
        """Centre of the view in scene coordinates (x, y) and its magnification, at a moment."""
        x, y = (0.5 + way * (moment - 0.5) for way in self.pan)
        if self.shake:
            rng = random.Random(self.shake_seed)
            waves = [(rng.uniform(3, 9), rng.uniform(0, 2 * math.pi)) for _ in range(2)]
            x, y = (v + self.shake * math.sin(2 * math.pi * f * moment + p) for v, (f, p) in zip((x, y), waves))
        return x, y, self.zoom ** (moment - 0.5)


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
        camera: How the view moves; None stands still.
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
    camera: Camera | None = None


def side_of(sprite: Sprite) -> str:
    """The side of the frame a still thing is on: one of `SIDES`, by its larger distance from the middle."""
    x, y = sprite.start[0] - 0.5, sprite.start[1] - 0.5
    if abs(x) >= abs(y):
        return "left" if x < 0 else "right"
    return "top" if y < 0 else "bottom"
