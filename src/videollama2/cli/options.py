"""Options that several commands share, and the model they ask for.

Heavy imports happen inside functions, so that ``--help`` answers at once.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from videollama2.cli.progress import progress_bar
from videollama2.errors import RequestError

if TYPE_CHECKING:
    from videollama2.inference.engine import VideoLLaMA2

ModelOption = Annotated[
    str | None,
    typer.Option("--model", "-m", help="Folder or hub id of a checkpoint. Default: the demonstration model."),
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, mps, cuda or cuda:N.")]
DtypeOption = Annotated[str, typer.Option("--dtype", help="auto, float32, bfloat16 or float16.")]
QuantizationOption = Annotated[
    str | None, typer.Option("--quantization", help="8bit or 4bit for the language model (extra 'quant').")
]
PartOption = Annotated[
    list[str] | None, typer.Option("--part", help="NAME=PLACE of a part the folder lacks, e.g. vision_tower=PATH.")
]
NumFramesOption = Annotated[int | None, typer.Option("--num-frames", help="Frames taken evenly from a video.")]
FpsOption = Annotated[float | None, typer.Option("--fps", help="Frames per second, instead of a number of frames.")]
StartOption = Annotated[float | None, typer.Option("--start", help="Seconds where the clip begins.")]
EndOption = Annotated[float | None, typer.Option("--end", help="Seconds where the clip ends.")]
AudioPolicyOption = Annotated[
    str | None,
    typer.Option(
        "--audio-policy",
        help="Which sound is heard: official-file, official-video, first, centre, uniform or full.",
    ),
]
NoAudioOption = Annotated[bool, typer.Option("--no-audio", help="Do not listen to the video's sound track.")]
MaxNewTokensOption = Annotated[int, typer.Option("--max-new-tokens", help="Most tokens of an answer.")]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Never use the network; name what is missing instead.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show settings, hashes and library messages.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


def parse_parts(given: list[str] | None) -> dict[str, str] | None:
    """Places of parts from words such as ``vision_tower=/models/clip``.

    Raises:
        RequestError: A word has no name or no place.
    """
    parts: dict[str, str] = {}
    for word in given or ():
        name, found, place = word.partition("=")
        if not (name and found and place):
            raise RequestError(f"--part {word!r} is not NAME=PLACE: for example --part vision_tower=/models/clip")
        parts[name] = place
    return parts or None


def quiet_libraries(verbose: bool) -> None:
    """Keeps messages of libraries off the terminal, unless asked for."""
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, stream=sys.stderr)
    if not verbose:
        import warnings

        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        warnings.filterwarnings("ignore")


def load_model(
    model: str | None,
    device: str,
    dtype: str,
    quantization: str | None,
    part: list[str] | None,
    offline: bool,
    verbose: bool,
) -> VideoLLaMA2:
    """Loads the model that the options name."""
    parts = parse_parts(part)
    if quantization not in (None, "8bit", "4bit"):
        raise RequestError(f"--quantization is {quantization!r}: use 8bit or 4bit")
    from videollama2.inference.engine import VideoLLaMA2

    quiet_libraries(verbose)
    with progress_bar() as report:
        return VideoLLaMA2.from_pretrained(
            model,
            device=device,
            dtype=dtype,
            quantization=quantization,  # type: ignore[arg-type]
            parts=parts,
            offline=True if offline else None,
            progress=report,
        )
