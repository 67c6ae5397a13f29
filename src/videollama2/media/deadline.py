"""A deadline for one load: checked between packets, frames and blocks, so that no file can hold its caller for ever."""

from __future__ import annotations

import math
import time

from ..errors import MediaTimeoutError, RequestError

DEFAULT_TIMEOUT = 120.0


class Deadline:
    """The moment by which a load must be done.

    Args:
        seconds: Seconds from now, above 0; `None` means no deadline.
        name: Short name of the source, for the error.
    """

    def __init__(self, seconds: float | None = DEFAULT_TIMEOUT, name: str = "the source") -> None:
        if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
            raise RequestError(
                f"timeout={seconds!r} is not a number of seconds above 0; give one, or None for no limit."
            )
        self.seconds = seconds
        self.name = name
        self._end = math.inf if seconds is None else time.monotonic() + seconds

    def remaining(self) -> float | None:
        """Seconds left, at least 0.001; `None` without a deadline."""
        return None if self.seconds is None else max(self._end - time.monotonic(), 0.001)

    def check(self) -> None:
        """Raise MediaTimeoutError when the deadline has passed."""
        if time.monotonic() > self._end:
            raise self.error()

    def error(self) -> MediaTimeoutError:
        """The error to raise when the deadline has passed."""
        return MediaTimeoutError(
            f"Reading {self.name} took longer than {self.seconds:g} s; give a larger timeout or a shorter clip."
        )
