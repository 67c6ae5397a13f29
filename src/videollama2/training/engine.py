"""The engine: from a recipe to a trained model, stopped and continued at will.

`train` meets the other processes, builds the model, shares it, goes on from the newest state of the run's folder where
there is one, and makes the steps that are left. Each sample and each random number follows from the recipe and the
step's number, so a run that was stopped anywhere gives the weights of one that was not.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from videollama2.errors import RequestError, VideoLLaMA2Error
from videollama2.training import parts as model_parts
from videollama2.training import result, state
from videollama2.training.data import Ledger, build_loader
from videollama2.training.flops import FlopsCounter, counter_of, peak_flops, work_of
from videollama2.training.log import RunLog
from videollama2.training.objective import Objective, save_activations, set_modes
from videollama2.training.processes import Processes, join
from videollama2.training.recipe import Recipe, to_dict
from videollama2.training.resuming import check_same_run, digest_of
from videollama2.training.start import Started, build
from videollama2.training.step import Stepper, StepReport
from videollama2.training.stop import StopRequest, listening
from videollama2.training.strategies import FSDP2, Plain, Strategy

RESULT_FOLDER = "result"
LEDGER_FILE = "ledger.jsonl"
# Steps in a row whose gradient is not finite, after which the run has diverged.
MAX_BAD_STEPS = 10


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What a call of `train` did.

    Attributes:
        folder: The run's folder: states, log, ledger, and `result` where it came to its end.
        steps: Updates made in all, those before a stop among them.
        num_steps: Updates of the whole run.
        loss_first: Loss of the first step of this call; nan where it made none.
        loss_last: Loss of its last step.
        faults: Rows that were left out, by kind.
        stopped: Name of the signal that ended it early, or None.
    """

    folder: Path
    steps: int
    num_steps: int
    loss_first: float = math.nan
    loss_last: float = math.nan
    faults: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None

    @property
    def model(self) -> Path | None:
        """Folder for `VideoLLaMA2.from_pretrained`; None where the run is not at its end."""
        return self.folder / RESULT_FOLDER if self.steps == self.num_steps else None


def train(recipe: Recipe, *, quiet: bool = False) -> TrainingResult:
    """Train, or go on training, what a recipe says; under `torchrun` every process calls this.

    SIGTERM and SIGINT end it after the step in hand, with a state to go on from.

    Args:
        recipe: The recipe; its folder may hold the states of the same run.
        quiet: No progress on the terminal.

    Raises:
        CheckpointError: The model cannot be loaded, a state cannot be written, or the folder holds another run's.
        RequestError: The recipe does not fit the model, its data or the processes; too many samples are damaged; the
            training diverges.
    """
    with listening() as stop, join(recipe.parallel) as processes:
        started = build(recipe, "cpu" if recipe.parallel in ("fsdp2", "zero2", "zero3") else processes.device)
        return Run(recipe, started, processes, stop, quiet=quiet).to_the_end()


def share_model(recipe: Recipe, started: Started, processes: Processes) -> Strategy:
    """The model as the recipe's `parallel` word has it, in training mode."""
    set_modes(started.model)
    if recipe.gradient_checkpointing:
        save_activations(started.model)
    if recipe.parallel in ("zero2", "zero3"):
        from videollama2.training.zero import Zero

        return Zero(started.model, recipe, processes)
    if recipe.parallel == "fsdp2":
        # Slices of one layer are of one dtype; they are computed with in bf16 all the same (mixed precision).
        started.model.float()
        return FSDP2(Objective(started.model), recipe, processes)
    return Plain(Objective(started.model).to(processes.device), recipe, processes)


class Run:
    """One run in one process.

    Args:
        recipe: The recipe.
        started: Its model.
        processes: Who takes part.
        stop: Asked after every step.
        quiet: No progress on the terminal.
    """

    def __init__(
        self, recipe: Recipe, started: Started, processes: Processes, stop: StopRequest, *, quiet: bool = False
    ) -> None:
        self.recipe, self.started, self.processes, self.stop, self.quiet = recipe, started, processes, stop, quiet
        self.folder = recipe.folder
        self.counter: FlopsCounter = counter_of(started.model)
        shapes = {name: tuple(p.shape) for pairs in started.parts.values() for name, p in pairs if p.requires_grad}
        self.strategy = share_model(recipe, started, processes)
        # The weights as they are now shared: nobody keeps whole ones beside the slices.
        started.parts = model_parts.parts_of(started.model)
        self.ledger = Ledger(
            self.folder / LEDGER_FILE, max_share=recipe.faults.max_share, max_count=recipe.faults.max_count
        )
        self.data = digest_of(recipe)
        self.step = self._resume(shapes)
        self.loader = build_loader(
            recipe,
            started.processor,
            started.config,
            rank=processes.rank,
            world_size=processes.size,
            start_step=self.step,
            features=self._features(),
            ledger=self.ledger,
        )
        self.stepper = Stepper(self.strategy, recipe, processes, self.loader.num_steps)
        self.losses: list[float] = []

    def to_the_end(self) -> TrainingResult:
        """Make the steps that are left, save, and write the result."""
        first = self.processes.is_first
        peak = self._peak() if first else None
        log = RunLog(
            self.folder if first else self.folder / f"process-{self.processes.rank}",
            step=self.step,
            num_steps=self.loader.num_steps,
            every=self.recipe.log.every,
            tensorboard=self.recipe.log.tensorboard and first,
            quiet=self.quiet or not first,
        )
        with log:
            self._tell_start(log)
            stopped = self._steps(log, peak)
            if stopped is None and self.step == self.loader.num_steps:
                self._save(log)
                self._write_result(log)
            elif stopped is not None:
                log.event(f"{stopped}: stopped safely after step {self.step}; start the same command to go on")
        return TrainingResult(
            folder=self.folder,
            steps=self.step,
            num_steps=self.loader.num_steps,
            loss_first=self.losses[0] if self.losses else math.nan,
            loss_last=self.losses[-1] if self.losses else math.nan,
            faults=self.ledger.counts,
            stopped=stopped,
        )

    def _steps(self, log: RunLog, peak: float | None) -> str | None:
        """The loop; the signal that ended it, or None at its natural end."""
        steps: Generator[Any] = iter(self.loader)  # type: ignore[assignment]
        with closing(steps):
            return self._make(steps, log, peak)

    def _make(self, steps: Iterator[Any], log: RunLog, peak: float | None) -> str | None:
        bad = 0
        begin = time.perf_counter()
        while self.step < self.loader.num_steps:
            step, fault = _next_of(steps)
            # One answer for all: whoever stops alone would leave the others waiting for it.
            failed, asked = self.processes.max([float(fault is not None), float(bool(self.stop))])
            if failed or asked:
                self._save(log)
                if failed:
                    raise fault or RequestError("Another process of the run stopped; its message says why.")
                return self.stop.signal_name or "a signal to another process"
            assert step is not None
            report = self.stepper(step.number, step.micro_batches)
            self.step = step.number + 1
            self.losses.append(report.loss)
            record = self._record(step, report, time.perf_counter() - begin, peak)
            begin = time.perf_counter()
            log.step(record)
            bad = bad + 1 if report.labels and not report.applied else 0
            if bad == MAX_BAD_STEPS:
                raise RequestError(
                    f"The gradient was not finite in {bad} steps in a row, up to step {self.step}: the training"
                    " diverged; lower the learning rate, lengthen the warm-up, or use precision: fp32."
                )
            if self.recipe.save.every and self.step % self.recipe.save.every == 0:
                self._save(log)
                begin = time.perf_counter()
        return None

    def _record(self, step: Any, report: StepReport, seconds: float, peak: float | None) -> dict[str, Any]:
        tokens, padded, samples, faults, flops = self.processes.sum(
            [step.num_tokens, step.num_padded_positions, step.num_samples, step.num_faults, self._flops(step, report)]
        )
        record: dict[str, Any] = {
            "step": self.step,
            "epoch": round(step.epoch, 6),
            "loss": report.loss,
            "grad_norm": report.grad_norm,
            "lr": report.rates,
            "samples": int(samples),
            "tokens": int(tokens),
            "labels": report.labels,
            "skipped": int(faults),
            "padding_share": round(1 - tokens / padded, 4) if padded else 0.0,
            "seconds": round(seconds, 4),
            "tokens_per_second": round(tokens / seconds, 1),
            "mfu": round(flops / seconds / (peak * self.processes.size), 4) if peak else None,
            "data_wait_share": round(min(1.0, step.wait_seconds / seconds), 4),
            "memory_gb": round(_memory(self.processes.device) / 1e9, 3),
        }
        if report.events:
            record["events"] = list(report.events)
        return record

    def _flops(self, step: Any, report: StepReport) -> float:
        work = [work_of(batch) for batch in step.micro_batches]
        mean = step.num_tokens / max(1, step.num_samples)
        return self.counter.count(
            positions=step.num_tokens,
            lengths=[mean] * step.num_samples,
            labels=report.labels // self.processes.size,
            frames=sum(frames for frames, _ in work),
            sound_steps=sum(steps for _, steps in work),
        )

    def _resume(self, shapes: dict[str, tuple[int, ...]]) -> int:
        """Updates made by the newest state of the folder, which is loaded; 0 where there is none."""
        newest = state.latest(self.folder)
        # All look before anybody writes.
        self.processes.barrier()
        if newest is None:
            return 0
        saved = state.SavedState(newest)
        check_same_run(saved.document, self.recipe, self.data, newest)
        saved.require(shapes)
        self.strategy.load(saved)
        return saved.step

    def _save(self, log: RunLog) -> None:
        if self.step == 0:
            return
        target = state.folder_of(self.folder, self.step)
        if not self.processes.any(target.is_dir()):
            document = {
                "model": self.recipe.model.from_ or f"parts on {self.recipe.model.compose}",
                "recipe": to_dict(self.recipe),
                "data": self.data,
                "num_steps": self.loader.num_steps,
                "processes": self.processes.size,
                "parallel": self.recipe.parallel,
                "faults": self.ledger.counts,
            }
            state.write(self.folder, self.step, self.strategy.slices(), document, self.processes)
            log.event(f"saved {target.name}")
        if self.processes.is_first:
            state.prune(self.folder, self.recipe.save.keep)
        self.processes.barrier()

    def _write_result(self, log: RunLog) -> None:
        target = self.folder / RESULT_FOLDER
        weights = dict(self.strategy.full_weights())
        failed: VideoLLaMA2Error | None = None
        if self.processes.is_first:
            try:
                result.write(self.started, self.recipe, target, weights=weights, overwrite=True)
                log.event(f"the result is in {target}")
            except VideoLLaMA2Error as error:
                failed = error
        if self.processes.any(failed is not None):
            raise failed or RequestError("The first process could not write the result; its message says why.")

    def _tell_start(self, log: RunLog) -> None:
        for note in self.started.notes if self.step == 0 else ():
            log.event(note)
        for name, reason in state.incomplete(self.folder).items() if self.processes.is_first else ():
            log.event(f"{name} is no whole state ({reason}) and is not looked at")
        what = "going on after" if self.step else "starting before"
        log.event(
            f"{what} step {max(1, self.step)} of {self.loader.num_steps}",
            parallel=self.recipe.parallel,
            processes=self.processes.size,
            device=str(self.processes.device),
        )

    def _features(self) -> Any:
        if self.recipe.cache_features is None:
            return None
        from videollama2.training.features import TowerFeatures

        return TowerFeatures(self.recipe.cache_features, self.started.model, self.started.processor)

    def _peak(self) -> float | None:
        return peak_flops(self.processes.device, torch.float32 if self.recipe.precision == "fp32" else torch.bfloat16)


def _next_of(steps: Iterator[Any]) -> tuple[Any, VideoLLaMA2Error | None]:
    """The next step, or the error that the data ended with."""
    try:
        return next(steps), None
    except VideoLLaMA2Error as error:
        return None, error


def _memory(device: torch.device) -> float:
    """Most bytes this process held on its device."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def summary_of(outcome: TrainingResult) -> dict[str, Any]:
    """An outcome as JSON values."""
    return {**asdict(outcome), "folder": str(outcome.folder), "model": str(outcome.model) if outcome.model else None}
