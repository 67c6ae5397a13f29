"""`videollama2 convert`: a checkpoint in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videollama2.cli.options import OfflineOption, PartOption, VerboseOption, parse_parts, quiet_libraries
from videollama2.cli.progress import progress_bar

ToOption = Annotated[str, typer.Option("--to", help="ours, official, or safetensors (same format, no pickles).")]
OutDtypeOption = Annotated[str | None, typer.Option("--dtype", help="Of the new weights. Default: as they are.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the target where it exists.")]


def convert(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder or hub id of a checkpoint.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Folder to make.")],
    to: ToOption = "ours",
    dtype: OutDtypeOption = None,
    part: PartOption = None,
    overwrite: OverwriteOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Write a checkpoint in another format; every weight is read and checked on the way."""
    from videollama2.checkpoints import convert_checkpoint

    quiet_libraries(verbose)
    with progress_bar() as report:
        path = convert_checkpoint(
            source,
            target,
            to=to,
            dtype=dtype,
            parts=parse_parts(part),
            offline=True if offline else None,
            overwrite=overwrite,
            progress=report,
        )
    typer.echo(f"wrote {path} ({to})")
