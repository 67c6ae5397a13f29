"""What a user can get wrong: each gets an error of ours with the fix in it, never a library's."""

import io

import numpy as np
import pytest
from PIL import Image

from videollama2.errors import CheckpointError, MediaError, MediaLimitError, RequestError, VideoLLaMA2Error
from videollama2.inference.engine import VideoLLaMA2

from .bad_media import wav, write_bad_media
from .conftest import GOLDEN, QWEN2

SHORT = {"max_new_tokens": 3}


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return write_bad_media(tmp_path_factory.mktemp("bad"))


def bad_names():
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        return sorted(write_bad_media(Path(folder)))


@pytest.mark.parametrize("name", bad_names())
def test_bad_media_are_media_errors(av, bad, name):
    path, argument = bad[name]
    with pytest.raises(MediaError) as caught:
        av.ask("What?", **{argument: path})
    message = str(caught.value)
    assert len(message) > 20
    assert "\n" not in message
    if name == "huge.png":
        assert isinstance(caught.value, MediaLimitError)


@pytest.mark.parametrize("question", ["", " ", None])
def test_no_question(av, question):
    with pytest.raises(RequestError, match="question"):
        av.ask(question)


@pytest.mark.parametrize("media", [{"video": 3}, {"image": 3.5}, {"audio": object()}, {"audio": np.zeros(10)}])
def test_wrong_types(av, media):
    with pytest.raises(VideoLLaMA2Error):
        av.ask("What?", **media)


def test_odd_but_good_media_are_answered(av, tmp_path):
    tiny = io.BytesIO()
    Image.new("RGB", (1, 1), (255, 0, 0)).save(tiny, "PNG")
    assert av.ask("What?", image=tiny.getvalue(), **SHORT).provenance.tokens["image"] > 0
    assert av.ask("What?", image=io.BytesIO(tiny.getvalue()), **SHORT).provenance.tokens["image"] > 0
    assert av.ask("What?", image=Image.new("L", (9, 5)), **SHORT).provenance.tokens["image"] > 0
    one_frame = np.zeros((1, 8, 8, 3), np.uint8)
    answer = av.ask("What?", video=one_frame, **SHORT)
    assert answer.provenance.visuals[0].num_padded == 7
    assert any("black" in event for event in answer.provenance.events)
    short = av.ask("What?", audio=wav(np.arange(1600) % 100 * 50), **SHORT)
    assert short.provenance.audio[0].status == "used"
    assert short.provenance.audio[0].duration == pytest.approx(0.1)
    answer = av.ask("What?", audio=wav(np.zeros(16000)), **SHORT)
    assert answer.provenance.audio_status == "silent"


def test_hours_of_sound_cost_one_window(av, tmp_path):
    # Ten hours at 100 samples a second.
    long = wav(np.arange(10 * 3600 * 100) % 200 * 100, rate=100)
    answer = av.ask("What?", audio=long, **SHORT)
    ((start, end),) = answer.provenance.audio[0].windows
    assert end - start == pytest.approx(30)
    assert answer.provenance.audio[0].duration == pytest.approx(36000)


@pytest.mark.parametrize(
    "bounds", [{"start": 50.0, "end": 60.0}, {"start": 5.0}, {"times": [40.0]}, {"start": -1.0}, {"start": 1, "end": 1}]
)
def test_bounds_outside_the_clip(av, clip, bounds):
    with pytest.raises((MediaError, RequestError)):
        av.ask("What?", video=clip, **bounds)


@pytest.mark.parametrize("damage", ["unknown", "empty", "cut", "mixed", "no_config"])
def test_checkpoints_that_cannot_be_loaded(tmp_path, damage):
    import shutil

    folder = tmp_path / "model"
    if damage == "empty":
        folder.mkdir()
    elif damage != "unknown":
        shutil.copytree(GOLDEN / "checkpoints" / QWEN2, folder)
        shutil.copytree(GOLDEN / "towers", tmp_path / "towers")
    weights = folder / "model.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif damage == "mixed":
        weights.write_bytes((GOLDEN / "checkpoints" / "VideoLLaMA2-tiny-mistral" / "model.safetensors").read_bytes())
    elif damage == "no_config":
        (folder / "config.json").unlink()
    with pytest.raises(CheckpointError) as caught:
        VideoLLaMA2.from_pretrained(folder, device="cpu", dtype="float32", offline=True)
    assert "Traceback" not in str(caught.value)
