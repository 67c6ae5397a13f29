"""Coloured shapes drawn by code, for questions about colour: smooth outlines with a little shading."""

from __future__ import annotations

import functools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageOps

COLOURS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "red": ((214, 30, 32), (190, 18, 40), (235, 50, 45)),
    "green": ((36, 150, 58), (60, 180, 75), (20, 120, 50)),
    "blue": ((30, 80, 210), (50, 110, 235), (22, 50, 160)),
    "yellow": ((250, 220, 30), (245, 205, 15), (255, 235, 70)),
    "orange": ((245, 130, 20), (255, 145, 40), (235, 115, 10)),
    "purple": ((128, 40, 170), (105, 30, 150), (150, 65, 195)),
    "pink": ((250, 130, 185), (255, 155, 200), (240, 105, 170)),
    "brown": ((120, 72, 32), (101, 60, 25), (139, 88, 45)),
    "black": ((18, 18, 20), (30, 30, 32), (8, 8, 10)),
    "white": ((248, 248, 246), (255, 255, 255), (238, 240, 240)),
}
"""Colour name -> typical RGB values; each instance is one of them with a small jitter."""

SHAPES = (
    "ball",
    "square",
    "triangle",
    "star",
    "heart",
    "diamond",
    "ring",
    "cross",
    "crescent",
    "car",
    "house",
    "cup",
)

_SIDE = 160
_OVERSAMPLE = 2


def _polygon(points: list[tuple[float, float]]) -> Image.Image:
    size = _SIDE * _OVERSAMPLE
    mask = Image.new("L", (size, size), 0)
    ImageDraw.Draw(mask).polygon([(x * size, y * size) for x, y in points], fill=255)
    return mask


def _star(points: int = 5) -> list[tuple[float, float]]:
    angles = [(-math.pi / 2 + k * math.pi / points, 0.5 if k % 2 == 0 else 0.21) for k in range(2 * points)]
    return [(0.5 + r * math.cos(a), 0.52 + r * math.sin(a)) for a, r in angles]


def _heart() -> list[tuple[float, float]]:
    curve = []
    for k in range(120):
        t = 2 * math.pi * k / 120
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        curve.append((0.5 + x / 34, 0.46 - y / 34))
    return curve


@functools.cache
def shape_mask(shape: str) -> Image.Image:
    """The outline of a shape as an 8-bit mask, `_SIDE` pixels square."""
    size = _SIDE * _OVERSAMPLE
    mask = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(mask)

    def at(*values: float) -> list[float]:
        return [value * (size - 1) for value in values]

    if shape == "ball":
        draw.ellipse(at(0, 0, 1, 1), fill=255)
    elif shape == "square":
        draw.rectangle(at(0.06, 0.06, 0.94, 0.94), fill=255)
    elif shape == "triangle":
        mask = _polygon([(0.5, 0.03), (0.98, 0.92), (0.02, 0.92)])
    elif shape == "star":
        mask = _polygon(_star())
    elif shape == "heart":
        mask = _polygon(_heart())
    elif shape == "diamond":
        mask = _polygon([(0.5, 0.0), (0.86, 0.5), (0.5, 1.0), (0.14, 0.5)])
    elif shape == "ring":
        draw.ellipse(at(0, 0, 1, 1), fill=255)
        draw.ellipse(at(0.26, 0.26, 0.74, 0.74), fill=0)
    elif shape == "cross":
        draw.rectangle(at(0.35, 0.02, 0.65, 0.98), fill=255)
        draw.rectangle(at(0.02, 0.35, 0.98, 0.65), fill=255)
    elif shape == "crescent":
        draw.ellipse(at(0, 0, 1, 1), fill=255)
        draw.ellipse(at(0.3, -0.08, 1.2, 0.88), fill=0)
    elif shape == "car":
        draw.rounded_rectangle(at(0.0, 0.45, 1.0, 0.75), radius=size * 0.08, fill=255)
        draw.polygon(at(0.2, 0.46, 0.3, 0.24, 0.68, 0.24, 0.82, 0.46), fill=255)
        draw.ellipse(at(0.13, 0.62, 0.35, 0.84), fill=255)
        draw.ellipse(at(0.65, 0.62, 0.87, 0.84), fill=255)
    elif shape == "house":
        draw.polygon(at(0.5, 0.02, 1.0, 0.48, 0.0, 0.48), fill=255)
        draw.rectangle(at(0.12, 0.46, 0.88, 0.98), fill=255)
        draw.rectangle(at(0.42, 0.64, 0.58, 0.98), fill=0)
    elif shape == "cup":
        draw.polygon(at(0.05, 0.12, 0.75, 0.12, 0.68, 0.95, 0.12, 0.95), fill=255)
        draw.ellipse(at(0.58, 0.25, 1.0, 0.7), fill=255)
        draw.ellipse(at(0.7, 0.36, 0.9, 0.59), fill=0)
    else:
        raise AssertionError(f"no drawing for shape {shape!r}")
    return mask.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


@functools.cache
def _inner_mask(shape: str) -> Image.Image:
    """The outline less a rim of three pixels."""
    return ImageOps.expand(shape_mask(shape), 4).filter(ImageFilter.MinFilter(7)).crop((4, 4, _SIDE + 4, _SIDE + 4))


def draw_shape(shape: str, rgb: tuple[int, int, int], shading: float) -> Image.Image:
    """A filled shape as an RGBA image, lit from the upper left.

    Args:
        shape: One of `SHAPES`.
        rgb: Fill colour.
        shading: 0 flat to 1 strongly shaded; the hue does not change.
    """
    y, x = np.mgrid[0:_SIDE, 0:_SIDE] / (_SIDE - 1)
    light = 1.0 + shading * (0.25 - 0.45 * np.hypot(x - 0.35, y - 0.3))
    pixels = np.empty((_SIDE, _SIDE, 4), np.uint8)
    pixels[..., :3] = np.clip(np.asarray(rgb) * light[..., None], 0, 255)
    # an outline keeps a shape visible on a background of its own colour
    core = np.asarray(_inner_mask(shape), dtype=np.float32)[..., None] / 255.0
    edge = np.asarray(rgb) * 0.55 if sum(rgb) > 150 else np.asarray(rgb) + 70.0
    pixels[..., :3] = pixels[..., :3] * core + edge * (1.0 - core)
    pixels[..., 3] = np.asarray(shape_mask(shape))
    return Image.fromarray(pixels)
