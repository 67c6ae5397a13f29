"""`videollama2 selfcheck`: does everything compute the right numbers on this machine?"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from videollama2.cli.options import JsonOption, VerboseOption, quiet_libraries
from videollama2.cli.progress import spinner


def selfcheck(
    only: Annotated[
        list[str] | None, typer.Option("--only", help="A variant to check; several times. Default: all.")
    ] = None,
    device: Annotated[str, typer.Option("--device", help="Where to compute: cpu, cuda, mps or auto.")] = "cpu",
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run tiny models of every variant from decode to answer, offline, and compare with stored numbers."""
    from videollama2.inference.selfcheck import run_selfcheck

    quiet_libraries(verbose)
    with spinner("checking ..."):
        report = run_selfcheck(variants=only, device=device)
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        typer.echo(report.table())
    if not report.passed:
        raise typer.Exit(1)
