"""EgoSchema: five-option questions about whole films; keys with blanks, answers in a file of their own."""

from __future__ import annotations

import uuid

from videollama2.world.collection import Collection
from videollama2.world.formats.asking import ALPHANUMERIC, n_way, order_sentence, orders
from videollama2.world.graph import Scene

_FAMILIES = (("sequence", "orders"), ("move", "direction"), ("sequence", "first"), ("colour", "colour"),
             ("sequence", "last"), ("close", "object"))  # fmt: skip


def _ask(collection: Collection, index: int) -> tuple[Scene, str, list[str], str]:
    kind, family = _FAMILIES[index % len(_FAMILIES)]
    scene, rng = collection.scene(index, kind), collection.rng(index)
    if family == "orders":
        choices = [f"C shows {order_sentence(names)}." for names in orders([s.name for s in scene.sprites], 5, rng)]
        question = "Taking into account everything that c shows, in which order do the things come?"
        return scene, question, rng.sample(choices, 5), choices[0]
    asked = collection.asked(scene, family)
    options = n_way(collection, scene, asked, 5, rng)
    return scene, str(asked["question"]), [f"C: {option}." for option in options], f"C: {asked['answer']}."


def build(collection: Collection) -> None:
    """Registers `good_clips_git`, `questions.json` and `subset_answers.json` (of every clip)."""
    questions, answers = [], {}
    for index in range(collection.settings.clips):
        scene, question, options, right = _ask(collection, index)
        name = str(uuid.UUID(int=collection.rng("uid", index).getrandbits(128), version=4))
        collection.film(f"good_clips_git/{name}.mp4", scene)
        drive = "1" + collection.code(ALPHANUMERIC + "-_", 32, index)
        row = {"q_uid": name, "google_drive_id": drive, "question": question}
        questions.append({**row, **{f"option {k}": option for k, option in enumerate(options)}})
        answers[name] = options.index(right)
    collection.json("questions.json", questions)
    collection.json("subset_answers.json", answers)
