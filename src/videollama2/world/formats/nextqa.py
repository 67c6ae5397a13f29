"""NExT-QA (multiple choice): five options in CSV columns a0 to a4, questions in lower case without a mark."""

from __future__ import annotations

import random
from dataclasses import replace

from videollama2.world.collection import Collection
from videollama2.world.formats.asking import ON_TEXTURE, lower, more_options, n_way
from videollama2.world.graph import Scene
from videollama2.world.nouns import plural, with_article
from videollama2.world.placing import appearance, cells, stay
from videollama2.world.sounding import NOUN_SOUNDS, SOUND_NAMES, belongs
from videollama2.world.writer import Question

COLUMNS = ("video", "frame_count", "width", "height", "question", "answer", "qid", "type", "a0", "a1", "a2", "a3", "a4")
TYPES = ("CH", "TN", "DO", "CW", "TC", "DL", "TP", "DC")

Asked = tuple[Scene, str, list[str], str]


def _own(collection: Collection, index: int, rng: random.Random, kind: str, family: str) -> Asked:
    scene = collection.scene(index, kind)
    asked = collection.asked(scene, family)
    return scene, lower(str(asked["question"])), n_way(collection, scene, asked, 5, rng), str(asked["answer"])


def _why(collection: Collection, index: int, rng: random.Random) -> Asked:
    scene = next(
        scene
        for k in range(1000)
        if belongs((scene := collection.scene(index + 100_003 * k, "match")).sounds[0].kind, scene.sprites[0].name)
    )
    noun, kind = scene.sprites[0].name, scene.sounds[0].kind
    # only things that make sounds, and never one that could make this one: nothing but the picture tells
    wrong = [n for n in collection.catalogue.nouns(collection.settings.split) if n in NOUN_SOUNDS and n != noun]
    wrong = [n for n in wrong if not belongs(kind, n)]
    answers = [f"{with_article(name)} makes it" for name in (noun, *rng.sample(wrong, 4))]
    return scene, f"why can {SOUND_NAMES[kind]} be heard", rng.sample(answers, 5), answers[0]


def _neighbour(collection: Collection, index: int, rng: random.Random, step: int) -> Asked:
    scene = collection.scene(index, "sequence")
    names = [sprite.name for sprite in scene.sprites]
    place = rng.randrange(1, 4) if step < 0 else rng.randrange(3)
    right = names[place + step]
    asked: Question = {"family": "object", "answer": right, "options": names}
    wrong = [name for name in names if name not in (right, names[place])]
    wrong += rng.sample(more_options(collection, scene, asked), 2)
    word = "before" if step < 0 else "after"
    return scene, f"what is shown right {word} the {names[place]}", rng.sample([right, *wrong], 5), right


def _where(collection: Collection, index: int, rng: random.Random) -> Asked:
    places, scene = rng.sample(list(ON_TEXTURE), 5), collection.scene(index, "move")
    scene = replace(scene, background=places[0])
    answers = [ON_TEXTURE[place] for place in places]
    return scene, f"where is the {scene.sprites[0].name}", rng.sample(answers, 5), answers[0]


def _many(collection: Collection, index: int, rng: random.Random) -> Asked:
    scene, words = collection.scene(index, "close"), ["one", "two", "three", "four", "five"]
    number, first = rng.randint(1, 5), scene.sprites[0]
    alike = {"brightness": first.brightness, "saturation": first.saturation, "detail": first.detail}
    sprites = [replace(first, **{**appearance(rng), **alike, **stay(place, 0.26)}) for place in cells(rng, number)]
    scene = replace(scene, sprites=tuple(sprites))
    return scene, f"how many {plural(first.name)} are there", rng.sample(words, 5), words[number - 1]


def _ask(collection: Collection, kind: str, index: int, rng: random.Random) -> Asked:
    if kind == "CW":
        return _why(collection, index, rng)
    if kind in ("TN", "TP"):
        return _neighbour(collection, index, rng, 1 if kind == "TN" else -1)
    if kind == "DL":
        return _where(collection, index, rng)
    if kind == "DC":
        return _many(collection, index, rng)
    scene_kind, family = {"CH": ("move", "direction"), "TC": ("together", "together"), "DO": ("close", "object")}[kind]
    return _own(collection, index, rng, scene_kind, family)


def build(collection: Collection) -> None:
    """Registers `nextqa/{val or test}.csv`, `nextqa/map_vid_vidorID.json` and `NExTVideo/<folder>/<id>.mp4`."""
    rows, folders = [], {}
    for index in range(collection.settings.clips):
        rng, kind = collection.rng(index), TYPES[index % len(TYPES)]
        scene, question, options, right = _ask(collection, kind, index, rng)
        video = str(rng.randrange(2_400_000_000, 9_999_999_999))
        folders[video] = f"{rng.randrange(1200):04d}/{video}"
        collection.film(f"NExTVideo/{folders[video]}.mp4", scene)
        frames, side = round(scene.duration * collection.settings.fps), collection.settings.size
        rows.append((video, frames, side, side, question, options.index(right), rng.randrange(12), kind, *options))
    name = "test" if collection.settings.split == "test" else "val"
    collection.csv(f"nextqa/{name}.csv", COLUMNS, rows)
    collection.json("nextqa/map_vid_vidorID.json", folders)
