import random
from collections import Counter, defaultdict

import pytest

from videollama2.world.dataset import questions_of
from videollama2.world.nouns import CONFUSABLE, plural, with_article
from videollama2.world.questions import NUMBERS, choice_prompt
from videollama2.world.scene import make_scene, side_of
from videollama2.world.sounding import NO_SOUND, SOUND_NAMES, belongs

NUMBER = 4000


@pytest.fixture(scope="module", params=["plain", "order"])
def collection(catalogue, request):
    scenes = [make_scene(catalogue, "train", 2, index, mix=request.param) for index in range(NUMBER)]
    return [(scene, questions_of(scene, catalogue)) for scene in scenes]


def test_questions_are_a_pure_function(catalogue, collection):
    scene, questions = collection[3]
    assert questions_of(scene, catalogue) == questions


def test_every_clip_yields_several_families(collection):
    families = [{question["family"] for question in questions} for _, questions in collection]
    assert min(map(len, families)) >= 4
    assert set().union(*families) - {"word", "word_said", "when"} == {
        "object", "direction", "count", "colour", "first", "last", "order", "side", "exists", "sound", "sound_order",
        "sound_exists", "match", "caption", "audio_caption", "av_caption",
    }  # fmt: skip


def test_answers_are_true(collection):
    checked = Counter()
    for scene, questions in collection:
        main, names = scene.sprites[0], [sprite.name for sprite in scene.sprites]
        heard = [f'"{sound.text}"' if sound.text else SOUND_NAMES[sound.kind] for sound in scene.sounds]
        for question in questions:
            family, answer, text = question["family"], str(question["answer"]), str(question["question"])
            choice, checked[family] = question["form"] == "choice", checked[family] + 1
            if choice:
                assert answer in question["options"]
            if family == "object":
                assert answer == main.name if choice else main.name in answer
                assert not choice or not (set(question["options"]) - {answer}) & CONFUSABLE[main.name]
            elif family == "exists":
                assert (answer == "Yes.") == any(with_article(name) in text for name in names)
            elif family == "direction":
                assert main.name in text
                assert answer.rstrip(".").endswith({"still": "still", "up": "upwards", "down": "downwards"}.get(
                    main.direction, main.direction))  # fmt: skip
            elif family == "count":
                assert answer.rstrip(".").lower() == NUMBERS[names.count(main.name)]
                assert plural(main.name) in text
            elif family == "colour":
                shape = next(sprite for sprite in scene.sprites if sprite.name in text)
                assert answer.rstrip(".").lower() == shape.colour
            elif family in ("first", "order"):
                assert names[0] in answer
            elif family == "last":
                assert names[-1] in answer
            elif family == "side":
                thing = next(s for s in scene.sprites if f"the {s.name}?" in text or f"is the {s.name}" in text)
                assert side_of(thing) in answer
            elif family == "sound":
                assert answer.rstrip(".").lower() == heard[0] if heard else NO_SOUND in answer.lower()
            elif family == "sound_order":
                assert heard[0] == answer.rstrip(".")[0].lower() + answer.rstrip(".")[1:]
            elif family == "sound_exists":
                assert (answer == "Yes.") == any(name in text for name in heard)
            elif family == "when":
                thing = next(k for k, sprite in enumerate(scene.sprites) if f"the {sprite.name} " in text)
                assert ("first", "second", "third", "last")[thing] in answer
            elif family == "word":
                assert answer.lower().rstrip(".") == scene.sounds[0].text
            elif family == "word_said":
                assert (answer == "Yes.") == (f'"{scene.sounds[0].text}"' in text)
            elif family == "match":
                assert answer.lower().startswith("yes") == belongs(scene.sounds[0].kind, main.name)
            elif family == "caption":
                assert main.name in answer or plural(main.name) in answer
            else:
                assert all(name in answer or name[0].upper() + name[1:] in answer for name in heard)
    assert all(count > 100 for count in checked.values())


PLAIN_CHOICES = {"object", "direction", "count", "colour", "order", "first", "last", "side", "sound", "sound_order",
                 "match"}  # fmt: skip


def _learned_guess(rows):
    """Hits of a blind reader that learns from the first half which answer is likeliest among the options offered."""
    seen, right = Counter(), Counter()
    half = len(rows) // 2
    for options, answer in rows[:half]:
        seen.update(options)
        right[answer] += 1
    rng = random.Random(0)

    def score(option):
        return (right[option] + 1) / (seen[option] + 4), rng.random()

    return [max(options, key=score) == answer for options, answer in rows[half:]]


def test_a_blind_reader_is_at_chance(collection):
    rows = defaultdict(list)
    for _, questions in collection:
        for question in questions:
            if question["form"] == "choice":
                rows[question["family"]].append((question["options"], question["answer"]))
    assert set(rows) >= PLAIN_CHOICES
    for family, asked in rows.items():
        size = 2 if len(asked[0][0]) == 2 else 4
        assert {len(options) for options, _ in asked} == {size}, family
        deviation = (1 / size * (1 - 1 / size)) ** 0.5
        first = sum(options[0] == answer for options, answer in asked)
        assert abs(first / len(asked) - 1 / size) < 4 * deviation / len(asked) ** 0.5, family
        hits = _learned_guess(asked)
        assert sum(hits) / len(hits) - 1 / size < 3.5 * deviation / len(hits) ** 0.5, family


def test_yes_and_no_are_balanced_for_every_thing_asked(collection):
    for family in ("exists", "sound_exists"):
        answers = defaultdict(Counter)
        for _, questions in collection:
            for question in questions:
                if question["family"] == family:
                    thing = str(question["question"]).split("?")[0].split(" a")[-1]
                    answers[thing][question["answer"]] += 1
        total = sum(answers.values(), Counter())
        assert total["Yes."] == total["No."]
        spread = sum((c["Yes."] - c["No."]) ** 2 / max(c.total(), 1) for c in answers.values())
        assert spread < len(answers) + 5 * (2 * len(answers)) ** 0.5


def test_neither_picture_nor_sound_alone_tells_whether_they_belong_together(catalogue):
    scenes = [make_scene(catalogue, "train", 8, index, "match") for index in range(6000)]
    for key in (lambda s: s.sprites[0].name, lambda s: s.sounds[0].kind):
        rows = [(key(scene), belongs(scene.sounds[0].kind, scene.sprites[0].name)) for scene in scenes]
        votes = defaultdict(Counter)
        for value, truth in rows[:3000]:
            votes[value][truth] += 1
        hits = sum(votes[value].most_common(1)[0][0] == truth for value, truth in rows[3000:])
        assert abs(hits / 3000 - 0.5) < 3.5 * 0.5 / 3000**0.5


def test_wrong_answers_are_never_true(collection):
    for scene, questions in collection:
        seen = {sprite.name for sprite in scene.sprites}
        for question in questions:
            if question["family"] == "object" and question["form"] == "choice":
                assert set(question["options"]) & seen == {question["answer"]}


def test_choice_prompt():
    question = {"question": "What is it?", "options": ["cat", "dog"], "answer": "dog"}
    prompt, letter = choice_prompt(question)
    assert prompt == "What is it?\nOptions:\n(A) cat\n(B) dog\nAnswer with the option's letter."
    assert letter == "B"
