"""`data check`: planted faults are found, none is invented, and what is left is sound."""

import json
import os
import signal

import pytest

from helpers import media_files
from training.data_world import GOLDEN, make_row, talk, tiny_config, tiny_processor, write_json, write_lines
from videollama2.errors import RequestError
from videollama2.training.data import parallel
from videollama2.training.data.check import CheckOptions, check_data, write_clean
from videollama2.training.data.sources import open_sources

MAX_TOKENS = 500


def video(*texts, name="clip1.mp4"):
    return {"id": "planted", "video": name, "conversations": talk(*texts)}


def planted(rows):
    """Rows by number, each with a fault and the kind that must be found; two of each of ten kinds."""
    text = {"conversations": talk("What?", "That.")}
    return {
        3: (video("<video>\na3", "b", name="gone.mp4"), "missing"),
        11: ({"audio": "deep/gone.wav", "conversations": talk("<audio>\na11", "b")}, "missing"),
        20: (video("<video>\na20", "b", name="noise.mp4"), "damaged"),
        29: ({"image": "cut.png", "conversations": talk("<image>\na29", "b")}, "damaged"),
        37: ({"conversations": talk("What?", "Word " * 300)}, "too_long"),
        46: (video("<video>\nWhat?", "Word " * 300), "too_long"),
        55: ({"conversations": talk("Word " * 300, "That.")}, "all_masked"),
        64: ({"conversations": talk("What of 64?", "")}, "all_masked"),
        75: (rows[2], "duplicate"),
        83: ({**rows[7], "id": "other"}, "duplicate"),
        92: ({**text, "weight": 2}, "unknown_key"),
        101: ({"vidoe": "clip1.mp4", "conversations": talk("<video>\na101", "b")}, "unknown_key"),
        110: ({"conversations": talk("Only a question 110?")}, "odd_turns"),
        119: ({"conversations": [*talk("a119", "b"), {"from": "gpt", "value": "c"}]}, "odd_turns"),
        130: ({"conversations": talk("<video>\na130", "b")}, "tag_without_media"),
        141: ({"image": "picture1.png", "conversations": talk("<image>\n<audio>", "b")}, "tag_without_media"),
        152: (video("a152", "b"), "media_without_tag"),
        163: ({"audio": "sound1.wav", "conversations": talk("What do you hear?", "b")}, "media_without_tag"),
        174: ({**video("<video>\na174", "b"), "image": "picture1.png"}, "two_media"),
        199: (video("<video>\n<video>\na199", "b"), "two_media"),
    }


@pytest.fixture(scope="session")
def set_of_200(tmp_path_factory, media):
    folder = tmp_path_factory.mktemp("set")
    (media / "noise.mp4").write_bytes(b"\x07noise" * 500)
    (media / "cut.png").write_bytes((media / "picture0.png").read_bytes()[:40])
    rows = [make_row(number) for number in range(200)]
    faults = planted(rows)
    for number, (row, _) in faults.items():
        rows[number] = row
    return write_json(folder / "rows.json", rows), {number: kind for number, (_, kind) in faults.items()}


def check(path, media, workers=1, **options):
    config = tiny_config()
    settings = CheckOptions(max_tokens=MAX_TOKENS, **options)
    processor = tiny_processor(config)
    return check_data([path], folder=media, options=settings, processor=processor, config=config, workers=workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_twenty_faults_of_ten_kinds_among_200_rows(set_of_200, media, tmp_path, workers):
    path, expected = set_of_200
    report = check(path, media, workers)
    assert {finding.number: finding.kind for finding in report.findings} == expected
    assert len(report.findings) == report.num_faulty == 20
    assert report.counts == dict.fromkeys(report.counts, 2)
    assert len(report.counts) == 10
    lines = path.read_text().splitlines()
    for finding in report.findings:
        assert finding.fix
        assert lines[int(finding.place.rpartition(":")[2]) - 1].strip() == "{"
    by_number = {finding.number: finding for finding in report.findings}
    assert by_number[75].text == f"the same as {open_sources([{'path': path}]).place(2)}"
    # What is left is sound, and as it was.
    assert write_clean(report, tmp_path / "clean.jsonl") == 180
    clean = check(tmp_path / "clean.jsonl", media)
    assert clean.ok
    assert clean.to_dict()["rows"] == 180
    whole = json.loads(path.read_text())
    kept = [json.loads(line) for line in (tmp_path / "clean.jsonl").read_text().splitlines()]
    assert kept == [row for number, row in enumerate(whole) if number not in expected]


def test_a_report_says_everything(set_of_200, media):
    path, _ = set_of_200
    report = check(path, media)
    said = report.render(show=3)
    assert "200 rows (" in said
    assert "20 rows with faults" in said
    assert "duplicate               2  the same row twice" in said
    assert "... and 17 more" in said
    assert "headers alone" in said
    lengths = report.lengths()
    assert lengths["min"] < lengths["median"] < lengths["p95"] < lengths["max"]
    assert lengths["max"] > MAX_TOKENS
    assert json.loads(json.dumps(report.to_dict()))["counts"]["missing"] == 2


def test_without_a_model_lengths_are_not_known_and_it_says_so(set_of_200, media):
    path, expected = set_of_200
    report = check_data([path], folder=media)
    assert {f.number for f in report.findings} == {n for n in expected if n not in (37, 46, 55)}
    assert any("lengths were not checked" in note for note in report.notes)
    assert report.lengths() == {}


def test_a_file_in_another_folder_is_found(tmp_path, media):
    rows = [video("<video>\na", "b", name="elsewhere/clip1.mp4"), video("<video>\nc", "d", name="nowhere.mp4")]
    report = check_data([write_json(tmp_path / "rows.json", rows)], folder=media)
    assert [finding.kind for finding in report.findings] == ["wrong_folder", "missing"]
    assert f"but {media / 'clip1.mp4'} does" in report.findings[0].text


def test_the_wrong_folder_is_suspected(tmp_path):
    (tmp_path / "empty").mkdir()
    rows = [video(f"<video>\na{number}", "b") for number in range(5)]
    report = check_data([write_json(tmp_path / "rows.json", rows)], folder=tmp_path / "empty")
    assert report.counts == {"missing": 5}
    assert "5 of 5 files are not there" in report.notes[0]
    assert "empty the right folder?" in report.notes[0]


def test_files_of_another_kind(tmp_path, media):
    rows = [
        video("<video>\na", "b", name="picture0.png"),
        video("<video>\na", "b", name="sound0.wav"),
        {"image": "clip1.mp4", "conversations": talk("<image>\na", "b")},
        {"audio": "picture0.png", "conversations": talk("<audio>\na", "b")},
        {"audio": "clip0.mp4", "conversations": talk("<audio>\na", "b")},
        {"audio": "clip1.mp4", "conversations": talk("<audio>\nthe sound of a video", "b")},
    ]
    report = check_data([write_json(tmp_path / "rows.json", rows)], folder=media)
    assert [(finding.number, finding.kind) for finding in report.findings] == [(n, "wrong_kind") for n in range(5)]


def test_decoding_finds_what_headers_hide(tmp_path, media):
    (tmp_path / "cut.mp4").write_bytes(media_files.truncated_video(0.3))
    (tmp_path / "hurt.mp4").write_bytes(media_files.damaged_video())
    (tmp_path / "whole.mp4").write_bytes(media_files.make_video(20))
    rows = [video(f"<video>\n{name}", "b", name=f"{name}.mp4") for name in ("cut", "hurt", "whole")]
    path = write_json(tmp_path / "rows.json", rows)
    found = {f.number: f.kind for f in check(path, tmp_path, decode=True).findings}
    assert found == {0: "damaged", 1: "damaged"}
    assert 0 not in {f.number for f in check(path, tmp_path).findings}


def test_bad_lines_and_files(tmp_path, media):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(make_row(3)) + "\n{bad\n5\n" + json.dumps({"id": 1}) + "\n")
    report = check_data([path], folder=media)
    assert [(f.place, f.kind) for f in report.findings] == [
        ("rows.jsonl:2", "not_json"),
        ("rows.jsonl:3", "not_a_row"),
        ("rows.jsonl:4", "no_conversation"),
    ]
    with pytest.raises(RequestError, match="media folder"):
        check_data([path], folder=tmp_path / "gone")
    with pytest.raises(RequestError, match="No data file"):
        check_data([])
    for out, words in ((path, "exists already"), (tmp_path / "x.csv", "must end"), (tmp_path / "no/x.json", "written")):
        with pytest.raises(RequestError, match=words):
            write_clean(report, out)
    assert write_clean(report, tmp_path / "clean.json") == 1
    assert json.loads((tmp_path / "clean.json").read_text()) == [make_row(3)]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["clean.json", "rows.jsonl"]


def test_rows_twice_in_two_files(tmp_path, media):
    first = write_lines(tmp_path / "a.jsonl", [make_row(3)])
    second = write_lines(tmp_path / "b.jsonl", [make_row(4), make_row(3)])
    report = check_data([first, second], folder=media)
    assert [(f.place, f.kind, f.text) for f in report.findings] == [("b.jsonl:2", "duplicate", "the same as a.jsonl:1")]


def ends_at_40(number):
    if number == 40:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 2


def test_a_file_that_ends_its_process_is_named_and_the_rest_is_done():
    told = []
    results = parallel.each(ends_at_40, range(70), 2, told.append, on_crash=lambda number: f"crash at {number}")
    assert results == [number * 2 if number != 40 else "crash at 40" for number in range(70)]
    assert told[-1] == 70


def run(*words):
    from videollama2.cli.main import main

    return main(["data", "check", *map(str, words)])


def test_the_command(set_of_200, media, tmp_path, capsys):
    path, expected = set_of_200
    model = GOLDEN / "checkpoints" / "VideoLLaMA2.1-tiny-AV"
    clean = tmp_path / "clean.json"
    words = ("--folder", media, "--clean", clean, "--model", model, "--workers", 1, "--offline")
    assert run(path, *words, "--max-tokens", 4000, "--json") == 3
    said = json.loads(capsys.readouterr().out)
    # With this limit the two long answers and the long question are in order.
    assert {fault["number"] for fault in said["faults"]} == {n for n in expected if n not in (37, 46, 55)}
    assert said["clean"] == {"file": str(clean), "rows": 183}
    assert run(clean, "--folder", media) == 0
    assert "no faults" in capsys.readouterr().out
    assert run(path, "--folder", tmp_path / "gone") == 2
    assert "media folder" in capsys.readouterr().err
    assert run(path, "--labels", "both") == 2
