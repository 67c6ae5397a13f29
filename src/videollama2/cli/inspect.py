"""`videollama2 inspect`: what a checkpoint is, what it needs, and whether it is sound."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from videollama2.cli.options import JsonOption, OfflineOption, PartOption, VerboseOption, parse_parts, quiet_libraries
from videollama2.cli.progress import progress_bar

EXIT_BAD_CHECKPOINT = 4


def inspect(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Folder, BEATs file or hub id of a checkpoint.")],
    part: PartOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="Read headers alone, not the values of the weights.")] = False,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Print a checkpoint's family, modalities, sizes, memory needed on this machine, and the verdict."""
    from videollama2.checkpoints import inspect_checkpoint

    quiet_libraries(verbose)
    with progress_bar() as report:
        found = inspect_checkpoint(
            path, offline=True if offline else None, parts=parse_parts(part), content=not quick, progress=report
        )
    typer.echo(json.dumps(found.to_dict(), default=str) if as_json else found.render())
    if not found.ok:
        raise typer.Exit(EXIT_BAD_CHECKPOINT)
