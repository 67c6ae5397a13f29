"""Does everything compute the right numbers here? Tiny models of every variant, offline, against stored numbers.

Each variant goes the whole way: a clip made on the spot is decoded, its frames and sound are preprocessed, encoded and
connected, the language model answers, the model is saved, loaded again and asked again.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch

from videollama2.errors import RequestError
from videollama2.inference.core import Reading
from videollama2.inference.engine import VideoLLaMA2
from videollama2.inference.request import Request
from videollama2.inference.selfcheck_media import make_clip, make_frames, make_waveform
from videollama2.inference.selfcheck_models import VARIANTS, Variant, build_variant
from videollama2.inference.selfcheck_report import SelfCheckReport, Step, compare
from videollama2.media import load_audio, load_video
from videollama2.processing.audio import audio_features
from videollama2.processing.pixels import preprocess_frames

NUMBERS_FILE = "selfcheck_numbers.json"
QUESTION = "What moves, and what is heard?"
MAX_NEW_TOKENS = 8
NUM_STORED = 12


def run_selfcheck(variants: Sequence[str] | None = None, *, device: str = "cpu") -> SelfCheckReport:
    """Runs the self-check.

    Args:
        variants: Names of variants, None for all.
        device: Torch device that computes.

    Raises:
        RequestError: No variant of that name, or no such device.
    """
    from videollama2.inference.device import choose_device

    known = {variant.name: variant for variant in VARIANTS}
    for name in variants or ():
        if name not in known:
            raise RequestError(f"no variant {name!r}: known are {', '.join(known)}")
    chosen_device = choose_device(device)
    stored = json.loads(resources.files(__package__).joinpath(NUMBERS_FILE).read_text())
    start = time.perf_counter()
    clip = make_clip()
    steps: list[Step] = []
    with full_precision():
        for name in variants or known:
            steps += compare(
                name, check_variant(known[name], clip, str(chosen_device)), stored[name], chosen_device.type
            )
    machine = f"{chosen_device} with torch {torch.__version__}"
    return SelfCheckReport(steps=tuple(steps), seconds=round(time.perf_counter() - start, 2), machine=machine)


def check_variant(variant: Variant, clip: bytes, device: str) -> dict[str, dict[str, Any]]:
    """Numbers of one variant by step: exact values under "exact", tensors under "values", always "seconds"."""
    results: dict[str, dict[str, Any]] = {}

    @contextmanager
    def step(name: str) -> Iterator[dict[str, Any]]:
        start = time.perf_counter()
        results[name] = {}
        yield results[name]
        results[name]["seconds"] = time.perf_counter() - start

    with step("build") as result:
        loaded = build_variant(variant, device)
        engine = VideoLLaMA2.from_loaded(loaded)
        result["exact"] = sum(parameter.numel() for parameter in engine.model.parameters())
    with step("decode") as result:
        video = load_video(clip, variant.num_frames)
        expected = make_frames()[list(video.indices)]
        result["exact"] = [list(video.indices), bool((np.stack(video.frames) == expected).all())]
    with step("pixels") as result:
        pixels = preprocess_frames(video.frames, engine.processor.pixel_spec).to(device)
        result |= summary(pixels)
    with step("vision") as result, torch.inference_mode():
        result |= summary(engine.model.model.vision_tower(pixels).grid)
    with step("connector") as result, torch.inference_mode():
        result |= summary(engine.model.encode_visual(pixels, [len(pixels)], [False])[0])
    if variant.audio:
        with step("sound") as result:
            sound = load_audio(clip, "official-video")
            heard = np.asarray(sound.waveform[: len(make_waveform())] * 32768)
            result["exact"] = [sound.status, bool((heard[:4000] == make_waveform()[:4000]).all())]
        with step("fbank") as result:
            fbank = audio_features(sound, engine.processor.audio_spec).to(device)
            result |= summary(fbank)
        with step("audio") as result, torch.inference_mode():
            result |= summary(engine.model.encode_audio(fbank[None], [len(fbank)])[0])
    request = Request.build(QUESTION, video=clip, num_frames=variant.num_frames, max_new_tokens=MAX_NEW_TOKENS)
    with step("logits with sound" if variant.audio else "logits") as result:
        reading = engine.core.read(request)
        result |= summary(reading.prompt.logits)
    with step("answer") as result:
        answer = engine.core.generate([reading])[0][0]
        result |= {"exact": list(answer.token_ids), "margin": smallest_margin(engine, reading, answer.token_ids)}
    with step("save and load") as result:
        result["exact"] = saved_and_loaded_answer(engine, loaded, request, device) == answer.token_ids
    return results


def saved_and_loaded_answer(engine: VideoLLaMA2, loaded: Any, request: Request, device: str) -> tuple[int, ...]:
    """The answer of the model after it was written to a folder and read again."""
    from videollama2.checkpoints.load import load_checkpoint
    from videollama2.checkpoints.write import save_checkpoint

    with tempfile.TemporaryDirectory(prefix="videollama2-selfcheck-") as folder:
        path = save_checkpoint(loaded, Path(folder) / "model")
        again = VideoLLaMA2.from_loaded(load_checkpoint(path, device=device, dtype=torch.float32, offline=True))
    return again.core.generate([again.core.read(request)])[0][0].token_ids


def smallest_margin(engine: VideoLLaMA2, reading: Reading, ids: Sequence[int]) -> float:
    """How far the best token was ahead of the next at its closest: how safe the exact ids are on another machine."""
    from videollama2.inference.decoding import Row, decode

    margins: list[float] = []

    class Watched(Row):
        def choose(self, logits_1V: torch.Tensor) -> int:
            scores = self._processors(torch.tensor([self.ids], dtype=torch.long, device=logits_1V.device), logits_1V)  # type: ignore[arg-type]
            best = scores[0].topk(2).values
            margins.append(float(best[0] - best[1]))
            return super().choose(logits_1V)

    for _ in decode(engine.model, [reading.prompt], [Watched(replace(reading.sampling, max_new_tokens=len(ids)))]):
        pass
    return min(margins)


def summary(tensor: torch.Tensor) -> dict[str, Any]:
    """Shape, evenly spaced values, and what tells whether the rest fits: mean and largest magnitude."""
    flat = tensor.detach().double().cpu().reshape(-1)
    places = torch.linspace(0, len(flat) - 1, min(NUM_STORED, len(flat))).long()
    values = [*flat[places].tolist(), float(flat.mean()), float(flat.abs().mean())]
    return {"shape": list(tensor.shape), "values": values, "largest": float(flat.abs().max())}


@contextmanager
def full_precision() -> Iterator[None]:
    """Keeps GPUs from computing float32 convolutions in fewer bits, for the time of the check."""
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


def write_numbers(path: Path) -> None:
    """Makes the stored numbers anew; for maintainers, after a change that is meant to change them."""
    clip = make_clip()
    numbers = {variant.name: check_variant(variant, clip, "cpu") for variant in VARIANTS}
    for results in numbers.values():
        for result in results.values():
            del result["seconds"]
    path.write_text(json.dumps(numbers, indent=1) + "\n")
