"""`videollama2 merge`: a LoRA or Base checkpoint as a full one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videollama2.cli.options import OfflineOption, PartOption, VerboseOption, parse_parts, quiet_libraries
from videollama2.cli.progress import progress_bar


def merge(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Folder or hub id of a LoRA or Base checkpoint.")],
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Folder to make.")],
    to: Annotated[str | None, typer.Option("--to", help="official or ours. Default: as the source.")] = None,
    dtype: Annotated[str | None, typer.Option("--dtype", help="Of the new weights. Default: as they are.")] = None,
    part: PartOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the target where it exists.")] = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Merge a LoRA into its base, write the whole, load it again and compare the logits."""
    from videollama2.checkpoints import merge_checkpoint

    quiet_libraries(verbose)
    with progress_bar() as report:
        merged = merge_checkpoint(
            source,
            target,
            to=to,
            dtype=dtype,
            parts=parse_parts(part),
            offline=True if offline else None,
            overwrite=overwrite,
            progress=report,
        )
    typer.echo(
        f"wrote {merged.path} ({merged.form}): {merged.weights_changed} weights changed,"
        f" {merged.logits_compared} logits of the reloaded model equal"
    )
