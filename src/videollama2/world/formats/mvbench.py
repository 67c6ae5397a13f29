"""MVBench: twenty tasks, a file each; films in the folders of their sources, some with bounds, one as frames."""

from __future__ import annotations

from videollama2.world.collection import Collection
from videollama2.world.formats.tasks import MAKERS, Task
from videollama2.world.graph import Scene

_CHARADES, _CLEVRER, _PERCEPTION = "star/Charades_v1_480", "clevrer/video_validation", "perception/videos"

TASKS: dict[str, tuple[str, str, bool, str]] = {
    "action_sequence": (_CHARADES, ".mp4", True, "after"),
    "action_prediction": (_CHARADES, ".mp4", True, "direction"),
    "action_antonym": ("ssv2_video", ".webm", False, "antonym"),
    "fine_grained_action": ("Moments_in_Time_Raw/videos", ".mp4", False, "action"),
    "unexpected_action": ("FunQA_test/test", ".mp4", False, "change"),
    "object_existence": (_CLEVRER, ".mp4", False, "exists"),
    "object_interaction": (_CHARADES, ".mp4", True, "together"),
    "object_shuffle": (_PERCEPTION, ".mp4", False, "when"),
    "moving_direction": (_CLEVRER, ".mp4", False, "direction"),
    "action_localization": ("sta/sta_video", ".mp4", True, "localise"),
    "scene_transition": ("scene_qa/video", ".mp4", False, "transition"),
    "action_count": (_PERCEPTION, ".mp4", False, "count_times"),
    "moving_count": (_CLEVRER, ".mp4", False, "count_moving"),
    "moving_attribute": (_CLEVRER, ".mp4", False, "moving_colour"),
    "state_change": (_PERCEPTION, ".mp4", False, "state"),
    "fine_grained_pose": ("nturgbd", ".avi", False, "turn"),
    "character_order": (_PERCEPTION, ".mp4", False, "order"),
    "egocentric_navigation": ("vlnqa", ".mp4", False, "camera"),
    "episodic_reasoning": ("tvqa/frames_fps3_hq", "", True, "last_of_five"),
    "counterfactual_inference": (_CLEVRER, ".mp4", False, "backwards"),
}
"""File -> folder under the video root, suffix, whether bounded, what is asked (see `tasks`)."""

GAP = 2.0


def with_bounds(collection: Collection, task: Task, index: int) -> tuple[tuple[Scene, ...], float, float]:
    """The task's scene between two others, black in between: scenes, first and last second of what is asked about."""
    (scene,) = task.scenes
    others = [collection.scene(500_000 + 2 * index + k, "close") for k in range(2)]
    start = others[0].duration + GAP
    return (others[0], scene, others[1]), round(start, 2), round(start + scene.duration, 2)


def build(collection: Collection) -> None:
    """Registers `json/<task>.json` and `video/...`; `clips` films spread over the tasks, at least one each."""
    per_task = max(1, round(collection.settings.clips / len(TASKS)))
    for number, (name, (folder, suffix, bounded, maker)) in enumerate(TASKS.items()):
        rows = []
        for k in range(per_task):
            index = number * 10_000 + k
            rng = collection.rng(name, k)
            task = MAKERS[maker](collection, index, rng)
            file = f"{name}_{k:04d}{suffix}"
            row: dict = {"video": file, "question": task.question, "candidates": task.candidates, "answer": task.answer}
            if not suffix:
                file = f"show_s01e{k + 1:02d}_seg02_clip_00"
                collection.frames(f"video/{folder}/{file}", *task.scenes)
                end = round(sum(scene.duration for scene in task.scenes), 1)
                row |= {"video": file, "start": 0.0, "end": end, "subtitle": ""}
            elif bounded:
                scenes, start, end = with_bounds(collection, task, index)
                collection.film(f"video/{folder}/{file}", *scenes)
                row |= {"start": start, "end": end}
            else:
                collection.film(f"video/{folder}/{file}", *task.scenes)
            rows.append(row)
        collection.json(f"json/{name}.json", rows)
