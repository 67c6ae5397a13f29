"""Samples of the world: a pure function of (split, seed, index, mix), and a parallel iterator over it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from videollama2.world.assets import Catalogue, open_catalogue
from videollama2.world.questions import Question, make_questions
from videollama2.world.render import render_frames, render_sound
from videollama2.world.scene import Mix, Scene, make_scene


class Sample(NamedTuple):
    """One clip with its questions.

    Attributes:
        scene: The scene graph.
        frames: uint8 [T, S, S, 3].
        waveform: float32 [samples], mono, 16 kHz.
        questions: See `videollama2.world.questions`.
    """

    scene: Scene
    frames: np.ndarray
    waveform: np.ndarray
    questions: list[Question]


def sample(
    split: str,
    seed: int,
    index: int,
    *,
    num_frames: int = 8,
    size: int = 224,
    kind: str | None = None,
    mix: Mix | None = None,
    assets: str | os.PathLike[str] | Catalogue | None = None,
) -> Sample:
    """Clip `index` of the collection (split, seed).

    Args:
        split: "train", "val" (same styles and sounds, other scenes) or "test" (held-out styles and sounds).
        seed: Seed of the collection.
        index: Number of the clip.
        num_frames: Evenly spread frames to draw.
        size: Side of the frames in pixels.
        kind: Forces one kind of scene.
        mix: Which kinds are drawn and how often: a name of `MIXES` or weights by kind; None is the first seven kinds.
        assets: Asset folder or opened catalogue; by default the folder in `VIDEOLLAMA2_ASSETS`.

    Raises:
        RequestError: Unknown split, kind or mix.
        MissingFilesError: No assets.
    """
    catalogue = open_catalogue(assets)
    scene = make_scene(catalogue, split, seed, index, kind, mix)
    return Sample(
        scene,
        render_frames(scene, catalogue, num_frames, size),
        render_sound(scene, catalogue),
        questions_of(scene, catalogue),
    )


def questions_of(scene: Scene, assets: str | os.PathLike[str] | Catalogue | None = None) -> list[Question]:
    """The questions of a scene, without drawing it."""
    catalogue = open_catalogue(assets)
    said = any(sound.text for sound in scene.sounds)
    words = catalogue.words(scene.split, new=scene.kind == "new_word") if said else []
    return make_questions(scene, catalogue.nouns(scene.split), catalogue.sound_kinds(scene.split), words)


def _job(arguments: tuple[str, int, int, dict]) -> Sample:
    split, seed, index, options = arguments
    return sample(split, seed, index, **options)


def samples(split: str, seed: int, indices: Iterable[int], *, workers: int = 0, **options) -> Iterator[Sample]:
    """Clips of `indices` in their order, drawn by `workers` processes (0: in this one).

    The result does not depend on `workers`. `options` are those of `sample`.
    """
    options["assets"] = str(open_catalogue(options.get("assets")).folder)
    jobs = ((split, seed, index, options) for index in indices)
    if workers == 0:
        yield from map(_job, jobs)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_job, jobs, chunksize=4)
