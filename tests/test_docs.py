"""README, pages and examples say what is there: commands and options exist, python blocks run on a tiny checkpoint."""

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import typer

from videollama2.cli.main import app
from videollama2.inference.selfcheck_media import make_clip

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.md")])
CHECKPOINT = ROOT / "tests" / "golden" / "checkpoints" / "VideoLLaMA2.1-tiny-AV"
MEDIA = ROOT / "tests" / "golden" / "media"
OFFICIAL = re.compile(r"DAMO-NLP-SG/[\w.-]+|path/to/(?:folder|checkpoint)")


def blocks(page, language):
    """Fenced blocks of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def spans(page):
    """Inline code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def command_lines(page):
    """Every line of shell in a page and all inline code, comments cut."""
    shell = "".join(block for language in ("sh", "bash", "console") for block in blocks(page, language))
    return [re.sub(r"\s+#.*", "", line).removeprefix("$ ").strip() for line in [*shell.splitlines(), *spans(page)]]


@cache
def surface():
    """Command, or group and command -> its options."""

    def walk(commands, before=""):
        for name, command in commands.items():
            yield before + name, {option for item in command.params for option in item.opts}
            yield from walk(getattr(command, "commands", {}), f"{before}{name} ")

    return dict(walk(typer.main.get_command(app).commands))


@cache
def make_targets():
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def test_there_is_something_to_read():
    assert ROOT / "README.md" in PAGES
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 5
    assert sum(line.startswith("videollama2 ") for page in PAGES for line in command_lines(page)) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page):
    wrong = []
    for line in command_lines(page):
        words = re.findall(r"[^\s'\"]+", line)
        if words[:1] != ["videollama2"] or len(words) < 2:
            continue
        for command in words[1].split("|"):
            if command.startswith("-"):
                continue
            if command not in surface():
                wrong.append(line)
                continue
            if len(words) > 2 and f"{command} {words[2]}" in surface():
                command = f"{command} {words[2]}"
            named = {word.split("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)}
            wrong += [f"{line}: {option}" for option in named - surface()[command] - {"--help"}]
    assert not wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_named_alone_exist(page):
    # Modules that are programs of their own say their options to argparse.
    programs = [
        path.read_text(encoding="utf-8") for place in ("benchmarks", "src") for path in (ROOT / place).rglob("*.py")
    ]
    others = {option for text in programs for option in re.findall(r'add_argument\("(--[a-z][a-z-]*)"', text)}
    known = others.union(*surface().values(), {"--help", "--traceback", "--version"})
    options = {span for span in spans(page) if re.fullmatch(r"--[a-z][a-z-]*", span)}
    assert options <= known


@pytest.mark.parametrize("page", [*PAGES, ROOT / ".ci" / "run"], ids=lambda page: page.name)
def test_make_targets_exist(page):
    named = set(re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert named <= make_targets()


def test_help_of_the_makefile_names_its_targets():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    explained = set(re.findall(r'@echo "make ([\w-]+) ', text))
    assert {"demo", "test", "check", "bench", "clean"} <= explained <= make_targets()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.fixture(scope="module")
def one_engine():
    """The tiny checkpoint, which stands for every model of the pages; loaded once, in float32 on the CPU."""
    from videollama2.inference.engine import VideoLLaMA2

    return VideoLLaMA2.from_pretrained(CHECKPOINT, device="cpu", dtype="float32", offline=True)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the files that the pages name."""
    (tmp_path / "clip.mp4").write_bytes(make_clip())
    for name in ("a.jpg", "photo.jpg"):
        shutil.copy(MEDIA / "photo.jpg", tmp_path / name)
    for name in ("b.wav", "street.wav", "other.wav"):
        shutil.copy(MEDIA / "tone_16k_mono.wav", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def short_answers(monkeypatch):
    """The tiny models never come to an end by themselves."""
    from videollama2.inference import compat
    from videollama2.inference.request import GenerationSettings

    settings = compat.official_generation_settings
    monkeypatch.setitem(GenerationSettings.__init__.__kwdefaults__, "max_new_tokens", 4)
    monkeypatch.setattr(
        compat, "official_generation_settings", lambda *args, **kw: settings(*args, **{**kw, "max_new_tokens": 4})
    )


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_blocks_run(page, desk, one_engine, short_answers, monkeypatch, capsys):
    """The blocks of a page run one after the other in one namespace."""
    from videollama2.inference.engine import VideoLLaMA2

    monkeypatch.setattr(VideoLLaMA2, "from_pretrained", classmethod(lambda cls, *args, **kwargs: one_engine))
    namespace = {"__name__": "page"}
    for number, block in enumerate(blocks(page, "python")):
        code = OFFICIAL.sub(str(CHECKPOINT), block)
        exec(compile(code, f"{page.name}[{number}]", "exec"), namespace)
    assert capsys.readouterr().out
    failed = [str(answer) for answer in namespace.get("answers", ()) if not answer.ok]
    assert len(failed) == ("missing.wav" in page.read_text(encoding="utf-8"))


def test_examples_compile():
    for path in (ROOT / "examples").rglob("*.py"):
        compile(path.read_text(encoding="utf-8"), str(path), "exec")


@pytest.mark.default_model
@pytest.mark.slow
def test_the_demo_answers_and_says_what_it_saw_and_heard():
    program = [sys.executable, str(ROOT / "examples" / "demo.py"), str(ROOT / "examples" / "media" / "demo.mp4")]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    questions = done.stdout.count("\nQ: ")
    assert questions >= 1
    assert len(re.findall(r"^A: \S", done.stdout, re.MULTILINE)) == questions
    assert done.stdout.count("\n  saw    ") == done.stdout.count("\n  heard  ") == questions
