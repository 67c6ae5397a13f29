"""Files to tensors against the recorded official results: both rooms together, media below and processing on top."""

import pytest
import torch
from golden_files import GOLDEN, golden_json, golden_tensors

from videollama2.media import load_audio, load_video
from videollama2.processing.audio import AudioSpec, audio_features
from videollama2.processing.pixels import PixelSpec, preprocess_frames


def shipped(cases):
    return [case for case in cases if case.get("file", "").startswith("media/") and "error" not in case]


AUDIO = shipped(golden_json("audio/audio.json")["cases"])
# Still pictures and whole videos are in test_pixels; here are clips with bounds, the fps mode and animations.
PICTURES = [
    case
    for case in shipped(golden_json("media_golden/media.json")["cases"])
    if case["file"].endswith(".gif") or {"s", "e"} & case["args"].keys() or case["args"].get("num_frames", 1) is None
]


def one_bf16_step(values):
    return values.abs() * 2**-7 + 1e-6


@pytest.mark.parametrize("case", AUDIO, ids=lambda case: f"{case['case']}-{case['file'][6:]}")
def test_sound_files_and_sound_of_videos(case):
    policy = "official-file" if case["kind"] == "audio_file" else "official-video"
    # The recorded crop of a file above 30 s was drawn with seed 0.
    clip = load_audio(GOLDEN / case["file"], policy, seed=0)
    exact = audio_features(clip, AudioSpec(dtype="float32"))
    rounded = audio_features(clip, AudioSpec())
    tensors, name = golden_tensors("audio/audio.safetensors"), f"case{case['case']}"
    assert list(rounded.shape) == case["shape"][1:]
    recorded = tensors[f"{name}.fbank_f32_r101"]
    off = (exact[::101] - recorded).abs() > 2e-3
    recorded_bf16 = tensors[f"{name}.fbank_bf16_r41"].float()
    off_bf16 = (rounded[::41] - recorded_bf16).abs() > one_bf16_step(recorded_bf16)
    if case["file"].endswith("clip_av.mp4"):
        # Another build of FFmpeg's AAC decoder rounds a few of 48298 samples to the neighbouring 16-bit level. A window
        # with such samples differs by what a unit impulse adds to a bin of power e^v: of the order of e^(-v/2).
        assert off.any(dim=1).sum() <= 2
        assert off_bf16.any(dim=1).sum() <= 2
        difference = (exact[::101] - recorded).abs()
        assert (difference <= 2e-3 + 16 * torch.exp(-recorded / 2)).all()
    else:
        assert not off.any()
        assert not off_bf16.any()
    assert float(exact.mean()) == pytest.approx(case["fbank_mean"], abs=2e-3)
    assert float(exact.std()) == pytest.approx(case["fbank_std"], abs=2e-3)


@pytest.mark.parametrize(
    "case", [case for case in AUDIO if case["kind"] == "audio_file"], ids=lambda case: case["file"]
)
def test_the_default_window_of_short_files_is_the_official_one(case):
    clip = load_audio(GOLDEN / case["file"], "centre")
    if clip.duration > 30:
        return
    recorded = golden_tensors("audio/audio.safetensors")[f"case{case['case']}.fbank_f32_r101"]
    exact = audio_features(clip, AudioSpec(dtype="float32"))
    torch.testing.assert_close(exact[::101], recorded, rtol=0, atol=2e-3)


@pytest.mark.parametrize("case", PICTURES, ids=lambda case: f"{case['case']}-{case['file'][6:]}")
def test_pictures(case):
    arguments = dict(case["args"])
    pad = arguments.pop("aspect_ratio") == "pad"
    clip = load_video(
        GOLDEN / case["file"], arguments.get("num_frames"), start=arguments.get("s"), end=arguments.get("e")
    )
    spec = PixelSpec.from_preprocessor_config(golden_json(f"processors/{case['processor']}/preprocessor_config.json"))
    pixels = preprocess_frames(clip.frames, spec, pad=pad)
    assert list(pixels.shape) == case["shape"]
    tensors, name = golden_tensors("media_golden/media.safetensors"), f"case{case['case']}"
    assert pixels.mean(dim=(1, 2, 3)).numpy() == pytest.approx(case["mean"], abs=2e-3)
    for key, ours in (
        ("pixels_s16", pixels[case.get("stored_frames", [])][:, :, 5::16, 5::16]),
        ("row100", pixels[0, :, 100, :]),
    ):
        if f"{name}.{key}" in tensors:
            torch.testing.assert_close(ours, tensors[f"{name}.{key}"], rtol=0, atol=2e-3)
