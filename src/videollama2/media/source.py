"""Anything a user can hand in (path, bytes, file object) turned into one thing that can be opened again and hashed.

A file object is read once, in a thread that the deadline can leave behind, because a blocked `read` cannot be
interrupted; large ones go to a temporary file, so memory stays bounded.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import MediaError, RequestError
from .deadline import Deadline
from .limits import Limits
from .sniff import HEAD_BYTES, Family, sniff

_BLOCK = 1 << 20
_SPOOL_BYTES = 64 << 20


class Source:
    """One readable source: a file, a folder, or bytes in memory.

    Attributes:
        name: Short human name (file name, "bytes", "file object").
        path: The file or folder, or `None` for bytes.
        data: The bytes, or `None` for a path.
        num_bytes: Size of the content; 0 for a folder.
        family: "image", "gif", "av", "audio", "unknown" by content, or "folder".
        what: What to call it in a message ("a PNG image").
    """

    def __init__(self, *, name: str, path: str | None = None, data: bytes | None = None, limits: Limits) -> None:
        self.name = name
        self.path = path
        self.data = data
        self.is_folder = path is not None and os.path.isdir(path)
        self.num_bytes = 0 if self.is_folder else len(data) if data is not None else os.path.getsize(str(path))
        limits.check_bytes(self.num_bytes, name)
        self.family: Family | str = "folder"
        self.what = "a folder"
        self._hash = ""
        if not self.is_folder:
            if not self.num_bytes:
                raise MediaError(f"{name} is empty (0 bytes); give a file with content.")
            with self.open() as stream:
                self.family, self.what = sniff(stream.read(HEAD_BYTES))
            if self.family == "other":
                raise MediaError(f"{name} is {self.what}, not media; give a video, an image or a sound file.")

    def open(self) -> BinaryIO:
        """Open the content from its start; every call gives an independent handle."""
        if self.data is not None:
            return io.BytesIO(self.data)
        try:
            return open(str(self.path), "rb")
        except OSError as error:
            raise MediaError(
                f"{self.name} cannot be opened ({error.strerror}); check the file and its rights."
            ) from error

    def content_hash(self, deadline: Deadline) -> str:
        """SHA-256 hex of the full content, computed once, in blocks."""
        if not self._hash:
            digest = hashlib.sha256()
            with self.open() as stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
                    deadline.check()
            self._hash = digest.hexdigest()
        return self._hash


def open_source(source: Any, limits: Limits, deadline: Deadline) -> Source:
    """Turn a path (str, PathLike), bytes, bytearray, memoryview or binary file object into a `Source`.

    Raises:
        MediaError: Missing, empty, unreadable, or not media.
        MediaLimitError: More bytes than allowed.
        MediaTimeoutError: A file object did not deliver in time.
        RequestError: The argument is of no accepted type.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str | os.PathLike):
        return _from_path(os.fspath(source), limits)
    if isinstance(source, bytes | bytearray | memoryview):
        return Source(name="bytes", data=bytes(source), limits=limits)
    if hasattr(source, "read"):
        return _from_file_object(source, limits, deadline)
    raise RequestError(
        f"A source of type {type(source).__name__} cannot be read; give a path, bytes or a binary file object."
    )


def source_name(source: Any) -> str:
    """Short human name of anything a user may hand in, without opening it."""
    if isinstance(source, Source):
        return source.name
    if isinstance(source, str | os.PathLike):
        return Path(os.fsdecode(os.fspath(source))).name or str(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return "bytes"
    if isinstance(source, list | tuple):
        return "list"
    return "file object" if hasattr(source, "read") else "array"


def _from_path(path: str | bytes, limits: Limits) -> Source:
    text = os.fsdecode(path)
    if "://" in text and not os.path.exists(text):
        raise MediaError(f"{text} is an address, not a file; download it first and give the path.")
    if "\x00" in text:
        raise MediaError("The path holds a zero byte; give the path of a file.")
    try:
        mode = os.stat(text).st_mode
    except OSError as error:
        raise MediaError(f"{text} cannot be opened ({error.strerror}); check the path.") from error
    name = Path(text).name or text
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise MediaError(f"{name} is neither a file nor a folder (a pipe, socket or device); give a file.")
    if stat.S_ISREG(mode) and not os.access(text, os.R_OK):
        raise MediaError(f"{name} may not be read by this user; change its rights.")
    return Source(name=name, path=text, limits=limits)


def _from_file_object(stream: Any, limits: Limits, deadline: Deadline) -> Source:
    name = getattr(stream, "name", None)
    name = Path(name).name if isinstance(name, str) else "file object"
    spool = _in_thread(lambda: _spool(stream, name, limits), deadline)
    if isinstance(spool, bytes):
        return Source(name=name, data=spool, limits=limits)
    try:
        made = Source(name=name, path=spool, limits=limits)
    except BaseException:
        os.unlink(spool)
        raise
    weakref.finalize(made, os.unlink, spool)
    return made


def _spool(stream: Any, name: str, limits: Limits) -> bytes | str:
    """Read a file object from its start: small content as bytes, large content as the path of a temporary file."""
    if callable(getattr(stream, "seekable", None)) and stream.seekable():
        stream.seek(0)
    buffer = io.BytesIO()
    target: Any = buffer
    path = ""
    total = 0
    try:
        while block := stream.read(_BLOCK):
            if not isinstance(block, bytes | bytearray | memoryview):
                raise MediaError(f"{name} gives text, not bytes; open it in binary mode ('rb').")
            total += len(block)
            limits.check_bytes(total, name)
            if not path and total > _SPOOL_BYTES:
                target = tempfile.NamedTemporaryFile(prefix="videollama2-", delete=False)  # noqa: SIM115
                path = target.name
                target.write(buffer.getbuffer())
                buffer = io.BytesIO()
            target.write(block)
    except BaseException as error:
        if path:
            target.close()
            os.unlink(path)
        if isinstance(error, MediaError) or not isinstance(error, Exception):
            raise
        raise MediaError(f"{name} failed while it was read ({error}); give a file object that can be read.") from error
    if path:
        target.close()
        return path
    return buffer.getvalue()


def _in_thread(work: Callable[[], bytes | str], deadline: Deadline) -> bytes | str:
    """Run `work` in a daemon thread and leave it behind when the deadline passes."""
    result: list[bytes | str] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True, name="videollama2-read")
    thread.start()
    thread.join(deadline.remaining())
    if thread.is_alive():
        raise deadline.error()
    if failure:
        raise failure[0]
    return result[0]
