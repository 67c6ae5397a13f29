"""What one frame, silence or the question alone tell about the kinds of scene that need time: nothing."""

import random
from collections import Counter, defaultdict

import pytest

from videollama2.world import describe_time as read
from videollama2.world.dataset import questions_of
from videollama2.world.describe_time import TIMES
from videollama2.world.kinds_time import CHANGES
from videollama2.world.scene import make_scene

NUMBER = 4000

LABELS = {
    "repeat": (4, lambda scene: TIMES[read.times_seen(scene)]),
    "speed": (2, lambda scene: read.faster(scene) is scene.sprites[0]),
    "change": (4, read.what_changes),
    "vanish": (2, read.appears),
    "action": (4, lambda scene: read.action_of(scene.sprites[0])),
    "opening": (2, lambda scene: read.opens(scene.sprites[0])),
    "meet": (2, read.comes_together),
    "camera": (2, read.panning),
    "camera zoom": (2, read.zooming),
    "sequence": (4, lambda scene: random.Random(scene.index).randrange(4)),
}


def _seen(scene, moment):
    """What a sharp eye has of one frame: each visible thing's place, size, angle and openness, in coarse steps."""
    shown = []
    for number, sprite in enumerate(scene.sprites):
        if not sprite.seen(moment):
            continue
        x, y = sprite.place(moment)
        zoom = 1.0
        if scene.camera is not None and scene.camera.things:
            centre_x, centre_y, zoom = scene.camera.view(moment)
            x, y = (x - centre_x) * zoom + 0.5, (y - centre_y) * zoom + 0.5
        if scene.kind in ("change", "vanish", "repeat"):
            number = 0  # one thing, whatever it looks like now
        degree = sprite.openness(moment) if sprite.open_start is not None else 0.0
        angle = (sprite.angle + sprite.turn * moment) % 360 if sprite.turn else 0.0
        size = sprite.size_at(moment) * zoom
        shown.append((number, int(x * 4), int(y * 4), int(size * 8), int(angle / 90), int(degree * 4)))
    return tuple(shown)


def _accuracy(rows):
    """Of the likeliest answer for what was seen, learned on one half of the rows and tried on the other."""
    votes, half = defaultdict(Counter), len(rows) // 2
    overall = Counter(answer for _, answer in rows[:half])
    for seen, answer in rows[:half]:
        votes[seen][answer] += 1
    hits = [(votes.get(seen) or overall).most_common(1)[0][0] == answer for seen, answer in rows[half:]]
    return sum(hits) / len(hits)


def _limit(chance, number):
    return chance + 3.5 * (chance * (1 - chance) / number) ** 0.5


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("which", ["unknown", "middle"])
def test_one_frame_is_at_chance(catalogue, kind, which):
    number, label = LABELS[kind]
    rng, rows = random.Random(0), []
    for index in range(NUMBER):
        scene = make_scene(catalogue, "train", 1, index, kind.split()[0])
        rows.append((_seen(scene, 0.5 if which == "middle" else rng.random()), label(scene)))
    answers = Counter(answer for _, answer in rows)
    assert len(answers) == number
    assert max(answers.values()) / NUMBER < _limit(1 / number, NUMBER)
    assert _accuracy(rows) < _limit(1 / number, NUMBER / 2)


def test_the_whole_clip_is_not_at_chance(catalogue):
    """The oracle can read: with a second frame it is far above chance, so the tests above could have failed."""
    for kind in ("vanish", "opening", "meet", "camera"):
        number, label = LABELS[kind]
        scenes = [make_scene(catalogue, "train", 1, index, kind) for index in range(NUMBER)]
        rows = [((_seen(scene, 0.02), _seen(scene, 0.98)), label(scene)) for scene in scenes]
        assert _accuracy(rows) > 1.5 / number, kind


def test_from_what_to_what_is_not_told_by_one_frame(catalogue):
    rng, hits = random.Random(0), []
    for index in range(NUMBER):
        scene = make_scene(catalogue, "train", 2, index, "change")
        if read.what_changes(scene) == "nothing":
            continue
        for moment in (0.5, rng.random()):
            hits.append(scene.sprites[1].seen(moment))  # guess: what is seen is what it turned into
    assert abs(sum(hits) / len(hits) - 0.5) < 3.5 * 0.5 / len(hits) ** 0.5


@pytest.mark.parametrize(("kind", "number"), [("heard", 4), ("together", 4), ("said", 4)])
def test_moments_of_sound_are_even(catalogue, kind, number):
    """How much is heard does not tell how often; what is seen does not tell when."""
    shares = defaultdict(list)
    for index in range(1200):
        scene = make_scene(catalogue, "train", 3, index, kind)
        spans = [sound.end - sound.start for sound in scene.sounds]
        if kind == "together":
            shares[round(scene.sounds[0].start * 4)].append(1)
        else:
            shares[len(spans)].append(sum(spans))
    assert len(shares) == number
    assert all(abs(len(values) - 300) < 4 * 15 for values in shares.values())
    if kind == "heard":
        assert all(abs(sum(values) / len(values) - 0.5) < 0.01 for values in shares.values())


def test_changes_come_evenly_and_are_the_only_change(catalogue):
    counts = Counter()
    for index in range(1200):
        before, after = make_scene(catalogue, "train", 4, index, "change").sprites
        differs = [before.colour != after.colour, before.size != after.size, before.name != after.name]
        assert sum(differs) <= 1
        assert before.rgb == after.rgb or differs[0]
        assert (before.start, before.disappear) == (after.start, after.appear)
        counts[(*CHANGES,)[differs.index(True) if any(differs) else 3]] += 1
    assert set(counts) == set(CHANGES)


FAMILIES = {
    "repeat": 4, "times_heard": 4, "times_said": 4, "size": 2, "relation": 2, "speed": 2, "change": 4, "state": 2,
    "vanish": 2, "action": 4, "grow": 2, "turn": 2, "opening": 2, "meet": 2, "camera": 4, "pan": 2, "zoom": 2,
    "together": 4, "when": 4, "word": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def everything(catalogue):
    scenes = [make_scene(catalogue, "train", 6, index, mix="all") for index in range(12000)]
    return [(scene, questions_of(scene, catalogue)) for scene in scenes]


def test_blind_readers_are_at_chance_in_every_later_family(everything):
    rows = defaultdict(list)
    for _, questions in everything:
        for question in questions:
            if question["form"] == "choice":
                # blind, but not deaf to wording: which question it was and what was offered
                key = (str(question["question"]).split()[0], tuple(sorted(question["options"])))
                rows[question["family"]].append((key, question["answer"], question["options"]))
    for family, number in FAMILIES.items():
        asked = rows[family]
        assert len(asked) > 100, family
        assert {len(options) for _, _, options in asked} == {number}, family
        limit = _limit(1 / number, len(asked) / 2)
        assert sum(options[0] == answer for _, answer, options in asked) / len(asked) < limit, family
        seen, right = Counter(), Counter()
        for _, answer, options in asked[: len(asked) // 2]:
            seen.update(options)
            right[answer] += 1
        rng = random.Random(0)
        guesses = [
            max(options, key=lambda option: ((right[option] + 1) / (seen[option] + number), rng.random())) == answer
            for _, answer, options in asked[len(asked) // 2 :]
        ]
        assert sum(guesses) / len(guesses) < limit, family
        if len({key for key, _, _ in asked}) < 40:
            assert _accuracy([(key, answer) for key, answer, _ in asked]) < limit, family


def test_every_question_has_its_answer_among_its_options(everything):
    for _, questions in everything:
        families = [(q["family"], q["form"]) for q in questions]
        assert len(questions) >= 5
        for question in questions:
            if question["form"] == "choice":
                assert question["options"].count(question["answer"]) == 1
                assert len(set(question["options"])) == len(question["options"])
            else:
                assert question["options"] == []
                assert str(question["answer"])[0].isupper()
        assert {("caption", "caption"), ("audio_caption", "caption"), ("av_caption", "caption")} <= set(families)
