"""MSVD-QA, ActivityNet-QA, Video-ChatGPT and MSVC: open questions and captions, scored by a judge or by rule."""

from __future__ import annotations

from dataclasses import replace

from videollama2.world.collection import Collection
from videollama2.world.describe import NUMBERS, describe_picture, describe_sound
from videollama2.world.formats.asking import ALPHANUMERIC, ON_TEXTURE, lower, order_sentence
from videollama2.world.graph import Scene
from videollama2.world.nouns import plural, with_article

_EXTENSIONS = {"MSVD": ".avi", "MSRVTT": ".mp4", "VATEX": ".mp4"}


def build_msvd(collection: Collection) -> None:
    """Registers `videos/*.avi`, `test_q.json` and `test_a.json`, aligned by position; three questions a film."""
    questions: list[dict] = []
    answers: list[dict] = []
    for index in range(collection.settings.clips):
        rng, scene = collection.rng(index), collection.scene(index, ("move", "count", "colour", "pair")[index % 4])
        first = rng.randrange(200)
        name = f"{collection.code(ALPHANUMERIC + '-_', 11, index)}_{first}_{first + round(scene.duration)}"
        collection.film(f"videos/{name}.avi", scene)
        for question, answer in _plain(scene):
            row = {"video_name": name, "question": f"{question}?", "question_id": f"v_{name}_{len(questions)}"}
            questions.append(row)
            answers.append({"answer": answer, "question_id": row["question_id"]})
    collection.json("test_q.json", questions)
    collection.json("test_a.json", answers)


def _plain(scene: Scene) -> list[tuple[str, str]]:
    """What, how many, what colour, in one-word answers."""
    sprite = scene.sprites[0]
    if scene.kind == "count":
        number = sum(other.name == sprite.name for other in scene.sprites)
        return [(f"how many {plural(sprite.name)} are there", NUMBERS[number])]
    if scene.kind == "colour":
        return [(f"what colour is the {s.name}", str(s.colour)) for s in scene.sprites]
    if scene.kind == "pair":
        return [("what is shown first", sprite.name), ("what is shown last", scene.sprites[1].name)]
    return [("what is shown in the video", sprite.name)]


def build_activitynet(collection: Collection) -> None:
    """Registers `all_test/v_*.mp4`, `test_q.json` and `test_a.json`, joined by id and in different orders.

    Types: 0 motion, 1 spatial, 2 temporal, 3 yes or no, 4 colour, 5 object, 6 location, 7 number, 8 other.
    """
    questions: list[dict] = []
    answers: list[dict] = []
    for index in range(collection.settings.clips):
        scene, asked = _activity(collection, index, index % 9)
        name = collection.code(ALPHANUMERIC + "-_", 11, index)
        collection.film(f"all_test/v_{name}.mp4", scene)
        for number, (question, answer, type_) in enumerate(asked):
            row = {"video_name": name, "question": question, "question_id": f"v_{name}_{number}"}
            questions.append(row)
            answers.append({"answer": answer, "type": type_, "question_id": row["question_id"]})
    collection.json("test_q.json", questions)
    collection.json("test_a.json", collection.rng("answers").sample(answers, len(answers)))


def _activity(collection: Collection, index: int, kind: int) -> tuple[Scene, list[tuple[str, str, int]]]:
    scene_kind = ("move", "place", "sequence", "close", "colour", "close", "close", "count", "sounds")[kind]
    scene = collection.scene(index, scene_kind)
    sprite, rng = scene.sprites[0], collection.rng("activity", index)
    if kind == 0:
        return scene, [(f"in which direction does the {sprite.name} move", sprite.direction, 0)]
    if kind == 1:
        asked = collection.asked(scene, "side")
        return scene, [(lower(str(asked["question"])), str(asked["answer"]), 1)]
    if kind == 2:
        return scene, [(f"what appears after the {sprite.name}", scene.sprites[1].name, 2)]
    if kind == 3:
        both = [q for q in collection.questions(scene) if q["family"] == "exists"]
        return scene, [(lower(str(q["question"])), str(q["answer"])[:-1].lower(), 3) for q in both]
    if kind == 4:
        return scene, [(f"what colour is the {s.name}", str(s.colour), 4) for s in scene.sprites]
    if kind == 5:
        return scene, [("what is in the video", sprite.name, 5)]
    if kind == 6:
        place = rng.choice(list(ON_TEXTURE))
        return replace(scene, background=place), [(f"where is the {sprite.name}", ON_TEXTURE[place], 6)]
    if kind == 7:
        number = sum(other.name == sprite.name for other in scene.sprites)
        return scene, [(f"how many {plural(sprite.name)} are there", str(number), 7)]
    asked = collection.asked(scene, "sound_order", "open")
    return scene, [(lower(str(asked["question"])), str(asked["answer"])[:-1].lower(), 8)]


def _answer(text: str) -> str:
    return f"In the video, {text[0].lower()}{text[1:]}"


def build_videochatgpt(collection: Collection) -> None:
    """Registers `Test_Videos/*.mp4` and the generic, temporal and consistency questions."""
    generic: list[dict] = []
    temporal: list[dict] = []
    consistency: list[dict] = []
    for index in range(collection.settings.clips):
        scene = collection.scene(index, ("sequence", "move", "count", "pair")[index % 4])
        name, main = f"v_{collection.code(ALPHANUMERIC + '-_', 11, index)}", scene.sprites[0].name
        collection.film(f"Test_Videos/{name}.mp4", scene)
        picture, sound = _answer(describe_picture(scene)), _answer(describe_sound(scene))
        generic.append({"Q": "What is happening in the video?", "A": picture, "video_name": name})
        generic.append({"Q": f"What can be said about the {main}?", "A": picture, "video_name": name})
        generic.append({"Q": "What can be heard in the video?", "A": sound, "video_name": name})
        if scene.kind in ("sequence", "pair"):
            answer = f"In the video, the things come in this order: {order_sentence([s.name for s in scene.sprites])}."
            temporal.append({"Q": "What is the sequence of events in the video?", "A": answer, "video_name": name})
        consistency.append({
            "Q1": "What is shown at the beginning of the video?",
            "Q2": f"Can you describe what is seen first, and whether it is {with_article(main)}?",
            "A": f"At the beginning {with_article(main)} is shown.", "video_name": name,
        })  # fmt: skip
    collection.json("generic_qa.json", generic)
    collection.json("temporal_qa.json", temporal)
    collection.json("consistency_qa.json", consistency)


def build_msvc(collection: Collection) -> None:
    """Registers films of three sources and `msvc.json`, with several captions each."""
    rows = []
    for index in range(collection.settings.clips):
        scene, source = collection.scene(index), list(_EXTENSIONS)[index % 3]
        stem = f"video{index}" if source == "MSRVTT" else collection.code(ALPHANUMERIC, 11, index) + "_1_9"
        path = collection.film(f"{source}/{stem}{_EXTENSIONS[source]}", scene)
        picture = describe_picture(scene)
        names = list(dict.fromkeys(with_article(sprite.name) for sprite in scene.sprites))
        captions = [lower(picture), f"a clip of {' and '.join(names)}", f"{lower(picture)} while a camera records it"]
        rows.append({"video_path": path, "question": "Describe the video in detail.", "captions": captions})
    collection.json("msvc.json", rows)
