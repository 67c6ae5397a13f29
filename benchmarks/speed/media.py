"""Decoding with seek and skip, pixels, filterbank, memory of a long file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from transformers import CLIPImageProcessorPil, SiglipImageProcessorPil

from videollama2.media import load_video
from videollama2.media.sampling import uniform_indices
from videollama2.processing.fbank import kaldi_fbank
from videollama2.processing.pixel_spec import PixelSpec
from videollama2.processing.pixel_stream import load_with_pixels
from videollama2.processing.pixels import preprocess_frames

from ..parity_groups.measure import FBANK, GOLDEN
from .clips import hour_clip, moving_clip
from .plain_fbank import plain_fbank
from .timing import Result, Run, Settings, in_turns, timed

NUM_FRAMES = 16
SECONDS = (10, 15, 60)
MEDIA_LIMIT_MB = 500
# Two correct fp32 ways to rescale and normalise.
PIXEL_TOLERANCE = 1e-5
PROCESSORS = {
    "siglip-so400m-patch14-384": SiglipImageProcessorPil,
    "clip-vit-large-patch14-336": CLIPImageProcessorPil,
}


def decode(settings: Settings) -> Iterator[Result]:
    """Frames by seek and skip against decoding the whole file: bit-identical."""
    for seconds in SECONDS:
        path = moving_clip(settings.cache, seconds)
        yield in_turns(
            "decode_seek_skip",
            lambda path=path: torch.from_numpy(np.stack(load_video(path, NUM_FRAMES).frames)),
            lambda path=path: torch.from_numpy(np.stack(decode_everything(path, NUM_FRAMES))),
            runs=settings.runs,
            tolerance=0.0,
            unit="absolute",
            sizes=_clip_sizes(seconds),
        )


def decode_and_pixels(settings: Settings) -> Iterator[Result]:
    """File to SigLIP input, pixels made while decoding, against decoding everything and the Hugging Face processor."""
    spec, processor = _processor("siglip-so400m-patch14-384")
    for seconds in SECONDS:
        path = moving_clip(settings.cache, seconds)
        yield in_turns(
            "decode_and_pixels",
            lambda path=path: load_with_pixels(partial(load_video, path, NUM_FRAMES), spec)[1],
            lambda path=path: _hugging_face(processor, decode_everything(path, NUM_FRAMES)),
            runs=settings.runs,
            tolerance=PIXEL_TOLERANCE,
            unit="absolute",
            sizes={**_clip_sizes(seconds), "input": "SigLIP 384"},
        )


def pixels(settings: Settings) -> Iterator[Result]:
    """Frames to tower input against the Hugging Face processor, both on Pillow."""
    frames = list(load_video(moving_clip(settings.cache, 10), NUM_FRAMES).frames)
    for name in PROCESSORS:
        spec, processor = _processor(name)
        yield in_turns(
            "pixels",
            lambda spec=spec: preprocess_frames(frames, spec),
            lambda processor=processor: _hugging_face(processor, frames),
            runs=settings.runs,
            tolerance=PIXEL_TOLERANCE,
            unit="absolute",
            sizes={"frames": NUM_FRAMES, "height": 360, "width": 640, "processor": name},
        )


def fbank(settings: Settings) -> Iterator[Result]:
    """The vectorised filterbank against one window after the other."""
    generator = torch.Generator().manual_seed(0)
    wave = torch.randn(30 * 16000, generator=generator, dtype=torch.float64) * 3000
    yield in_turns(
        "fbank",
        lambda: kaldi_fbank(wave),
        lambda: plain_fbank(wave),
        runs=settings.runs,
        tolerance=FBANK,
        unit="absolute",
        sizes={"seconds": 30, "mel_bins": 128, "dtype": "float64"},
    )


def long_file(settings: Settings) -> Iterator[Result]:
    """Memory and seconds of taking 16 frames from one hour of 1080p, each in a process of its own."""
    path = hour_clip(settings.cache)
    runs = [_in_process(path) for _ in range(min(settings.runs, 3))]
    growth = max(run["growth_mb"] for run in runs)
    assert growth < MEDIA_LIMIT_MB, f"sampling one hour of 1080p took {growth:.0f} MB, allowed are {MEDIA_LIMIT_MB}"
    result = Result(
        "long_file_memory",
        {"hours": 1, "height": 1080, "width": 1920, "source_frames": 3600, "frames": NUM_FRAMES},
        {"limit_mb": MEDIA_LIMIT_MB, "frames_equal_to_full_decode": True},
        fast=[Run(run["seconds"], run["cpu_seconds"]) for run in runs],
        extra={"growth_mb": growth, "frames_mb": round(NUM_FRAMES * 1920 * 1080 * 3 / 2**20, 1)},
    )
    everything: list[np.ndarray] = []
    result.plain = [timed(lambda: everything.extend(decode_everything(path, NUM_FRAMES)))]
    ours = load_video(path, NUM_FRAMES).frames
    assert all(np.array_equal(a, b) for a, b in zip(ours, everything, strict=True)), "frames differ from a full decode"
    yield result


def decode_everything(path: Path, num_frames: int) -> list[np.ndarray]:
    """The plain way: decode every frame of the file, convert the wanted ones."""
    with av.open(str(path)) as container:
        total = container.streams.video[0].frames
        wanted = uniform_indices(total, num_frames)
        kept = {
            number: frame.to_ndarray(format="rgb24")
            for number, frame in enumerate(container.decode(video=0))
            if number in wanted
        }
    return [kept[number] for number in wanted]


def _in_process(path: Path) -> dict[str, float]:
    # VmHWM is the peak of this process alone; getrusage's peak is inherited from the process that started it.
    code = (
        "import json, resource, sys, time\n"
        "from pathlib import Path\n"
        "from videollama2.media import load_video\n"
        "import av, numpy\n"
        "def peak_mb():\n"
        "    status = Path('/proc/self/status')\n"
        "    if status.exists():\n"
        "        return int(status.read_text().split('VmHWM:')[1].split()[0]) / 2**10\n"
        "    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    return peak / (2**20 if sys.platform == 'darwin' else 2**10)\n"
        "before, start, cpu = peak_mb(), time.perf_counter(), time.process_time()\n"
        f"clip = load_video(sys.argv[1], {NUM_FRAMES})\n"
        "seconds, cpu = time.perf_counter() - start, time.process_time() - cpu\n"
        "print(json.dumps({'seconds': seconds, 'cpu_seconds': cpu, 'growth_mb': round(peak_mb() - before, 1)}))\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _processor(name: str) -> tuple[PixelSpec, CLIPImageProcessorPil | SiglipImageProcessorPil]:
    config = json.loads((GOLDEN / "processors" / name / "preprocessor_config.json").read_text())
    return PixelSpec.from_preprocessor_config(config), PROCESSORS[name](**config)


def _hugging_face(processor: CLIPImageProcessorPil | SiglipImageProcessorPil, frames: list[np.ndarray]) -> torch.Tensor:
    images = [Image.fromarray(frame) for frame in frames]
    return processor.preprocess(images, return_tensors="pt")["pixel_values"]


def _clip_sizes(seconds: int) -> dict[str, object]:
    return {"seconds": seconds, "height": 360, "width": 640, "fps": 30, "frames": NUM_FRAMES}
