"""What goes wrong at the command line: an exit code and one sentence on stderr, never a traceback."""

import os
import subprocess
import sys

import pytest

from videollama2.cli import main as main_module

from .conftest import GOLDEN, MODEL

PHOTO = GOLDEN / "media" / "photo.jpg"


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("no video\n" * 100)
    (folder / "cut.mp4").write_bytes((GOLDEN / "media" / "clip_av.mp4").read_bytes()[:4000])
    (folder / "folder").mkdir()
    (folder / "model").mkdir()
    return folder


CASES = [
    (2, ()),
    (2, ("--nonsense",)),
    (2, ("nonsense",)),
    (2, ("ask",)),
    (2, ("ask", "")),
    (2, ("ask", "   ", "-m", MODEL)),
    (2, ("ask", PHOTO)),
    (2, ("ask", "clip.mp4")),
    (2, ("ask", PHOTO, PHOTO, "What?")),
    (2, ("ask", "q", "--num-frames", "0")),
    (2, ("ask", "q", "--num-frames", "many")),
    (2, ("ask", "q", "--fps", "-1")),
    (2, ("ask", "q", "--num-frames", "4", "--fps", "1")),
    (2, ("ask", "q", "--start", "5", "--end", "3")),
    (2, ("ask", "q", "--audio-policy", "loud")),
    (2, ("ask", "q", "--max-new-tokens", "0")),
    (2, ("ask", "q", "--choose", "one")),
    (2, ("ask", "q", "-m", MODEL, "--device", "cuda:99")),
    (2, ("ask", "q", "-m", MODEL, "--dtype", "int3")),
    (2, ("ask", "q", "-m", MODEL, "--quantization", "3bit")),
    (2, ("ask", "q", "-m", MODEL, "--part", "vision_tower")),
    (3, ("ask", "{bad}/missing.mp4", "What?")),
    (3, ("ask", "{bad}/empty.mp4", "What?")),
    (3, ("ask", "{bad}/text.mp4", "What?")),
    (3, ("ask", "{bad}/cut.mp4", "What?", "-m", MODEL)),
    (3, ("ask", "--video", "{bad}/missing.mp4", "What?")),
    (3, ("ask", "--image", "{bad}/text.mp4", "What?", "-m", MODEL)),
    (3, ("ask", "{bad}/folder", "What?", "-m", MODEL)),
    (3, ("ask", GOLDEN / "media" / "clip_av.mp4", "What?", "-m", MODEL, "--start", "90")),
    (3, ("chat", "{bad}/missing.mp4")),
    (4, ("ask", "q", "-m", "{bad}/model")),
    (4, ("ask", "q", "-m", "{bad}/nothing", "--offline")),
    (4, ("ask", "q", "-m", "some-org/some-model-that-is-not-here", "--offline")),
    (4, ("inspect", "{bad}/nothing")),
    (4, ("convert", "{bad}/model", "{bad}/out")),
    (4, ("convert", MODEL, "{bad}/out", "--to", "gguf")),
    (4, ("merge", "{bad}/nothing", "{bad}/out")),
    (2, ("selfcheck", "--only", "gpt")),
]


@pytest.mark.parametrize(
    ("code", "words"), CASES, ids=[" ".join(str(word)[-20:] for word in words) or "-" for _, words in CASES]
)
def test_one_sentence_and_an_exit_code(run, bad, code, words):
    found, out, err = run(*[str(word).format(bad=bad) for word in words])
    assert found == code, err
    if words == ():
        # Nothing was asked: the help is the answer.
        assert "Usage" in out + err
        return
    assert "Traceback" not in out + err
    if words[0] == "inspect":
        return
    assert len(err.splitlines()) == 1, err
    assert err.startswith("videollama2: ")
    assert len(err) > 30


def test_a_fault_of_the_program_is_told_apart(run, monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("deep\ninside")

    monkeypatch.setattr("videollama2.checkpoints.inspect_checkpoint", broken, raising=False)
    code, _, err = run("inspect", MODEL)
    assert code == 1
    assert err.count("\n") == 1
    assert "ZeroDivisionError: deep inside" in err
    with pytest.raises(ZeroDivisionError):
        main_module.main(["--traceback", "inspect", MODEL])


def test_interruption(run, monkeypatch):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("videollama2.checkpoints.inspect_checkpoint", stopped, raising=False)
    assert run("inspect", MODEL)[0] == 130


def test_the_program_as_a_process():
    program = os.path.join(os.path.dirname(sys.executable), "videollama2")
    done = subprocess.run([program, "ask", "nothing.mp4", "What?"], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith("videollama2: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
