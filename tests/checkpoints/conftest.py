"""Every test here works in the golden folder, whose configs name their towers relative to it, and offline."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from official_checkpoints import GOLDEN


@pytest.fixture(autouse=True)
def golden_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden configs name their towers relative to this folder; nothing is ever downloaded."""
    monkeypatch.chdir(GOLDEN)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[Path], Path]:
    """Copies a golden checkpoint, to be changed."""

    def make(source: Path) -> Path:
        target = tmp_path / "copies" / source.name
        shutil.copytree(source, target)
        return target

    return make
