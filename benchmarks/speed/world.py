"""Clips of the world: frames of a film at once against one by one, clips in parallel against in turn."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videollama2.world.assets import ENVIRONMENT_VARIABLE, Catalogue
from videollama2.world.clip import write_clip
from videollama2.world.dataset import sample, samples
from videollama2.world.render import frame_moments, render_frames
from videollama2.world.scene import make_scene
from videollama2.world.stand_in import build_stand_in

from .timing import Result, Settings, in_turns, timed

CLIPS, FILMS, FILM_FRAMES, SIDE, FPS = 192, 12, 60, 224, 12


def clips(settings: Settings) -> Iterator[Result]:
    """Clips as arrays (8 frames, sound, questions) by one process a core against by this one: the same bytes."""
    folder, workers = _assets(settings), os.cpu_count() or 1

    def drawn(number: int) -> Tensor:
        options = {"mix": "all", "assets": folder, "size": SIDE}
        return torch.tensor(
            [int(one.frames.sum()) for one in samples("train", 0, range(CLIPS), workers=number, **options)]
        )

    sizes = {"clips": CLIPS, "frames": 8, "side": SIDE, "workers": workers}
    runs = min(settings.runs, 3)
    result = in_turns(
        "world_clips", lambda: drawn(workers), lambda: drawn(0), runs=runs, tolerance=0.0, unit="absolute", sizes=sizes
    )
    catalogue = Catalogue(folder)
    alone = timed(lambda: [sample("train", 1, k, mix="all", size=SIDE, assets=catalogue) for k in range(CLIPS)])
    result.extra = {"clips_per_cpu_second": round(CLIPS / alone.cpu_s, 1)}
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
