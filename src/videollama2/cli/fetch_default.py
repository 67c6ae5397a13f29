"""`videollama2 fetch-default`: the demonstration model's parts, fetched once so that everything else works offline."""

from __future__ import annotations

import typer

from videollama2.cli.options import OfflineOption, VerboseOption, quiet_libraries
from videollama2.cli.progress import progress_bar


def fetch_default(offline: OfflineOption = False, verbose: VerboseOption = False) -> None:
    """Fetch and assemble the small demonstration model; does nothing where it is there already."""
    from videollama2.checkpoints.default import default_model_path

    quiet_libraries(verbose)
    with progress_bar() as report:
        path = default_model_path(offline=True if offline else None, progress=report)
    typer.echo(f"the demonstration model is at {path}")
