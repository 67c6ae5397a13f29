"""What the engine saves: a second question, options that share a prompt, batches, and a cheap import."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import torch

from videollama2.inference.choosing import score_options
from videollama2.inference.engine import VideoLLaMA2
from videollama2.inference.request import Request

from ..parity_groups.model import load
from .clips import moving_clip
from .timing import Result, Run, Settings, in_turns, timed

CHECKPOINT = "VideoLLaMA2.1-tiny-AV"
QUESTIONS = ("What is in this video?", "What colour is it?", "Where does it go?", "What is to be heard?")
OPTIONS = ("It goes to the left.", "It goes to the right.", "It goes up.", "It does not move.")
IMPORT_LIMIT_S = 0.2


def second_question(settings: Settings) -> Iterator[Result]:
    """A further question on a clip against the same question asked first."""
    engine, clip = _engine(), moving_clip(settings.cache, 10)
    settings_of_answer = {"video": clip, "max_new_tokens": 8}
    result = Result("second_question", {"checkpoint": CHECKPOINT, "clip_seconds": 10, "new_tokens": 8}, {})
    engine.ask(QUESTIONS[0], **settings_of_answer)
    for _ in range(settings.runs):
        engine.clear_cache()
        answers: list[Any] = []
        result.plain.append(timed(lambda: answers.append(engine.ask(QUESTIONS[1], **settings_of_answer))))  # noqa: B023
        engine.clear_cache()
        engine.ask(QUESTIONS[0], **settings_of_answer)
        counters = _Counters(engine)
        result.fast.append(timed(lambda: answers.append(engine.ask(QUESTIONS[1], **settings_of_answer))))  # noqa: B023
        counts = counters.stop()
        alone, second = answers
        assert counts == {"decode": 0, "encode": 0}, f"a second question decoded or encoded: {counts}"
        assert alone.token_ids == second.token_ids, "a second question is answered differently than alone"
    result.check = {"tokens_equal": True, "decodes": 0, "encodes": 0}
    result.extra = {"prefix_tokens": second.provenance.cache["prefix_tokens"]}
    yield result


def choose(settings: Settings) -> Iterator[Result]:
    """Options scored from one reading of the prompt against a reading for each."""
    engine, clip = _engine(), moving_clip(settings.cache, 10)
    core, request = engine.core, Request.build(QUESTIONS[2], video=clip)

    def shared() -> torch.Tensor:
        core.prefixes.clear()
        return torch.tensor(score_options(core, core.read(request), OPTIONS, True))

    def separate() -> torch.Tensor:
        scores = []
        for option in OPTIONS:
            core.prefixes.clear()
            scores.append(score_options(core, core.read(request), [option], True)[0])
        return torch.tensor(scores)

    sizes = {"checkpoint": CHECKPOINT, "options": len(OPTIONS), "features": "cached for both"}
    yield in_turns("choose", shared, separate, runs=settings.runs, tolerance=1e-5, sizes=sizes)


def batch(settings: Settings) -> Iterator[Result]:
    """Eight requests decoded together against one by one; the same tokens."""
    engine, clip = _engine(), moving_clip(settings.cache, 10)
    requests = [{"question": q, "video": clip, "max_new_tokens": 24} for q in QUESTIONS]
    requests += [{"question": q, "max_new_tokens": 24} for q in QUESTIONS]

    def ids(answers: list[Any]) -> torch.Tensor:
        longest = max(len(answer.token_ids) for answer in answers)
        return torch.tensor([[*answer.token_ids] + [-1] * (longest - len(answer.token_ids)) for answer in answers])

    yield in_turns(
        "batch",
        lambda: ids(engine.ask_batch(requests)),
        lambda: ids([engine.ask(**request) for request in requests]),
        runs=settings.runs,
        tolerance=0.0,
        unit="absolute",
        sizes={"checkpoint": CHECKPOINT, "requests": len(requests), "new_tokens": 24},
    )


def import_time(settings: Settings) -> Iterator[Result]:
    """`import videollama2` in a fresh interpreter; torch and transformers stay out."""
    code = (
        "import sys, time\n"
        "start, cpu = time.perf_counter(), time.process_time()\n"
        "import videollama2\n"
        "seconds, cpu = time.perf_counter() - start, time.process_time() - cpu\n"
        "assert not {'torch', 'transformers'} & set(sys.modules), 'import videollama2 imports more than itself'\n"
        "print(seconds, cpu)\n"
    )
    command = [sys.executable, "-c", code]
    runs = []
    for _ in range(max(settings.runs, 3)):
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        runs.append(Run(*(float(number) for number in printed.split())))
    cpu = sorted(run.cpu_s for run in runs)[len(runs) // 2]
    assert cpu < IMPORT_LIMIT_S, f"import videollama2 took {cpu:.3f} s, allowed are {IMPORT_LIMIT_S}"
    yield Result("import", {}, {"limit_s": IMPORT_LIMIT_S, "torch_imported": False}, fast=runs)


class _Counters:
    """Counts files opened for decoding and passes through the towers."""

    def __init__(self, engine: VideoLLaMA2) -> None:
        import av

        self.counts = {"decode": 0, "encode": 0}
        self._av, self._open = av, av.open
        inner = engine.model.model
        self._hooks = [
            tower.register_forward_hook(lambda *_: self._count("encode"))
            for tower in (inner.vision_tower, inner.audio_tower, inner.mm_projector, inner.mm_projector_a)
        ]
        av.open = self._counting_open

    def _counting_open(self, *arguments: Any, **options: Any) -> Any:
        self._count("decode")
        return self._open(*arguments, **options)

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    def stop(self) -> dict[str, int]:
        """Take the counters off and give the counts."""
        self._av.open = self._open
        for hook in self._hooks:
            hook.remove()
        return self.counts


def _engine() -> VideoLLaMA2:
    return VideoLLaMA2.from_loaded(load(CHECKPOINT))
