"""`videollama2 chat`: several questions on one clip, the answer as it is written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from videollama2.cli.ask import merge_media
from videollama2.cli.options import (
    AudioPolicyOption,
    DeviceOption,
    DtypeOption,
    EndOption,
    FpsOption,
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
from videollama2.errors import VideoLLaMA2Error


def chat(
    files: Annotated[list[str] | None, typer.Argument(metavar="[MEDIA]...", help="What to talk about.")] = None,
    video: Annotated[Path | None, typer.Option("--video", help="A video, GIF or folder of frames.")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="An image.")] = None,
    audio: Annotated[Path | None, typer.Option("--audio", help="A sound; with a video it replaces its sound.")] = None,
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
    offline: OfflineOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Talk about a video, an image or a sound; an empty line or Ctrl-D ends it."""
    media = merge_media(files or [], {"video": video, "image": image, "audio": audio})
    sampling = {
        "num_frames": num_frames,
        "fps": fps,
        "start": start,
        "end": end,
        "audio_policy": audio_policy,
        "use_audio": not no_audio,
    }
    engine = load_model(model, device, dtype, quantization, part, offline, verbose)
    conversation = engine.chat(**media, **sampling)
    from videollama2.cli.render import render_provenance
    from videollama2.inference.answer import Answer

    while question := read_question():
        try:
            for piece in conversation.stream(question, max_new_tokens=max_new_tokens):
                if not isinstance(piece, Answer):
                    typer.echo(piece, nl=False)
                    continue
                typer.echo()
                if verbose or len(conversation.turns) == 1:
                    typer.echo("\n" + render_provenance(piece, is_default=engine.is_default, verbose=verbose))
        except VideoLLaMA2Error as error:
            if not conversation.turns:
                raise
            typer.echo(f"videollama2: {error}", err=True)


def read_question() -> str:
    """The next line of the user, "" at the end."""
    try:
        return str(typer.prompt("you", prompt_suffix="> ", default="", show_default=False)).strip()
    except typer.Abort:
        return ""
