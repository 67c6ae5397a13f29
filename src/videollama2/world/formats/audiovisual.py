"""MUSIC-AVQA, AVSD and AVSSD (VGGSound): films whose sound belongs to the question."""

from __future__ import annotations

import json
from dataclasses import replace

from videollama2.world.collection import Collection
from videollama2.world.describe import describe_picture, describe_sound
from videollama2.world.formats.asking import ALPHANUMERIC, lower
from videollama2.world.graph import Scene
from videollama2.world.kinds_sound import draw_sound
from videollama2.world.nouns import with_article
from videollama2.world.placing import stay, thing
from videollama2.world.sounding import NOUN_SOUNDS, SOUND_NAMES

TYPES = (
    ("Audio", "Counting"), ("Audio", "Comparative"), ("Visual", "Counting"), ("Visual", "Location"),
    ("Audio-Visual", "Existential"), ("Audio-Visual", "Counting"), ("Audio-Visual", "Location"),
    ("Audio-Visual", "Comparative"), ("Audio-Visual", "Temporal"),
)  # fmt: skip
MUSIC_KEYS = ("video_id", "question_id", "type", "question_content", "templ_values", "question_deleted", "anser")


def _players(collection: Collection, index: int) -> tuple[Scene, str, str]:
    """Two things that make sounds, side by side; one is heard in the first half, the other in the second.

    In half of the scenes only the first is heard. Returns the scene and the names of the left and the right thing.
    """
    rng, split = collection.rng("players", index), collection.settings.split
    catalogue = collection.catalogue
    pool = [n for n in catalogue.nouns(split) if n in NOUN_SOUNDS and NOUN_SOUNDS[n][0] in catalogue.sound_kinds(split)]
    left = rng.choice(pool)
    right = rng.choice([n for n in pool if not set(NOUN_SOUNDS[n]) & set(NOUN_SOUNDS[left])])
    sprites = [
        thing(rng, catalogue, split, name, **stay((x, rng.uniform(0.4, 0.6)), rng.uniform(0.32, 0.44)))
        for name, x in ((left, 0.26), (right, 0.74))
    ]
    first, second = rng.sample((left, right), 2)
    sounds = [draw_sound(rng, catalogue, split, NOUN_SOUNDS[first][0], 0.0, 0.48)]
    if rng.random() < 0.5:
        sounds.append(draw_sound(rng, catalogue, split, NOUN_SOUNDS[second][0], 0.52, 1.0))
    # the louder one is told by level, so levels differ clearly
    levels = rng.sample((-4.0, -16.0), 2)
    sounds = [replace(sound, gain_db=level) for sound, level in zip(sounds, levels)]
    return replace(collection.scene(index, "close"), sprites=tuple(sprites), sounds=tuple(sounds)), left, right


def _music(
    collection: Collection, scene: Scene, left: str, right: str, type_: tuple[str, str]
) -> tuple[str, list, str]:
    """Question with placeholders, what fills them, the answer."""
    rng = collection.rng("music", scene.index, *type_)
    heard = [next(n for n in (left, right) if NOUN_SOUNDS[n][0] == sound.kind) for sound in scene.sounds]
    numbers = ("zero", "one", "two")
    x, y = rng.sample((left, right), 2)
    sides = {left: "left", right: "right"}
    if type_ == ("Audio", "Counting"):
        return "How many musical instruments were heard throughout the video?", [], numbers[len(heard)]
    if type_ == ("Audio", "Comparative"):
        levels = {name: sound.gain_db for name, sound in zip(heard, scene.sounds)}
        louder = levels.get(x, -99.0) > levels.get(y, -99.0)
        return "Is the <Object> louder than the <Object>?", [x, y], "yes" if louder else "no"
    if type_ == ("Visual", "Counting"):
        absent = rng.choice([n for n in NOUN_SOUNDS if n not in (left, right)])
        asked = rng.choice((x, absent))
        return "Is there a <Object> in the entire video?", [asked], "no" if asked == absent else "yes"
    if type_ == ("Visual", "Location"):
        side = "left" if x == left else "right"
        return "Is the <Object> on the <LR> of the picture?", [x, "left"], "yes" if side == "left" else "no"
    if type_ == ("Audio-Visual", "Existential"):
        silent = [name for name in (left, right) if name not in heard] or [y]  # in half of the scenes there is one
        return "Is the <Object> in the video always silent?", silent, "no" if silent[0] in heard else "yes"
    if type_ == ("Audio-Visual", "Counting"):
        return "How many instruments are sounding in the video\uff1f", [], numbers[len(heard)]
    if type_ == ("Audio-Visual", "Location"):
        return "Where is the <FL> sounding instrument?", ["first"], sides[heard[0]]
    if type_ == ("Audio-Visual", "Comparative"):
        asked = rng.choice(("left", "right"))
        loud = max(zip(scene.sounds, heard), key=lambda pair: pair[0].gain_db)[1]
        return "Is the instrument on the <LR> the loudest?", [asked], "yes" if sides[loud] == asked else "no"
    return "Which instrument makes sounds first, the <Object> or the <Object>?", [x, y], heard[0]


def build_music_avqa(collection: Collection) -> None:
    """Registers `videos/<8 digits>.mp4`, `data/json_update/avqa-test.json` and the rows of the official reader.

    Keys and their misspelling (`anser`), and types and values as strings of JSON, are as released.
    """
    records: list[dict] = []
    rows: list[dict] = []
    for index in range(collection.settings.clips):
        scene, left, right = _players(collection, index)
        name = f"{index + 1:08d}"
        collection.film(f"videos/{name}.mp4", scene)
        for type_ in (TYPES[index % 9], TYPES[(index + 4) % 9], TYPES[(index + 7) % 9]):
            question, values, answer = _music(collection, scene, left, right, type_)
            content = (name, len(records) + 1, json.dumps(list(type_)), question, json.dumps(values), 0, answer)
            records.append(dict(zip(MUSIC_KEYS, content)))
            for value in values:
                start, end = question.index("<"), question.index(">") + 1
                question = question[:start] + value + question[end:]
            turns = [{"from": "human", "value": f"<video>\n{question}"}, {"from": "gpt", "value": answer}]
            rows.append({"video": f"videos/{name}.mp4", "conversations": turns})
    collection.json("data/json_update/avqa-test.json", records)
    collection.json("avqa_test.json", rows)


def build_avsd(collection: Collection) -> None:
    """Registers `Charades_v1_480/<id>.mp4`, ten rounds of dialog a film, and `instruction_val.json`."""
    dialogs: list[dict] = []
    rows: list[dict] = []
    for index in range(collection.settings.clips):
        scene, name = collection.scene(index), collection.code(ALPHANUMERIC[:26] + "0123456789", 5, index)
        path = collection.film(f"Charades_v1_480/{name}.mp4", scene)
        rounds = _rounds(collection, scene)
        picture, sound = describe_picture(scene), describe_sound(scene)
        dialogs.append({"image_id": name, "caption": lower(picture), "summary": f"{picture} {sound}", "dialog": rounds})
        for turn in rounds:
            turns = [{"from": "human", "value": f"<video>\n{turn['question']}"},
                     {"from": "gpt", "value": turn["answer"]}]  # fmt: skip
            rows.append({"video": path, "conversations": turns})
    collection.json("avsd_val.json", {"type": "DSTC7", "version": "1.0", "dialogs": dialogs})
    collection.json("instruction_val.json", rows)


def _rounds(collection: Collection, scene: Scene) -> list[dict[str, str]]:
    """Ten questions about a scene, those it is asked anyway first, then things that are not there."""
    rng = collection.rng("rounds", scene.index)
    asked = [(str(q["question"]), str(q["answer"])) for q in collection.questions(scene) if q["form"] != "choice"]
    asked = list(dict(asked).items())[:10]
    seen = {sprite.name for sprite in scene.sprites}
    for noun in rng.sample([n for n in collection.catalogue.nouns(scene.split) if n not in seen], 10 - len(asked)):
        asked.append((f"Is there {with_article(noun)} somewhere?", "No."))
    # lower case and spaced marks are the release's
    return [{"question": f"{lower(q)} ?", "answer": f"{lower(a)} ."} for q, a in asked]


def build_avssd(collection: Collection) -> None:
    """Registers `videos/<id>_<start>.mp4`, `test.csv` (no header) and `stat.csv`: one kind of sound a film."""
    split, kinds = collection.settings.split, collection.catalogue.sound_kinds(collection.settings.split)
    rows = []
    for index in range(collection.settings.clips):
        rng, kind = collection.rng(index), kinds[index % len(kinds)]
        scene = collection.scene(index, "close")
        makers = [n for n in collection.catalogue.nouns(split) if NOUN_SOUNDS.get(n, ("",))[0] == kind]
        if makers:
            sprite = thing(rng, collection.catalogue, split, rng.choice(makers), **stay((0.5, 0.5), 0.7))
            scene = replace(scene, sprites=(sprite,))
        scene = replace(scene, sounds=(draw_sound(rng, collection.catalogue, split, kind, 0.0, 1.0),))
        file = f"{collection.code(ALPHANUMERIC + '-_', 11, index)}_{rng.randrange(0, 300, 10):06d}.mp4"
        collection.film(f"videos/{file}", scene)
        rows.append((file, SOUND_NAMES[kind]))
    collection.csv("test.csv", None, rows)
    collection.csv("stat.csv", None, [(SOUND_NAMES[kind], 1050, "others") for kind in kinds])
