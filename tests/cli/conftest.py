"""The command line in this process: exit code, stdout and stderr."""

from pathlib import Path

import pytest

from videollama2.cli.main import main
from videollama2.inference.selfcheck_media import make_clip

GOLDEN = Path(__file__).parents[1] / "golden"
MODEL = str(GOLDEN / "checkpoints" / "VideoLLaMA2.1-tiny-AV")


@pytest.fixture
def run(capsys):
    """Runs the program; gives (exit code, stdout, stderr)."""

    def call(*words):
        code = main([str(word) for word in words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    path.write_bytes(make_clip())
    return path


@pytest.fixture
def one_engine(monkeypatch):
    """Loads the tiny model once for all commands of a test that ask for it."""
    from videollama2.inference.engine import VideoLLaMA2

    load = VideoLLaMA2.from_pretrained
    engines = {}

    def loaded(path=None, **options):
        key = (path, options.get("dtype"))
        if key not in engines:
            engines[key] = load(path, **options)
        return engines[key]

    monkeypatch.setattr(VideoLLaMA2, "from_pretrained", loaded)
