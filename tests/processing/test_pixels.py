"""Pixels against the recorded official values, against the Hugging Face processors, and on odd shapes."""

from functools import cache

import av
import numpy as np
import pytest
import torch
from golden_files import GOLDEN, golden_json, golden_tensors
from PIL import Image
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

from videollama2.errors import CheckpointError, RequestError
from videollama2.processing.pixels import PixelSpec, frame_events, preprocess_frames

PROCESSORS = ("clip-vit-large-patch14-336", "siglip-so400m-patch14-384")


def config(name):
    return golden_json(f"processors/{name}/preprocessor_config.json")


def spec_of(name):
    return PixelSpec.from_preprocessor_config(config(name))


@cache
def all_frames(file):
    path = GOLDEN / file
    if path.is_dir():
        return [np.asarray(Image.open(child).convert("RGB")) for child in sorted(path.iterdir())]
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def picture_cases():
    cases = golden_json("media_golden/media.json")["cases"]
    shipped = [case for case in cases if case.get("file", "").startswith("media/") and "error" not in case]
    # Animations, bounds and the fps mode need the media room: test_end_to_end.
    whole = [case for case in shipped if not {"s", "e"} & case["args"].keys() and case["args"].get("num_frames", 1)]
    return [case for case in whole if not case["file"].endswith(".gif")]


@pytest.mark.parametrize("case", picture_cases(), ids=lambda case: f"{case['case']}-{case['file'][6:]}")
def test_pixels_equal_the_official_ones(case):
    if case["kind"] == "image":
        frames = [np.asarray(Image.open(GOLDEN / case["file"]).convert("RGB"))]
    else:
        frames = [all_frames(case["file"])[index] for index in case["sampled_relative"]]
    pixels = preprocess_frames(frames, spec_of(case["processor"]), pad=case["args"]["aspect_ratio"] == "pad")
    assert list(pixels.shape) == case["shape"]
    assert pixels.dtype == torch.float32
    assert pixels.mean(dim=(1, 2, 3)).numpy() == pytest.approx(case["mean"], abs=1e-4)
    assert pixels.flatten(1).std(dim=1).numpy() == pytest.approx(case["std"], abs=1e-4)
    tensors = golden_tensors("media_golden/media.safetensors")
    for key, ours in (
        ("pixels_s16", pixels[case.get("stored_frames", [])][:, :, 5::16, 5::16]),
        ("row100", pixels[0, :, 100, :]),
    ):
        if f"case{case['case']}.{key}" in tensors:
            torch.testing.assert_close(ours, tensors[f"case{case['case']}.{key}"], rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("size", [(90, 160), (160, 90), (100, 100), (336, 336), (384, 384), (1, 1), (7, 300)])
def test_pil_path_equals_hugging_face(name, size):
    generator = np.random.default_rng(1)
    frame = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    processor = (CLIPImageProcessorPil if "clip" in name else SiglipImageProcessorPil)(**config(name))
    expected = processor.preprocess([Image.fromarray(frame)], return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(preprocess_frames([frame], spec_of(name)), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", PROCESSORS)
@pytest.mark.parametrize("pad", [False, True])
def test_torch_path_is_within_two_levels(name, pad):
    frames = [all_frames("media/clip_av.mp4")[index] for index in (3, 60)]
    spec = spec_of(name)
    exact = preprocess_frames(frames, spec, pad=pad)
    fast = preprocess_frames(frames, spec, pad=pad, backend="torch")
    one_level = spec.rescale_factor / min(spec.std)
    assert (exact - fast).abs().max() <= 2 * one_level + 1e-5
    assert (exact - fast).abs().mean() < 0.01 * one_level


def test_frames_of_different_sizes_keep_their_order():
    spec = PixelSpec(image_size=8)
    frames = [np.full((4 + number % 2, 6, 3), 40 * number, dtype=np.uint8) for number in range(5)]
    for backend in ("pil", "torch"):
        pixels = preprocess_frames(frames, spec, backend=backend)
        levels = ((pixels[:, 0, 0, 0] * 0.5 + 0.5) * 255).round().tolist()
        assert levels == [0, 40, 80, 120, 160]


def test_the_same_object_is_worked_on_once(monkeypatch):
    calls = []
    original = Image.fromarray
    monkeypatch.setattr(Image, "fromarray", lambda array: calls.append(1) or original(array))
    one, other = all_frames("media/clip_av.mp4")[:2]
    pixels = preprocess_frames([one, other, one, one], PixelSpec(image_size=32))
    assert len(calls) == 2
    assert torch.equal(pixels[0], pixels[2])
    assert torch.equal(pixels[0], pixels[3])
    assert not torch.equal(pixels[0], pixels[1])


def test_every_row_of_an_array_is_its_own_frame():
    stack = np.stack(all_frames("media/clip_av.mp4")[:3])
    spec = PixelSpec(image_size=32)
    assert torch.equal(preprocess_frames(stack, spec), preprocess_frames(list(stack.copy()), spec))


def test_a_strip_does_not_grow_in_memory_and_keeps_its_middle():
    spec = PixelSpec(image_size=224, resize="shortest_edge_crop")
    strip = np.zeros((1, 20001, 3), dtype=np.uint8)
    strip[0, 10000] = 255
    pixels = preprocess_frames([strip], spec)
    assert pixels.shape == (1, 3, 224, 224)
    assert pixels[0, 0, 0, 112] > 0.9


def test_efficientnet_numbers_can_be_expressed():
    spec = PixelSpec(image_size=4, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    pixels = preprocess_frames([np.array([[[0, 127, 255]]], dtype=np.uint8)], spec)
    assert pixels[0, :, 0, 0].tolist() == pytest.approx([-127 / 128, 0.0, 1.0], abs=1e-6)


def test_spec_reads_every_spelling_of_a_size():
    base = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    assert PixelSpec.from_preprocessor_config(base | {"size": 224}).resize == "stretch"
    clip = PixelSpec.from_preprocessor_config(base | {"size": 256, "crop_size": 224, "do_center_crop": True})
    assert (clip.image_size, clip.shortest_edge, clip.resize) == (224, 256, "shortest_edge_crop")
    nested = {"size": {"shortest_edge": 84}, "crop_size": {"height": 84, "width": 84}}
    assert PixelSpec.from_preprocessor_config(base | nested).image_size == 84
    with pytest.raises(CheckpointError, match="square"):
        PixelSpec.from_preprocessor_config(base | {"size": {"height": 224, "width": 336}})
    with pytest.raises(CheckpointError, match="image_mean"):
        PixelSpec.from_preprocessor_config({"size": 224})


@pytest.mark.parametrize("name", PROCESSORS)
def test_spec_round_trip(name):
    spec = spec_of(name)
    assert PixelSpec(**spec.to_dict()) == spec
    assert hash(spec) == hash(PixelSpec(**spec.to_dict()))


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        ([], "no frames"),
        ([np.zeros((4, 4), dtype=np.uint8)], "Frame 0 is uint8"),
        ([np.zeros((4, 4, 3), dtype=np.float32)], "float32"),
        ([np.zeros((0, 4, 3), dtype=np.uint8)], "give uint8"),
    ],
)
def test_bad_frames_are_refused(frames, match):
    with pytest.raises(RequestError, match=match):
        preprocess_frames(frames, PixelSpec(image_size=8))


@pytest.mark.parametrize(
    "fields", [{"image_size": 0}, {"resize": "squash"}, {"resample": "magic"}, {"std": (0, 1, 1)}, {"shortest_edge": 4}]
)
def test_bad_specs_are_refused(fields):
    with pytest.raises(RequestError):
        PixelSpec(**({"image_size": 8} | fields))


def test_what_is_lost_is_said():
    crop, stretch = PixelSpec(image_size=8, resize="shortest_edge_crop"), PixelSpec(image_size=8)
    assert "cropped to the middle 56 % of their width" in frame_events([(360, 640)], crop)[0]
    assert "stretched to 8x8" in frame_events([(360, 640)], stretch)[0]
    assert "padded to 640x640" in frame_events([(360, 640)], stretch, pad=True)[0]
    assert frame_events([(5, 5)], crop) == ()
