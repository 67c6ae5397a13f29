"""The `videollama2` program: its commands, and what becomes of an error.

Exit codes: 0 done, 1 a fault of the program, 2 a bad request or usage, 3 media, 4 checkpoint, 130 interrupted.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from videollama2 import __version__
from videollama2.cli.ask import ask
from videollama2.cli.chat import chat
from videollama2.cli.convert import convert
from videollama2.cli.data import data
from videollama2.cli.fetch_default import fetch_default
from videollama2.cli.inspect import inspect
from videollama2.cli.merge import merge
from videollama2.cli.selfcheck import selfcheck
from videollama2.cli.train import train
from videollama2.errors import CheckpointError, MediaError, MissingDependencyError, VideoLLaMA2Error

EXIT_INTERNAL, EXIT_REQUEST, EXIT_MEDIA, EXIT_CHECKPOINT, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

app = typer.Typer(
    name="videollama2",
    help="Ask questions about videos, images and sound. Runs on this machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (ask, chat, inspect, selfcheck, convert, merge, train, fetch_default):
    app.command(name=command.__name__.replace("_", "-"))(command)
app.add_typer(data)


def show_version(wanted: bool) -> None:
    """Prints the version and ends, where it was asked for."""
    if wanted:
        typer.echo(f"videollama2 {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=show_version, is_eager=True)
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the whole traceback of an error.")] = False,
) -> None:
    """Ask questions about videos, images and sound. Runs on this machine."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the program; an error of ours is one sentence on stderr and an exit code, never a traceback.

    Args:
        arguments: Words of the command line without the program's name; None takes them from the system.

    Returns:
        The exit code. As a console script it becomes the status of the process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    with_traceback = "--traceback" in words
    words = [word for word in words if word != "--traceback"]
    try:
        result = app(args=words, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return EXIT_INTERRUPTED
    except VideoLLaMA2Error as error:
        if with_traceback:
            raise
        complain(str(error))
        return exit_code(error)
    except Exception as error:
        if with_traceback:
            raise
        if is_usage_error(error):
            complain(f"{error.format_message()} (see 'videollama2 --help')")  # type: ignore[attr-defined]
            return EXIT_REQUEST
        sentence = " ".join(str(error).split()) or "no message"
        complain(
            f"a fault of the program ({type(error).__name__}: {sentence}): run again with --traceback and report it"
        )
        return EXIT_INTERNAL


def exit_code(error: VideoLLaMA2Error) -> int:
    """The exit code of an error of ours."""
    if isinstance(error, MediaError):
        return EXIT_MEDIA
    if isinstance(error, (CheckpointError, MissingDependencyError)):
        return EXIT_CHECKPOINT
    return EXIT_REQUEST


def is_usage_error(error: Exception) -> bool:
    """Whether the command line itself was wrong (an unknown option, a missing argument, a bad number).

    typer may carry its own copy of click, so the class is told by what it offers.
    """
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def complain(sentence: str) -> None:
    """Writes one line to stderr."""
    sys.stderr.write(f"videollama2: {' '.join(sentence.split())}\n")


if __name__ == "__main__":
    sys.exit(main())
