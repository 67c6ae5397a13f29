"""Hub ids: nothing is fetched offline, and only what is needed otherwise, never in silence."""

from __future__ import annotations

import logging
import shutil

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from official_checkpoints import MISTRAL, edit_config

from videollama2.checkpoints import hub, load_checkpoint
from videollama2.errors import CheckpointError, MissingFilesError


@pytest.fixture
def fake_hub(monkeypatch, tmp_path):
    """A hub with one repository; counts what is asked of it."""
    asked = []
    cache = tmp_path / "cache"

    class Api:
        def list_repo_files(self, repo_id):
            asked.append(("list", repo_id))
            return [path.name for path in MISTRAL.iterdir()] + ["pytorch_model.bin", "README.md", "training_args.bin"]

    def snapshot_download(repo_id, local_files_only=False, allow_patterns=None):
        if local_files_only:
            if cache.exists():
                return str(cache)
            raise LocalEntryNotFoundError("not here")
        asked.append(("download", tuple(allow_patterns)))
        shutil.copytree(MISTRAL, cache)
        return str(cache)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_offline_asks_nothing_and_fails_at_once(fake_hub):
    for offline in (True, None):
        with pytest.raises(MissingFilesError, match=r"org/model .*config\.json, tokenizer, weights"):
            load_checkpoint("org/model", offline=offline)
    assert fake_hub == []


def test_online_fetches_what_is_needed_and_says_so(fake_hub, caplog):
    seen = []
    loaded = load_checkpoint("org/model", offline=False, progress=lambda what, done, total: seen.append(what))
    assert loaded.report.ok
    assert seen[0].startswith("downloading ")
    assert "org/model" in seen[0]
    (files,) = [files for kind, files in fake_hub if kind == "download"]
    assert "model.safetensors" in files
    assert {"pytorch_model.bin", "README.md", "training_args.bin"}.isdisjoint(files)
    # What was fetched is found again without the hub.
    fake_hub.clear()
    assert load_checkpoint("org/model", offline=True).report.ok
    assert fake_hub == []


def test_a_download_without_a_listener_is_logged(fake_hub, caplog):
    with caplog.at_level(logging.WARNING):
        hub.fetch("org/model")
    assert "downloading" in caplog.text


def test_a_towers_config_alone_is_fetched_where_the_checkpoint_holds_its_weights():
    files = ["config.json", "preprocessor_config.json", "model.safetensors", "vocab.json"]
    assert hub.needed_files(files, config_only=True) == ["config.json", "preprocessor_config.json"]
    assert hub.needed_files(["config.json", "pytorch_model.bin", "mm_projector.bin"]) == [
        "config.json",
        "mm_projector.bin",
        "pytorch_model.bin",
    ]


def test_released_towers_need_nothing_from_the_hub(copy, fake_hub):
    folder = copy(MISTRAL)
    edit_config(folder, mm_vision_tower="openai/clip-vit-large-patch14-336")
    # Sizes known by name are those of the real tower, which the tiny weights are not: found without asking.
    with pytest.raises(CheckpointError, match="the vision tower is 1024 wide"):
        load_checkpoint(folder, offline=False)
    assert fake_hub == []


@pytest.mark.parametrize(("value", "expected"), [("1", True), ("ON", True), ("0", False), ("", False)])
def test_the_environment_says_offline(monkeypatch, value, expected):
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    assert hub.is_offline() is expected
    assert hub.is_offline(True)
    assert not hub.is_offline(False)
