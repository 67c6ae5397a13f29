"""Frames to the vision tower's input: resize, crop or stretch, rescale, normalise.

The numbers are those of the tower's own Hugging Face image processor (CLIP, SigLIP) on Pillow: the default path resizes
with Pillow itself, several frames at a time (`pixel_stream.py`, which also does it while a video is being decoded). A
second path, "torch", is faster still and differs from Pillow by at most one of 255 levels in rare pixels.

Shape letters: T frames, H W pixels of the source, S side of the tower's square input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch

from videollama2.errors import RequestError
from videollama2.processing.frame_pixels import (
    MAX_RESIZED_AREA,
    normalise_into,
    pad_to_square,
    rgb_arrays,
    target_size,
)
from videollama2.processing.pixel_spec import PixelSpec
from videollama2.processing.pixel_stream import PixelStream

Backend = Literal["auto", "pil", "torch"]


def preprocess_frames(
    frames: Sequence[Any] | np.ndarray, spec: PixelSpec, *, pad: bool = False, backend: Backend = "auto"
) -> torch.Tensor:
    """Turn frames into the tower's input.

    Args:
        frames: T frames, each uint8 [H, W, 3] RGB (array or tensor) or a Pillow image; sizes may differ. An array
            [T, H, W, 3] does too. The same pixels in memory are worked on once.
        spec: The tower's preprocessing.
        pad: Pad each frame to a square with `spec.background` first (official `image_aspect_ratio="pad"`: training
            does, official inference does not).
        backend: "pil" equals the official processors; "torch" is faster and may be one level off in rare pixels;
            "auto" is "pil", because released numbers depend on it.

    Returns:
        float32 [T, 3, S, S].

    Raises:
        RequestError: A frame is not RGB uint8, there is none, or the backend is unknown.
    """
    if backend not in ("auto", "pil", "torch"):
        raise RequestError(f"Pixel backend {backend!r} is unknown; use 'auto', 'pil' or 'torch'.")
    if backend == "torch":
        return _preprocess_torch(frames, spec, pad)
    with PixelStream(spec, pad=pad) as stream:
        return stream.pixels(frames)


def frame_events(sizes: Sequence[tuple[int, int]], spec: PixelSpec, *, pad: bool = False) -> tuple[str, ...]:
    """Say what preprocessing takes from or adds to frames of these (height, width) sizes, a sentence a size."""
    events = []
    for height, width in dict.fromkeys(sizes):
        if height == width:
            continue
        short, long = sorted((height, width))
        if pad:
            events.append(f"frames of {width}x{height} were padded to {long}x{long} with colour {spec.background}")
        elif spec.resize == "stretch":
            events.append(f"frames of {width}x{height} were stretched to {spec.image_size}x{spec.image_size}")
        else:
            kept = round(100 * short / long)
            side = "width" if width > height else "height"
            events.append(f"frames of {width}x{height} were cropped to the middle {kept} % of their {side}")
    return tuple(events)


def _preprocess_torch(frames: Sequence[Any] | np.ndarray, spec: PixelSpec, pad: bool) -> torch.Tensor:
    """Resize with torch's antialiased uint8 kernel, frames of one size together."""
    if spec.resample not in ("bicubic", "bilinear"):
        raise RequestError(f"The torch backend has no resample {spec.resample!r}; use backend='pil'.")
    arrays = rgb_arrays(frames)
    side = spec.image_size
    pixels = np.empty((len(arrays), 3, side, side), dtype=np.float32)
    padded = [pad_to_square(array, spec.background) if pad else array for array in arrays]
    for height, width in {array.shape[:2] for array in padded}:
        tall, wide = target_size(height, width, spec)
        if tall * wide > MAX_RESIZED_AREA * side * side:
            raise RequestError(f"A frame of {width}x{height} is too long a strip for backend='torch'; use 'pil'.")
        places = [place for place, array in enumerate(padded) if array.shape[:2] == (height, width)]
        stack = torch.from_numpy(np.stack([padded[place] for place in places])).permute(0, 3, 1, 2)
        if (tall, wide) != (height, width):
            stack = torch.nn.functional.interpolate(stack, size=(tall, wide), mode=spec.resample, antialias=True)
        top, left = (tall - side) // 2, (wide - side) // 2
        levels = stack[:, :, top : top + side, left : left + side].permute(0, 2, 3, 1).numpy()
        for place, frame in zip(places, levels, strict=True):
            normalise_into(pixels[place], frame, spec)
    return torch.from_numpy(pixels)
