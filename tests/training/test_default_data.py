"""Order of clips and the choice of questions are pure functions of seed and step."""

from __future__ import annotations

import numpy as np
import pytest

from videollama2.training.default.data import short_answer, step_indices
from videollama2.training.default.language import article, choose_questions, cosine, questions_for
from videollama2.training.default.recipe import Recipe


def test_an_epoch_sees_every_clip_once():
    seen = np.concatenate([step_indices(20, 5, step, seed=1) for step in range(4)])
    assert sorted(seen) == list(range(20))
    assert not np.array_equal(step_indices(20, 5, 0, seed=1), step_indices(20, 5, 4, seed=1))
    assert np.array_equal(step_indices(20, 5, 2, seed=1), step_indices(20, 5, 2, seed=1))


@pytest.mark.parametrize(
    ("text", "short"),
    [("A red ball.", "red ball"), ("to the left", "left"), ("it stays still", "still"), ("Three.", "three")],
)
def test_short_answer(text, short):
    assert short_answer(text) == short


def test_questions_are_spread_over_families():
    pool = [{"family": f, "n": i} for f in ("a", "a", "a", "b", "c") for i in range(1)]
    chosen = choose_questions(pool, 3, np.random.default_rng(0))
    assert sorted(q["family"] for q in chosen) == ["a", "b", "c"]


def test_only_what_the_clip_still_shows_is_asked():
    base = {"form": "open", "options": [], "question": "?", "answer": "x"}
    clip = [
        {**base, "family": "sound", "modality": "audio", "answer": "A bell."},
        {**base, "family": "direction", "modality": "video", "answer": "left"},
        {**base, "family": "colour", "modality": "video", "answer": "red"},
    ]
    rng = np.random.default_rng(0)
    answers = {
        kind: {a for _, a in questions_for((kind, None), clip, Recipe(), rng)} for kind in ("audio", "image", "video")
    }
    assert answers == {"audio": {"A bell."}, "image": {"red"}, "video": {"left", "red"}}
    assert {a for _, a in questions_for(("drill", "axolotl"), clip, Recipe(), rng)} == {"an axolotl"}


def test_article_and_schedule():
    assert (article("dog"), article("apple")) == ("a dog", "an apple")
    assert cosine(0, 1000) < cosine(29, 1000) == 1.0
    assert cosine(999, 1000) < 1e-4
