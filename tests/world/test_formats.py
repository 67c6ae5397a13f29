"""Every format against the keys and types of the releases, with the media that its records name."""

import csv
import json
import re
from collections import Counter, defaultdict

import av
import numpy as np
import pytest

from videollama2.world.build import build
from videollama2.world.collection import Collection, Settings
from videollama2.world.formats import FORMATS, mvbench, tvbench
from videollama2.world.formats.audiovisual import TYPES
from videollama2.world.formats.hearing import ACOUSTIC_SCENES, VOCAL_NAMES
from videollama2.world.formats.nextqa import TYPES as NEXT_TYPES
from videollama2.world.formats.videomme import DOMAINS, DURATIONS
from videollama2.world.formats.vnbench import TASKS as VN_TASKS

CLIPS = {"official": 40, "mvbench": 20, "tvbench": 10, "vocalsound": 12, "vnbench": 9, "nextqa": 8, "tut2017": 15}


@pytest.fixture(scope="module")
def made(asset_dir, tmp_path_factory):
    folders = {}

    def of(name):
        if name not in folders:
            folder = tmp_path_factory.mktemp(name)
            settings = Settings(format=name, split="test", seed=3, clips=CLIPS.get(name, 6), size=32, fps=4)
            build(folder, settings, assets=asset_dir)
            folders[name] = folder
        return folders[name]

    return of


def _load(path):
    return json.loads(path.read_text())


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def _table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def _film(path):
    """Duration of a film that has pictures and sound."""
    with av.open(str(path)) as container:
        assert len(container.streams.video) == len(container.streams.audio) == 1
        frames = sum(1 for _ in container.decode(video=0))
        return frames / float(container.streams.video[0].average_rate)


def _frames(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def test_all_formats_of_the_table_are_there():
    assert len(FORMATS) == 19


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_whole_media(made, name):
    rows = [json.loads(line) for line in (made(name) / "manifest.jsonl").read_text().splitlines()]
    assert len(rows) >= 6
    assert not list(made(name).rglob(".*"))
    for row in rows:
        path = made(name) / row["path"]
        if row["form"] == "film":
            assert 3 < _film(path) < 30
        elif row["form"] in ("sound", "vocal"):
            with av.open(str(path)) as container:
                assert (container.streams.audio[0].rate, container.streams.audio[0].channels) == (16000, 1)


def test_official_rows(made):
    rows, forms = _load(made("official") / "test.json"), Counter()
    assert len({row["id"] for row in rows}) == len(rows) == 41
    for row in rows:
        (medium,) = [key for key in row if key in ("video", "audio", "image")] or [None]
        assert set(row) == {"id", "conversations"} | ({medium} if medium else set())
        turns = row["conversations"]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
        assert all(set(turn) == {"from", "value"} and turn["value"] for turn in turns)
        tags = re.findall(r"<(?:video|audio|image)>", "".join(turn["value"] for turn in turns))
        assert tags == ([f"<{medium}>"] if medium else [])
        assert not medium or (
            turns[0]["value"].startswith(f"<{medium}>\n") and (made("official") / row[medium]).exists()
        )
        forms[medium] += 1
        forms["several"] += len(turns) > 2
    assert min(forms[key] for key in ("video", "audio", "image", None, "several")) >= 1


def test_vinoground(made):
    folder = made("vinoground")
    text, video = _load(folder / "vinoground_textscore.json"), _load(folder / "vinoground_videoscore.json")
    order = [f"{n}_{member}" for n in range(6) for member in ("pos", "neg")]
    for rows in (text, video):
        assert [row["idx"] for row in rows] == order
        assert all(list(row) == ["idx", "video_name", "question", "GT"] for row in rows)
        for one, other in zip(rows[::2], rows[1::2]):
            assert {one["GT"], other["GT"]} == {"A", "B"}
    for row in text:
        assert row["video_name"] == f"vinoground_videos/{row['idx']}.mp4"
        first, second = re.findall(r"^[AB]\. (.*)$", row["question"], re.M)
        assert sorted(first.replace("an ", "a ").split()) == sorted(second.replace("an ", "a ").split())
        assert first != second
    table = _table(folder / "vinoground.csv")
    assert table[0] == ["index", "major", "minor", "pos_vid", "pos_start", "pos_end", "pos_cap", "neg_vid", "neg_start",
                        "neg_end", "neg_cap"]  # fmt: skip
    assert {row[1] for row in table[1:]} == {"object", "action", "viewpoint"}
    for n, row in enumerate(table[1:]):
        joined = _frames(folder / f"vinoground_videos_concated/{n}.mp4")
        single = {member: _frames(folder / f"vinoground_videos/{n}_{member}.mp4") for member in ("pos", "neg")}
        assert len(joined) == len(single["pos"]) + len(single["neg"]) + 8  # two seconds of four frames
        first = "pos" if video[2 * n]["GT"] == "A" else "neg"
        gap = len(single[first])
        assert joined[gap + 1 : gap + 7].max() < 30
        assert np.abs(joined[:gap].astype(int) - single[first]).mean() < 6
        assert row[6] in text[2 * n]["question"]


def test_videomme(made):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder = made("videomme") / "videomme"
    rows = parquet.read_table(folder / "test-00000-of-00001.parquet").to_pylist()
    assert list(rows[0]) == ["video_id", "duration", "domain", "sub_category", "url", "videoID", "question_id",
                             "task_type", "question", "options", "answer"]  # fmt: skip
    assert len(rows) == 18
    assert sum(len(categories) for categories in DOMAINS.values()) == 30
    for k, row in enumerate(rows):
        assert row["video_id"] == f"{k // 3 + 1:03d}"
        assert row["question_id"] == f"{row['video_id']}-{k % 3 + 1}"
        assert row["duration"] in DURATIONS
        assert row["sub_category"] in DOMAINS[row["domain"]]
        assert row["url"].endswith(row["videoID"])
        assert len(row["videoID"]) == 11
        assert [option[:3] for option in row["options"]] == ["A. ", "B. ", "C. ", "D. "]
        assert all(option.endswith(".") for option in row["options"])
        assert row["answer"] in "ABCD"
        assert (folder / "videos" / f"{row['videoID']}.mp4").exists()
    cues = "".join(path.read_text() for path in (folder / "subtitles").glob("*.srt"))
    assert re.search(r"^1\n\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}\n\S", cues, re.M)


def test_vnbench(made):
    rows = _load(made("vnbench") / "VNBench-main-4try.json")
    assert len(rows) == 36
    assert list(dict.fromkeys(row["type"] for row in rows)) == list(VN_TASKS)
    for k, row in enumerate(rows):
        assert list(row) == ["video", "question", "options", "gt", "gt_option", "needle_time", "length", "type", "try"]
        assert row["video"].startswith("./VNBench/")
        assert row["try"] == k % 4
        assert row["options"]["ABCD".index(row["gt_option"])] == row["gt"]
        assert sorted(map(str, row["options"])) == sorted(map(str, rows[k - k % 4]["options"]))
        whole = row["type"].startswith("cnt")
        assert {type(option) for option in row["options"]} == {int if whole else str}
        assert row["length"] >= 10
        assert len(row["needle_time"]) == (row["gt"] if whole else 4 if row["type"].startswith("ord") else 1)
    for row in rows[::4]:  # at its time the needle is there, two seconds off it is not
        frames = _frames(made("vnbench") / row["video"])
        rate = len(frames) / row["length"]
        corner = (slice(0, 9), slice(23, 32)) if "edit" in row["type"] else (slice(8, 24), slice(8, 24))
        for time in row["needle_time"]:
            at, before = frames[int(time * rate)][corner], frames[max(0, int((time - 0.9) * rate))][corner]
            assert np.abs(at.astype(int) - before).mean() > 4


def test_egoschema(made):
    rows, answers = (_load(made("egoschema") / name) for name in ("questions.json", "subset_answers.json"))
    assert [row["q_uid"] for row in rows] == list(answers)
    for row in rows:
        assert list(row) == ["q_uid", "google_drive_id", "question", *(f"option {k}" for k in range(5))]
        assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", row["q_uid"])
        assert len(row["google_drive_id"]) == 33
        assert len({row[f"option {k}"] for k in range(5)}) == 5
        assert answers[row["q_uid"]] in range(5)
        assert (made("egoschema") / f"good_clips_git/{row['q_uid']}.mp4").exists()


@pytest.mark.parametrize(("name", "tasks"), [("mvbench", mvbench.TASKS), ("tvbench", tvbench.TASKS)])
def test_mvbench_and_tvbench(made, name, tasks):
    assert len(tasks) == {"mvbench": 20, "tvbench": 10}[name]
    assert {path.stem for path in (made(name) / "json").iterdir()} == set(tasks)
    for task, spec in tasks.items():
        folder, bounded = (spec[0], spec[2]) if name == "mvbench" else (task, spec[0])
        for row in _load(made(name) / f"json/{task}.json"):
            wanted = ["video", "question", "candidates", "answer"] + (["start", "end"] if bounded else [])
            assert [key for key in row if key != "subtitle"] == wanted
            assert row["answer"] in row["candidates"]
            assert len(set(row["candidates"])) == len(row["candidates"]) in (2, 4, 5)
            path = made(name) / "video" / folder / row["video"]
            if task == "episodic_reasoning":
                assert row["subtitle"] == ""
                names = sorted(frame.name for frame in path.iterdir())
                assert names == [f"{k:05d}.jpg" for k in range(1, len(names) + 1)]
                assert abs(len(names) / 3 - row["end"]) < 0.5
            elif bounded:
                frames = _frames(path)
                assert 0 < row["start"] < row["end"] < len(frames) / 4
                first, last = round(row["start"] * 4), round(row["end"] * 4)
                assert max(frames[first - 3].max(), frames[last + 3].max()) < 30  # black on both sides
                assert frames[first + 2 : last - 2].max((1, 2, 3)).min() > 30


def test_bounded_and_unbounded_tasks_are_those_of_the_release():
    bounded = {task for task, spec in mvbench.TASKS.items() if spec[2]}
    assert bounded == {"action_sequence", "action_prediction", "object_interaction", "action_localization",
                       "episodic_reasoning"}  # fmt: skip
    assert {task for task, spec in tvbench.TASKS.items() if spec[0]} == {"action_sequence", "action_localization"}
    assert mvbench.TASKS["action_antonym"][:2] == ("ssv2_video", ".webm")
    assert mvbench.TASKS["fine_grained_pose"][:2] == ("nturgbd", ".avi")


def test_nextqa(made):
    folder = made("nextqa")
    table, paths = _table(folder / "nextqa/test.csv"), _load(folder / "nextqa/map_vid_vidorID.json")
    assert table[0] == ["video", "frame_count", "width", "height", "question", "answer", "qid", "type",
                        "a0", "a1", "a2", "a3", "a4"]  # fmt: skip
    assert {row[7] for row in table[1:]} == set(NEXT_TYPES) == {"CW", "CH", "TN", "TC", "TP", "DC", "DL", "DO"}
    for row in table[1:]:
        assert row[5] in "01234"
        assert len(set(row[8:])) == 5
        assert row[4] == row[4][0].lower() + row[4][1:]
        assert "?" not in row[4]
        assert len(_frames(folder / f"NExTVideo/{paths[row[0]]}.mp4")) == int(row[1])
        assert re.fullmatch(r"\d{4}/\d{10}", paths[row[0]])


def test_perception_test(made):
    valid, hidden = (_load(made("perception_test") / f"mc_question_{part}.json") for part in ("valid", "test"))
    cuts = _load(made("perception_test") / "cut_frame_mapping_valid.json")
    assert set(cuts) == set(valid)
    assert not set(valid) & set(hidden)
    for part, videos in (("valid", valid), ("test", hidden)):
        for name, entry in videos.items():
            assert set(entry) == {"metadata", "mc_question"}
            meta = entry["metadata"]
            assert list(meta) == ["split", "video_id", "frame_rate", "num_frames", "resolution", "audio_samples",
                                  "audio_sample_rate", "is_cup_game", "is_camera_moving"]  # fmt: skip
            assert (meta["split"], meta["video_id"]) == (part, name)
            assert len(_frames(made("perception_test") / f"videos/{name}.mp4")) == meta["num_frames"]
            for number, row in enumerate(entry["mc_question"]):
                keys = {"id", "question", "options", "area", "reasoning", "tag"}
                assert set(row) == keys | ({"answer_id"} if part == "valid" else set())
                assert row["id"] == number
                assert len(set(row["options"])) == 3
                assert row["area"] in ("memory", "abstraction", "physics", "semantics")
                assert row["reasoning"] in ("descriptive", "explanatory", "predictive", "counterfactual")
                assert row.get("answer_id", 0) in range(3)


def test_open_questions(made):
    for name, videos, keys in (
        ("msvd_qa", "videos/{}.avi", ["answer", "question_id"]),
        ("activitynet_qa", "all_test/v_{}.mp4", ["answer", "type", "question_id"]),
    ):
        questions, answers = (_load(made(name) / f"test_{part}.json") for part in "qa")
        assert all(list(row) == ["video_name", "question", "question_id"] for row in questions)
        assert all(list(row) == keys for row in answers)
        ids = [row["question_id"] for row in questions]
        assert len(set(ids)) == len(ids)
        assert (ids == [row["question_id"] for row in answers]) == (name == "msvd_qa")  # the other is joined by id
        assert set(ids) == {row["question_id"] for row in answers}
        assert all((made(name) / videos.format(row["video_name"])).exists() for row in questions)
        assert all(row.get("type", 0) in range(9) and row["answer"] for row in answers)
    asked = {name: _load(made("videochatgpt") / f"{name}_qa.json") for name in ("generic", "temporal", "consistency")}
    for name, rows in asked.items():
        keys = ["Q1", "Q2", "A", "video_name"] if name == "consistency" else ["Q", "A", "video_name"]
        assert all(list(row) == keys for row in rows)
        assert all((made("videochatgpt") / f"Test_Videos/{row['video_name']}.mp4").exists() for row in rows)
    rows = _load(made("msvc") / "msvc.json")
    assert {row["video_path"].split("/")[0] for row in rows} == {"MSVD", "MSRVTT", "VATEX"}
    for row in rows:
        assert list(row) == ["video_path", "question", "captions"]
        assert len(row["captions"]) >= 2
        assert (made("msvc") / row["video_path"]).exists()


def test_hearing(made):
    table = _table(made("clotho_aqa") / "clotho_aqa_test.csv")
    assert table[0] == ["file_name", "QuestionText", "answer", "confidence"]
    assert len(table) == 1 + 6 * 6 * 3  # six questions a file, three answers each
    rows, lines = (
        _load(made("clotho_aqa") / "clotho_aqa_test.json"),
        _lines(made("clotho_aqa") / "clothoaqa_eval.jsonl"),
    )
    assert [row["id"] for row in rows] == list(range(36))
    for row, line in zip(rows, lines, strict=True):
        assert list(row) == ["id", "audio", "conversations"]
        assert list(line) == ["audio", "question", "gt", "source"]
        assert [turn["value"] for turn in row["conversations"]] == [line["question"], line["gt"]]
        assert " " not in line["gt"]
        assert (made("clotho_aqa") / row["audio"]).exists()
    both = Counter(line["gt"] for line in lines)
    assert both["yes"] == both["no"]
    rows = _lines(made("tut2017") / "tut2017_eval.jsonl")
    assert all(list(row) == ["audio", "gt", "source"] for row in rows)
    assert {row["gt"] for row in rows} == {
        "beach", "bus", "cafe or restaurant", "car", "city center", "forest path", "grocery store", "home", "library",
        "metro station", "office", "park", "residential area", "train", "tram",
    }  # fmt: skip
    assert len(set(ACOUSTIC_SCENES.values())) == 15  # every class sounds like itself only
    with av.open(str(made("tut2017") / rows[0]["audio"])) as container:
        assert container.duration == 10_000_000
    rows = _lines(made("vocalsound") / "vocalsound_eval.jsonl")
    assert {row["gt"] for row in rows} == set(VOCAL_NAMES.values())
    for row in rows:
        assert re.fullmatch(r"audio_16k/[fm]\d{4}_0_[a-z]+\.wav", row["audio"])
        assert row["audio"].split("_")[-1][:-4] == row["gt"].lower().replace(" ", "")


def test_audiovisual(made):
    records, rows = (_load(made("music_avqa") / name) for name in ("data/json_update/avqa-test.json", "avqa_test.json"))
    assert {tuple(json.loads(record["type"])) for record in records} == set(TYPES)
    for record, row in zip(records, rows, strict=True):
        assert list(record) == ["video_id", "question_id", "type", "question_content", "templ_values",
                                "question_deleted", "anser"]  # fmt: skip
        assert re.fullmatch(r"\d{8}", record["video_id"])
        values = json.loads(record["templ_values"])
        assert record["question_content"].count("<") == len(values)
        assert all(value in row["conversations"][0]["value"] for value in values)
        assert row["conversations"][0]["value"].count("<") == 1  # the tag only
        assert row["conversations"][1]["value"] == record["anser"]
        assert (made("music_avqa") / row["video"]).exists()
    dialogs, rows = _load(made("avsd") / "avsd_val.json")["dialogs"], _load(made("avsd") / "instruction_val.json")
    assert len(rows) == 10 * len(dialogs)
    for dialog in dialogs:
        assert list(dialog) == ["image_id", "caption", "summary", "dialog"]
        assert all(list(turn) == ["question", "answer"] for turn in dialog["dialog"])
        assert len({turn["question"] for turn in dialog["dialog"]}) == 10
    for row in rows:
        assert row["conversations"][0]["value"].startswith("<video>\n")
        assert (made("avsd") / row["video"]).exists()
    table = _table(made("avssd") / "test.csv")
    assert all(len(row) == 2 and re.fullmatch(r"[\w-]{11}_\d{6}\.mp4", row[0]) for row in table)
    assert {row[1] for row in table} <= {row[0] for row in _table(made("avssd") / "stat.csv")}
    assert all((made("avssd") / "videos" / row[0]).exists() for row in table)


def _annotations(catalogue, name, clips):
    """The annotation files of a larger collection, whose media nobody needs."""
    collection = Collection(catalogue, Settings(format=name, split="test", seed=1, clips=clips, fps=4))
    FORMATS[name](collection)
    return {path: content.decode() for path, content in collection._texts.items() if not path.endswith(".parquet")}


def _choices(name, files):
    """(what is asked, options, place of the right one) of every record."""
    if name == "vnbench":
        for row in json.loads(files["VNBench-main-4try.json"]):
            if row["try"] == 0:
                yield row["type"], row["options"], row["options"].index(row["gt"])
    elif name == "egoschema":
        answers = json.loads(files["subset_answers.json"])
        for row in json.loads(files["questions.json"]):
            yield "", [row[f"option {k}"] for k in range(5)], answers[row["q_uid"]]
    elif name == "nextqa":
        for row in list(csv.reader(files["nextqa/test.csv"].splitlines()))[1:]:
            yield row[7], row[8:], int(row[5])
    elif name == "perception_test":
        for entry in json.loads(files["mc_question_valid.json"]).values():
            for row in entry["mc_question"]:
                yield row["tag"][0], row["options"], row["answer_id"]
    else:
        for path, content in files.items():
            for row in json.loads(content):
                yield path, row["candidates"], row["candidates"].index(row["answer"])


@pytest.mark.parametrize("name", ["vnbench", "egoschema", "nextqa", "perception_test", "mvbench", "tvbench"])
def test_blind_readers_of_the_records_are_at_chance(catalogue, name):
    asked = defaultdict(list)
    for task, options, right in _choices(name, _annotations(catalogue, name, 1200)):
        asked[task].append((options, right))
    for task, rows in asked.items():
        numbers = {len(options) for options, _ in rows}
        assert len(numbers) == 1, task
        number = numbers.pop()
        spread = (1 / number * (1 - 1 / number)) ** 0.5
        places = Counter(right for _, right in rows)
        assert all(abs(places[k] / len(rows) - 1 / number) < 4 * spread / len(rows) ** 0.5 for k in range(number)), task
        seen, won = Counter(), Counter()
        half = len(rows) // 2
        for options, right in rows[:half]:
            seen.update(options)
            won[options[right]] += 1
        hits = sum(
            max(range(number), key=lambda k: ((won[options[k]] + 1) / (seen[options[k]] + number), -k)) == right
            for options, right in rows[half:]
        )
        assert hits / (len(rows) - half) < 1 / number + 4 * spread / (len(rows) - half) ** 0.5, task


def test_vinoground_and_music_answers_are_balanced(catalogue):
    files = _annotations(catalogue, "vinoground", 400)
    for part in ("text", "video"):
        letters = Counter(row["GT"] for row in json.loads(files[f"vinoground_{part}score.json"])[::2])
        assert abs(letters["A"] - letters["B"]) < 4 * 400**0.5
    answers = defaultdict(Counter)
    records = _annotations(catalogue, "music_avqa", 900)["data/json_update/avqa-test.json"]
    for row in json.loads(records):
        answers[row["type"]][row["anser"]] += 1
    for kind, counts in answers.items():
        if set(counts) <= {"yes", "no"}:
            assert abs(counts["yes"] - counts["no"]) < 4 * counts.total() ** 0.5, kind
