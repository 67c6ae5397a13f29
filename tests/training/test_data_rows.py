"""Rows read strictly, and files of rows found by number."""

import json
import pickle
from pathlib import Path

import pytest

from training.data_world import make_row, talk, write_json, write_lines
from videollama2.errors import RequestError
from videollama2.training.data.row_files import BadLineError, open_rows
from videollama2.training.data.rows import FAULT_KINDS, parse_row
from videollama2.training.data.sources import open_sources

VIDEO = {"id": 7, "video": "a/b.mp4", "conversations": talk("<video>\nWhat?", "A dog.", "And then?", "A cat.")}
TEXT = {"conversations": talk("What?", "That.")}


def parse(raw, **settings):
    return parse_row(raw, source="rows.json", line=3, **settings)


def test_a_row_of_each_kind():
    row, faults = parse(VIDEO, folder="/media")
    assert not faults
    assert (row.id, row.modality, row.path) == ("7", "video", Path("/media/a/b.mp4"))
    assert len(row.conversations) == 4
    row, faults = parse(TEXT)
    assert (row.id, row.modality, row.path, row.place) == ("rows.json:3", "text", None, "rows.json:3")
    for kind in ("image", "audio"):
        row, faults = parse({kind: "/x/y", "conversations": talk(f"What?\n<{kind}>", "That.")}, folder="/media")
        assert (row.modality, row.path) == (kind, Path("/x/y"))
    # Rows of the official text mixture say who wrote them; an absent medium may be null.
    assert parse({**TEXT, "model": "", "image": None})[0].modality == "text"


def test_a_leading_answer_is_left_out_as_officially():
    row, faults = parse({"conversations": [{"from": "gpt", "value": "Hello"}, *talk("What?", "That.")]})
    assert not faults
    assert [turn["value"] for turn in row.conversations] == ["What?", "That."]
    assert row.events == ("the first turn is not the human's and is left out",)


TAGGED = talk("<video>\nWhat?", "That.")
BAD = [
    ([], "not_a_row", "a list"),
    ("text", "not_a_row", "a str"),
    ({**VIDEO, "vidoe": "x.mp4"}, "unknown_key", "'vidoe'"),
    ({"vidoe": "x.mp4", "conversations": TAGGED}, "unknown_key", "perhaps 'video' is meant"),
    ({"conversation": TAGGED, "video": "x.mp4"}, "unknown_key", "perhaps 'conversations' is meant"),
    ({"conversations": [{"from": "human", "valeu": "x"}, *TAGGED[1:]]}, "unknown_key", "turn 1 has the unknown key"),
    ({"id": 1}, "no_conversation", "there are no conversations"),
    ({"conversations": []}, "no_conversation", "there are no conversations"),
    ({"conversations": "Hi"}, "no_conversation", "not a list"),
    ({"conversations": [{"from": "human", "value": None}]}, "no_conversation", "turn 1 has no text"),
    ({"conversations": ["What?"]}, "no_conversation", "turn 1 has no text"),
    ({"conversations": talk("What?")}, "odd_turns", "human, gpt"),
    ({"conversations": talk("a", "b", "c")}, "odd_turns", "the turns go human, gpt, human"),
    ({"conversations": talk("a", "b")[::-1]}, "odd_turns", "the turns go gpt, human"),
    ({"conversations": [{"from": "user", "value": "x"}, *talk("a", "b")[1:]]}, "odd_turns", "'user'"),
    ({"conversations": talk("What?", " ")}, "all_masked", "nothing to learn"),
    ({**VIDEO, "image": "x.png"}, "two_media", "video and image"),
    ({**VIDEO, "video": ["a.mp4", "b.mp4"]}, "two_media", "2 entries"),
    ({**VIDEO, "conversations": talk("<video>\n<video>\nWhat?", "x")}, "two_media", "stands 2 times"),
    ({**VIDEO, "conversations": talk("<video>\na", "b", "<video>\nc", "d")}, "two_media", "stands 2 times"),
    ({**VIDEO, "video": ""}, "bad_path", "''"),
    ({**VIDEO, "video": 5}, "bad_path", "5"),
    ({**VIDEO, "video": "https://a.b/c.mp4"}, "bad_path", "path of one file"),
    ({"conversations": TAGGED}, "tag_without_media", "<video> and the row no video"),
    ({**VIDEO, "conversations": talk("<video>\n<image>?", "x")}, "tag_without_media", "<image> and the row no image"),
    ({**VIDEO, "conversations": talk("What?", "x")}, "media_without_tag", "begin the first question with <video>"),
    ({**VIDEO, "conversations": talk("What?", "<video>")}, "media_without_tag", "in an answer only"),
    ({**VIDEO, "conversations": talk("<video>", "a <video>")}, "tag_in_answer", "remove it"),
]


@pytest.mark.parametrize(("raw", "kind", "words"), BAD)
def test_bad_rows_are_named_once(raw, kind, words):
    row, faults = parse(raw)
    assert row is None
    assert [fault.kind for fault in faults] == [kind]
    assert words in str(faults[0])
    assert kind in FAULT_KINDS


def test_faults_that_are_not_consequences_are_all_named():
    _, faults = parse({**VIDEO, "extra": 1, "video": "", "conversations": talk("What?")})
    assert [fault.kind for fault in faults] == ["unknown_key", "odd_turns", "bad_path", "media_without_tag"]


def test_captions_have_one_form():
    assert parse({"image": "x.png", "conversations": talk("<image>\n", "A dog.")}, captions=True)[0]
    for raw in (VIDEO, TEXT):
        assert [fault.kind for fault in parse(raw, captions=True)[1]] == ["not_a_caption"]


def test_keys_can_be_ignored():
    raw = {**TEXT, "source": "here", "conversations": [{**turn, "weight": 1} for turn in TEXT["conversations"]]}
    row, faults = parse(raw, ignore_keys=("source", "weight"))
    assert not faults
    assert row.conversations[0] == {"from": "human", "value": "What?"}


ROWS = [make_row(n) for n in range(7)] + [{"conversations": talk("Äußerst größer? 犬 🐶", "É, «so»\nja.")}] * 2


@pytest.fixture
def parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet

    columns = ("id", "video", "image", "audio")
    table = pyarrow.table(
        {name: pyarrow.array([row.get(name) for row in ROWS], pyarrow.string()) for name in columns}
        | {"conversations": [row["conversations"] for row in ROWS]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet", row_group_size=4)
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize("form", ["indented.json", "dense.json", "lines.jsonl", "lines.json", "marked.json", "parquet"])
def test_every_form_gives_the_same_rows(tmp_path, form, request):
    path = tmp_path / form
    if form == "indented.json":
        write_json(path, ROWS)
    elif form == "dense.json":
        path.write_text(json.dumps(ROWS))
    elif form == "marked.json":
        path.write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8-sig")
    elif form == "parquet":
        path = request.getfixturevalue("parquet")
    else:
        write_lines(path, ROWS)
    rows = open_rows(path)
    assert [rows.read(n) for n in range(len(rows))] == ROWS
    # A copy in another process opens the file for itself.
    assert pickle.loads(pickle.dumps(rows)).read(5) == ROWS[5]
    assert rows.digest() == open_rows(path).digest()


def test_conversations_of_parquet_may_be_json(tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"conversations": [json.dumps(TEXT["conversations"]), "[{"]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    sources = open_sources([{"path": tmp_path / "rows.parquet"}])
    assert sources.parse(0)[0].conversations[1]["value"] == "That."
    assert sources.parse(1)[1][0].kind == "not_json"


def test_lines_are_counted_from_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"id": 1}\n\n  \n{"id": "ä"}\n{bad\n{"id": 3}')
    rows = open_rows(path)
    assert [rows.line(n) for n in range(len(rows))] == [1, 4, 5, 6]
    with pytest.raises(BadLineError):
        rows.read(2)
    assert rows.read(3) == {"id": 3}
    array = open_rows(write_json(tmp_path / "rows.json", [{"id": "ä"}, {"id": 2}]))
    text = (tmp_path / "rows.json").read_text().splitlines()
    assert ['"id"' in text[array.line(n)] for n in (0, 1)] == [True, True]
    assert [text[array.line(n) - 1].strip() for n in (0, 1)] == ["{", "{"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.json", "[{}, {]", "line 1"),
        ("rows.json", "[{}\n,\n {}", "line 3"),
        ("rows.json", "[{} {}]", "expecting ',' or ']'"),
        ("rows.json", "", "is empty"),
        ("rows.jsonl", "  \n ", "is empty"),
        ("rows.csv", "a,b", "another ending"),
        ("rows.parquet", "PARQUET", "not a Parquet file"),
    ],
)
def test_files_that_hold_no_rows(tmp_path, name, content, words):
    (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=words):
        open_rows(tmp_path / name)


def test_sources_are_numbered_through(tmp_path):
    (tmp_path / "media").mkdir()
    first = write_json(tmp_path / "a.json", ROWS[:3])
    second = write_lines(tmp_path / "b.jsonl", ROWS[3:])
    entries = [{"path": first, "folder": tmp_path / "media"}, {"path": second, "weight": 0.5, "limit": 4}]
    sources = open_sources(entries)
    assert len(sources) == 7
    assert sources.raw(2) == ROWS[2]
    assert sources.raw(3) == ROWS[3]
    assert sources.place(4) == "b.jsonl:2"
    assert sources.parse(0)[0].path == tmp_path / "media" / "clip0.mp4"
    assert sources.mixture(0).samples_of_sources == (3, 2)
    assert set(sources.digests()) == {str(first), str(second)}


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"path": "gone.json"}, "does not exist"),
        ({"path": "."}, "is a folder"),
        ({}, "no path"),
        ({"path": "rows.json", "folder": "gone"}, "media folder gone"),
        ({"path": "rows.json", "limit": 0}, "limit"),
    ],
)
def test_sources_that_cannot_be(tmp_path, monkeypatch, entry, words):
    monkeypatch.chdir(tmp_path)
    write_json(tmp_path / "rows.json", ROWS)
    with pytest.raises(RequestError, match=words):
        open_sources([entry])
    with pytest.raises(RequestError, match="No data file"):
        open_sources([])
