"""A scene graph becomes pixels and a waveform; nothing is decided here that is not in the scene."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

from videollama2.world.assets import Catalogue
from videollama2.world.backgrounds import paint_background
from videollama2.world.graph import Scene, Sound, Sprite
from videollama2.world.openings import draw_opening
from videollama2.world.shapes import draw_shape
from videollama2.world.sounding import SAMPLE_RATE

_FADE = int(0.02 * SAMPLE_RATE)
MARGIN = 0.35
"""Of the frame's side: what is painted around the picture for a camera that moves."""


def frame_moments(num_frames: int) -> list[float]:
    """Moments of evenly spread frames, in fractions of the clip: the middles of `num_frames` equal parts."""
    return [(k + 0.5) / num_frames for k in range(num_frames)]


def _draw_sprite(
    sprite: Sprite, catalogue: Catalogue, size: int, moment: float = 0.0, zoom: float = 1.0
) -> Image.Image:
    if sprite.open_start is not None:
        source = draw_opening(sprite.name, sprite.rgb, sprite.openness(moment))
    elif sprite.file:
        source = catalogue.sprite(sprite.file)
    else:
        source = draw_shape(sprite.name, sprite.rgb, sprite.shading)
    longest = max(source.size)
    if sprite.detail and sprite.detail < longest:
        source = source.resize([max(1, round(side * sprite.detail / longest)) for side in source.size])
        longest = max(source.size)
    side = max(2, round(sprite.size_at(moment) * zoom * size))
    image = source.resize([max(1, round(s * side / longest)) for s in source.size], Image.Resampling.BICUBIC)
    if sprite.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if sprite.brightness != 1.0 or sprite.saturation != 1.0:
        alpha = image.getchannel("A")
        image = ImageEnhance.Brightness(image.convert("RGB")).enhance(sprite.brightness)
        image = ImageEnhance.Color(image).enhance(sprite.saturation)
        image.putalpha(alpha)
    angle = sprite.angle + sprite.turn * moment
    if angle:
        image = image.rotate(angle, Image.Resampling.BICUBIC, expand=True)
    return image


def render_frames(scene: Scene, catalogue: Catalogue, moments: list[float] | int = 8, size: int = 224) -> np.ndarray:
    """Draws frames of a scene.

    Args:
        scene: What to draw.
        catalogue: Where its sprites are.
        moments: Moments in fractions of the clip, or a number of evenly spread frames.
        size: Side of the square frames in pixels.

    Returns:
        uint8 [T, size, size, 3] RGB.
    """
    if isinstance(moments, int):
        moments = frame_moments(moments)
    drawn = [_draw_sprite(sprite, catalogue, size) if sprite.steady else None for sprite in scene.sprites]
    backdrop = _Backdrop(scene, size)
    frames = np.empty((len(moments), size, size, 3), np.uint8)
    shown: tuple | None = None
    for k, moment in enumerate(moments):
        view = scene.camera.view(moment) if scene.camera is not None else None
        parts = []
        for number, (sprite, image) in enumerate(zip(scene.sprites, drawn)):
            if not sprite.seen(moment):
                continue
            x, y = sprite.place(moment)
            zoom = 1.0
            if view is not None and scene.camera is not None and scene.camera.things:
                zoom = view[2]
                x, y = (x - view[0]) * zoom + 0.5, (y - view[1]) * zoom + 0.5
            if image is None or zoom != 1.0:
                image, number = _draw_sprite(sprite, catalogue, size, moment, zoom), -1 - k  # differs in every frame
            corner = (round(x * size - image.width / 2), round(y * size - image.height / 2))
            parts.append((number, corner, image))
        seen = (view, [part[:2] for part in parts])
        if seen == shown:  # nothing has moved by a pixel
            frames[k] = frames[k - 1]
            continue
        shown = seen
        frame = backdrop.at(view)
        for _, corner, image in parts:
            frame.paste(image, corner, image)
        if scene.softness:
            frame = frame.filter(ImageFilter.BoxBlur(scene.softness * size / 1000))
        frames[k] = np.asarray(frame)
    return frames


class _Backdrop:
    """The background of a scene, as the camera sees it."""

    def __init__(self, scene: Scene, size: int) -> None:
        self.size = size
        side = size if scene.camera is None else round(size * (1 + 2 * MARGIN))
        self.image = paint_background(scene.background, scene.background_seed, side)

    def at(self, view: tuple[float, float, float] | None) -> Image.Image:
        if view is None:
            return self.image.copy()
        x, y, zoom = view
        half = 0.5 / zoom
        box = [(value + MARGIN) * self.size for value in (x - half, y - half, x + half, y + half)]
        low, high = 0.0, float(self.image.width)
        # at the limits of what was painted the view is shifted, never filled
        shift_x = max(low - box[0], 0.0) - max(box[2] - high, 0.0)
        shift_y = max(low - box[1], 0.0) - max(box[3] - high, 0.0)
        part = (box[0] + shift_x, box[1] + shift_y, box[2] + shift_x, box[3] + shift_y)
        return self.image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=part)


def _play(sound: Sound, catalogue: Catalogue, num_samples: int) -> np.ndarray:
    """`num_samples` of a sound at its speed and tone, at its level, with short fades."""
    needed = sound.offset * SAMPLE_RATE + np.arange(num_samples) * sound.speed
    first = needed.astype(np.int32)
    weight = (needed - first).astype(np.float32)
    read = catalogue.word_wave if sound.text else catalogue.wave
    stored = read(sound.number, int(first[-1]) + 2)
    wave = stored[first]
    wave += (stored[first + 1] - wave) * weight
    # a one-tap tone control: negative averages neighbours (dull), positive takes differences (thin)
    wave[1:] -= 0.9 * sound.tilt * wave[:-1]
    wave *= 10 ** (sound.gain_db / 20) / max(float(np.abs(wave).max()), 1e-4)
    fade = min(_FADE, num_samples // 2)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    wave[:fade] *= ramp
    wave[num_samples - fade :] *= ramp[::-1]
    return wave


def render_sound(scene: Scene, catalogue: Catalogue) -> np.ndarray:
    """Mixes the sounds of a scene with its recording noise.

    Returns:
        float32 [samples] in [-1, 1], mono, 16 kHz, as long as the clip. A silent scene has its noise only.
    """
    num_samples = round(scene.duration * SAMPLE_RATE)
    rng = np.random.default_rng(scene.noise_seed)
    out = rng.standard_normal(num_samples, dtype=np.float32) * np.float32(10 ** (scene.noise_db / 20))
    for sound in scene.sounds:
        first, last = round(sound.start * num_samples), round(sound.end * num_samples)
        out[first:last] += _play(sound, catalogue, last - first)
    return np.clip(out, -1.0, 1.0)
