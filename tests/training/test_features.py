"""Features of frozen towers on disk: made once, found by content, equal to what the model computes."""

import pytest
import torch
from safetensors.torch import load_file

from training.data_world import make_row, tiny_config, tiny_processor, write_json
from training.test_data_loader import make_recipe
from videollama2.errors import CheckpointError, RequestError
from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration
from videollama2.training import features as room
from videollama2.training.data.loader import build_loader
from videollama2.training.features import FeatureStore, TowerFeatures


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    built = VideoLLaMA2ForConditionalGeneration(tiny_config()).eval()
    built.model.audio_tower.requires_grad_(False)
    return built


@pytest.fixture
def rows(tmp_path, media):
    return write_json(tmp_path / "rows.json", [make_row(number) for number in range(12)])


@pytest.fixture
def steps(rows, media, model):
    def load(features=None, folder=None, **settings):
        recipe = make_recipe(rows, folder or media, **{"epochs": 1.0, **settings})
        return list(build_loader(recipe, tiny_processor(model.config), model.config, features=features))

    return load


def opened(folder, model, **settings):
    return TowerFeatures(folder, model, tiny_processor(model.config), **settings)


@pytest.mark.parametrize("packing", [False, True])
def test_batches_of_features_mean_the_same(tmp_path, model, steps, packing):
    cold = opened(tmp_path / "cache", model)
    kept, plain = steps(cold, packing=packing), steps(packing=packing)
    assert cold.num_encoded > 0
    for one, other in zip(kept, plain, strict=True):
        assert one.rows == other.rows
        assert one.events == other.events
        for with_features, with_pixels in zip(one.micro_batches, other.micro_batches, strict=True):
            assert not {"pixel_values", "audio_values"} & with_features.keys()
            with torch.no_grad():
                a, b = (model.model.splice_media(**batch) for batch in (with_features, with_pixels))
            assert torch.equal(a.attention_mask, b.attention_mask)
            torch.testing.assert_close(a.inputs_embeds, b.inputs_embeds, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_second_run_neither_decodes_nor_encodes(tmp_path, model, steps, media, monkeypatch, workers):
    first = steps(opened(tmp_path / "cache", model))
    # Moved and renamed media are known by their content.
    again = opened(tmp_path / "cache", model)
    if workers == 0:
        for name in ("load_video", "load_image", "load_audio"):
            monkeypatch.setattr(f"videollama2.training.data.encode.{name}", None)
    second = steps(again, workers=workers)
    assert again.num_encoded == 0
    for one, other in zip(first, second, strict=True):
        assert one.events == other.events
        for a, b in zip(one.micro_batches, other.micro_batches, strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a.get("frame_features", []), b.get("frame_features", [])))


def test_features_depend_on_everything_they_should(tmp_path, model, media):
    known = opened(tmp_path, model).index
    from videollama2.training.data.encode import EncodeOptions

    options, path = EncodeOptions(num_frames=4), media / "clip1.mp4"
    key = known.visual_key(path, options, False)
    assert known.visual_key(path, EncodeOptions(num_frames=8), False) != key
    assert known.visual_key(path, EncodeOptions(num_frames=4, pad=False), False) != key
    assert known.visual_key(media / "clip2.mp4", options, False) != key
    assert known.visual_key(path, options, True) != key
    assert known.visual_key(path, EncodeOptions(num_frames=4, max_tokens=9, labels="plain"), False) == key
    copy = tmp_path / "other name.mp4"
    copy.write_bytes(path.read_bytes())
    assert known.visual_key(copy, options, False) == key
    torch.manual_seed(1)
    other = VideoLLaMA2ForConditionalGeneration(tiny_config()).eval()
    assert opened(tmp_path, other).index.visual_key(path, options, False) != key
    half = VideoLLaMA2ForConditionalGeneration(tiny_config()).eval()
    half.load_state_dict(model.state_dict())
    assert opened(tmp_path, half).index.visual_key(path, options, False) == key
    assert opened(tmp_path, half.bfloat16()).index.visual_key(path, options, False) != key


def test_a_trained_tower_is_not_kept(tmp_path, model, steps):
    trained = VideoLLaMA2ForConditionalGeneration(tiny_config())
    only_seen = opened(tmp_path, trained)
    assert only_seen.audio_tower is None
    batches = [batch for step in steps(only_seen) for batch in step.micro_batches]
    assert any("frame_features" in batch for batch in batches)
    assert any("audio_values" in batch for batch in batches)
    with pytest.raises(RequestError, match="audio_tower cannot be kept: it is trained"):
        opened(tmp_path, trained, audio=True)
    trained.requires_grad_(True)
    with pytest.raises(RequestError, match="no tower is frozen"):
        opened(tmp_path, trained)


def test_damaged_features_are_made_again(tmp_path, model, steps):
    steps(opened(tmp_path, model))
    files = sorted(tmp_path.rglob("*.safetensors"))
    whole, before = files[0].read_bytes(), load_file(files[0])["features"].clone()
    files[0].write_bytes(whole[:-20] + bytes(20))
    files[1].write_bytes(whole[:50])
    again = opened(tmp_path, model)
    steps(again)
    assert again.num_encoded == 2
    assert torch.equal(load_file(files[0])["features"], before)


def test_a_full_disk_is_said_so(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("videollama2.inference.cache.os.replace", full)
    with pytest.raises(RequestError, match="its disk is full; make room"):
        FeatureStore(tmp_path).put("abcd", torch.ones(2), {})
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


def test_values_that_are_no_numbers_are_not_kept(tmp_path, model, steps):
    broken = VideoLLaMA2ForConditionalGeneration(tiny_config()).eval()
    broken.model.vision_tower.embeddings.position_embedding.weight.data.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="not finite"):
        steps(opened(tmp_path, broken))


def test_a_model_with_tags_needs_pixels(tmp_path, model):
    class Tagged:
        """The model, but with tags."""

        config = type("Config", (), {"mm_use_tags": True})
        named_modules = model.named_modules

    with pytest.raises(RequestError, match="class tags"):
        room.TowerFeatures(tmp_path, Tagged(), tiny_processor(model.config))
