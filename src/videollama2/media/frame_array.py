"""A decoded frame as an array of pixels: RGB, upright."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter


def frame_array(frame: VideoFrame, reformatter: VideoReformatter) -> tuple[np.ndarray, list[str]]:
    """uint8 [H, W, 3] RGB, turned as the file's display matrix says, and events.

    Args:
        frame: As decoded.
        reformatter: Kept from frame to frame of one thread: a new one makes its tables again.
    """
    events = []
    if frame.is_corrupt:
        events.append("some frames are damaged: the decoder filled in parts of them")
    image = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return image, events
    turned, event = apply_display_matrix(image, np.frombuffer(bytes(matrix), dtype=np.int32))
    if event:
        events.append(event)
    return turned, events


def apply_display_matrix(image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, str]:
    """Turn and mirror an image by a container's 3x3 display matrix (row-major int32, 16.16 fixed point).

    The matrix maps a stored point (p right, q down) to (a*p + c*q, b*p + d*q). Only right angles are applied.

    Returns:
        The image and an event ("" where nothing was to be done).
    """
    a, b, c, d = (round(int(matrix[k]) / 65536) for k in (0, 1, 3, 4))
    if (a, b, c, d) == (1, 0, 0, 1):
        return image, ""
    if abs(a) == abs(d) == 1 and b == c == 0:
        right, down = a, d
    elif abs(b) == abs(c) == 1 and a == d == 0:
        image = image.transpose(1, 0, 2)
        right, down = c, b
    else:
        return image, "the file asks for a rotation that is no right angle: it was not applied"
    if right < 0:
        image = image[:, ::-1]
    if down < 0:
        image = image[::-1]
    mirrored = a * d - b * c < 0
    degrees = {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[(abs(a) if mirrored else a, b)]
    event = (
        "frames were mirrored as the file says"
        if mirrored
        else f"frames were rotated {degrees} degrees clockwise as the file says"
    )
    return np.ascontiguousarray(image), event
