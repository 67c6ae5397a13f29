"""`videollama2 train`: a recipe, planned or run."""

from __future__ import annotations

import json
import os
from typing import Annotated

import typer

from videollama2.cli.options import JsonOption, OfflineOption, VerboseOption, quiet_libraries
from videollama2.errors import RequestError


def train(
    recipe: Annotated[
        str | None, typer.Argument(metavar="RECIPE", help="Name of a recipe of the package, or a YAML file.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Values of the recipe to change, e.g. schedule.epochs=2."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print parameters by part, memory and steps; load and write nothing.")
    ] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="Print the recipes of the package.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the whole recipe with every value, as YAML.")] = False,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, help="Processes to plan for. Default: the recipe's.")
    ] = None,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train, or go on training, what a recipe says.

    Several processes: torchrun --nproc-per-node N -m videollama2.cli train RECIPE parallel=ddp ...
    """
    from videollama2.training import recipe as recipes

    if list_recipes:
        listed = {name: recipes.load(name).about for name in recipes.names()}
        width = max(len(name) for name in listed)
        lines = [f"{name:<{width}}  {about}" for name, about in listed.items()]
        typer.echo(json.dumps(listed, indent=2) if as_json else "\n".join(lines))
        return
    if recipe is None:
        raise RequestError("No recipe is given; see `videollama2 train --list`, or give a YAML file.")
    chosen = recipes.load(recipe, changes or ())
    if show:
        typer.echo(json.dumps(recipes.to_dict(chosen), indent=2) if as_json else recipes.to_yaml(chosen).rstrip())
        return
    quiet_libraries(verbose)
    if dry_run:
        from videollama2.training.plan import plan

        planned = plan(chosen, processes=processes, offline=True if offline else None)
        typer.echo(json.dumps(planned.to_dict(), indent=2) if as_json else planned.render())
        return
    if not chosen.data:
        raise RequestError("The recipe names no data; give data.0.path=ROWS.json data.0.folder=MEDIA.")
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    from videollama2.training import engine

    outcome = engine.train(chosen, quiet=as_json)
    if os.environ.get("RANK", "0") != "0":
        return
    if as_json:
        typer.echo(json.dumps(engine.summary_of(outcome), indent=2))
        return
    done = f"{outcome.steps} of {outcome.num_steps} steps, loss {outcome.loss_first:.4f} -> {outcome.loss_last:.4f}"
    faults = f", {sum(outcome.faults.values())} samples left out (ledger.jsonl)" if outcome.faults else ""
    ending = f"the result is in {outcome.model}" if outcome.model else "start the same command to go on"
    typer.echo(f"{outcome.folder}: {done}{faults}; {ending}")
