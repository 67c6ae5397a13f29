import hashlib
import tarfile

import pytest
from PIL import Image

from videollama2.errors import MissingDependencyError, MissingFilesError
from videollama2.world import fetch_assets, fetch_sounds


def test_sprites_are_trimmed_and_shrunk(tmp_path):
    image = Image.new("RGBA", (600, 500), (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (100, 50, 500, 250))
    assert fetch_assets._save(image, tmp_path / "a" / "b.png")
    with Image.open(tmp_path / "a" / "b.png") as stored:
        assert stored.mode == "RGBA"
        assert stored.size == (192, 96)
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["b.png"]
    assert not fetch_assets._save(Image.new("RGBA", (9, 9)), tmp_path / "empty.png")


def test_a_missing_program_is_named_with_its_package(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="npm"):
        fetch_assets.download(tmp_path)
    with pytest.raises(MissingDependencyError, match="librsvg2-bin"):
        fetch_assets.build_sprites(tmp_path, tmp_path)
    with pytest.raises(MissingDependencyError, match="fluidsynth"):
        fetch_sounds.build_sounds(tmp_path / "font.sf3", tmp_path)


def _program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_failed_download_names_the_package(monkeypatch, tmp_path):
    _program(tmp_path / "npm", "echo no route >&2; exit 1")
    _program(tmp_path / "apt-get", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(MissingFilesError, match=r"fluent-emoji-3d@1\.1\.0 could not be downloaded \(no route\)"):
        fetch_assets.download(tmp_path / "downloads")


def test_a_package_with_another_checksum_is_refused(monkeypatch, tmp_path):
    archive = tmp_path / "good-1.0.0.tgz"
    (tmp_path / "icons.json").write_text("{}")
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "icons.json", "package/icons.json")
    monkeypatch.setattr(fetch_assets.shutil, "which", lambda name: name)
    monkeypatch.setattr(fetch_assets, "_DEBIAN", {})
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(fetch_assets, "_NPM", {"good@1.0.0": ("MIT", digest)})
    (row,) = fetch_assets.download(tmp_path)
    assert row == {"source": "npm good@1.0.0", "file": archive.name, "licence": "MIT", "sha256": digest}
    assert (tmp_path / "good" / "package" / "icons.json").read_text() == "{}"
    monkeypatch.setattr(fetch_assets, "_NPM", {"good@1.0.0": ("MIT", "0" * 64)})
    with pytest.raises(MissingFilesError, match="checksum"):
        fetch_assets.download(tmp_path)
