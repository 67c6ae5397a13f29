"""VNBench: needles put into a longer film, each question asked four times with its options in another order."""

from __future__ import annotations

import random
from dataclasses import replace

from videollama2.world.collection import Collection
from videollama2.world.formats.asking import LETTERS, n_way, order_sentence, orders
from videollama2.world.graph import Scene, Sprite
from videollama2.world.placing import coloured_shape, stay, thing
from videollama2.world.shapes import COLOURS, SHAPES
from videollama2.world.writer import Question

TASKS = ("ret_edit1", "ret_insert1", "ret_insert2", "ord_edit1", "ord_insert1", "ord_insert2", "cnt_edit1",
         "cnt_insert1", "cnt_edit2")  # fmt: skip
_LONG = 12.0  # seconds; the least the release has is 10


def _haystack(collection: Collection, index: int, number: int, rng: random.Random) -> tuple[Scene, list[float]]:
    """A long film of things that come and go, and `number` moments at which nothing of it is lost."""
    scene = collection.scene(index, "sequence")
    names = rng.sample(collection.catalogue.nouns(collection.settings.split), 5)
    things = []
    for k, name in enumerate(names):
        place = (rng.uniform(0.25, 0.45), rng.uniform(0.45, 0.7))
        window = {"appear": k / 5, "disappear": (k + 1) / 5}
        things.append(
            thing(rng, collection.catalogue, collection.settings.split, name, **{**stay(place, 0.45), **window})
        )
    moments = [(k + 0.5 + rng.uniform(-0.2, 0.2)) / number * 0.9 + 0.05 for k in range(number)]
    return replace(scene, sprites=tuple(things), duration=_LONG + round(rng.uniform(0, 4), 2)), moments


def _needles(
    collection: Collection, task: str, scene: Scene, moments: list[float], rng: random.Random, same: bool
) -> list[Sprite]:
    """Edits are shapes pasted into a corner, inserts fill the middle; each lasts a second."""
    width = 0.5 / scene.duration
    spans = [{"appear": moment - width, "disappear": moment + width} for moment in moments]
    if "edit" in task:
        shapes = rng.sample(SHAPES, 1) * len(moments) if same else rng.sample(SHAPES, len(moments))
        colour = rng.choice(list(COLOURS))
        return [coloured_shape(rng, s, colour, **stay((0.84, 0.16), 0.26), **span) for s, span in zip(shapes, spans)]
    shown = {sprite.name for sprite in scene.sprites}
    nouns = [noun for noun in collection.catalogue.nouns(collection.settings.split) if noun not in shown]
    names = rng.sample(nouns, 1) * len(moments) if same else rng.sample(nouns, len(moments))
    split = collection.settings.split
    return [
        thing(rng, collection.catalogue, split, name, **stay((0.5, 0.5), 0.95), **span)
        for name, span in zip(names, spans)
    ]


def _ask(collection: Collection, task: str, index: int) -> tuple[Scene, str, list[object], object, list[float]]:
    rng = collection.rng(task, index)
    number = 1 if task.startswith("ret") else 4 if task.startswith("ord") else rng.randint(1, 4)
    scene, moments = _haystack(collection, index, number, rng)
    needles = _needles(collection, task, scene, moments, rng, same=task.startswith("cnt"))
    scene = replace(scene, sprites=(*scene.sprites, *needles))
    times = [round(moment * scene.duration, 2) for moment in moments]
    names, where = [needle.name for needle in needles], "pasted into the corner" if "edit" in task else "inserted"
    if task.startswith("cnt"):  # the release has whole numbers here, not strings
        return scene, f"How many times is a {names[0]} {where}?", rng.sample([1, 2, 3, 4], 4), number, times
    if task.startswith("ord"):
        choices = [order_sentence(order) for order in orders(names, 4, rng)]
        return scene, f"In which order are things {where}?", list(rng.sample(choices, 4)), choices[0], times
    if "edit" in task:
        options: list[object] = list(rng.sample([names[0], *rng.sample([s for s in SHAPES if s != names[0]], 3)], 4))
    else:
        asked: Question = {"family": "object", "answer": names[0], "options": [names[0]]}
        options = list(n_way(collection, scene, asked, 4, rng))
    what = "Which shape is pasted into the corner" if "edit" in task else "Which thing fills the picture for a second"
    return scene, f"{what}?", options, names[0], times


def build(collection: Collection) -> None:
    """Registers `VNBench/*.mp4` and `VNBench-main-4try.json`; four records a film."""
    rows = []
    for index in range(collection.settings.clips):
        task, rng = TASKS[index % len(TASKS)], collection.rng("tries", index)
        scene, question, options, right, times = _ask(collection, task, index)
        path = collection.film(f"VNBench/{task}_{index}.mp4", scene)
        for attempt in range(4):
            shuffled = rng.sample(options, 4)
            rows.append({
                "video": f"./{path}", "question": question, "options": shuffled, "gt": right,
                "gt_option": LETTERS[shuffled.index(right)], "needle_time": times, "length": scene.duration,
                "type": task, "try": attempt,
            })  # fmt: skip
    collection.json("VNBench-main-4try.json", rows)
