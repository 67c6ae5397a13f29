"""A tiny model's configuration and processor, and a folder of media with rows about them, for the tests of the data."""

import json
from functools import cache
from pathlib import Path

import numpy as np

from helpers import media_files
from videollama2.model.configuration import VideoLLaMA2Config
from videollama2.processing.processor import VideoLLaMA2Processor
from videollama2.processing.tokenizer import load_tokenizer

GOLDEN = Path(__file__).parents[1] / "golden"
SIGLIP = {
    "tower": "siglip",
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 56,
    "patch_size": 14,
}
BEATS = {
    "tower": "beats",
    "embed_dim": 16,
    "encoder_layers": 1,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "num_buckets": 32,
    "finetuned_model": False,
    # The shortest windows the tests can do with; 30 s of BEATs would be most of their time.
    "preprocessing": {"kind": "beats-fbank", "num_mel_bins": 128, "seconds": 2.0},
}
TEXT = {
    "model_type": "qwen2",
    "vocab_size": 928,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
NUM_FRAMES = 4
# 4 frames of a 4 x 4 grid, halved in all three directions.
VIDEO_TOKENS = 2 * 2 * 2
# 2 s: 198 rows of fbank, 12 x 8 patches.
SOUND_TOKENS = 96


def tiny_config(**changes):
    fields = {"vision_config": SIGLIP, "audio_config": BEATS, "mm_projector_type": "stc_connector_v35"}
    return VideoLLaMA2Config(text_config=TEXT, mm_connector_depth=1, num_frames=NUM_FRAMES, **{**fields, **changes})


@cache
def tokenizer(name="VideoLLaMA2.1-tiny-qwen2-16F"):
    return load_tokenizer(GOLDEN / "checkpoints" / name)


def tiny_processor(config=None):
    return VideoLLaMA2Processor.from_config(config or tiny_config(), tokenizer())


def write_media(folder):
    """Videos with and without sound, pictures and sounds; small ones."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(6):
        sound = media_files.tone(1.0, frequency=300 + 50 * number) if number % 2 else None
        clip = media_files.make_video(8 + number, width=96, height=48 + 8 * (number % 2), sound=sound)
        (folder / f"clip{number}.mp4").write_bytes(clip)
    for number in range(3):
        frame = media_files.numbered_frame(number, 96 - 8 * number, 64)
        (folder / f"picture{number}.png").write_bytes(media_files.make_image(frame))
    for number in range(3):
        samples = media_files.tone(0.5 + 1.5 * number, frequency=200 + 100 * number)
        (folder / f"sound{number}.wav").write_bytes(media_files.make_wav(samples))
    return folder


def talk(*texts):
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


def make_row(number, seed=0):
    """Row `number` of a mixed set: video, image, sound and text, of one to three turns and very different lengths."""
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    words = " ".join(f"w{value}" for value in rng.integers(0, 99, int(rng.integers(1, 30))))
    turns = [f"Question {number}: what of {words}?", f"Answer {number}, {words[: len(words) // 2]}."]
    for turn in range(int(rng.integers(0, 3))):
        turns += [f"And number {turn}?", f"That is {turn}."]
    kind = ("video", "image", "audio", "text")[number % 4]
    row = {"id": f"row-{number}", "conversations": talk(*turns)}
    if kind == "text":
        return row
    row["conversations"][0]["value"] = f"<{kind}>\n" + turns[0]
    files = {"video": f"clip{number % 6}.mp4", "image": f"picture{number % 3}.png", "audio": f"sound{number % 3}.wav"}
    return {"id": row["id"], kind: files[kind], "conversations": row["conversations"]}


def write_json(path, rows):
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    return path


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path
