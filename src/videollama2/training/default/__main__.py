"""Command line of the default model's training; see the package docstring for the order of commands."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from videollama2.training.default.recipe import Recipe

app = typer.Typer(help=__doc__, no_args_is_help=True)
WORK = Annotated[Path, typer.Option(help="Folder for features, logs and weights.")]


def _recipe(overrides: list[str] | None) -> Recipe:
    recipe = Recipe()
    for item in overrides or []:
        key, _, value = item.partition("=")
        if not hasattr(recipe, key):
            raise typer.BadParameter(f"unknown setting {key!r}; one of {[f.name for f in dataclasses.fields(recipe)]}")
        recipe = dataclasses.replace(recipe, **{key: type(getattr(recipe, key))(value)})
    return recipe


MODES = ["both", "blind", "video", "audio"]
SET = Annotated[list[str] | None, typer.Option("--set", help="recipe setting, key=value; may be repeated")]


@app.command()
def features(
    work: WORK = Path("out/default"),
    split: str = "train",
    shards: int = 24,
    first: int = 0,
    workers: int = 2,
    sound: bool = True,
    mix: Annotated[
        str, typer.Option(help="kinds of scenes; shards of another mix want numbers of their own")
    ] = "plain",
    set_: SET = None,
):
    """Clips -> features of the frozen towers, in shards of 256 clips."""
    from videollama2.training.default.features import build_features

    build_features(work / "features", split, range(first, first + shards), _recipe(set_), workers, sound, mix)


@app.command()
def warmup(work: WORK = Path("out/default"), shards: int | None = None, init: Path | None = None, set_: SET = None):
    """Connector and projector against the LLM's own word embeddings."""
    from videollama2.training.default.data import FeatureStore
    from videollama2.training.default.parts import warmup_parts
    from videollama2.training.default.warmup import evaluate_warmup, train_warmup

    recipe = _recipe(set_)
    store = FeatureStore(work / "features", "train", shards)
    parts = warmup_parts(recipe, store, init)
    train_warmup(parts, store, recipe, work / "warmup")
    held_out = evaluate_warmup(parts, FeatureStore(work / "features", "test"))
    print(json.dumps({"held_out": held_out}))
    (work / "warmup" / "held_out.json").write_text(json.dumps(held_out))


@app.command()
def language(work: WORK = Path("out/default"), shards: int | None = None, set_: SET = None):
    """Connector, projector and LoRA through the frozen LLM."""
    from videollama2.training.default.data import FeatureStore
    from videollama2.training.default.language import train_language
    from videollama2.training.default.parts import language_parts

    recipe = _recipe(set_)
    store = FeatureStore(work / "features", "train", shards)
    parts = language_parts(recipe, work / "warmup" / "weights.safetensors", store)
    train_language(parts, store, recipe, work / "language", head=parts.extra["head"])


@app.command()
def evaluate(
    work: WORK = Path("out/default"),
    split: str = "test",
    limit: int = 300,
    modes: Annotated[list[str], typer.Option("--mode", help="both, video, audio, blind; may be repeated")] = MODES,
    weights: Path | None = None,
    out: Path | None = None,
    set_: SET = None,
):
    """Accuracy by family on a held-out split: with all media, frames only, sound only, and blind."""
    from videollama2.training.default.data import FeatureStore
    from videollama2.training.default.evaluate import evaluate as run
    from videollama2.training.default.parts import language_parts

    recipe = _recipe(set_)
    parts = language_parts(recipe, weights or work / "language" / "weights.safetensors")
    store = FeatureStore(work / "features", split)
    report = {}
    for mode in modes:
        report[mode] = run(parts, store, limit=limit, mode=mode, blind=mode == "blind")
        print(json.dumps({mode: report[mode]}), flush=True)
    (out or work / f"evaluation-{split}.json").write_text(json.dumps(report, indent=1))


@app.command()
def export(work: WORK = Path("out/default"), out: Path = Path("src/videollama2/weights"), set_: SET = None):
    """Write the trained small weights that ship with the package."""
    from videollama2.training.default.export import export_weights

    print(export_weights(work, out, _recipe(set_)))


if __name__ == "__main__":
    app()
