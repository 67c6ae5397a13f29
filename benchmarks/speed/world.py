"""Clips of the world: how many a second as arrays, and films whose frames are rendered at once or one by one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videollama2.world.assets import ENVIRONMENT_VARIABLE, Catalogue
from videollama2.world.clip import write_clip
from videollama2.world.dataset import samples
from videollama2.world.render import frame_moments, render_frames
from videollama2.world.scene import make_scene
from videollama2.world.stand_in import build_stand_in

from .timing import Result, Settings, in_turns, timed

CLIPS, WARM, FILMS, FILM_FRAMES, SIDE, FPS = 256, 64, 12, 60, 224, 12


def clips(settings: Settings) -> Iterator[Result]:
    """Clips as arrays (8 frames, sound, questions) by this process, and by one a core once those have started."""
    folder, workers = _assets(settings), os.cpu_count() or 1
    options = {"mix": "all", "assets": folder, "size": SIDE}

    def drawn(number: int) -> tuple[list[int], float]:
        made = samples("train", 0, range(CLIPS), workers=number, **options)
        sums = [int(next(made).frames.sum()) for _ in range(WARM)]
        start = time.perf_counter()
        sums += [int(one.frames.sum()) for one in made]
        return sums, (CLIPS - WARM) / (time.perf_counter() - start)

    (alone, _), (shared, _) = drawn(0), drawn(workers)
    assert alone == shared, "world_clips: clips drawn in parallel differ"
    sizes = {"clips": CLIPS, "frames": 8, "side": SIDE, "workers": workers}
    result = Result("world_clips", sizes, {"deviation": 0.0, "tolerance": 0.0, "unit": "absolute"})
    result.fast = [timed(lambda: drawn(0)) for _ in range(min(settings.runs, 3))]
    result.extra = {
        "clips_per_cpu_second": round(CLIPS / min(run.cpu_s for run in result.fast), 1),
        "clips_per_second_of_all": round(max(drawn(workers)[1] for _ in range(min(settings.runs, 3))), 1),
    }
    yield result


def films(settings: Settings) -> Iterator[Result]:
    """Frames of films rendered at once, repeated ones kept, against each on its own; then films written as files."""
    catalogue = Catalogue(_assets(settings))
    scenes = [make_scene(catalogue, "train", 0, index, mix="all") for index in range(FILMS)]

    def at_once() -> Tensor:
        return torch.from_numpy(np.stack([render_frames(scene, catalogue, FILM_FRAMES, SIDE) for scene in scenes]))

    def one_by_one() -> Tensor:
        moments = frame_moments(FILM_FRAMES)
        frames = [[render_frames(scene, catalogue, [m], SIDE)[0] for m in moments] for scene in scenes]
        return torch.from_numpy(np.array(frames))

    sizes = {"films": FILMS, "frames": FILM_FRAMES, "side": SIDE}
    result = in_turns(
        "world_films", at_once, one_by_one, runs=min(settings.runs, 3), tolerance=0.0, unit="absolute", sizes=sizes
    )
    path = settings.cache / "world_film.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    written = timed(lambda: [write_clip(scene, path, catalogue, size=SIDE, fps=FPS) for scene in scenes])
    result.extra = {"films_per_cpu_second": round(FILMS / written.cpu_s, 1)}
    yield result


def _assets(settings: Settings) -> Path:
    """The fetched assets where they are known, else figures and melodies computed once."""
    known = os.environ.get(ENVIRONMENT_VARIABLE)
    folder = Path(known) if known else settings.cache / "world_assets"
    return folder if (folder / "index.json").exists() else build_stand_in(folder)
