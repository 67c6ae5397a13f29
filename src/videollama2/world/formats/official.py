"""Training rows in the official format: one JSON list of {id, video | image | audio, conversations}.

Films are asked about what is seen and heard in several turns; some rows have the sound alone, some one picture, and
some the film with what is seen only. A few have no medium at all.
"""

from __future__ import annotations

import random

from videollama2.world.collection import Collection
from videollama2.world.questions import choice_prompt
from videollama2.world.writer import Question

STILL_FAMILIES = frozenset({"object", "colour", "count", "side", "size", "relation"})
"""What one frame of a scene answers as well as the film."""

_STILL_KINDS = ("move", "count", "colour", "place", "close", "size")


def turns(questions: list[Question], tag: str, rng: random.Random, number: int) -> list[dict[str, str]]:
    """A conversation of up to `number` questions of different families, options written out in half of the choices."""
    chosen: dict[str, Question] = {}
    for question in rng.sample(questions, len(questions)):
        chosen.setdefault(str(question["family"]), question)
    rows: list[dict[str, str]] = []
    for question in list(chosen.values())[:number]:
        asked, answer = str(question["question"]), str(question["answer"])
        if question["form"] == "choice" and rng.random() < 0.5:
            asked, answer = choice_prompt(question)
        rows.append({"from": "human", "value": asked if rows or not tag else f"{tag}\n{asked}"})
        rows.append({"from": "gpt", "value": answer})
    return rows


def build(collection: Collection) -> None:
    """Registers clips, sounds, pictures and `<split>.json`."""
    rows: list[dict] = []
    for index in range(collection.settings.clips):
        rng = collection.rng("row", index)
        draw, still_kind = rng.random(), rng.choice(_STILL_KINDS)
        picture = 0.15 <= draw < 0.27
        scene = collection.scene(index, still_kind if picture else None)
        questions = collection.questions(scene)
        name = f"{collection.settings.split}_{collection.settings.seed}_{index:06d}"
        heard = [q for q in questions if q["modality"] == "audio"]
        seen = [q for q in questions if q["modality"] == "video"]
        if draw < 0.15:
            path = collection.sound(f"audio/{name}.wav", scene)
            rows.append({"id": f"a{index}", "audio": path, "conversations": turns(heard, "<audio>", rng, 3)})
        elif picture:
            still = [q for q in seen if q["family"] in STILL_FAMILIES and "mov" not in str(q["question"])]
            path = collection.picture(f"images/{name}.jpg", scene)
            rows.append({"id": f"i{index}", "image": path, "conversations": turns(still, "<image>", rng, 3)})
        elif draw < 0.42:
            path = collection.film(f"videos/{name}.mp4", scene)
            rows.append({"id": f"v{index}", "video": path, "conversations": turns(seen, "<video>", rng, 3)})
        else:
            path = collection.film(f"videos/{name}.mp4", scene)
            rows.append({"id": f"av{index}", "video": path, "conversations": turns(questions, "<video>", rng, 4)})
        if index % 25 == 24:
            rows.append({"id": f"t{index}", "conversations": _text_turns(rng)})
    collection.json(f"{collection.settings.split}.json", rows)


def _text_turns(rng: random.Random) -> list[dict[str, str]]:
    a, b = rng.randint(2, 60), rng.randint(2, 60)
    return [{"from": "human", "value": f"What is {a} plus {b}?"}, {"from": "gpt", "value": str(a + b)}]
