"""The commands and options that scripts rely on, as a snapshot: a change shows up as a difference of this file."""

from pathlib import Path

import typer

from videollama2 import __version__
from videollama2.cli.main import app

SNAPSHOT = Path(__file__).with_name("snapshot.txt")


def commands_of(group, before=""):
    """(name, command) of every command, those of groups by both words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            assert command.help, name
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield before + name, command


def surface():
    group = typer.main.get_command(app)
    lines = ["videollama2 " + " ".join(sorted(option for item in group.params for option in item.opts))]
    for name, command in sorted(commands_of(group)):
        words = [item.metavar or item.name.upper() for item in command.params if item.param_type_name == "argument"]
        options = sorted(option for item in command.params if item.param_type_name == "option" for option in item.opts)
        lines.append(f"{name}: {' '.join(words)}")
        lines += [f"  {option}" for option in options]
    return "\n".join(lines) + "\n"


def test_surface_is_the_snapshot():
    assert surface() == SNAPSHOT.read_text()


def test_every_option_and_command_is_explained():
    group = typer.main.get_command(app)
    for name, command in commands_of(group):
        assert command.help, name
        for item in command.params:
            assert getattr(item, "help", None), (name, item.name)


def test_version_and_help(run):
    assert run("--version") == (0, f"videollama2 {__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    for command in ("ask", "chat", "inspect", "selfcheck", "convert", "merge", "train", "fetch-default"):
        assert command in out
    assert run("ask", "--help")[0] == 0
