"""Still images: any file Pillow reads, a PIL image or an array, as upright RGB.

Alpha is dropped as the official code does (`convert("RGB")`): transparent pixels show the colour stored under them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MediaError, MediaLimitError, RequestError
from .limits import Limits
from .source import Source

if TYPE_CHECKING:
    from PIL.Image import Image


@contextmanager
def open_image(source: Source, limits: Limits) -> Iterator[Image]:
    """Open an image for the length of a `with` block; pixels are not decoded yet, the size is checked from the header.

    Raises:
        MediaError: It is no image, or a damaged one (found here or while the block decodes it).
        MediaLimitError: Too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    with source.open() as stream:
        try:
            with warnings.catch_warnings():
                # Our own limit decides; Pillow's warning would come before our error.
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                image = Image.open(stream)
        except Image.DecompressionBombError as error:
            raise MediaLimitError(f"{source.name} is too large an image ({error}); make it smaller.") from error
        except UnidentifiedImageError as error:
            raise MediaError(not_an_image(source)) from error
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise MediaError(f"{source.name} is a damaged image ({error}); make or download it again.") from error
        with image:
            limits.check_pixels(*image.size, source.name)
            try:
                yield image
            except Image.DecompressionBombError as error:
                raise MediaLimitError(f"{source.name} is too large an image ({error}); make it smaller.") from error
            except (MediaError, RequestError):
                raise
            except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
                raise MediaError(f"{source.name} is a damaged image ({error}); make or download it again.") from error


def not_an_image(source: Source) -> str:
    """What to say about a source that is no image."""
    if source.family == "image":
        return f"{source.name} looks like {source.what} but is damaged or of an unknown kind; convert it to PNG."
    hint = {"av": "pass it as video= (or audio=)", "audio": "pass it as audio="}.get(
        str(source.family), "give an image"
    )
    return f"{source.name} is {source.what}, not an image; {hint}."


def to_rgb(image: Image) -> tuple[np.ndarray, list[str]]:
    """Decode a PIL image to upright RGB.

    Returns:
        uint8 [H, W, 3] and events (EXIF rotation, dropped alpha, 16-bit greys brought to 8 bit).

    Raises:
        RequestError: A mode with values of no fixed range (float greys).
    """
    from PIL import ImageOps

    events = []
    orientation = image.getexif().get(0x0112, 1)
    if orientation in range(2, 9):
        events.append(f"image was turned upright as its EXIF orientation {orientation} says")
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow clips 16-bit greys at 255 (all white); they are brought to 8 bit by their full range instead.
        events.append("16-bit greys were brought to 8 bit")
        grey = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        array = np.round(grey / 257).astype(np.uint8)
        return np.ascontiguousarray(np.repeat(array[..., None], 3, axis=2)), events
    if image.mode == "F":
        raise RequestError("The image holds float greys of unknown range; save it as 8-bit PNG first.")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        events.append("transparency was dropped")
    return np.array(image.convert("RGB")), events


def check_array(array: Any, what: str = "array") -> np.ndarray:
    """Validate one frame given as an array: uint8, [H, W, 3] (or [H, W] grey, repeated to three channels).

    Raises:
        RequestError: Another dtype or shape; the message says how to convert.
    """
    if not isinstance(array, np.ndarray):
        raise RequestError(f"{what} is a {type(array).__name__}, not a NumPy array; give uint8 [H, W, 3].")
    if array.dtype != np.uint8:
        raise RequestError(
            f"{what} has dtype {array.dtype}, not uint8; for values in 0..1 pass (x * 255).round().astype('uint8')."
        )
    if array.ndim == 2:
        array = np.repeat(array[..., None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise RequestError(f"{what} has shape {list(array.shape)}; give [H, W, 3] with colours last, H and W above 0.")
    return np.ascontiguousarray(array)
