"""The tasks that MVBench and TVBench name, each as a scene, a question, its candidates and the right one."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from videollama2.world.collection import Collection
from videollama2.world.describe_time import times_seen
from videollama2.world.formats.asking import PLACES, more_options, n_way, order_sentence, orders
from videollama2.world.graph import Scene
from videollama2.world.nouns import plural
from videollama2.world.placing import cells, coloured_shape, stay, thing
from videollama2.world.shapes import COLOURS, SHAPES
from videollama2.world.writer import Question


class Task(NamedTuple):
    """What is asked about a film; several scenes are shown one after the other."""

    scenes: tuple[Scene, ...]
    question: str
    candidates: list[str]
    answer: str


Maker = Callable[[Collection, int, random.Random], Task]


def _asked(kind: str, family: str, number: int = 4) -> Maker:
    """The scene's own question, with `number` candidates."""

    def make(collection: Collection, index: int, rng: random.Random) -> Task:
        for attempt in range(1000):  # not every scene of a kind is asked everything
            scene = collection.scene(index + attempt * 100_003, kind)
            asked = [q for q in collection.questions(scene) if (q["family"], q["form"]) == (family, "choice")]
            if asked:
                options = n_way(collection, scene, asked[0], number, rng)
                return Task((scene,), str(asked[0]["question"]), options, str(asked[0]["answer"]))
        raise AssertionError(f"no scene of kind {kind} is asked about {family}")

    return make


def after(collection: Collection, index: int, rng: random.Random) -> Task:
    """What comes after one of four things."""
    scene = collection.scene(index, "sequence")
    names = [sprite.name for sprite in scene.sprites]
    place = rng.randrange(3)
    question: Question = {"family": "object", "answer": names[place + 1], "options": names}
    wrong = [name for k, name in enumerate(names) if k not in (place, place + 1)]
    wrong.append(rng.choice(more_options(collection, scene, question)))
    candidates = rng.sample([names[place + 1], *wrong], 4)
    return Task((scene,), f"What is seen right after the {names[place]}?", candidates, names[place + 1])


def before_and_after(collection: Collection, index: int, rng: random.Random) -> Task:
    """In which of two orders two things come."""
    scene = collection.scene(index, "pair")
    choices = [order_sentence(names) for names in orders([s.name for s in scene.sprites], 2, rng)]
    return Task((scene,), "What happens in the video?", rng.sample(choices, 2), choices[0])


def order_of_four(collection: Collection, index: int, rng: random.Random) -> Task:
    """In which order four things come."""
    scene = collection.scene(index, "sequence")
    choices = [order_sentence(names) for names in orders([s.name for s in scene.sprites], 4, rng)]
    return Task((scene,), "In which order do the things appear?", rng.sample(choices, 4), choices[0])


def backwards(collection: Collection, index: int, rng: random.Random) -> Task:
    """What would come first if the film were played backwards."""
    scene = collection.scene(index, "sequence")
    names = [sprite.name for sprite in scene.sprites]
    question = "If the video were played backwards, what would appear first?"
    return Task((scene,), question, rng.sample(names, 4), names[-1])


def localise(collection: Collection, index: int, rng: random.Random) -> Task:
    """In which part of the film a thing is seen."""
    answers = ("At the beginning of the video.", "In the middle of the video.", "At the end of the video.",
               "Throughout the entire video.")  # fmt: skip
    part, scene = rng.randrange(4), collection.scene(index, "close")
    window = ((0.0, 0.3), (0.35, 0.65), (0.7, 1.0), (0.0, 1.0))[part]
    sprite = replace(scene.sprites[0], appear=window[0], disappear=window[1])
    question = f"During which part of the video is the {sprite.name} seen?"
    return Task((replace(scene, sprites=(sprite,)),), question, rng.sample(answers, 4), answers[part])


def transition(collection: Collection, index: int, rng: random.Random) -> Task:
    """From which place to which the scene changes."""
    places, first = rng.sample(list(PLACES), 4), collection.scene(index, "close")
    scenes = tuple(replace(first, background=place, duration=first.duration / 2) for place in places[:2])
    # two pairs and their reverses: no option has more in common with the others than the rest have
    pairs = [(places[a], places[b]) for a, b in ((0, 1), (1, 0), (2, 3), (3, 2))]
    choices = [f"From {PLACES[a][1]} to {PLACES[b][1]}." for a, b in pairs]
    return Task(scenes, "How does the place change?", rng.sample(choices, 4), choices[0])


def count_times(collection: Collection, index: int, rng: random.Random) -> Task:
    """How many times a thing appears, in digits."""
    scene = collection.scene(index, "repeat")
    right = str(times_seen(scene))
    return Task((scene,), f"How many times does the {scene.sprites[0].name} appear?", rng.sample("1234", 4), right)


def count_things(collection: Collection, index: int, rng: random.Random) -> Task:
    """How many things of a kind there are, in digits."""
    scene = collection.scene(index, "count")
    name = scene.sprites[0].name
    number = sum(sprite.name == name for sprite in scene.sprites)
    return Task((scene,), f"How many {plural(name)} are there?", rng.sample("1234", 4), str(number))


def count_moving(collection: Collection, index: int, rng: random.Random) -> Task:
    """How many of four things move."""
    scene, split = collection.scene(index, "close"), collection.settings.split
    moving, sprites = rng.randint(1, 4), []
    for k, (name, place) in enumerate(zip(rng.sample(collection.catalogue.nouns(split), 4), cells(rng, 4))):
        fields = {**stay(place, 0.24)}
        if k < moving:
            x, y = fields["start"]
            fields |= {"start": (x - 0.05, y), "end": (x + 0.05, y), "phase": rng.uniform(0, 2), "laps": 2.3}
        sprites.append(thing(rng, collection.catalogue, split, name, **fields))
    scene = replace(scene, sprites=tuple(sprites))
    return Task((scene,), "How many things are moving?", rng.sample("1234", 4), str(moving))


def moving_colour(collection: Collection, index: int, rng: random.Random) -> Task:
    """Which colour the one of four shapes has that moves."""
    scene, colours = collection.scene(index, "close"), rng.sample(list(COLOURS), 4)
    sprites = []
    for k, (shape, place) in enumerate(zip(rng.sample(SHAPES, 4), cells(rng, 4))):
        fields = {**stay(place, 0.24)}
        if k == 0:
            x, y = fields["start"]
            fields |= {"start": (x - 0.05, y), "end": (x + 0.05, y), "phase": rng.uniform(0, 2), "laps": 2.3}
        sprites.append(coloured_shape(rng, shape, colours[k], **fields))
    sprites = rng.sample(sprites, 4)
    question = "Which colour does the thing that moves have?"
    return Task((replace(scene, sprites=tuple(sprites)),), question, rng.sample(colours, 4), colours[0])


def exists(collection: Collection, index: int, rng: random.Random) -> Task:
    """Whether a thing is there."""
    scene = collection.scene(index, "move")
    asked = rng.choice([q for q in collection.questions(scene) if q["family"] == "exists"])
    return Task((scene,), str(asked["question"]), rng.sample(("yes", "no"), 2), str(asked["answer"])[:-1].lower())


MAKERS: dict[str, Maker] = {
    "action": _asked("action", "action"),
    "after": after,
    "antonym": _asked("opening", "opening", 2),
    "backwards": backwards,
    "camera": _asked("camera", "camera"),
    "change": _asked("change", "change"),
    "count_moving": count_moving,
    "count_things": count_things,
    "count_times": count_times,
    "direction": _asked("move", "direction"),
    "exists": exists,
    "last_of_five": _asked("sequence", "last", 5),
    "localise": localise,
    "moving_colour": moving_colour,
    "order": order_of_four,
    "pair": before_and_after,
    "state": _asked("change", "state", 2),
    "together": _asked("together", "together"),
    "transition": transition,
    "turn": _asked("action", "turn", 2),
    "when": _asked("sequence", "when"),
}
