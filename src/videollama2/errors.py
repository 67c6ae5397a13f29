"""Errors a user can cause. Every message is one sentence that ends with what to do about it.

Library errors (PyAV, Pillow, torch, ...) never reach the user: the room that calls a library turns them into one
of these and keeps the original as ``__cause__``. `code` is a stable word for programs (JSON output, servers).
"""

from __future__ import annotations


class VideoLLaMA2Error(ValueError):
    """Base of all errors of this package that input, files or settings can cause."""

    code = "error"


class MediaError(VideoLLaMA2Error):
    """A video, image or sound cannot be read: missing, empty, damaged, or not media at all."""

    code = "media"


class MediaLimitError(MediaError):
    """A media file exceeds a limit (bytes, pixels, frames, duration, channels); found before the work is done."""

    code = "media_limit"


class MediaTimeoutError(MediaError):
    """Decoding passed its deadline."""

    code = "media_timeout"


class RequestError(VideoLLaMA2Error):
    """A request is malformed: no question, a bad option list, a modality the model does not have, bad settings."""

    code = "request"


class CheckpointError(VideoLLaMA2Error):
    """A checkpoint is unknown, incomplete, mixed up or damaged."""

    code = "checkpoint"


class MissingFilesError(CheckpointError):
    """Files a checkpoint needs are not on this machine and downloading is off; the message names every one."""

    code = "missing_files"


class MissingDependencyError(VideoLLaMA2Error):
    """An optional package is not installed; the message gives the install command."""

    code = "missing_dependency"
