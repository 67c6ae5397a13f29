"""The miniature, made smaller still: every stage runs, and what one leaves the next one takes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from videollama2.training.mini import __main__ as mini
from videollama2.training.mini import clips, parts


def test_clips_are_a_pure_function_of_their_seed_and_held_out_ones_are_others() -> None:
    def pixels(seed: int, number: int) -> np.ndarray:
        rng = np.random.default_rng([seed, number])
        return clips.frames_of(clips.draw_clip(rng), rng)

    assert np.array_equal(pixels(1, 4), pixels(1, 4))
    assert not np.array_equal(pixels(1, 4), pixels(2, 4))


@pytest.mark.parametrize("way", clips.WAYS)
def test_the_ball_goes_where_it_is_said_to(way: str) -> None:
    frames = clips.frames_of(clips.Clip("red", way, "hum"), np.random.default_rng(0)).astype(int)
    columns = [np.nonzero((f[..., 0] - f[..., 2] > 100).any(0))[0].mean() for f in frames]
    assert (columns[-1] > columns[0]) == (way == "right")


def test_all_stages_run_and_are_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mini, "STEPS", dict.fromkeys(mini.STEPS, 1))
    monkeypatch.setattr(mini, "HELD_OUT", 4)
    monkeypatch.setattr(parts, "DOCUMENTS", 40)
    monkeypatch.setattr(parts, "LANGUAGE_STEPS", 2)
    made = mini.make(tmp_path, num_clips=4, quiet=True)
    assert [record["stage"] for record in made] == [f"mini-{name}" for name in mini.STEPS]
    for record in made:
        for when in ("before", "after"):
            assert math.isfinite(record[when]["loss"])
            assert 0 <= record[when]["accuracy"] <= 1
            assert record[when]["rows"] >= 4
    # Each stage begins where the one before ended.
    assert made[4]["before"]["rows"] == 4
