"""The frame rules against the recorded official ones, and properties that hold for any numbers."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from videollama2.errors import MediaError, RequestError
from videollama2.media.request import FrameRequest
from videollama2.media.sampling import clip_bounds, fps_indices, ordered_bounds, time_indices, uniform_indices

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/sampling/frame_sample.json").read_text())

counts = st.integers(1, 200_000)
rates = st.floats(0.05, 240)


def test_uniform_equals_official_everywhere():
    checked = 0
    for num_frames, table in GOLDEN["uniform"].items():
        for duration, expected in table.items():
            assert uniform_indices(int(duration), int(num_frames)) == expected
            checked += 1
    assert checked > 300


def test_fps_equals_official_everywhere():
    checked = 0
    for case in GOLDEN["fps"]:
        indices, expected = fps_indices(case["duration"], case["fps"]), case["indices"]
        if isinstance(expected, str):
            # The official rule divides by zero below one frame per second; ours takes every frame.
            assert expected.startswith("error")
            assert case["fps"] < 1
            assert indices == list(range(case["duration"]))
        elif isinstance(expected, dict):
            assert len(indices) == expected["len"]
            assert indices[: len(expected["first"])] == expected["first"]
            assert indices[-len(expected["last"]) :] == expected["last"]
        else:
            assert indices == expected, case["fps"]
        checked += 1
    assert checked > 50


@settings(deadline=None)
@given(counts, st.integers(1, 256))
def test_uniform_stays_inside_rises_and_is_balanced(num_source, num_frames):
    indices = uniform_indices(num_source, num_frames)
    assert len(indices) == num_frames
    assert 0 <= indices[0] <= indices[-1] <= num_source - 1
    steps = [b - a for a, b in pairwise(indices)]
    assert all(step >= 0 for step in steps)
    assert not steps or max(steps) - min(steps) <= 1
    # As far from the end as from the start, up to rounding.
    assert abs(indices[0] - (num_source - 1 - indices[-1])) <= 1


@settings(deadline=None)
@given(st.integers(1, 5000), rates, st.floats(0.1, 30))
def test_fps_takes_evenly_and_never_nothing(num_source, source_fps, wanted):
    indices = fps_indices(num_source, source_fps, wanted)
    assert indices
    assert indices[0] >= 0
    assert indices[-1] <= num_source - 1
    step = max(min(int(source_fps // wanted), num_source), 1)
    assert {b - a for a, b in pairwise(indices)} <= {step}


@settings(deadline=None)
@given(counts, rates, st.none() | st.floats(-10, 5000), st.none() | st.floats(-10, 5000))
def test_bounds_are_inside_or_an_error_of_ours(num_source, fps, start, end):
    start, end, _ = ordered_bounds(start, end)
    try:
        first, last = clip_bounds(num_source, fps, start, end)
    except MediaError:
        first, last = 0, 0
    assert 0 <= first <= last <= num_source - 1


@settings(deadline=None)
@given(st.lists(st.floats(0, 1000), min_size=1, max_size=50, unique=True), st.data())
def test_explicit_times_find_the_frame_on_the_screen(frame_times, data):
    frame_times = [0.0, *sorted(time + 0.01 for time in frame_times)]
    wanted = data.draw(st.floats(0, frame_times[-1]))
    (index,) = time_indices(frame_times, [wanted], frame_times[-1] + 1)
    assert frame_times[index] <= wanted + 1e-3
    assert index == len(frame_times) - 1 or frame_times[index + 1] > wanted


def test_bounds_are_ordered_as_the_official_code_does_and_said():
    assert ordered_bounds(2, 1)[:2] == (1, 2)
    assert "swapped" in ordered_bounds(2, 1)[2][0]
    assert ordered_bounds(1, 1)[:2] == (1, 2)
    assert ordered_bounds(-1, 0.7)[:2] == (0, 0.7)
    assert ordered_bounds(0, 5) == (0, 5, [])
    assert ordered_bounds(None, -3) == (None, -3, [])


@pytest.mark.parametrize(
    ("call", "needle"),
    [
        (lambda: uniform_indices(10, 0), "num_frames=0"),
        (lambda: uniform_indices(10, 2.5), "num_frames=2.5"),
        (lambda: fps_indices(10, 0.0), "source_fps"),
        (lambda: time_indices([0.0], [], 1.0), "empty"),
        (lambda: time_indices([0.0], [math.nan], 1.0), "nan"),
        (lambda: ordered_bounds(math.nan, None), "start=nan"),
        (lambda: FrameRequest(num_frames=0), "num_frames=0"),
        (lambda: FrameRequest(max_frames=True), "max_frames=True"),
        (lambda: FrameRequest(fps=-1), "fps=-1"),
        (lambda: FrameRequest(bounds="near"), "'near'"),
    ],
)
def test_wrong_arguments_are_request_errors(call, needle):
    with pytest.raises(RequestError, match=needle):
        call()


def test_no_frames_and_late_times_are_media_errors():
    with pytest.raises(MediaError, match="no frames"):
        uniform_indices(0, 8)
    with pytest.raises(MediaError, match="after the end"):
        time_indices([0.0, 1.0], [2.5], 2.0)


def test_cut_keeps_the_first_frames_and_says_so():
    times = [i / 30 for i in range(3000)]
    indices, events = FrameRequest(num_frames=64).choose(3000, 30.0, times, 100.0)
    assert indices == uniform_indices(3000, 64)[:32]
    assert any("first 32 of 64" in event for event in events)
    assert len(FrameRequest(num_frames=64, max_frames=None).choose(3000, 30.0, times, 100.0)[0]) == 64


def test_rate_that_cannot_be_met_is_said():
    times = [i / 3 for i in range(30)]
    indices, events = FrameRequest(fps=2.0).choose(30, 3.0, times, 10.0)
    assert indices == list(range(30))
    assert "2 frames per second were asked for" in events[0]
