"""`videollama2 ask`: one question, with or without media."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from videollama2.cli.options import (
    AudioPolicyOption,
    DeviceOption,
    DtypeOption,
    EndOption,
    FpsOption,
    JsonOption,
    MaxNewTokensOption,
    ModelOption,
    NoAudioOption,
    NumFramesOption,
    OfflineOption,
    PartOption,
    QuantizationOption,
    StartOption,
    VerboseOption,
    load_model,
)
from videollama2.cli.progress import spinner
from videollama2.errors import MediaError, RequestError


def ask(
    words: Annotated[
        list[str], typer.Argument(metavar="[MEDIA]... QUESTION", help="Files, then the question in quotes.")
    ],
    video: Annotated[Path | None, typer.Option("--video", help="A video, GIF or folder of frames.")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="An image.")] = None,
    audio: Annotated[Path | None, typer.Option("--audio", help="A sound; with a video it replaces its sound.")] = None,
    choose: Annotated[
        list[str] | None, typer.Option("--choose", help="An option of a multiple choice; give it several times.")
    ] = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    quantization: QuantizationOption = None,
    part: PartOption = None,
    num_frames: NumFramesOption = None,
    fps: FpsOption = None,
    start: StartOption = None,
    end: EndOption = None,
    audio_policy: AudioPolicyOption = None,
    no_audio: NoAudioOption = False,
    max_new_tokens: MaxNewTokensOption = 512,
    as_json: JsonOption = False,
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Ask a question about a video, an image or a sound.

    What a file is, its content decides, not its name. Example: videollama2 ask clip.mp4 "What happens here?"
    """
    from videollama2.inference.request import Request, check_options

    files, question = split_words(words)
    media = merge_media(files, {"video": video, "image": image, "audio": audio})
    options: dict[str, Any] = {
        **media,
        "num_frames": num_frames,
        "fps": fps,
        "start": start,
        "end": end,
        "audio_policy": audio_policy,
        "use_audio": not no_audio,
    }
    # Everything that can be wrong with the request is found before a model is loaded.
    if choose:
        check_options(choose)
    else:
        options["max_new_tokens"] = max_new_tokens
    Request.build(question, **options)
    engine = load_model(model, device, dtype, quantization, part, offline, verbose)
    with spinner("looking, listening and answering ..."):
        answer = engine.choose(question, choose, **options) if choose else engine.ask(question, **options)
    if as_json:
        typer.echo(json.dumps(answer.to_dict(), ensure_ascii=False))
        return
    from videollama2.cli.render import render_answer

    typer.echo(render_answer(answer, is_default=engine.is_default, verbose=verbose))


def split_words(words: list[str]) -> tuple[list[str], str]:
    """Tells files from the question, which comes last.

    Raises:
        RequestError: The last word is a file, so there is no question.
    """
    *files, question = words
    if looks_like_file(question):
        raise RequestError(f'no question after {question}: add one in quotes, for example "What is in it?"')
    return files, question


def looks_like_file(word: str) -> bool:
    """Whether a word names an existing file or folder, or could only be a path."""
    if os.path.exists(word):
        return True
    return " " not in word.strip() and Path(word).suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES | AUDIO_SUFFIXES


def merge_media(files: list[str], named: dict[str, Path | None]) -> dict[str, str]:
    """Media by kind, from files told by content and from options.

    Raises:
        MediaError: A file is missing or no media.
        RequestError: Two files of one kind.
    """
    from videollama2.inference.kinds import detect_kind

    media = {kind: str(path) for kind, path in named.items() if path is not None}
    for path in media.values():
        if not os.path.exists(path):
            raise MediaError(f"{path} does not exist: check the path")
    for file in files:
        kind = detect_kind(file)
        if kind in media:
            raise RequestError(f"two of the files are a {kind} ({media[kind]} and {file}): ask about one at a time")
        media[kind] = file
    return media


VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
AUDIO_SUFFIXES = {".wav", ".mp3", ".flac", ".ogg", ".opus", ".m4a", ".aac"}
