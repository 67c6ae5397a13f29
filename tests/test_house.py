"""The rules of docs/architecture.md, read off the source: arrows, lengths, and who may open what."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "videollama2"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 500

# What a room may import; everybody may import errors, and the version is at the front door.
ARROWS = {
    "cli": {"training", "inference", "checkpoints", "__version__"},
    "training": {"world", "inference", "processing", "checkpoints", "model", "media"},
    "inference": {"processing", "checkpoints", "model", "media"},
    "processing": {"checkpoints", "model", "media"},
    "checkpoints": {"model"},
    "world": set(),
    "model": set(),
    "media": set(),
    # The front door names public classes by their homes, for readers and type checkers.
    "__init__": {"inference", "processing", "model"},
    "errors": set(),
    "utils": set(),
}
LAYERS = ("cli", "training", "inference", "processing", "checkpoints", "model")
WEIGHT_READERS = {"safe_open", "load_file", "torch.load"}
# Files outside checkpoints/ that read safetensors of their own making (features, progress of training) by these names.
OWN_FILES = {"inference/cache.py": {"safe_open"}, "training": {"safe_open", "load_file"}}
MEDIA_READERS = {"av.open", "Image.open", "soundfile.read", "soundfile.SoundFile"}
# World draws its own sprites and writes clips; selfcheck and the miniature write theirs.
OWN_MEDIA = {
    "world": {"Image.open", "av.open"},
    "inference/selfcheck_media.py": {"av.open"},
    "training/mini/clips.py": {"av.open"},
}


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def room_of(path):
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_rooms(path):
    """(room, line) of every import of this package, relative ones resolved, also those inside functions."""
    package = ("videollama2", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            home = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*home, *(node.module or "").split("."))).strip(".")
            targets = [f"{base}.{alias.name}" for alias in node.names] if base == "videollama2" else [base]
        else:
            continue
        for target in targets:
            first, _, rest = target.partition(".")
            if first == "videollama2":
                yield rest.split(".")[0], node.lineno


def calls_in(path):
    """(dotted name, line) of every call."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def allowed(path, table):
    return table.get(room_of(path), set()) | table.get(name_of(path), set())


def test_there_is_something_to_read():
    assert len(FILES) > 100
    assert {room_of(path) for path in FILES} == set(ARROWS)


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_arrows_run_down(room):
    allowed_rooms = ARROWS[room] | {room, "errors"}
    wrong = [
        f"{name_of(path)}:{line} imports {target}"
        for path in FILES
        if room_of(path) == room
        for target, line in imported_rooms(path)
        if target not in allowed_rooms
    ]
    assert not wrong


def test_the_table_itself_has_no_arrow_up():
    for place, room in enumerate(LAYERS):
        assert not ARROWS[room] & set(LAYERS[:place]), room


def test_the_page_has_the_same_table():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`.*) \| (.*) \|$", page, re.MULTILINE)
    written = {
        room: set(re.findall(r"`(\w+)`", imports)) - {"errors"}
        for rooms, imports in rows
        for room in re.findall(r"`(\w+)`", rooms)
    }
    assert written == {room: ARROWS[room] - {"__version__"} for room in written}
    assert set(written) | {"__init__", "errors", "utils"} == set(ARROWS)


def test_every_file_of_the_page_exists():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    room, missing = "", []
    for line in page.splitlines():
        if line.startswith("## "):
            room = line[3:].strip("/ ")
        if line.startswith("    ") and (PACKAGE / room).is_dir():
            for file in re.findall(r"[\w/]+\.py", line):
                if not list((PACKAGE / room).rglob(file)):
                    missing.append(f"{room}/{file}")
    assert not missing


@pytest.mark.parametrize("folder", ["src/videollama2", "tests", "examples", "benchmarks"])
def test_no_file_is_too_long(folder):
    lengths = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert {path.name: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}
    assert lengths


def test_only_checkpoints_opens_weight_files():
    wrong = [
        f"{name_of(path)}:{line} calls {call}"
        for path in FILES
        if room_of(path) != "checkpoints"
        for call, line in calls_in(path)
        if {call, call.rsplit(".", 1)[-1]} & WEIGHT_READERS - allowed(path, OWN_FILES)
    ]
    assert not wrong


def test_only_media_opens_media():
    wrong = [
        f"{name_of(path)}:{line} calls {call}"
        for path in FILES
        if room_of(path) != "media"
        for call, line in calls_in(path)
        if call in MEDIA_READERS and call not in allowed(path, OWN_MEDIA)
    ]
    assert not wrong


def test_pickles_are_read_with_weights_only():
    loads = [
        (name_of(path), {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords})
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.load"
    ]
    assert loads
    assert [name for name, keywords in loads if keywords.get("weights_only") != "True"] == []


def test_nothing_runs_text_or_unpickles():
    forbidden = {"eval", "exec", "pickle.load", "pickle.loads", "pickle.Unpickler", "os.system"}
    wrong = [f"{name_of(path)}:{line} {call}" for path in FILES for call, line in calls_in(path) if call in forbidden]
    assert not wrong


def test_no_error_disappears():
    """No bare except; a broad one raises, or at least uses the error it caught."""
    wrong = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            broad = node.type is not None and ast.unparse(node.type) in ("Exception", "BaseException")
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            used = node.name and any(isinstance(n, ast.Name) and n.id == node.name for n in ast.walk(node))
            if node.type is None or (broad and not (raises or used)):
                wrong.append(f"{name_of(path)}:{node.lineno}")
    assert not wrong


def test_library_code_does_not_print():
    """The command line answers through typer; a module that is a program of its own may print."""
    wrong = [
        f"{name_of(path)}:{line}"
        for path in FILES
        if room_of(path) not in ("training", "world")
        for call, line in calls_in(path)
        if call == "print"
    ]
    assert not wrong


def test_every_module_says_what_it_is_for():
    assert [name_of(path) for path in FILES if not ast.get_docstring(tree_of(path))] == []
