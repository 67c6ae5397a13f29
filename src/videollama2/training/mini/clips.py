"""Clips with one coloured ball that moves and one sound, as media files, and the rows that ask about them.

A pure function of the seed. Held-out clips have balls, backgrounds, speeds and pitches that no training clip has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

COLOURS = {"red": (220, 40, 40), "green": (40, 190, 60), "blue": (50, 70, 230), "yellow": (235, 220, 50)}
WAYS = ("left", "right")
SOUNDS = ("hum", "beep", "hiss", "clicks")
QUESTIONS = {
    "colour": "what colour is the ball?",
    "way": "which way does it go?",
    "sound": "what do you hear?",
}
SIDE, FRAMES_PER_SECOND, SECONDS, SAMPLE_RATE = 56, 8, 2, 16000


@dataclass(frozen=True)
class Clip:
    """What is in a clip: the three answers."""

    colour: str
    way: str
    sound: str

    def answer(self, family: str) -> str:
        """The answer to a question of `QUESTIONS`."""
        return str(getattr(self, family))


def draw_clip(rng: np.random.Generator) -> Clip:
    """Any clip, all equally likely."""
    return Clip(*(str(rng.choice(list(names))) for names in (COLOURS, WAYS, SOUNDS)))


def frames_of(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    """uint8 [T, S, S, 3]."""
    count = FRAMES_PER_SECOND * SECONDS
    grey = rng.integers(60, 160)
    frames = np.full((count, SIDE, SIDE, 3), grey, np.float32) + rng.normal(0, 8, (1, SIDE, SIDE, 1))
    radius, y = rng.integers(9, 14), rng.integers(16, 40)
    reach = rng.uniform(14, 20)
    x = SIDE / 2 + np.linspace(-reach, reach, count) * (1 if clip.way == "right" else -1)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        inside = (rows - y) ** 2 + (columns - x[number]) ** 2 < radius**2
        frames[number][inside] = COLOURS[clip.colour]
    return frames.clip(0, 255).astype(np.uint8)


def sound_of(clip: Clip, rng: np.random.Generator) -> np.ndarray:
    """float32 [samples] in [-1, 1]."""
    t = np.arange(SAMPLE_RATE * SECONDS) / SAMPLE_RATE
    if clip.sound == "hum":
        wave = sum(np.sin(2 * np.pi * rng.uniform(90, 130) * k * t) / k for k in (1, 2, 3))
    elif clip.sound == "beep":
        wave = np.sin(2 * np.pi * rng.uniform(1500, 2500) * t) * (t % 0.5 < 0.3)
    elif clip.sound == "hiss":
        wave = rng.normal(0, 0.5, len(t))
    else:
        wave = rng.normal(0, 1.5, len(t)) * (t % rng.uniform(0.2, 0.3) < 0.01)
    return np.asarray(wave * rng.uniform(0.2, 0.5)).clip(-1, 1).astype(np.float32)


def write_video(path: Path, frames: np.ndarray, sound: np.ndarray) -> None:
    """An MP4 file (H.264, AAC)."""
    import av

    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=FRAMES_PER_SECOND, options={"crf": "14", "preset": "veryfast"})
        video.width = video.height = SIDE
        video.pix_fmt = "yuv444p"
        video.codec_context.thread_count = 1
        audio = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for image in frames:
            out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(video.encode(None))
        for begin in range(0, len(sound), 1024):
            piece = av.AudioFrame.from_ndarray(sound[None, begin : begin + 1024], format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = SAMPLE_RATE, begin, Fraction(1, SAMPLE_RATE)
            out.mux(audio.encode(piece))
        out.mux(audio.encode(None))


def row(number: int, question: str, answer: str, **media: str) -> dict[str, Any]:
    """One row in the official form; `media` names its kind and file."""
    tag = "".join(f"<{kind}>\n" for kind in media)
    turns = [{"from": "human", "value": f"{tag}{question}".strip()}, {"from": "gpt", "value": answer}]
    return {"id": f"mini-{number}", **media, "conversations": turns}


def write_clips(folder: Path, count: int, seed: int) -> list[Clip]:
    """Videos `vN.mp4` (with their sound), pictures `iN.png` and sounds `sN.wav`; what is in each."""
    import soundfile
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    clips = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        clip = draw_clip(rng)
        frames, sound = frames_of(clip, rng), sound_of(clip, rng)
        write_video(folder / f"v{number}.mp4", frames, sound)
        Image.fromarray(frames[len(frames) // 2]).save(folder / f"i{number}.png")
        soundfile.write(folder / f"s{number}.wav", sound, SAMPLE_RATE)
        clips.append(clip)
    return clips


def write_rows(folder: Path, clips: Sequence[Clip]) -> dict[str, Path]:
    """Row files for the stages: `video-captions`, `video-questions`, `audio-captions`, `audio-questions`, `joint`."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("video-captions", "video-questions", "audio-captions", "audio-questions", "joint")
    }

    def add(name: str, question: str, answer: str, **media: str) -> None:
        rows[name].append(row(len(rows[name]), question, answer, **media))

    for number, clip in enumerate(clips):
        video, image, sound = f"v{number}.mp4", f"i{number}.png", f"s{number}.wav"
        if number % 4:
            add("video-captions", "", f"a {clip.colour} ball goes {clip.way}.", video=video)
        else:
            add("video-captions", "", f"a {clip.colour} ball.", image=image)
        add("audio-captions", "", f"a {clip.sound}.", audio=sound)
        add("audio-questions", QUESTIONS["sound"], clip.sound, audio=sound)
        for family in QUESTIONS:
            if family != "sound":
                add("video-questions", QUESTIONS[family], clip.answer(family), video=video)
            # The families take turns over the clips, so that a joint epoch is no longer than the others.
            if number % 3 == list(QUESTIONS).index(family):
                add("joint", QUESTIONS[family], clip.answer(family), video=video)
    paths = {name: folder / f"{name}.json" for name in rows}
    for name, path in paths.items():
        path.write_text(json.dumps(rows[name]), encoding="utf-8")
    return paths


def documents(count: int, seed: int, chat: Callable[[str, str], str]) -> list[str]:
    """Texts from which the tiny language model learns: words in any order, then what they mean as the rows put it.

    Args:
        count: How many.
        seed: Of the draws.
        chat: A question and an answer as one conversation's text.
    """
    texts = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        clip = draw_clip(rng)
        seen, heard = [clip.colour, clip.way], [clip.sound]
        words = " ".join(rng.permutation(seen + heard))
        family = str(rng.choice(list(QUESTIONS)))
        texts.append(
            (
                f"{' '.join(rng.permutation(seen))} a {clip.colour} ball goes {clip.way}.",
                f"{clip.colour} a {clip.colour} ball.",
                chat(clip.sound, f"a {clip.sound}."),
                chat(f"{words}\n{QUESTIONS[family]}", clip.answer(family)),
                chat(f"{clip.answer(family)}\n{QUESTIONS[family]}", clip.answer(family)),
            )[number % 5]
        )
    return texts
