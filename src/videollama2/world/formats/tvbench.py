"""TVBench: ten tasks in the layout of MVBench, with as many candidates as each task has."""

from __future__ import annotations

from videollama2.world.collection import Collection
from videollama2.world.formats.mvbench import with_bounds
from videollama2.world.formats.tasks import MAKERS

TASKS: dict[str, tuple[bool, str, int]] = {
    "action_count": (False, "count_times", 536),
    "object_count": (False, "count_things", 148),
    "action_sequence": (True, "pair", 437),
    "object_shuffle": (False, "when", 225),
    "scene_transition": (False, "transition", 185),
    "action_localization": (True, "localise", 160),
    "action_antonym": (False, "antonym", 320),
    "unexpected_action": (False, "change", 82),
    "egocentric_sequence": (False, "order", 200),
    "moving_direction": (False, "direction", 232),
}
"""File -> whether bounded, what is asked (see `tasks`), records of the release."""


def build(collection: Collection) -> None:
    """Registers `json/<task>.json` and `video/<task>/*.mp4`; about `clips` films, as the release has them."""
    whole = sum(size for _, _, size in TASKS.values())
    for number, (name, (bounded, maker, size)) in enumerate(TASKS.items()):
        rows = []
        for k in range(max(1, round(collection.settings.clips * size / whole))):
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
