"""`videollama2 data`: what concerns training data. `data check` looks at every row and file before a run does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from videollama2.cli.options import JsonOption, OfflineOption, PartOption, VerboseOption, parse_parts, quiet_libraries
from videollama2.cli.progress import progress_bar

EXIT_FAULTS = 3

data = typer.Typer(name="data", help="Look at training data.", no_args_is_help=True, add_completion=False)


@data.callback()
def group() -> None:
    """Look at training data."""


@data.command()
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILES...", help="Files of rows: JSON, JSONL or Parquet.")],
    folder: Annotated[Path | None, typer.Option("--folder", help="Folder of the media. Default: the file's.")] = None,
    clean: Annotated[Path | None, typer.Option("--clean", help="Write the sound rows here (.json, .jsonl).")] = None,
    workers: Annotated[int | None, typer.Option("--workers", help="Processes. Default: as many as pay.")] = None,
    decode: Annotated[bool, typer.Option("--decode", help="Also read the frames and sound training would.")] = False,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="The checkpoint to be trained: rows are measured with it.")
    ] = None,
    labels: Annotated[str, typer.Option("--labels", help="chat, or plain for captions of pre-training.")] = "chat",
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Positions that a row may take.")] = 2048,
    num_frames: Annotated[
        int | None, typer.Option("--num-frames", help="Frames of a video. Default: the model's.")
    ] = None,
    sound_of_video: Annotated[bool, typer.Option("--sound-of-video", help="Videos carry their sound.")] = False,
    ignore_key: Annotated[list[str] | None, typer.Option("--ignore-key", help="A further key rows may have.")] = None,
    show: Annotated[int, typer.Option("--show", help="Faults that are listed.")] = 50,
    part: PartOption = None,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Read every row and file once; print what is wrong, where, and what to do. Exit code 3 where anything is."""
    from videollama2.training.data.check import CheckOptions, check_data, write_clean
    from videollama2.training.data.model import model_of

    quiet_libraries(verbose)
    options = CheckOptions(
        labels=labels,
        num_frames=num_frames,
        max_tokens=max_tokens,
        sound_of_video=sound_of_video,
        decode=decode,
        ignore_keys=tuple(ignore_key or ()),
    )
    processor, config = (None, None)
    if model is not None:
        processor, config = model_of(model, offline=True if offline else None, parts=parse_parts(part))
    with progress_bar() as report:
        found = check_data(
            files,
            folder=folder,
            options=options,
            processor=processor,
            config=config,
            workers=workers,
            progress=report,
        )
    kept = write_clean(found, clean) if clean is not None else None
    if as_json:
        said = found.to_dict() | ({"clean": {"file": str(clean), "rows": kept}} if clean is not None else {})
        typer.echo(json.dumps(said, ensure_ascii=False))
    else:
        typer.echo(found.render(show))
        if clean is not None:
            typer.echo(f"{kept} sound rows are in {clean}; their media paths are as they were")
    if not found.ok:
        raise typer.Exit(EXIT_FAULTS)
