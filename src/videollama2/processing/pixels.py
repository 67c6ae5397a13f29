"""Frames to the vision tower's input: resize, crop or stretch, rescale, normalise.

The numbers are those of the tower's own Hugging Face image processor (CLIP, SigLIP) on Pillow: the default path resizes
with Pillow itself, many frames at a time (Pillow lets go of the interpreter lock), and normalises all of them at once.
A second path, "torch", is faster still and differs from Pillow by at most one of 255 levels in rare pixels.

Shape letters: T frames, H W pixels of the source, S side of the tower's square input.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from videollama2.errors import CheckpointError, RequestError

Backend = Literal["auto", "pil", "torch"]
Resize = Literal["shortest_edge_crop", "stretch"]

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_RESAMPLE_BY_NUMBER = {int(number): name for name, number in _RESAMPLE.items()}
# A strip of 1 x 20000 pixels would grow to millions of columns of which only the middle is kept. Above this many times
# the kept area, only the kept part is computed (equal up to one level: Pillow takes its box in single precision).
_MAX_RESIZED_AREA = 32


@dataclass(frozen=True, kw_only=True)
class PixelSpec:
    """How frames become the input of one vision tower.

    Attributes:
        image_size: Side S of the square input in pixels, 1 or more.
        resize: "shortest_edge_crop" (CLIP: the short side becomes `shortest_edge`, then the middle square is kept) or
            "stretch" (SigLIP: both sides become S, the aspect ratio is lost).
        shortest_edge: Short side after the resize in pixels, `image_size` or more; None means `image_size`.
        resample: "bicubic", "bilinear", "lanczos" or "nearest".
        rescale_factor: What a level of 0..255 is multiplied with before the mean is taken off.
        mean: Mean of each of R, G, B after rescaling.
        std: Standard deviation of each of R, G, B after rescaling, above 0.
    """

    image_size: int
    resize: Resize = "stretch"
    shortest_edge: int | None = None
    resample: str = "bicubic"
    rescale_factor: float = 1 / 255
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        """Check every field; tuples may come as lists (from JSON)."""
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if self.image_size < 1:
            raise RequestError(f"PixelSpec.image_size is {self.image_size}; give 1 or more pixels.")
        if self.resize not in ("shortest_edge_crop", "stretch"):
            raise RequestError(f"PixelSpec.resize is {self.resize!r}; use 'shortest_edge_crop' or 'stretch'.")
        if self.resample not in _RESAMPLE:
            raise RequestError(f"PixelSpec.resample is {self.resample!r}; use one of {sorted(_RESAMPLE)}.")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0 or self.rescale_factor <= 0:
            raise RequestError("PixelSpec needs three means, three std above 0 and a rescale_factor above 0.")
        if self.shortest_edge is not None and self.shortest_edge < self.image_size:
            raise RequestError(
                f"PixelSpec.shortest_edge is {self.shortest_edge}; give image_size ({self.image_size}) or more."
            )

    @property
    def background(self) -> tuple[int, int, int]:
        """Colour of the padding to a square, 0..255 (official: the mean, truncated to a whole level)."""
        red, green, blue = (int(value * 255) for value in self.mean)
        return red, green, blue

    @classmethod
    def from_preprocessor_config(cls, config: Mapping[str, Any]) -> PixelSpec:
        """Read the `preprocessor_config.json` of a CLIP or SigLIP tower.

        Args:
            config: The parsed file. `size` and `crop_size` may be an int, {"height", "width"} or {"shortest_edge"}.

        Raises:
            CheckpointError: The config asks for something no VideoLLaMA 2 tower does (a rectangle, no resize).
        """
        size, crop = config.get("size"), config.get("crop_size")
        if size is None or not config.get("do_resize", True):
            raise CheckpointError("The preprocessor config resizes nothing; give the one of a CLIP or SigLIP tower.")
        crops = bool(config.get("do_center_crop", False)) or (isinstance(size, Mapping) and "shortest_edge" in size)
        edge = _square_side(size)
        resample = config.get("resample", 3)
        name = _RESAMPLE_BY_NUMBER.get(int(resample)) if resample is not None else "bicubic"
        if name is None:
            raise CheckpointError(f"The preprocessor config has resample {resample}; known are {_RESAMPLE_BY_NUMBER}.")
        normalises = config.get("do_normalize", True)
        mean, std = (config.get("image_mean"), config.get("image_std")) if normalises else ([0.0] * 3, [1.0] * 3)
        if mean is None or std is None:
            raise CheckpointError(
                "The preprocessor config lacks image_mean or image_std; add both, three numbers each."
            )
        return cls(
            image_size=(_square_side(crop) if crop is not None else edge) if crops else edge,
            resize="shortest_edge_crop" if crops else "stretch",
            shortest_edge=edge if crops else None,
            resample=name,
            rescale_factor=float(config.get("rescale_factor", 1 / 255)) if config.get("do_rescale", True) else 1.0,
            mean=tuple(mean),
            std=tuple(std),
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON values; `PixelSpec(**spec.to_dict())` is the same spec."""
        fields = asdict(self)
        return fields | {"mean": list(self.mean), "std": list(self.std)}


def preprocess_frames(
    frames: Sequence[Any] | np.ndarray, spec: PixelSpec, *, pad: bool = False, backend: Backend = "auto"
) -> torch.Tensor:
    """Turn frames into the tower's input.

    Args:
        frames: T frames, each uint8 [H, W, 3] RGB (array or tensor) or a Pillow image; sizes may differ. An array
            [T, H, W, 3] does too. The same object given several times is worked on once.
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
    arrays = [as_rgb_array(frame, number) for number, frame in enumerate(frames)]
    if not arrays:
        raise RequestError("There are no frames to preprocess; give at least one.")
    first_of: dict[tuple[Any, ...], int] = {}
    rows = [first_of.setdefault(_memory_key(array), len(first_of)) for array in arrays]
    distinct = [arrays[rows.index(row)] for row in range(len(first_of))]
    resize = _resize_torch if backend == "torch" else _resize_pil
    levels = resize(distinct, spec, pad)
    pixels = _normalise(levels, spec)
    return pixels if len(distinct) == len(arrays) else pixels[torch.tensor(rows)]


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


def _memory_key(array: np.ndarray) -> tuple[Any, ...]:
    """What tells two views of the same pixels from two different frames (the arrays are all alive meanwhile)."""
    return array.__array_interface__["data"][0], array.shape, array.strides


def _target_size(height: int, width: int, spec: PixelSpec) -> tuple[int, int]:
    """(height, width) after the resize, before the crop; the long side is truncated, as in the CLIP processor."""
    if spec.resize == "stretch":
        return spec.image_size, spec.image_size
    edge = spec.shortest_edge or spec.image_size
    if height <= width:
        return edge, int(edge * width / height)
    return int(edge * height / width), edge


def _pad_to_square(array: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:
    height, width = array.shape[:2]
    if height == width:
        return array
    side = max(height, width)
    square = np.empty((side, side, 3), dtype=np.uint8)
    square[:] = background
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = array
    return square


def _resize_pil(arrays: list[np.ndarray], spec: PixelSpec, pad: bool) -> torch.Tensor:
    """Resize on Pillow, frames spread over threads. Returns uint8 [T, S, S, 3]."""
    side = spec.image_size
    levels = np.empty((len(arrays), side, side, 3), dtype=np.uint8)
    resample = _RESAMPLE[spec.resample]

    def resize_one(index: int) -> None:
        array = _pad_to_square(arrays[index], spec.background) if pad else arrays[index]
        height, width = array.shape[:2]
        tall, wide = _target_size(height, width, spec)
        image = Image.fromarray(np.ascontiguousarray(array))
        top, left = (tall - side) // 2, (wide - side) // 2
        if tall * wide > _MAX_RESIZED_AREA * side * side:
            step_y, step_x = height / tall, width / wide
            box = (left * step_x, top * step_y, (left + side) * step_x, (top + side) * step_y)
            image = image.resize((side, side), resample, box=box)
        elif (tall, wide) == (height, width):
            image = image.crop((left, top, left + side, top + side))
        else:
            image = image.resize((wide, tall), resample)
            if (tall, wide) != (side, side):
                image = image.crop((left, top, left + side, top + side))
        levels[index] = np.asarray(image)

    workers = min(len(arrays), _num_threads())
    if workers == 1:
        for index in range(len(arrays)):
            resize_one(index)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(resize_one, range(len(arrays))))
    return torch.from_numpy(levels)


def _resize_torch(arrays: list[np.ndarray], spec: PixelSpec, pad: bool) -> torch.Tensor:
    """Resize with torch's antialiased uint8 kernel, frames of one size together. Returns uint8 [T, S, S, 3]."""
    if spec.resample not in ("bicubic", "bilinear"):
        raise RequestError(f"The torch backend has no resample {spec.resample!r}; use backend='pil'.")
    side = spec.image_size
    levels = torch.empty((len(arrays), side, side, 3), dtype=torch.uint8)
    padded = [_pad_to_square(array, spec.background) if pad else array for array in arrays]
    for height, width in {array.shape[:2] for array in padded}:
        tall, wide = _target_size(height, width, spec)
        if tall * wide > _MAX_RESIZED_AREA * side * side:
            raise RequestError(f"A frame of {width}x{height} is too long a strip for backend='torch'; use 'pil'.")
        indices = [index for index, array in enumerate(padded) if array.shape[:2] == (height, width)]
        stack = torch.from_numpy(np.stack([padded[index] for index in indices])).permute(0, 3, 1, 2)
        if (tall, wide) != (height, width):
            stack = torch.nn.functional.interpolate(stack, size=(tall, wide), mode=spec.resample, antialias=True)
        top, left = (tall - side) // 2, (wide - side) // 2
        levels[indices] = stack[:, :, top : top + side, left : left + side].permute(0, 2, 3, 1)
    return levels


def _normalise(levels: torch.Tensor, spec: PixelSpec) -> torch.Tensor:
    """Map uint8 [T, S, S, 3] to float32 [T, 3, S, S]: (level * rescale_factor - mean) / std as one scale and shift."""
    mean = torch.tensor(spec.mean, dtype=torch.float64)
    std = torch.tensor(spec.std, dtype=torch.float64)
    scale = (spec.rescale_factor / std).float().view(1, 3, 1, 1)
    shift = (-mean / std).float().view(1, 3, 1, 1)
    pixels = torch.empty((len(levels), 3, *levels.shape[1:3]), dtype=torch.float32)
    pixels.copy_(levels.permute(0, 3, 1, 2))
    return pixels.mul_(scale).add_(shift)


def _num_threads() -> int:
    """Threads this process may use: its CPU affinity where the system tells it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _square_side(size: Any) -> int:
    """Side of a size that is an int, {"height", "width"} or {"shortest_edge"}."""
    if isinstance(size, int):
        return size
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            return int(size["shortest_edge"])
        if size.get("height") is not None and size.get("height") == size.get("width"):
            return int(size["height"])
    raise CheckpointError(f"The preprocessor config has the size {size}; give one side, the input must be a square.")
