"""The Hugging Face processor: its tensors, its ways to take conversations and media, its round trip to disk."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from golden_files import GOLDEN, golden_json
from PIL import Image
from transformers import AutoProcessor

from videollama2.errors import CheckpointError, MediaError, RequestError
from videollama2.media.types import AudioClip, VideoClip
from videollama2.processing.audio import AudioSpec, audio_features
from videollama2.processing.auto import register_processor
from videollama2.processing.pixels import PixelSpec, preprocess_frames
from videollama2.processing.processor import VideoLLaMA2Processor

SIGLIP = PixelSpec(image_size=28)


def frames(count, seed=0, size=(20, 30)):
    return np.random.default_rng(seed).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def video_clip(count=4, seed=0):
    return VideoClip(
        frames=tuple(frames(count, seed)),
        times=tuple(range(count)),
        indices=tuple(range(count)),
        duration=float(count),
        fps=1.0,
        num_source_frames=count,
        events=("clip event",),
    )


def image_clip(seed=5):
    return VideoClip(
        frames=tuple(frames(1, seed)), times=(0.0,), indices=(0,), duration=0.0, fps=0.0, num_source_frames=1
    )


def audio_clip(seconds=1.0, seed=0, **fields):
    waveform = np.random.default_rng(seed).standard_normal(int(16000 * seconds)).astype(np.float32) * 0.1
    defaults = {"windows": ((0.0, seconds),), "status": "used", "policy": "full", "duration": seconds}
    return AudioClip(waveform=waveform, sample_rate=16000, **(defaults | fields))


@pytest.fixture
def processor(tokenizers):
    return VideoLLaMA2Processor(
        tokenizers["qwen2"], pixel_spec=SIGLIP, audio_spec=AudioSpec(), num_frames=4, model_type="videollama2_qwen2"
    )


@pytest.fixture
def deaf(tokenizers):
    return VideoLLaMA2Processor(tokenizers["mistral"], SIGLIP, None, 4, "videollama2_mistral")


def test_ids_are_the_official_ones(tokenizers):
    for case in golden_json("prompts/prompts_av.json")["cases"]:
        if case["tokenizer"] != "qwen2" or not isinstance(case["instruct"], str) or "<" in case["instruct"]:
            continue
        processor = VideoLLaMA2Processor(tokenizers["qwen2"], SIGLIP, AudioSpec(), 4, case["model_type"])
        media = {"video": {"videos": video_clip()}, "image": {"images": image_clip()}, "audio": {"audio": audio_clip()}}
        batch = processor(text=case["instruct"], **media.get(case["modal"], {}))
        assert batch["input_ids"].tolist() == [case["input_ids"]]
        assert batch["attention_mask"].min() == 1


def test_a_ragged_batch(processor):
    one, other, picture, sound = video_clip(4), video_clip(2, seed=1), image_clip(), audio_clip(0.5, seed=3)
    batch = processor(
        text=["What?", "And what is this now?", "Which?", "Text only", "Heard?"],
        videos=[one, (other, audio_clip(1.0)), None, None, None],
        images=[None, None, picture, None, None],
        audio=[None, None, None, None, sound],
    )
    assert batch["num_frames"].tolist() == [4, 2, 1]
    assert batch["video_has_audio"].tolist() == [False, True, False]
    expected = torch.cat([preprocess_frames(clip.frames, SIGLIP) for clip in (one, other, picture)])
    assert torch.equal(batch["pixel_values"], expected)
    assert batch["audio_lengths"].tolist() == [98, 48]
    assert batch["audio_values"].shape == (2, 98, 128)
    assert torch.equal(batch["audio_values"][1, :48], audio_features(sound, AudioSpec()))
    assert batch["audio_values"][1, 48:].abs().max() == 0
    sentinels = [[token for token in row if token < 0] for row in batch["input_ids"].tolist()]
    assert sentinels == [[-201], [-201], [-200], [], [-202]]
    assert {name: tensor.dtype for name, tensor in batch.items()} == {
        "input_ids": torch.int64,
        "attention_mask": torch.int64,
        "pixel_values": torch.float32,
        "num_frames": torch.int64,
        "video_has_audio": torch.bool,
        "audio_values": torch.float32,
        "audio_lengths": torch.int64,
    }
    assert set(batch) <= set(processor.model_input_names)


@pytest.mark.parametrize("side", ["left", "right"])
def test_batch_rows_equal_single_samples(processor, side):
    texts = ["Short?", "A much longer question, is it not?"]
    batch = processor(text=texts, videos=[video_clip(), None], padding_side=side)
    for row, (text, media) in enumerate(zip(texts, [video_clip(), None])):
        single = processor(text=text, videos=media)["input_ids"][0]
        kept = batch["input_ids"][row][batch["attention_mask"][row].bool()]
        assert torch.equal(kept, single)
    shorter = batch["attention_mask"].sum(1).argmin()
    edge = batch["attention_mask"][shorter][0 if side == "left" else -1]
    assert edge == 0
    pads = batch["input_ids"][batch["attention_mask"] == 0]
    assert pads.unique().tolist() == [processor.tokenizer.pad_token_id]


def test_text_alone_has_no_media_tensors(processor):
    assert set(processor(text="Hi?")) == {"input_ids", "attention_mask"}


def test_messages_in_hugging_face_manner(processor):
    messages = [
        {"role": "user", "content": [{"type": "video", "video": video_clip()}, {"type": "text", "text": "What?"}]}
    ]
    by_messages = processor(messages=messages)
    by_text = processor(text="What?", videos=video_clip())
    rendered = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert isinstance(rendered, str)
    by_rendered = processor(text=[rendered], videos=[video_clip()])
    tokenized = processor.apply_chat_template(messages, tokenize=True, add_generation_prompt=True)
    plain = processor(text="".join([rendered]), videos=[video_clip()], rendered=True)
    for other in (by_text, by_rendered, tokenized, plain):
        assert set(other) == set(by_messages)
        for name, tensor in by_messages.items():
            assert torch.equal(other[name], tensor)


def test_media_of_messages_may_be_given_beside(processor):
    messages = [
        [{"role": "user", "content": "Compare.", "media": ["video", "image"]}],
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "This?"}]}],
    ]
    first, second, clip = image_clip(1), image_clip(2), video_clip()
    batch = processor(messages=messages, images=[first, second], videos=clip)
    expected = torch.cat([preprocess_frames(part.frames, SIGLIP) for part in (clip, first, second)])
    assert torch.equal(batch["pixel_values"], expected)
    assert batch["num_frames"].tolist() == [4, 1, 1]


def test_sources_of_every_kind(processor):
    array = frames(4)
    reference = processor(text="?a", videos=video_clip(4))["pixel_values"]
    pictures = [Image.fromarray(frame) for frame in array]
    for source in (array, torch.from_numpy(array), list(array), pictures):
        batch = processor(text="?a", videos=source)
        assert batch["num_frames"].tolist() == [4]
        assert torch.equal(batch["pixel_values"], reference)
    image = processor(text="?a", images=pictures[0])["pixel_values"]
    assert torch.equal(image, reference[:1])
    path = GOLDEN / "media" / "clip_av.mp4"
    by_path = processor(text="?a", videos=path)
    by_bytes = processor(text="?a", videos=path.read_bytes())
    assert torch.equal(by_path["pixel_values"], by_bytes["pixel_values"])
    assert by_path["video_has_audio"].tolist() == [True]
    assert torch.equal(by_path["audio_values"], by_bytes["audio_values"])
    assert by_path["audio_values"].shape == (1, 2998, 128)
    assert processor(text="?a", videos=path, use_audio_in_video=False)["video_has_audio"].tolist() == [False]
    samples = audio_clip().waveform
    assert processor(text="?a", audio=(samples, 16000))["audio_lengths"].tolist() == [2998]


def test_a_video_without_sound_is_said_to_have_none(processor):
    batch = processor(text="?a", videos=GOLDEN / "media" / "tall_silent.mp4")
    assert batch["video_has_audio"].tolist() == [False]
    assert "audio_values" not in batch
    assert any("has no sound" in event for event in batch.events[0])


def test_what_happened_is_kept_by_sample(processor):
    batch = processor(text=["A <video> here?", "Plain?"], videos=[video_clip(), None])
    said = " ".join(batch.events[0])
    assert "<video>" in said
    assert "clip event" in said
    assert "stretched" in said
    assert batch.events[1] == ()


def test_tags_in_rendered_text_are_placeholders_only_on_demand(processor):
    assert (processor(text="<video> what?")["input_ids"] < 0).sum() == 0
    with pytest.raises(RequestError, match="More video placeholders"):
        processor(text="<video> what?", rendered=True)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, RequestError, "no question"),
        ({"text": []}, RequestError, "no question"),
        ({"text": " "}, RequestError, "asks nothing"),
        ({"text": "a", "messages": []}, RequestError, "Both text and messages"),
        ({"messages": [{"role": "user", "content": "a", "media": ["video"]}]}, RequestError, "More video"),
        ({"messages": [{"role": "user", "content": "a"}], "videos": video_clip()}, RequestError, "no placeholder"),
        ({"messages": [{"role": "user", "content": [3]}]}, RequestError, "part of a turn"),
        ({"text": ["a", "b"], "videos": [video_clip()]}, RequestError, "one entry for each"),
        ({"text": "a", "images": video_clip()}, RequestError, "An image has one frame"),
        ({"text": "a", "audio": np.zeros(100)}, RequestError, "sample_rate"),
        ({"text": "a", "videos": {"vide": 1}}, RequestError, "mapping"),
        ({"text": "a", "audio": audio_clip(status="failed", reason="torn")}, MediaError, "torn"),
        ({"text": "a", "videos": "/no/such/file.mp4"}, MediaError, "file.mp4"),
        ({"text": "a", "return_tensors": "np"}, RequestError, "'pt'"),
        ({"text": "a", "padding_side": "up"}, RequestError, "padding_side"),
        ({"text": ["a", "b b b"], "padding": False}, RequestError, "padding=True"),
        ({"text": "a", "max_frames": 3}, RequestError, "max_frames"),
        ({"text": "a", "backend": "gpu", "videos": video_clip()}, RequestError, "gpu"),
    ],
)
def test_bad_calls(processor, arguments, error, match):
    with pytest.raises(error, match=match):
        processor(**arguments)


def test_a_model_without_a_sense_says_so(deaf, tokenizers):
    with pytest.raises(RequestError, match="cannot hear"):
        deaf(text="a", audio=audio_clip())
    blind = VideoLLaMA2Processor(tokenizers["qwen2"], None, AudioSpec(), 4, "videollama2_qwen2")
    with pytest.raises(RequestError, match="cannot see"):
        blind(text="a", videos=video_clip())


def test_decode(processor):
    ids = processor.tokenizer("A dog runs.").input_ids
    assert processor.decode(torch.tensor(ids)) == "A dog runs."
    assert processor.batch_decode(torch.tensor([ids, ids])) == ["A dog runs."] * 2


@pytest.mark.parametrize("which", ["processor", "deaf"])
def test_round_trip(request, tmp_path, which):
    original = request.getfixturevalue(which)
    original.save_pretrained(tmp_path)
    register_processor()
    register_processor()
    for loaded in (VideoLLaMA2Processor.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)):
        assert isinstance(loaded, VideoLLaMA2Processor)
        assert loaded.to_dict() == original.to_dict()
        assert loaded.preprocessing_hash == original.preprocessing_hash
        arguments = {"text": ["What is  this?", "Ok?"], "videos": [video_clip(), None]}
        for name, tensor in original(**arguments).items():
            assert torch.equal(loaded(**arguments)[name], tensor)
    stored = json.loads((tmp_path / "processor_config.json").read_text())
    assert stored["pixel_spec"] == SIGLIP.to_dict()


def test_the_auto_class_knows_it_after_one_import(processor, tmp_path):
    processor.save_pretrained(tmp_path)
    code = f"""
import videollama2.processing
from transformers import AutoProcessor
print(type(AutoProcessor.from_pretrained({str(tmp_path)!r})).__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "VideoLLaMA2Processor\n", done.stderr


def test_hash_sees_every_part(processor, tokenizers):
    parts = {"pixel_spec": SIGLIP, "audio_spec": AudioSpec(), "num_frames": 4, "model_type": "videollama2_qwen2"}
    assert VideoLLaMA2Processor(tokenizers["qwen2"], **parts).preprocessing_hash == processor.preprocessing_hash
    for change in (
        {"pixel_spec": PixelSpec(image_size=32)},
        {"audio_spec": None},
        {"num_frames": 8},
        {"model_type": "videollama2_mistral"},
        {"pad": True},
    ):
        other = VideoLLaMA2Processor(tokenizers["qwen2"], **(parts | change))
        assert other.preprocessing_hash != processor.preprocessing_hash
    assert VideoLLaMA2Processor(tokenizers["mistral"], **parts).preprocessing_hash != processor.preprocessing_hash


@pytest.mark.parametrize(
    ("name", "resize", "size", "num_frames", "model_type", "hears"),
    [
        ("VideoLLaMA2-tiny-mistral", "shortest_edge_crop", 336, 8, "videollama2_mistral", False),
        ("VideoLLaMA2.1-tiny-qwen2-16F", "stretch", 384, 16, "videollama2_qwen2", False),
        ("VideoLLaMA2.1-tiny-AV", "stretch", 384, 8, "videollama2_qwen2", True),
    ],
)
def test_from_an_official_configuration(name, resize, size, num_frames, model_type, hears):
    """As the released files have it: the tower is named, its sizes are not in the folder."""
    from videollama2.model.configuration import VideoLLaMA2Config
    from videollama2.processing.tokenizer import load_tokenizer

    fields = golden_json(f"checkpoints/{name}/config.json")
    hub_name = (
        "openai/clip-vit-large-patch14-336"
        if "clip" in fields["mm_vision_tower"]
        else "google/siglip-so400m-patch14-384"
    )
    config = VideoLLaMA2Config.from_official(fields | {"mm_vision_tower": hub_name})
    tokenizer = load_tokenizer(GOLDEN / "checkpoints" / name)
    processor = VideoLLaMA2Processor.from_config(config, tokenizer)
    recorded = golden_json(f"processors/{hub_name.split('/')[1]}/preprocessor_config.json")
    assert processor.pixel_spec.to_dict() == PixelSpec.from_preprocessor_config(recorded).to_dict() | {
        "shortest_edge": processor.pixel_spec.shortest_edge
    }
    assert (processor.pixel_spec.resize, processor.pixel_spec.image_size) == (resize, size)
    assert (processor.num_frames, processor.model_type) == (num_frames, model_type)
    assert (processor.audio_spec is not None) == hears
    tiny = golden_json(f"{fields['mm_vision_tower']}/preprocessor_config.json")
    assert VideoLLaMA2Processor.from_config(config, tokenizer, tiny).pixel_spec.image_size in (84, 100)


def test_an_official_folder_needs_no_processor_file(tmp_path):
    import shutil

    source = GOLDEN / "checkpoints" / "VideoLLaMA2.1-tiny-AV"
    folder = shutil.copytree(source, tmp_path / "av", ignore=shutil.ignore_patterns("*.safetensors"))
    fields = json.loads((folder / "config.json").read_text())
    fields["mm_vision_tower"] = "google/siglip-so400m-patch14-384"
    (folder / "config.json").write_text(json.dumps(fields))
    processor = VideoLLaMA2Processor.from_pretrained(folder)
    assert processor.pixel_spec == PixelSpec(image_size=384)
    assert processor.audio_spec == AudioSpec()
    (folder / "config.json").write_text(json.dumps(fields | {"mm_vision_tower": "somewhere/unheard-of"}))
    with pytest.raises(CheckpointError, match="unheard-of"):
        VideoLLaMA2Processor.from_pretrained(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="neither"):
        VideoLLaMA2Processor.from_pretrained(folder)


def test_other_template_for_one_call(processor):
    before = processor.preprocessing_hash
    template = "{% for message in messages %}[{{ message['content'] }}]{% endfor %}"
    assert processor.apply_chat_template([{"role": "user", "content": "a"}], template) == "[\na]"
    assert processor.preprocessing_hash == before
    with pytest.raises(RequestError, match="tools"):
        processor.apply_chat_template([{"role": "user", "content": "a"}], tools=[1])
