"""Clotho-AQA, TUT Acoustic Scenes 2017 and VocalSound: sound files, asked about by word or by letter."""

from __future__ import annotations

from dataclasses import replace

from videollama2.world.collection import Collection
from videollama2.world.describe import NUMBERS
from videollama2.world.graph import Scene, Sound
from videollama2.world.kinds_sound import draw_sound
from videollama2.world.sounding import SOUND_NAMES
from videollama2.world.vocal import VOCALS

CLOTHO_COLUMNS = ("file_name", "QuestionText", "answer", "confidence")
TUT_FOLDER = "TUT-acoustic-scenes-2017-evaluation"

ACOUSTIC_SCENES: dict[str, tuple[str, ...]] = {
    "beach": ("waves", "wind"),
    "bus": ("engine", "speech"),
    "cafe/restaurant": ("speech", "piano"),
    "car": ("engine",),
    "city_center": ("siren", "footsteps"),
    "forest_path": ("birds", "footsteps"),
    "grocery_store": ("speech", "bell"),
    "home": ("clock", "piano"),
    "library": ("clock",),
    "metro_station": ("alarm", "footsteps"),
    "office": ("phone", "clock"),
    "park": ("birds", "speech"),
    "residential_area": ("birds", "engine"),
    "train": ("engine", "bell"),
    "tram": ("bell", "footsteps"),
}
"""Class as the metadata spell it -> what is heard together in it."""

VOCAL_NAMES = {"laughter": "Laughter", "sigh": "Sigh", "cough": "Cough", "throatclearing": "Throat clearing",
               "sneeze": "Sneeze", "sniff": "Sniff"}  # fmt: skip


def build_clotho(collection: Collection) -> None:
    """Registers `audio_files/*.wav`, the CSV (six questions a file, three answers each) and its two conversions."""
    table: list[tuple] = []
    rows: list[dict] = []
    lines: list[dict] = []
    for index in range(collection.settings.clips):
        rng, scene = collection.rng(index), collection.scene(index, ("sounds", "heard")[index % 2])
        file = f"{'-'.join(dict.fromkeys(sound.kind for sound in scene.sounds))} {index:04d}.wav"
        collection.sound(f"audio_files/{file}", scene)
        for question, answer in _clotho_questions(collection, scene):
            for _ in range(3):
                table.append((file, question, answer, rng.choice(("yes", "yes", "maybe"))))
            turns = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
            rows.append({"id": len(rows), "audio": f"audio_files/{file}", "conversations": turns})
            lines.append({"audio": f"audio_files/{file}", "question": question, "gt": answer, "source": "clotho_aqa"})
    collection.csv("clotho_aqa_test.csv", CLOTHO_COLUMNS, table)
    collection.json("clotho_aqa_test.json", rows)
    collection.lines("clothoaqa_eval.jsonl", lines)


def _clotho_questions(collection: Collection, scene: Scene) -> list[tuple[str, str]]:
    """Four answered by yes or no, as often each, and two by one word."""
    kinds = list(dict.fromkeys(sound.kind for sound in scene.sounds))
    rng = collection.rng("clotho", scene.index, scene.kind)
    others = rng.sample([k for k in collection.catalogue.sound_kinds(collection.settings.split) if k not in kinds], 2)
    here = rng.choice(kinds)
    asked = [(f"Can you hear {SOUND_NAMES[kind]}?", "yes" if kind in kinds else "no") for kind in (here, others[0])]
    for kind, answer in ((here, "yes"), (others[1], "no")):
        asked.append((f"Is {SOUND_NAMES[kind]} in the recording?", answer))
    asked.append(("How many different sounds are there?", NUMBERS[len(kinds)]))
    if scene.kind == "heard":
        asked.append((f"How many times is {SOUND_NAMES[here]} heard?", NUMBERS[len(scene.sounds)]))
    else:
        asked.append(("Which sound is heard first?", kinds[0]))
    return asked


def build_tut(collection: Collection) -> None:
    """Registers ten-second recordings of acoustic scenes, `tut2017_eval.jsonl` and the metadata of the release."""
    rows: list[dict] = []
    meta: list[str] = []
    classes = list(ACOUSTIC_SCENES)
    for index in range(collection.settings.clips):
        rng, name = collection.rng(index), classes[index % len(classes)]
        scene = collection.scene(index, "close")
        sounds: list[Sound] = []
        for kind in ACOUSTIC_SCENES[name]:
            for start, end in ((0.0, 0.52), (0.48, 1.0)):  # stored sounds are shorter than the recording
                one = draw_sound(rng, collection.catalogue, collection.settings.split, kind, start, end)
                sounds.append(replace(one, gain_db=rng.uniform(-18, -10)))
        scene = replace(scene, sounds=tuple(sounds), duration=10.0)
        path = collection.sound(f"{TUT_FOLDER}/audio/{index + 1}.wav", scene)
        rows.append({"audio": path, "gt": name.replace("_", " ").replace("/", " or "), "source": "tut2017"})
        meta.append(f"audio/{index + 1}.wav\t{name}\n")
    collection.lines("tut2017_eval.jsonl", rows)
    collection.text(f"{TUT_FOLDER}/meta.txt", "".join(meta))


def build_vocalsound(collection: Collection) -> None:
    """Registers `audio_16k/<speaker>_<session>_<kind>.wav` and `vocalsound_eval.jsonl`."""
    rows = []
    for index in range(collection.settings.clips):
        kind, person = VOCALS[index % len(VOCALS)], index // len(VOCALS)
        speaker = f"{'fm'[collection.rng('person', person).randrange(2)]}{person:04d}"
        seed = collection.rng(index).randrange(2**31)
        path = collection.vocal(f"audio_16k/{speaker}_0_{kind}.wav", kind, seed)
        rows.append({"audio": path, "gt": VOCAL_NAMES[kind], "source": "vocalsound"})
    collection.lines("vocalsound_eval.jsonl", rows)
