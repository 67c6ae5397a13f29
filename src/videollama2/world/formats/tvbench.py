"""TVBench: ten tasks in the layout of MVBench, with as many candidates as each task has."""

from __future__ import annotations

from videollama2.world.collection import Collection
from videollama2.world.formats.mvbench import with_bounds
from videollama2.world.formats.tasks import MAKERS

TASKS: dict[str, tuple[bool, str]] = {
    "action_count": (False, "count_times"),
    "object_count": (False, "count_things"),
    "action_sequence": (True, "pair"),
    "object_shuffle": (False, "when"),
    "scene_transition": (False, "transition"),
    "action_localization": (True, "localise"),
    "action_antonym": (False, "antonym"),
    "unexpected_action": (False, "change"),
    "egocentric_sequence": (False, "order"),
    "moving_direction": (False, "direction"),
}
"""File -> whether bounded, what is asked (see `tasks`)."""


def build(collection: Collection) -> None:
    """Registers `json/<task>.json` and `video/<task>/*.mp4`; `clips` films spread over the tasks, at least one each."""
    per_task = max(1, round(collection.settings.clips / len(TASKS)))
    for number, (name, (bounded, maker)) in enumerate(TASKS.items()):
        rows = []
        for k in range(per_task):
            index = 300_000 + number * 10_000 + k
            task = MAKERS[maker](collection, index, collection.rng(name, k))
            file = f"{name}_{k:04d}.mp4"
            row: dict = {"video": file, "question": task.question, "candidates": task.candidates, "answer": task.answer}
            scenes = task.scenes
            if bounded:
                scenes, start, end = with_bounds(collection, task, index)
                row |= {"start": start, "end": end}
            collection.film(f"video/{name}/{file}", *scenes)
            rows.append(row)
        collection.json(f"json/{name}.json", rows)
