"""Video-MME: three four-option questions a film, with subtitles, in a Parquet table."""

from __future__ import annotations

import io

from videollama2.errors import MissingDependencyError
from videollama2.world.collection import Collection
from videollama2.world.describe import describe_sound
from videollama2.world.formats.asking import ALPHANUMERIC, LETTERS, n_way
from videollama2.world.graph import Scene

COLUMNS = ("video_id", "duration", "domain", "sub_category", "url", "videoID", "question_id", "task_type", "question",
           "options", "answer")  # fmt: skip
DURATIONS = ("short", "medium", "long")
DOMAINS: dict[str, tuple[str, ...]] = {
    "Knowledge": ("Humanity & History", "Literature & Art", "Biology & Medicine", "Finance & Commerce", "Astronomy",
                  "Geography", "Law", "Life Tip", "Technology"),
    "Film & Television": ("Animation", "Movie & TV Show", "Documentary", "News Report"),
    "Sports Competition": ("Esports", "Basketball", "Football", "Athletics", "Other Sports"),
    "Artistic Performance": ("Stage Play", "Magic Show", "Variety Show", "Acrobatics"),
    "Life Record": ("Handicraft", "Food", "Fashion", "Daily Life", "Travel", "Pet & Animal", "Exercise"),
    "Multilingual": ("Multilingual",),
}  # fmt: skip
TASKS = {
    "object": "Object Recognition", "direction": "Spatial Perception", "sound": "Information Synopsis",
    "count": "Counting Problem", "colour": "Attribute Perception", "first": "Temporal Perception",
    "last": "Temporal Perception", "when": "Temporal Reasoning", "side": "Spatial Perception",
    "repeat": "Counting Problem", "change": "Attribute Perception", "action": "Action Recognition",
    "camera": "Spatial Reasoning", "together": "Object Reasoning", "word": "OCR Problems",
    "times_heard": "Counting Problem", "times_said": "Counting Problem",
}  # fmt: skip
"""Family -> the nearest of the release's twelve task types."""


def _cue_time(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3600000:02d}:{whole // 60000 % 60:02d}:{whole // 1000 % 60:02d},{whole % 1000:03d}"


def subtitles(scene: Scene) -> str:
    """What is heard as subtitles (SubRip): spoken words as they are said, sounds in brackets."""
    cues = []
    for number, sound in enumerate(scene.sounds, 1):
        first, last = (_cue_time(moment * scene.duration) for moment in (sound.start, sound.end))
        text = sound.text or f"[{describe_sound(scene).rstrip('.')}]"
        cues.append(f"{number}\n{first} --> {last}\n{text}\n")
    return "\n".join(cues) + "\n"


def _scene(collection: Collection, index: int) -> tuple[Scene, list]:
    """A scene with at least three four-option questions."""
    kinds = ("sequence", "colour", "count", "move")
    for attempt in range(1000):
        scene = collection.scene(index + attempt * 100_003, kinds[index % len(kinds)])
        asked = [q for q in collection.questions(scene) if q["form"] == "choice" and q["family"] in TASKS]
        if len(asked) >= 3:
            return scene, asked
    raise AssertionError("no scene with three questions in a thousand")


def build(collection: Collection) -> None:
    """Registers `videos`, `subtitles` and the Parquet table, below `videomme`.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingDependencyError("Video-MME is released as a Parquet table; install pyarrow") from None
    places = [(domain, category) for domain, categories in DOMAINS.items() for category in categories]
    rows = []
    for index in range(collection.settings.clips):
        rng = collection.rng(index)
        scene, asked = _scene(collection, index)
        code = collection.code(ALPHANUMERIC + "-_", 11, index)
        collection.film(f"videomme/videos/{code}.mp4", scene)
        duration = DURATIONS[index * 3 // collection.settings.clips]
        if scene.sounds and (duration == "long" or rng.random() < 0.75):
            collection.text(f"videomme/subtitles/{code}.srt", subtitles(scene))
        domain, category = places[index % len(places)]
        for number, question in enumerate(rng.sample(asked, 3), 1):
            options = n_way(collection, scene, question, 4, rng)
            rows.append((
                f"{index + 1:03d}", duration, domain, category, f"https://www.youtube.com/watch?v={code}", code,
                f"{index + 1:03d}-{number}", TASKS[str(question["family"])], question["question"],
                [f"{LETTERS[k]}. {option[0].upper()}{option[1:]}." for k, option in enumerate(options)],
                LETTERS[options.index(str(question["answer"]))],
            ))  # fmt: skip
    table = pyarrow.table({name: [row[k] for row in rows] for k, name in enumerate(COLUMNS)})
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    collection.binary("videomme/test-00000-of-00001.parquet", out.getvalue())
