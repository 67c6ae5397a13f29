"""Perception Test (multiple-choice video QA): three options, several questions a film, metadata beside them."""

from __future__ import annotations

from typing import Any

from videollama2.world.collection import Collection
from videollama2.world.formats.asking import n_way
from videollama2.world.sounding import SAMPLE_RATE

_TAGS = {
    "object": ("semantics", "descriptive", "object recognition"),
    "direction": ("physics", "descriptive", "motion"),
    "count": ("memory", "descriptive", "object counting"),
    "colour": ("semantics", "descriptive", "colour recognition"),
    "first": ("memory", "descriptive", "sequencing"),
    "last": ("memory", "descriptive", "sequencing"),
    "when": ("abstraction", "explanatory", "sequencing"),
    "side": ("physics", "descriptive", "spatial relations"),
    "repeat": ("memory", "descriptive", "event counting"),
    "change": ("abstraction", "explanatory", "change detection"),
    "action": ("physics", "predictive", "motion"),
    "sound": ("semantics", "descriptive", "sound recognition"),
    "word": ("semantics", "descriptive", "language"),
    "together": ("abstraction", "counterfactual", "event correlation"),
}
"""Family -> area, reasoning, tag."""

_KINDS = ("sequence", "move", "count", "repeat", "change", "action", "place", "word", "together", "colour")


def build(collection: Collection) -> None:
    """Registers `videos`, `mc_question_valid.json`, the cut frames, and `mc_question_test.json` without answers.

    The last fifth of the films belongs to the hidden-answer file.
    """
    valid: dict[str, dict] = {}
    hidden: dict[str, dict] = {}
    clips = collection.settings.clips
    for index in range(clips):
        rng, kind = collection.rng(index), _KINDS[index % len(_KINDS)]
        scene = collection.scene(index, kind)
        asked = [q for q in collection.questions(scene) if q["form"] == "choice" and q["family"] in _TAGS]
        test = clips > 1 and index >= clips - max(1, clips // 5)
        name = f"video_{index:04d}"
        collection.film(f"videos/{name}.mp4", scene)
        side, fps = collection.settings.size, collection.settings.fps
        entry: dict[str, Any] = {
            "metadata": {
                "split": "test" if test else "valid", "video_id": name, "frame_rate": float(fps),
                "num_frames": round(scene.duration * fps), "resolution": [side, side],
                "audio_samples": round(scene.duration * SAMPLE_RATE), "audio_sample_rate": SAMPLE_RATE,
                "is_cup_game": False, "is_camera_moving": scene.camera is not None,
            },
            "mc_question": [],
        }  # fmt: skip
        for number, question in enumerate(asked):
            options = n_way(collection, scene, question, 3, rng)
            area, reasoning, tag = _TAGS[str(question["family"])]
            row = {"id": number, "question": question["question"], "options": options}
            if not test:
                row["answer_id"] = options.index(str(question["answer"]))
            entry["mc_question"].append({**row, "area": area, "reasoning": reasoning, "tag": [tag]})
        (hidden if test else valid)[name] = entry
    collection.json("mc_question_valid.json", valid)
    cuts = {name: entry["metadata"]["num_frames"] for name, entry in valid.items()}
    collection.json("cut_frame_mapping_valid.json", cuts)
    if hidden:
        collection.json("mc_question_test.json", hidden)
