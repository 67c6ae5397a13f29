"""Every command once for real, with the tiny official checkpoints."""

import json
import subprocess
import sys

import numpy as np

from videollama2.cli.ask import split_words
from videollama2.cli.render import render_answer
from videollama2.inference.answer import Answer, AudioHeard, Provenance, VisualSeen

from .conftest import GOLDEN, MODEL

FAST = ("-m", MODEL, "--dtype", "float32", "--device", "cpu", "--max-new-tokens", "6", "--offline")


def test_ask_prints_answer_and_what_it_saw_and_heard(run, clip):
    code, out, err = run("ask", clip, "What moves?", *FAST, "--num-frames", "4", "--verbose")
    assert code == 0, err
    answer, block = out.split("\n\nwhat it saw and heard:\n")
    assert answer.strip()
    assert "saw    clip.mp4: 4 frames of 1.5 s at" in block
    assert "heard  clip.mp4: sound used" in block
    assert "1496 audio, 6 generated" in block
    assert "preprocessing" in block
    assert "demonstration" not in block


def test_ask_json_and_kinds_by_content(run, clip, one_engine, tmp_path):
    disguised = tmp_path / "picture.png"
    disguised.write_bytes(clip.read_bytes())
    code, out, _ = run("ask", disguised, "What?", *FAST, "--json", "--no-audio", "--start", "0.2", "--end", "1.2")
    answer = json.loads(out)
    assert code == 0
    assert answer["provenance"]["visuals"][0]["kind"] == "video"
    assert answer["provenance"]["audio"] == []
    assert answer["provenance"]["settings"]["start"] == 0.2
    tone = GOLDEN / "media" / "tone_16k_mono.wav"
    _, out, _ = run("ask", tone, "What?", *FAST, "--json", "--audio-policy", "first")
    assert json.loads(out)["provenance"]["audio"][0]["policy"] == "first"
    _, out, _ = run("ask", clip, tone, "What?", *FAST, "--json")
    assert json.loads(out)["provenance"]["audio"][0]["source"] == "tone_16k_mono.wav"
    _, out, _ = run("ask", GOLDEN / "media" / "photo.jpg", "What?", *FAST, "--json")
    assert json.loads(out)["provenance"]["visuals"][0]["kind"] == "image"
    _, out, _ = run("ask", "Just text?", *FAST, "--json")
    assert json.loads(out)["provenance"]["visuals"] == []
    _, out, _ = run("ask", "--video", GOLDEN / "media" / "frames", "What?", *FAST, "--json")
    assert json.loads(out)["provenance"]["visuals"][0]["num_source_frames"] == 20


def test_ask_chooses(run, clip, one_engine):
    code, out, _ = run("ask", clip, "Where to?", *FAST, "--json", "--choose", "left", "--choose", "right")
    answer = json.loads(out)
    assert code == 0
    assert answer["text"] == ["left", "right"][answer["choice"]]
    assert len(answer["option_scores"]) == 2


def test_chat_reads_questions_until_an_empty_line(clip):
    words = [sys.executable, "-m", "videollama2.cli", "chat", str(clip), *FAST]
    done = subprocess.run(words, input="What?\nAnd then?\n\n", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("you> ") == 3
    assert done.stdout.count("what it saw and heard") == 1


def test_inspect(run):
    code, out, _ = run("inspect", MODEL)
    assert code == 0
    assert "VideoLLaMA2.1-AV" in out
    assert "verdict     good" in out
    assert json.loads(run("inspect", MODEL, "--json", "--quick")[1])["ok"] is True


def test_inspect_of_a_damaged_checkpoint(run, tmp_path):
    import shutil

    folder = shutil.copytree(MODEL, tmp_path / "model")
    shutil.copytree(GOLDEN / "towers", tmp_path / "towers")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-50])
    code, out, _ = run("inspect", folder)
    assert code == 4
    assert "bad" in out


def test_convert_and_ask_the_converted(run, tmp_path, clip):
    code, out, err = run("convert", MODEL, tmp_path / "ours", "--offline")
    assert (code, err) == (0, "")
    assert "wrote" in out
    before = json.loads(run("ask", clip, "What?", *FAST, "--json")[1])
    after = json.loads(run("ask", clip, "What?", *FAST, "--json", "-m", tmp_path / "ours")[1])
    assert after["token_ids"] == before["token_ids"]
    code, _, err = run("convert", MODEL, tmp_path / "ours")
    assert code == 4
    assert len(err.splitlines()) == 1


def test_merge_refuses_a_full_checkpoint(run, tmp_path):
    code, _, err = run("merge", MODEL, tmp_path / "out")
    assert code == 4
    assert "full checkpoint" in err


def test_selfcheck_of_one_variant(run, monkeypatch):
    code, out, _ = run("selfcheck", "--only", "qwen2")
    assert code == 0
    assert "all passed" in out
    report = json.loads(run("selfcheck", "--only", "phi3", "--json")[1])
    assert report["passed"] is True
    monkeypatch.setattr(
        "videollama2.inference.selfcheck_report.TOLERANCES",
        {"pixels": -1.0, "vision": 1.0, "connector": 1.0, "logits": 1.0},
    )
    code, out, _ = run("selfcheck", "--only", "qwen2")
    assert code == 1
    assert "1 FAILED" in out


def test_fetch_default_prints_where_it_is(run, monkeypatch):
    monkeypatch.setattr("videollama2.checkpoints.default.default_model_path", lambda **_: "/models/default")
    assert run("fetch-default") == (0, "the demonstration model is at /models/default\n", "")


def test_words(tmp_path):
    assert split_words(["a.mp4", "What?"]) == (["a.mp4"], "What?")
    assert split_words(["Is clip.mp4 a file?"]) == ([], "Is clip.mp4 a file?")


def test_render_tells_what_went_wrong():
    provenance = Provenance(
        visuals=(
            VisualSeen(kind="video", source="a.mp4", indices=(0, -1), times=(0.5, None), duration=2.0, num_padded=1),
        ),
        audio=(AudioHeard(source="a.mp4", status="failed", reason="damaged", policy="first"),),
        tokens={"text": 3, "audio": 0, "generated": 1},
        seconds={"decode": 0.0, "generate": 1.25},
        events=("1 black frame",),
    )
    answer = Answer(text="yes", question="q", finish_reason="length", provenance=provenance)
    text = render_answer(answer, is_default=True)
    assert "1 frames of 2.0 s at 0.50 s, 1 black frames added" in text
    assert "nothing, sound failed(damaged)" in text
    assert "0 audio" not in text
    assert "generate 1.25 s (1.25 s in all)" in text
    assert "event  1 black frame" in text
    assert "max-new-tokens" in text
    assert "demonstration model" in text
    many = VisualSeen(kind="video", source="b", indices=tuple(range(40)), times=tuple(np.arange(40) / 2), duration=20.0)
    shown = render_answer(Answer(text="", question="q", finish_reason="stop", provenance=Provenance(visuals=(many,))))
    assert "..." in shown
