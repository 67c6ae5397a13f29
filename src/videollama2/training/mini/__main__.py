"""Makes the miniature: `python -m videollama2.training.mini DIR [--clips N]`."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from videollama2.training import engine
from videollama2.training.mini import clips as world
from videollama2.training.mini import parts
from videollama2.training.mini.scoring import Score, score
from videollama2.training.recipe import DataFile, Recipe, from_dict

HELD_OUT = 96
# Optimiser steps and peak learning rates: enough for the tiny model to learn what each stage can teach it.
STEPS = {"video-1": 300, "video-2": 300, "audio-1": 150, "audio-2": 80, "joint": 120}


def recipe_of(folder: Path, stage: str, model: dict[str, Any], train: dict[str, Any], **fields: Any) -> Recipe:
    """The recipe of a stage."""
    base: dict[str, Any] = {
        "name": f"mini-{stage}",
        "model": model,
        "train": train,
        "num_frames": 4,
        "batch": {"samples": 16, "micro": 16},
        "precision": "fp32",
        "gradient_checkpointing": False,
        "workers": 0,
        "schedule": {"max_steps": STEPS[stage]},
        "save": {"folder": str(folder / "runs" / stage), "every": 100, "keep": 1},
        "log": {"tensorboard": False},
    }
    return from_dict({**base, **fields})


def stages(folder: Path, rows: dict[str, Path], media: Path) -> list[tuple[Recipe, str]]:
    """The five stages of the paper, and the rows on which each is scored."""
    made = folder / "parts"
    compose = {
        "language_model": str(made / "language_model"),
        "vision_tower": str(made / "vision_tower"),
        "connector": "stc_connector_v35",
        "num_frames": 4,
    }
    results = {stage: str(folder / "runs" / stage / engine.RESULT_FOLDER) for stage in STEPS}
    beats = str(made / "beats.pt")
    features = str(folder / "features")

    def data(*names: str) -> dict[str, Any]:
        return {"data": [{"path": str(rows[name]), "folder": str(media)} for name in names]}

    return [
        (
            recipe_of(
                folder,
                "video-1",
                {"compose": compose},
                {"connector": 5e-3},
                labels="plain",
                cache_features=features,
                **data("video-captions"),
            ),
            "video-captions",
        ),
        (
            recipe_of(
                folder,
                "video-2",
                {"compose": compose, "connector_weights": results["video-1"]},
                {"connector": 2e-3, "language_model": 1e-3},
                cache_features=features,
                **data("video-questions"),
            ),
            "video-questions",
        ),
        (
            recipe_of(
                folder,
                "audio-1",
                {"from": results["video-2"], "audio_tower": beats},
                {"audio_projector": 5e-3},
                labels="plain",
                branch="audio_visual",
                cache_features=features,
                **data("audio-captions"),
            ),
            "audio-captions",
        ),
        (
            recipe_of(
                folder,
                "audio-2",
                {"from": results["audio-1"]},
                {"audio_projector": 1e-3, "audio_tower": 2e-4},
                branch="audio_visual",
                workers=1,
                **data("audio-questions"),
            ),
            "audio-questions",
        ),
        (
            recipe_of(
                folder,
                "joint",
                {"from": results["audio-2"]},
                {"audio_projector": 1e-3, "audio_tower": 2e-4, "connector": 1e-3, "language_model": 1e-3},
                branch="audio_visual",
                workers=1,
                sound_of_video=True,
                **data("joint", "audio-questions"),
            ),
            "joint",
        ),
    ]


def make(folder: Path, *, num_clips: int, quiet: bool = False) -> list[dict[str, Any]]:
    """Parts, clips and all stages; one record a stage with its score before and after."""
    begin = time.monotonic()
    media = {"train": folder / "clips", "held-out": folder / "held-out"}
    rows = world.write_rows(media["train"], world.write_clips(media["train"], num_clips, seed=1))
    tests = world.write_rows(media["held-out"], world.write_clips(media["held-out"], HELD_OUT, seed=2))
    _tell(f"{num_clips} clips to learn from, {HELD_OUT} held out ({time.monotonic() - begin:.0f} s)", quiet)
    _language_model(folder, quiet)
    parts.write_vision_tower(folder / "parts" / "vision_tower")
    parts.write_audio_tower(folder / "parts" / "beats.pt")
    records = []
    for recipe, name in stages(folder, rows, media["train"]):
        started_at = time.monotonic()
        held_out = DataFile(path=str(tests[name]), folder=str(media["held-out"]))
        before = score(recipe, held_out)
        outcome = engine.train(recipe, quiet=True)
        if outcome.stopped is not None:
            raise SystemExit(f"{outcome.stopped}: stopped in {recipe.name}; the same command goes on.")
        after = score(replace(recipe, model=type(recipe.model)(from_=str(outcome.model))), held_out)
        seconds = round(time.monotonic() - started_at, 1)
        record = {"stage": recipe.name, "before": asdict(before), "after": asdict(after), "seconds": seconds}
        records.append(record)
        _tell(f"{recipe.name:14} {_line(before)}  ->  {_line(after)}   {seconds} s", quiet)
    return records


def _language_model(folder: Path, quiet: bool) -> None:
    """A language model that knows the words and can look an answer up in what it reads."""
    place = folder / "parts" / "language_model"
    done = place / "trained"
    if done.exists():
        return
    begin = time.monotonic()
    loss = parts.write_language_model(place)
    done.touch()
    _tell(f"a language model to start from: loss {loss:.3f} ({time.monotonic() - begin:.0f} s)", quiet)


def _line(score: Score) -> str:
    return f"loss {score.loss:6.3f} right {score.accuracy:4.0%}"


def _tell(text: str, quiet: bool) -> None:
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Make the miniature and print one JSON line a stage."""
    parser = argparse.ArgumentParser(prog="python -m videollama2.training.mini", description=__doc__)
    parser.add_argument("folder", type=Path, help="where everything goes; a run that was stopped there goes on")
    parser.add_argument("--clips", type=int, default=128, help="clips to learn from")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    for record in make(options.folder.absolute(), num_clips=options.clips):
        print(json.dumps(record), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
