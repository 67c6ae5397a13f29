import dataclasses
import json
import math

import pytest

from videollama2.inference.answer import Answer, AudioHeard, FailedAnswer, Provenance, VisualSeen, json_safe
from videollama2.inference.timing import STAGES, StageTimer


def make_answer(**changes):
    seen = VisualSeen(kind="video", source="a.mp4", indices=(3, -1), times=(0.1, math.nan), num_padded=1)
    heard = AudioHeard(source="a.mp4", status="failed", reason="damaged", windows=((0.0, 2.0),), policy="first")
    provenance = Provenance(visuals=(seen,), audio=(heard,), tokens={"text": 4}, events=("padded",))
    return Answer(text="yes", question="q?", finish_reason="stop", provenance=provenance, **changes)


def test_text_is_str_and_answer_is_frozen():
    answer = make_answer()
    assert str(answer) == "yes"
    with pytest.raises(dataclasses.FrozenInstanceError):
        answer.text = "no"


def test_to_dict_is_strict_json():
    text = json.dumps(make_answer(choice=1, option_scores=(-math.inf, -1.5)).to_dict(), allow_nan=False)
    back = json.loads(text)
    assert back["option_scores"] == [None, -1.5]
    assert back["provenance"]["visuals"][0]["times"] == [0.1, None]
    assert back["provenance"]["audio"][0]["windows"] == [[0.0, 2.0]]
    assert back["ok"] is True


def test_summary_says_what_it_rests_on():
    short = make_answer().summary()
    assert "  saw    a.mp4: 1 frames of 0.0 s at 0.10 s, 1 black frames added\n" in short
    assert "  heard  a.mp4: nothing, sound failed(damaged)" in short
    assert "  event  padded" in short
    assert "preprocessing" not in short
    assert make_answer().summary(verbose=True).startswith(short)


def test_audio_status_names_the_reason():
    assert make_answer().provenance.audio_status == "failed(damaged)"
    assert Provenance().audio_status == "absent"


def test_failed_answer():
    failed = FailedAnswer(question="q", error_code="media", error_message="cannot read x; give a video", index=3)
    assert not failed.ok
    assert str(failed) == "[media] cannot read x; give a video"
    assert failed.to_dict() == {
        "ok": False,
        "question": "q",
        "error_code": "media",
        "error_message": "cannot read x; give a video",
        "index": 3,
    }


def test_json_safe_takes_scalars_of_arrays():
    import numpy as np

    assert json_safe({1: (np.float32(0.5), np.int64(3), {"x": float("inf")})}) == {"1": [0.5, 3, {"x": None}]}


def test_timer_adds_up_by_stage():
    timer = StageTimer()
    for _ in range(2):
        with timer.stage("decode"):
            pass
    assert set(timer.rounded()) == set(STAGES)
    assert timer.seconds["decode"] > 0
    assert timer.seconds["encode"] == 0
    with pytest.raises(AssertionError), timer.stage("lunch"):
        pass


def test_timer_counts_a_stage_that_fails():
    timer = StageTimer()
    with pytest.raises(KeyError), timer.stage("encode"):
        raise KeyError
    assert timer.seconds["encode"] > 0
