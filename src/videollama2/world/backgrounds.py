"""Backgrounds painted from a seed: plain, gradients, clouds of noise, stripes, blobs, landscapes and rooms."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from videollama2.world.textures import TEXTURES, paint_texture

BACKGROUNDS = ("plain", "gradient", "noise", "stripes", "blobs", "landscape", "room", "checks")

_CANVAS = 128
"""Side on which backgrounds are painted before they are scaled: cheap, and as soft as an unfocused background is."""

_FINE = 192
"""Side on which textures are computed, whose grain is meant to be seen."""

_SKY = ((120, 180, 235), (170, 205, 240), (225, 200, 180), (60, 80, 130), (200, 215, 225), (150, 170, 190))
_GROUND = (
    (95, 145, 60),
    (130, 165, 80),
    (205, 185, 135),
    (120, 95, 65),
    (140, 140, 140),
    (230, 235, 240),
    (60, 105, 140),
)
_WALL = ((225, 215, 195), (190, 205, 210), (215, 190, 180), (160, 175, 150), (235, 235, 230), (130, 120, 140))
_FLOOR = ((150, 105, 65), (110, 80, 55), (175, 170, 160), (90, 90, 95), (195, 160, 120))


def _colour(rng: np.random.Generator, palette: tuple[tuple[int, int, int], ...] | None = None) -> np.ndarray:
    if palette is None:
        # moderately saturated: a background must not look like one of the coloured shapes
        grey = rng.uniform(40, 220)
        return np.clip(grey + rng.uniform(-45, 45, 3), 0, 255)
    return np.clip(np.asarray(palette[rng.integers(len(palette))]) + rng.uniform(-22, 22, 3), 0, 255)


def _field(rng: np.random.Generator, size: int, cells: int) -> np.ndarray:
    """Smooth noise in about [0, 1], `cells` bumps across, [size, size]."""
    small = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float32) / 255.0


def _mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return first + (second - first) * weight[..., None]


def _plain(rng: np.random.Generator, size: int) -> np.ndarray:
    return np.broadcast_to(_colour(rng), (size, size, 3)).astype(np.float32)


def _gradient(rng: np.random.Generator, size: int) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    return _mix(_colour(rng), _colour(rng), np.clip(0.5 + np.cos(angle) * x + np.sin(angle) * y, 0, 1))


def _noise(rng: np.random.Generator, size: int) -> np.ndarray:
    weight = 0.6 * _field(rng, size, int(rng.integers(3, 9))) + 0.4 * _field(rng, size, int(rng.integers(12, 60)))
    return _mix(_colour(rng), _colour(rng), weight)


def _stripes(rng: np.random.Generator, size: int) -> np.ndarray:
    angle = rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)])
    y, x = np.mgrid[0:size, 0:size] / size
    wave = np.sin(2 * np.pi * rng.uniform(2, 9) * (np.cos(angle) * x + np.sin(angle) * y))
    return _mix(_colour(rng), _colour(rng), 0.5 + 0.5 * np.clip(wave * rng.uniform(1, 8), -1, 1))


def _checks(rng: np.random.Generator, size: int) -> np.ndarray:
    step = size / rng.integers(4, 14)
    y, x = np.mgrid[0:size, 0:size]
    weight = ((x // step + y // step) % 2).astype(np.float32) * rng.uniform(0.2, 0.8)
    return _mix(_colour(rng), _colour(rng), weight)


def _blobs(rng: np.random.Generator, size: int) -> np.ndarray:
    image = Image.new("RGB", (size // 2, size // 2), tuple(int(c) for c in _colour(rng)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(4, 14)):
        x, y = rng.uniform(0, size / 2, 2)
        r = rng.uniform(size / 30, size / 6)
        box = (x - r, y - r * rng.uniform(0.4, 1), x + r, y + r * rng.uniform(0.4, 1))
        fill = tuple(int(c) for c in _colour(rng))
        (draw.ellipse if rng.random() < 0.6 else draw.rectangle)(box, fill=fill)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(1, 4))))
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), dtype=np.float32)


def _two_parts(
    rng: np.random.Generator, size: int, above: np.ndarray, below: np.ndarray, horizon: np.ndarray
) -> np.ndarray:
    y = np.arange(size)[:, None] / size
    edge = np.clip((y - horizon[None, :]) * size / rng.uniform(1, 5) + 0.5, 0, 1)
    return above + (below - above) * edge[..., None]


def _landscape(rng: np.random.Generator, size: int) -> np.ndarray:
    y = np.linspace(0, 1, size)[:, None]
    sky = _mix(
        _colour(rng, _SKY), np.asarray([240.0, 240, 240]), np.broadcast_to(y * rng.uniform(0, 0.9), (size, size))
    )
    sky = _mix(
        sky, np.full(3, 250.0), np.clip(_field(rng, size, int(rng.integers(3, 7))) - 0.5, 0, 0.5) * rng.uniform(0, 1.5)
    )
    grain = _field(rng, size, int(rng.integers(20, 80))) * rng.uniform(0.1, 0.5)
    ground = _mix(_colour(rng, _GROUND), _colour(rng, _GROUND) * 0.7, grain)
    bumps = rng.uniform(0.3, 0.75) + rng.uniform(0, 0.12) * (_field(rng, size, int(rng.integers(3, 8)))[0] - 0.5)
    return _two_parts(rng, size, sky, ground, bumps)


def _room(rng: np.random.Generator, size: int) -> np.ndarray:
    wall = _mix(_colour(rng, _WALL), _colour(rng, _WALL) * 0.9, _field(rng, size, int(rng.integers(2, 5))))
    if rng.random() < 0.5:  # wallpaper
        x = np.arange(size) / size
        wall = wall * (1 - 0.08 * (np.sin(2 * np.pi * rng.uniform(5, 20) * x) > 0))[None, :, None]
    planks = 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * rng.uniform(3, 9) * np.arange(size) / size))
    floor = _colour(rng, _FLOOR) * (1 - 0.12 * rng.random() * planks[None, :, None]) * np.ones((size, 1, 1))
    return _two_parts(rng, size, wall, floor, np.full(size, rng.uniform(0.55, 0.85)))


_PAINTERS = {
    "plain": _plain,
    "gradient": _gradient,
    "noise": _noise,
    "stripes": _stripes,
    "checks": _checks,
    "blobs": _blobs,
    "landscape": _landscape,
    "room": _room,
}


def paint_background(kind: str, seed: int, size: int) -> Image.Image:
    """Paints a background.

    Args:
        kind: One of `BACKGROUNDS` or of `TEXTURES`.
        seed: Decides everything else; another size gives the same picture, larger or smaller.
        size: Side in pixels.

    Returns:
        RGB image, `size` pixels square.
    """
    rng = np.random.default_rng(seed)
    if kind in TEXTURES:
        fine = np.clip(paint_texture(kind, rng, _FINE), 0, 255).astype(np.uint8)
        return Image.fromarray(fine).resize((size, size), Image.Resampling.BICUBIC)
    picture = _PAINTERS[kind](rng, _CANVAS)
    grain = rng.normal(0, rng.uniform(0, 5), (_CANVAS, _CANVAS, 1))
    pixels = np.clip(picture * rng.uniform(0.75, 1.1) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
