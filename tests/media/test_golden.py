"""Frames and waveforms of the reference media against what the official code got from them."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from videollama2.errors import MediaError
from videollama2.media import load_audio, load_image, load_video

GOLDEN = Path(__file__).parents[1] / "golden"
MEDIA_CASES = json.loads((GOLDEN / "media_golden/media.json").read_text())["cases"]
AUDIO_CASES = json.loads((GOLDEN / "audio/audio.json").read_text())["cases"]


def source_of(case):
    name = case["file"]
    numbered = [str(GOLDEN / f"media/frames/{number}.png") for number in range(1, 11)]
    if name.startswith("list of 3 PIL"):
        return [Image.open(path) for path in numbered[:3]]
    if name.startswith("list of paths"):
        return numbered[:4]
    if name.startswith("uint8 array stack"):
        return np.stack([np.array(Image.open(path)) for path in numbered])
    if name.startswith("uint8 array list of 40"):
        return [np.array(Image.open(numbered[0]))] * 40
    return str(GOLDEN / name)


# Padding to a square comes after this room; the same files are in the cases without it.
SHIPPED = [c for c in MEDIA_CASES if not c["file"].startswith("official:") and c["args"].get("aspect_ratio") is None]


@pytest.mark.parametrize("case", SHIPPED, ids=lambda c: f"{c['case']}-{Path(c['file']).name[:20]}")
def test_frames_are_the_official_ones(case):
    args = case["args"]

    def load():
        if case["kind"] == "image":
            return load_image(source_of(case))
        return load_video(source_of(case), args["num_frames"], start=args.get("s"), end=args.get("e"))

    if "error" in case:
        with pytest.raises(MediaError, match="bounds inside the clip"):
            load()
        return
    clip = load()
    assert len(clip.frames) == case["shape"][0]
    hashes = [hashlib.sha256(frame.tobytes()).hexdigest()[:16] for frame in clip.frames]
    assert hashes == case["frame_sha256"]
    assert [round(float(frame.mean()), 4) for frame in clip.frames] == pytest.approx(case["frame_mean"], abs=1e-3)
    assert clip.content_hash
    if case["sampled_relative"] and args.get("s") is None:
        assert list(clip.indices) == case["sampled_relative"]


def test_black_frames_have_width_and_height_swapped_in_turn():
    (case,) = [c for c in SHIPPED if c["file"].startswith("list of 3 PIL")]
    clip = load_video(source_of(case), 8)
    assert [frame.shape[:2] for frame in clip.frames] == [(48, 64)] * 3 + [(64, 48), (48, 64)] * 2 + [(64, 48)]
    assert clip.num_padded == 5
    assert clip.indices[3:] == (-1,) * 5
    assert np.isnan(clip.times[3:]).all()
    assert any("5 black ones" in event for event in clip.events)


@pytest.mark.parametrize(
    "number", [i for i, c in enumerate(AUDIO_CASES) if not c["file"].startswith("official:")], ids=str
)
def test_waveforms_are_the_official_ones(number):
    case = AUDIO_CASES[number]
    stored = load_file(GOLDEN / "audio/audio.safetensors")
    policy = "official-file" if case["kind"] == "audio_file" else "official-video"
    clip = load_audio(GOLDEN / case["file"], policy, seed=0)
    assert len(clip.waveform) == case["wave_len"]
    assert f"torch.{clip.waveform.dtype}" == case["wave_dtype"]
    wave = clip.waveform * 2**15
    # The stored samples are float32: half a step at 16384 is 0.001.
    np.testing.assert_allclose(wave[::97], stored[f"case{number}.wave_s97"].numpy(), atol=1e-3, rtol=0)
    np.testing.assert_allclose(wave[:800], stored[f"case{number}.wave_first800"].numpy(), atol=1e-3, rtol=0)
    assert float(np.abs(wave).mean()) == pytest.approx(case["wave_abs_mean"], rel=1e-6)
    if case["decoded_samples"] is not None:
        assert round(clip.duration * 16000) == case["decoded_samples"]
        assert len(clip.windows) == len(case["clips"])
    if "silent" in case["file"]:
        assert clip.status == "absent"
    else:
        assert clip.status == "used"
