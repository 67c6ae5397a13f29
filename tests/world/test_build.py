import json
import os

import pytest

from videollama2.errors import RequestError
from videollama2.world import build as build_module
from videollama2.world import collection as collection_module
from videollama2.world.build import build, main
from videollama2.world.collection import Collection, Settings
from videollama2.world.formats import FORMATS, mvbench, tvbench

SMALL = {"size": 32, "fps": 4, "clips": 6, "seed": 5}


def _files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_bytes_with_any_number_of_workers(asset_dir, tmp_path):
    settings = Settings(**SMALL, format="official", split="val")
    alone = build(tmp_path / "alone", settings, assets=asset_dir)
    shared = build(tmp_path / "shared", settings, workers=2, assets=asset_dir)
    assert alone == shared
    assert _files(tmp_path / "alone") == _files(tmp_path / "shared")
    other = build(
        tmp_path / "other", Settings(**{**SMALL, "seed": 6}, format="official", split="val"), assets=asset_dir
    )
    assert {row["sha256"] for row in alone}.isdisjoint(row["sha256"] for row in other)


def test_the_manifest_tells_the_truth(asset_dir, tmp_path):
    rows = build(tmp_path, Settings(**SMALL, format="mvbench"), assets=asset_dir)
    stored = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert stored == rows
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    for row in rows:
        path = tmp_path / row["path"]
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        assert sum(file.stat().st_size for file in files) == row["bytes"]
        assert row["form"] == ("frames" if path.is_dir() else "film")
    written = {path for path in _files(tmp_path) if path.startswith("video/")}
    assert written == {p for p in written if any(p.startswith(row["path"]) for row in rows)}


def test_a_stopped_build_is_continued(asset_dir, tmp_path, monkeypatch):
    settings = Settings(**SMALL, format="vinoground")
    whole = tmp_path / "whole"
    build(whole, settings, assets=asset_dir)
    written, write = [], collection_module.write_clips_joined

    def stops_after(number):
        def writing(scenes, path, *args, **kwargs):
            if len(written) == number:
                raise KeyboardInterrupt
            written.append(path)
            return write(scenes, path, *args, **kwargs)

        return writing

    folder = tmp_path / "stopped"
    monkeypatch.setattr(collection_module, "write_clips_joined", stops_after(7))
    with pytest.raises(KeyboardInterrupt):
        build(folder, settings, assets=asset_dir)
    assert len(written) == 7
    assert not (folder / "manifest.jsonl").exists()
    assert not (folder / "vinoground_textscore.json").exists()  # no annotation speaks of films that are not there
    written.clear()
    monkeypatch.setattr(collection_module, "write_clips_joined", stops_after(-1))
    build(folder, settings, assets=asset_dir)
    assert len(written) == 3 * SMALL["clips"] - 7  # what was there was kept
    assert _files(folder) == _files(whole)


def test_a_disk_that_fills_up_leaves_no_half_file(asset_dir, tmp_path, monkeypatch):
    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        build(tmp_path, Settings(**SMALL, format="vocalsound"), assets=asset_dir)
    assert not [name for name in _files(tmp_path) if name.endswith(".wav")]


def test_annotations_alone_may_get_their_media_later(asset_dir, tmp_path):
    settings = Settings(**SMALL, format="tvbench")
    assert build(tmp_path, settings, assets=asset_dir, annotations_only=True) == []
    records = _files(tmp_path)
    assert {name.split("/")[0] for name in records} == {"json", "build.json"}
    assert build(tmp_path, settings, assets=asset_dir)
    assert records.items() <= _files(tmp_path).items()


@pytest.mark.parametrize(
    ("name", "clips", "sizes"),
    [
        ("mvbench", 4000, {f"json/{task}.json": 200 for task in mvbench.TASKS}),
        ("tvbench", 2525, {f"json/{task}.json": spec[2] for task, spec in tvbench.TASKS.items()}),
        ("vnbench", 1350, {"VNBench-main-4try.json": 5400}),
        ("vinoground", 500, {"vinoground_textscore.json": 1000, "vinoground_videoscore.json": 1000}),
        ("egoschema", 500, {"questions.json": 500, "subset_answers.json": 500}),
    ],
)
def test_full_size_files_have_the_counts_of_the_release(catalogue, name, clips, sizes):
    collection = Collection(catalogue, Settings(format=name, split="test", clips=clips))
    FORMATS[name](collection)
    for path, number in sizes.items():
        assert len(json.loads(collection._texts[path])) == number


@pytest.mark.parametrize("other", [{"seed": 9}, {"clips": 7}, {"format": "egoschema"}, {"size": 48}, {"split": "test"}])
def test_another_build_in_the_same_folder_is_refused(asset_dir, tmp_path, other):
    build(tmp_path, Settings(**{**SMALL, "clips": 1}, format="msvc"), assets=asset_dir)
    before = _files(tmp_path)
    with pytest.raises(RequestError, match="another"):
        build(tmp_path, Settings(**{**SMALL, "clips": 1, "format": "msvc", **other}), assets=asset_dir)
    assert _files(tmp_path) == before


def test_wrong_settings_are_named(asset_dir, tmp_path, catalogue):
    with pytest.raises(RequestError, match="unknown format 'kinetics'"):
        build(tmp_path / "a", Settings(format="kinetics"), assets=asset_dir)
    with pytest.raises(RequestError, match="unknown split"):
        build(tmp_path / "a", Settings(format="official", split="dev"), assets=asset_dir)
    with pytest.raises(RequestError, match="0 clips"):
        build(tmp_path / "a", Settings(format="official", clips=0), assets=asset_dir)
    with pytest.raises(RequestError, match="mix"):
        build(tmp_path / "a", Settings(format="official", mix="dance"), assets=asset_dir)
    assert not (tmp_path / "a").exists()
    collection = Collection(catalogue, Settings(format="official"))
    collection.film("a.mp4", collection.scene(0))
    with pytest.raises(AssertionError, match="two media"):
        collection.film("a.mp4", collection.scene(1))


def test_command_line(asset_dir, tmp_path, capsys):
    arguments = ["--format", "tut2017", "--clips", "2", "--workers", "0", "--assets", str(asset_dir)]
    main([str(tmp_path / "out"), *arguments])
    assert "2 media" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path / "out"), *arguments, "--seed", "4"])
    assert stop.value.code == 2
    assert "another seed" in capsys.readouterr().err
    assert set(FORMATS) >= {"official", "mvbench"}
    assert build_module.format_named("official") is FORMATS["official"]
