"""Rows to tensors: labels as recorded, pixels and sound as inference makes them, positions as the model splices."""

import json

import pytest
import torch

from training.data_world import (
    GOLDEN,
    NUM_FRAMES,
    SOUND_TOKENS,
    VIDEO_TOKENS,
    make_row,
    talk,
    tiny_config,
    tiny_processor,
    tokenizer,
)
from videollama2.errors import RequestError
from videollama2.media import load_audio, load_image, load_video
from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration
from videollama2.processing.audio import audio_features
from videollama2.processing.pixels import preprocess_frames
from videollama2.training.data.collate import collate_rows, filler_batch
from videollama2.training.data.encode import EncodeOptions, RowEncoder
from videollama2.training.data.rows import RowFaultError, parse_row

CHECKPOINTS = {"mistral": "VideoLLaMA2-tiny-mistral", "qwen2": "VideoLLaMA2.1-tiny-qwen2-16F"}
BRANCHES = {"main": "main", "av": "audio_visual"}
RECORDED = [
    (name, case)
    for name in BRANCHES
    for case in json.loads((GOLDEN / "training" / f"labels_{name}.json").read_text())["cases"]
]


def encoder(**options):
    config = tiny_config()
    return RowEncoder(tiny_processor(config), config, EncodeOptions(**{"num_frames": NUM_FRAMES, **options}))


def read(raw, folder=None, **settings):
    row, faults = parse_row(raw, source="rows.json", line=1, folder=folder, **settings)
    assert not faults, faults
    return row


def video_row(*texts, name="clip1.mp4"):
    return {"video": name, "conversations": talk("<video>\n" + texts[0], *texts[1:])}


@pytest.mark.parametrize(("name", "case"), RECORDED)
@pytest.mark.parametrize("labels", ["chat", "plain"])
def test_labels_are_the_recorded_ones(name, case, labels):
    """Where our strict reading takes a row at all, its ids and labels are the official ones."""
    tag = case["modal_token"]
    raw = {"conversations": case["conversations"]} | ({tag.strip("<>"): "x"} if tag else {})
    row, _ = parse_row(raw, source="rows.json", line=1, captions=labels == "plain")
    recorded = case["preprocess" if labels == "chat" else "preprocess_plain"]
    if row is None or "error" in recorded:
        return
    own = encoder(labels=labels, branch=BRANCHES[name], max_tokens=4096)
    own.tokenizer = tokenizer(CHECKPOINTS[case["tokenizer"]])
    text = own.text(row)
    assert list(text.input_ids) == recorded["input_ids"]
    # Nothing comes before the first token, so nothing can learn to say it.
    assert list(text.labels) == [-100, *recorded["labels"][1:]]


def test_most_recorded_rows_are_read():
    rows = [
        parse_row(
            {"conversations": case["conversations"]}
            | ({case["modal_token"][1:-1]: "x"} if case["modal_token"] else {}),
            source="rows.json",
            line=1,
        )[0]
        for _, case in RECORDED
    ]
    assert sum(row is not None for row in rows) >= len(rows) // 2


@pytest.mark.parametrize("pad", [True, False])
def test_media_are_those_of_inference(media, pad):
    own = encoder(pad=pad, sound_of_video=True)
    processor = tiny_processor()
    video = own.encode(read(video_row("What?", "That."), media), 0)
    clip = load_video(media / "clip1.mp4", NUM_FRAMES)
    assert torch.equal(video.pixels, preprocess_frames(clip.frames, processor.pixel_spec, pad=pad))
    heard = load_audio(media / "clip1.mp4", "official-video", seconds=2.0)
    assert torch.equal(video.sound, audio_features(heard, processor.audio_spec))
    image = own.encode(read({"image": "picture1.png", "conversations": talk("<image>\nWhat?", "That.")}, media), 1)
    still = load_image(media / "picture1.png")
    assert torch.equal(image.pixels, preprocess_frames(still.frames, processor.pixel_spec, pad=pad))
    assert image.is_image
    audio = own.encode(read({"audio": "sound0.wav", "conversations": talk("<audio>\nWhat?", "That.")}, media), 2)
    heard = load_audio(media / "sound0.wav", "official-file", seconds=2.0)
    assert torch.equal(audio.sound, audio_features(heard, processor.audio_spec))
    assert not audio.has_visual


def test_a_long_sound_has_the_same_window_every_time(media):
    row = read({"audio": "sound2.wav", "conversations": talk("<audio>\nWhat?", "That.")}, media)
    first, second = (encoder().encode(row, number) for number in (0, 5))
    assert torch.equal(first.sound, second.sound)
    assert any("random window" in event for event in first.events)


def test_the_sound_of_a_video_is_heard_or_said_to_be_absent(media):
    own = encoder(sound_of_video=True)
    deaf = encoder(sound_of_video=False)
    with_sound, without = read(video_row("a", "b"), media), read(video_row("a", "b", name="clip0.mp4"), media)
    assert own.encode(with_sound, 0).num_positions - deaf.encode(with_sound, 0).num_positions == SOUND_TOKENS
    sample = own.encode(without, 0)
    assert not sample.has_sound
    assert sample.events[-1] == "the sound of the video is absent: its frames stand alone"
    assert own.text(without).num_positions - sample.num_positions == SOUND_TOKENS
    assert deaf.encode(with_sound, 0).sound is None


def test_positions_are_those_of_the_splice(media):
    """What is said before decoding bounds what is said after it, which is what the model makes of the batch."""
    torch.manual_seed(0)
    config = tiny_config()
    model = VideoLLaMA2ForConditionalGeneration(config).eval()
    own = encoder(sound_of_video=True)
    rows = [read(make_row(number), media) for number in range(8)]
    samples = [own.encode(row, number) for number, row in enumerate(rows)]
    batch = collate_rows([[sample] for sample in samples], pad_token_id=0, packed=False)
    with torch.no_grad():
        spliced = model.model.splice_media(**batch)
    assert spliced.attention_mask.sum(-1).tolist() == [sample.num_positions for sample in samples]
    assert (spliced.labels != -100).sum(-1).tolist() == [sample.num_label_tokens for sample in samples]
    for row, sample in zip(rows, samples):
        assert own.text(row).num_positions >= sample.num_positions
    assert own.text(rows[0]).num_positions - len(own.text(rows[0]).input_ids) + 1 == VIDEO_TOKENS + SOUND_TOKENS


def test_a_packed_batch_holds_the_same_samples(media):
    own = encoder()
    samples = [own.encode(read(make_row(number), media), number) for number in range(4)]
    batch = collate_rows([samples[:3], samples[3:]], pad_token_id=0, packed=True)
    lengths = [len(sample.text.input_ids) for sample in samples]
    assert batch["segment_ids"][0].tolist() == [1] * lengths[0] + [2] * lengths[1] + [3] * lengths[2]
    assert batch["segment_ids"][1].tolist() == [1] * lengths[3] + [0] * (sum(lengths[:3]) - lengths[3])
    assert batch["input_ids"][0, lengths[0] : lengths[0] + lengths[1]].tolist() == list(samples[1].text.input_ids)
    starts = [0, lengths[0], lengths[0] + lengths[1]]
    assert batch["labels"][0, starts].tolist() == [-100] * 3
    assert len(batch["num_frames"]) == sum(sample.has_visual for sample in samples)
    assert set(filler_batch(0, packed=True)) == {"input_ids", "labels", "attention_mask", "segment_ids"}
    assert (filler_batch(0, packed=False)["labels"] == -100).all()


def test_long_rows_are_cut_at_their_end_and_say_so(media):
    row = read(video_row("What?", "Word " * 50), media)
    whole = encoder().text(row)
    limit = whole.num_positions - 7
    sample = encoder(max_tokens=limit).encode(row, 0)
    assert sample.text.num_cut == 7
    assert sample.num_positions == sample.text.num_positions == limit
    assert sample.text.input_ids == whole.input_ids[:-7]
    assert f"7 tokens were cut off the end (max_tokens {limit})" in sample.events
    assert whole.num_cut == 0


@pytest.mark.parametrize(
    ("raw", "options", "kind", "words"),
    [
        (video_row("Why? " * 50, "So."), {"max_tokens": 60}, "all_masked", "before the first answer"),
        (video_row("a", "b"), {"max_tokens": 7}, "too_long", "the video alone takes 8 of 7"),
        (video_row("a", "b", name="gone.mp4"), {}, "missing", "gone.mp4 does not exist"),
        (video_row("a", "b", name="picture0.png"), {}, "damaged", "not a video"),
        (video_row("a", "b", name="noise.mp4"), {}, "damaged", "noise.mp4"),
    ],
)
def test_what_cannot_be_encoded(media, raw, options, kind, words):
    (media / "noise.mp4").write_bytes(b"\x07noise" * 500)
    with pytest.raises(RowFaultError, match=words) as caught:
        encoder(**options).encode(read(raw, media), 0)
    assert caught.value.fault.kind == kind
    assert caught.value.fault.fix


def test_a_model_without_ears(media):
    config = tiny_config(audio_config=None)
    options = EncodeOptions(num_frames=NUM_FRAMES, sound_of_video=True)
    with pytest.raises(RequestError, match="does not hear"):
        RowEncoder(tiny_processor(config), config, options)
    own = RowEncoder(tiny_processor(config), config, EncodeOptions(num_frames=NUM_FRAMES))
    with pytest.raises(RowFaultError, match="cannot hear") as caught:
        own.text(read({"audio": "sound0.wav", "conversations": talk("<audio>\nWhat?", "That.")}, media))
    assert caught.value.fault.kind == "no_tower"
