"""Photograph-like backgrounds computed from a seed: natural textures with grain on every scale and uneven light."""

from __future__ import annotations

import numpy as np

Array = np.ndarray

TEXTURES = ("clouds", "grass", "wood", "stone", "water", "foliage", "bokeh", "brick", "fabric", "sand")


def fractal(rng: np.random.Generator, size: int, roughness: float, stretch: tuple[float, float] = (1.0, 1.0)) -> Array:
    """Noise whose amplitude falls with frequency as f^-roughness, as in photographs (about 1), in [0, 1].

    Args:
        rng: Source of chance.
        size: Side in pixels.
        roughness: 0.7 rough to 2 smooth.
        stretch: How much longer its grain is across and down.
    """
    fy = np.fft.fftfreq(size)[:, None] * stretch[1]
    fx = np.fft.rfftfreq(size)[None, :] * stretch[0]
    distance = np.hypot(fy, fx)
    distance[0, 0] = np.inf
    spectrum = distance ** -(roughness + 0.5) * np.exp(2j * np.pi * rng.random(distance.shape))
    field = np.fft.irfft2(spectrum, s=(size, size))
    low, high = np.quantile(field, (0.01, 0.99))
    return np.clip((field - low) / max(high - low, 1e-9), 0.0, 1.0).astype(np.float32)


def _ramp(values: Array, *colours: tuple[float, float, float]) -> Array:
    """Colours along [0, 1]."""
    stops = np.linspace(0, 1, len(colours))
    return np.stack([np.interp(values, stops, [colour[c] for colour in colours]) for c in range(3)], axis=-1)


def _relief(height: Array, strength: float) -> Array:
    """Light from the upper left on a surface, about 1."""
    gy, gx = np.gradient(height)
    return 1.0 - strength * (gx + gy)


def _tint(rng: np.random.Generator, *colours: tuple[float, float, float]) -> list[tuple[float, float, float]]:
    shift = rng.normal(0, 14, 3)
    return [tuple(np.clip(np.asarray(colour) + shift, 0, 255)) for colour in colours]


def _clouds(rng: np.random.Generator, size: int) -> Array:
    cover = np.clip((fractal(rng, size, 1.6, (1.0, 0.6)) - rng.uniform(0.3, 0.6)) * 3, 0, 1)[..., None]
    down = np.linspace(0, 1, size)[:, None, None]
    sky = np.asarray([[70.0, 120, 200]]) * (1 - down) + np.asarray([[175.0, 205, 235]]) * down
    light = 215 + 40 * fractal(rng, size, 1.3)[..., None]
    return sky * (1 - cover) + light * cover * np.asarray([1.0, 0.99, 0.98])


def _grass(rng: np.random.Generator, size: int) -> Array:
    blades = fractal(rng, size, 0.6, (0.7, 3.0))
    patches = fractal(rng, size, 1.8)
    colours = _tint(rng, (25, 50, 12), (70, 110, 35), (150, 170, 75))
    return _ramp(np.clip(0.65 * blades + 0.45 * patches - 0.05, 0, 1), *colours)


def _wood(rng: np.random.Generator, size: int) -> Array:
    y = np.mgrid[0:size, 0:size][0] / size
    wavy = fractal(rng, size, 2.0, (0.25, 1.2))
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (rng.uniform(3, 8) * y + rng.uniform(1.5, 4) * wavy))
    grain = fractal(rng, size, 0.8, (2.0, 0.1))
    planks = 1 - 0.5 * (np.abs((y * rng.integers(2, 6)) % 1.0 - 0.5) > 0.485)
    return (
        _ramp(0.6 * rings + 0.4 * grain, *_tint(rng, (80, 48, 25), (150, 98, 55), (205, 155, 100))) * planks[..., None]
    )


def _stone(rng: np.random.Generator, size: int) -> Array:
    height = fractal(rng, size, 1.2)
    colours = _tint(rng, (70, 68, 65), (130, 126, 120), (190, 185, 178))
    return _ramp(fractal(rng, size, 1.0), *colours) * _relief(height * size / 24, 0.25)[..., None]


def _water(rng: np.random.Generator, size: int) -> Array:
    near = np.linspace(0.15, 1.0, size)[:, None]
    waves = fractal(rng, size, 1.1, (2.2, 0.45))
    glint = np.clip(waves - 0.72, 0, 1) * 3 * near
    colours = _tint(rng, (12, 48, 74), (45, 105, 130), (130, 175, 190))
    return _ramp(np.clip(waves * near + 0.35 * (1 - near), 0, 1), *colours) + 150 * glint[..., None]


def _window(centre: Array, radius: float, size: int) -> tuple[slice, slice]:
    """The part of a picture within `radius` of a place (x, y), both in fractions of the side."""
    first = [max(0, int((value - radius) * size)) for value in centre]
    last = [max(0, int((value + radius) * size) + 2) for value in centre]
    return slice(first[1], last[1]), slice(first[0], last[0])


def _foliage(rng: np.random.Generator, size: int) -> Array:
    """Leaves: many overlapping ellipses of shaded green, the nearer the lighter."""
    y, x = np.mgrid[0:size, 0:size] / size
    out = _ramp(fractal(rng, size, 1.0), (10, 24, 8), (35, 60, 22))
    for layer in np.linspace(0.25, 1.0, 70):
        centre, angle, length = rng.uniform(-0.05, 1.05, 2), rng.uniform(0, np.pi), rng.uniform(0.04, 0.13)
        green = np.asarray([rng.uniform(45, 95), rng.uniform(95, 160), rng.uniform(25, 60)]) * layer
        part = _window(centre, length, size)
        dx, dy = x[part] - centre[0], y[part] - centre[1]
        along = (np.cos(angle) * dx + np.sin(angle) * dy) / length
        across = (np.cos(angle) * dy - np.sin(angle) * dx) / (0.42 * length)
        inside = along**2 + across**2 < 1
        out[part][inside] = green * (0.8 + 0.25 * (across[inside] > 0))[:, None]
    return out


def _bokeh(rng: np.random.Generator, size: int) -> Array:
    """A dark street at night, out of focus: discs of light."""
    y, x = np.mgrid[0:size, 0:size] / size
    out = _ramp(fractal(rng, size, 2.0), *_tint(rng, (14, 12, 24), (48, 40, 60)))
    for _ in range(rng.integers(8, 30)):
        centre, radius = rng.uniform(0, 1, 2), rng.uniform(0.02, 0.09)
        part = _window(centre, radius, size)
        edge = np.clip((radius - np.hypot(x[part] - centre[0], y[part] - centre[1])) * size / 2, 0, 1)
        colour = np.asarray(((255, 190, 110), (255, 120, 90), (150, 190, 255), (250, 235, 200))[rng.integers(4)])
        out[part] += edge[..., None] * colour * rng.uniform(0.2, 0.7)
    return out


def _brick(rng: np.random.Generator, size: int) -> Array:
    rows = int(rng.integers(6, 14))
    y, x = np.mgrid[0:size, 0:size] / size * rows
    row = np.floor(y).astype(int)
    column = np.floor(x / 2 + 0.5 * (row % 2)).astype(int)
    mortar = (y % 1.0 < 0.1) | ((x / 2 + 0.5 * (row % 2)) % 1.0 < 0.05)
    tones = rng.normal(1.0, 0.12, (rows + 1, rows + 2))[row, column]
    grain = 0.75 + 0.5 * fractal(rng, size, 0.9)
    wall = np.asarray(_tint(rng, (150, 72, 52))[0]) * (tones * grain)[..., None]
    wall[mortar] = (np.asarray([175.0, 168, 158]) * grain[..., None])[mortar]
    return wall


def _fabric(rng: np.random.Generator, size: int) -> Array:
    y, x = np.mgrid[0:size, 0:size]
    threads = rng.uniform(0.5, 1.1)
    weave = 0.5 + 0.25 * (np.sin(x * threads) + np.sin(y * threads))
    folds = fractal(rng, size, 2.2, (1.0, 0.4))
    colour = rng.uniform(50, 205, 3)
    return colour * (0.55 + 0.3 * weave + 0.5 * (folds - 0.3))[..., None]


def _sand(rng: np.random.Generator, size: int) -> Array:
    ripples = fractal(rng, size, 1.7, (1.5, 0.35))
    speckle = rng.normal(0, 8, (size, size, 1))
    colours = _tint(rng, (150, 122, 84), (205, 178, 135), (235, 215, 178))
    return _ramp(ripples, *colours) * _relief(ripples * size / 16, 0.3)[..., None] + speckle


_PAINTERS = {
    "clouds": _clouds,
    "grass": _grass,
    "wood": _wood,
    "stone": _stone,
    "water": _water,
    "foliage": _foliage,
    "bokeh": _bokeh,
    "brick": _brick,
    "fabric": _fabric,
    "sand": _sand,
}


def paint_texture(kind: str, rng: np.random.Generator, size: int) -> Array:
    """A texture with uneven light and a darker rim, as a lens gives it: float [size, size, 3] in about 0..255."""
    picture = _PAINTERS[kind](rng, size)
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    light = 1 + rng.uniform(0, 0.35) * (np.cos(angle) * x + np.sin(angle) * y) - rng.uniform(0, 0.5) * (x**2 + y**2)
    return picture * light[..., None]
