"""One frame to the vision tower's input: as an array, resized by Pillow, rescaled and normalised in its place.

Shape letters: H W pixels of the source, S side of the tower's square input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from videollama2.errors import RequestError
from videollama2.processing.pixel_spec import RESAMPLE, PixelSpec

# A strip of 1 x 20000 pixels would grow to millions of columns of which only the middle is kept. Above this many times
# the kept area, only the kept part is computed (equal up to one level: Pillow takes its box in single precision).
MAX_RESIZED_AREA = 32


def rgb_arrays(frames: Sequence[Any] | np.ndarray) -> list[np.ndarray]:
    """Give frames as uint8 [H, W, 3] each (see `as_rgb_array`); none at all is refused."""
    arrays = [as_rgb_array(frame, number) for number, frame in enumerate(frames)]
    if not arrays:
        raise RequestError("There are no frames to preprocess; give at least one.")
    return arrays


def as_rgb_array(frame: Any, number: int = 0) -> np.ndarray:
    """Give a frame as uint8 [H, W, 3]; a Pillow image of another mode is converted to RGB as the official code does."""
    if isinstance(frame, Image.Image):
        return np.asarray(frame if frame.mode == "RGB" else frame.convert("RGB"))
    array = frame.numpy() if isinstance(frame, torch.Tensor) else np.asarray(frame)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise RequestError(
            f"Frame {number} is {array.dtype} {list(array.shape)}; give uint8 [height, width, 3] in RGB order."
        )
    return array


def memory_key(array: np.ndarray) -> tuple[Any, ...]:
    """What tells two views of the same pixels from two different frames (the arrays are all alive meanwhile)."""
    return array.__array_interface__["data"][0], array.shape, array.strides


def target_size(height: int, width: int, spec: PixelSpec) -> tuple[int, int]:
    """(height, width) after the resize, before the crop; the long side is truncated, as in the CLIP processor."""
    if spec.resize == "stretch":
        return spec.image_size, spec.image_size
    edge = spec.shortest_edge or spec.image_size
    if height <= width:
        return edge, int(edge * width / height)
    return int(edge * height / width), edge


def pad_to_square(array: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    """Centre a frame uint8 [H, W, 3] on a square of this colour."""
    height, width = array.shape[:2]
    if height == width:
        return array
    side = max(height, width)
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = background
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = array
    return square


def resize_frame(frame: np.ndarray, spec: PixelSpec, pad: bool) -> np.ndarray:
    """Resize a frame uint8 [H, W, 3] on Pillow to uint8 [S, S, 3], equal to the official processors."""
    side = spec.image_size
    resample = RESAMPLE[spec.resample]
    array = pad_to_square(frame, spec.background) if pad else frame
    height, width = array.shape[:2]
    tall, wide = target_size(height, width, spec)
    image = Image.fromarray(np.ascontiguousarray(array))
    top, left = (tall - side) // 2, (wide - side) // 2
    if tall * wide > MAX_RESIZED_AREA * side * side:
        step_y, step_x = height / tall, width / wide
        box = (left * step_x, top * step_y, (left + side) * step_x, (top + side) * step_y)
        return np.asarray(image.resize((side, side), resample, box=box))
    if (tall, wide) == (height, width):
        return np.asarray(image.crop((left, top, left + side, top + side)))
    image = image.resize((wide, tall), resample)
    if (tall, wide) != (side, side):
        image = image.crop((left, top, left + side, top + side))
    return np.asarray(image)


def normalise_into(row: np.ndarray, levels: np.ndarray, spec: PixelSpec) -> None:
    """Write uint8 [S, S, 3] to float32 [3, S, S]: (level * rescale_factor - mean) / std as one scale and shift."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    scale, shift = (spec.rescale_factor / std).astype(np.float32), (-mean / std).astype(np.float32)
    for channel, plane in enumerate(row):
        # A channel at a time stays in the cache.
        plane[...] = levels[:, :, channel]
        plane *= scale[channel]
        plane += shift[channel]
