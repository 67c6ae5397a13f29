"""Steps for one process: samples decoded ahead by workers, in order, with bounded memory; faults go to the ledger.

Everything a step holds follows from its number alone, so a loader that starts at step k gives the tail of one that
started at 0, with any number of workers. At most `workers * PREFETCH` micro-batches wait at any time, besides the step
that is being put together.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videollama2.errors import RequestError
from videollama2.training.data.collate import Batch, collate_rows, filler_batch
from videollama2.training.data.encode import EncodeOptions, RowEncoder
from videollama2.training.data.ledger import Entry, Ledger
from videollama2.training.data.plan import Grouping, StepOrder, num_steps
from videollama2.training.data.planner import Planner
from videollama2.training.data.sources import Sources, open_sources
from videollama2.training.data.worker import Made, MicroBatchMaker, delivered

# Micro-batches that each worker may have ready or in hand.
PREFETCH = 2
# Seconds without any micro-batch after which a worker counts as hung.
DEADLINE = 900.0


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one process computes in one optimiser step.

    Attributes:
        number: From 0.
        epoch: Epochs done when the step is done.
        micro_batches: Keyword arguments of `forward`, equally many on every process.
        num_label_tokens: Tokens learnt from in these micro-batches (this process; add up over processes).
        num_tokens: Positions after the splice that hold something (this process).
        num_samples: Samples delivered (this process).
        num_padded_positions: Positions computed, padding included (this process).
        num_faults: Samples of these micro-batches that could not be used.
        wait_seconds: Time spent waiting for data.
        rows: Row numbers of the samples in each micro-batch.
        events: What was cut, padded, resampled or left out, by row number.
    """

    number: int
    epoch: float
    micro_batches: list[Batch]
    num_label_tokens: int
    num_tokens: int
    num_samples: int
    num_padded_positions: int
    num_faults: int
    wait_seconds: float
    rows: tuple[tuple[int, ...], ...] = ()
    events: dict[int, tuple[str, ...]] = field(default_factory=dict)


class StepLoader:
    """Iterates over the steps that are left; made by `build_loader`.

    Args:
        sources: The rows.
        encoder: Rows to tensors.
        order: Samples of each step.
        grouping: Micro-batches of a step.
        num_steps: Steps of the whole run.
        start_step: First step given.
        rank: This process.
        world_size: All of them.
        workers: Decode processes; 0 decodes in this one.
        features: `training.features.TowerFeatures`, or None.
        ledger: Where rows that cannot be used are written down.
        deadline: Seconds after which a silent worker stops the run.
    """

    def __init__(
        self,
        sources: Sources,
        encoder: RowEncoder,
        order: StepOrder,
        grouping: Grouping,
        *,
        num_steps: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        features: Any = None,
        ledger: Ledger | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        if not 0 <= rank < world_size:
            raise RequestError(f"rank {rank} is not below world_size {world_size}; give 0 to world_size - 1.")
        if not 0 <= start_step <= num_steps:
            raise RequestError(f"start_step {start_step} lies outside the {num_steps} steps of the run.")
        self.sources, self.encoder, self.order, self.grouping = sources, encoder, order, grouping
        self.num_steps, self.start_step = num_steps, start_step
        self.rank, self.world_size = rank, world_size
        self.workers, self.features, self.deadline = workers, features, deadline
        self.ledger = Ledger(max_share=1.0, max_count=len(sources)) if ledger is None else ledger

    def __len__(self) -> int:
        """Steps left."""
        return self.num_steps - self.start_step

    @property
    def num_rows(self) -> int:
        """Samples of an epoch."""
        return self.order.mixture.epoch_size

    def digests(self) -> dict[str, str]:
        """SHA-256 of every data file."""
        return self.sources.digests()

    def __iter__(self) -> Iterator[Step]:
        """Give the steps in order.

        Raises:
            TooManyFaultsError: More rows cannot be used than the ledger allows.
            RequestError: A worker died or hangs.
        """
        steps = range(self.start_step, self.num_steps)
        with Planner(self.sources, self.encoder, self.order, self.grouping, self.rank, self.world_size) as planner:
            maker = MicroBatchMaker(self.sources, self.encoder, self.grouping.packing, collate=self.features is None)
            made = delivered(maker, planner.tasks(steps), self.workers, PREFETCH, self.deadline)
            for number in steps:
                yield self._step(number, planner, made)

    def _step(self, number: int, planner: Planner, made: Iterator[Made]) -> Step:
        begin = time.perf_counter()
        plan = planner.plan(number)
        waited = time.perf_counter() - begin
        epoch = number // self.order.steps_per_epoch
        faults = list(plan.faults) if self.rank == 0 else []
        parts: list[Made] = []
        batches: list[Batch] = []
        for _ in plan.micro_batches:
            begin = time.perf_counter()
            part = next(made)
            waited += time.perf_counter() - begin
            batches.append(self._batch(part))
            parts.append(part)
            faults += part.faults
        for fault in faults:
            self.ledger.record(Entry(**fault, epoch=epoch, step=number))
        self.ledger.check(self.num_rows)
        return Step(
            number=number,
            epoch=(number + 1) / self.order.steps_per_epoch,
            micro_batches=batches,
            num_label_tokens=sum(part.num_label_tokens for part in parts),
            num_tokens=sum(part.num_tokens for part in parts),
            num_samples=sum(len(part.rows) for part in parts),
            num_padded_positions=sum(part.num_padded_positions for part in parts),
            num_faults=len(faults),
            wait_seconds=waited,
            rows=tuple(part.rows for part in parts),
            events={row: events for part in parts for row, events in part.events.items()},
        )

    def _batch(self, part: Made) -> Batch:
        pad, packed = self.encoder.tokenizer.pad_token_id, self.grouping.packing
        if not part.rows:
            return filler_batch(pad, packed=packed)
        if part.batch is not None:
            return part.batch
        assert part.samples is not None
        for row in part.samples:
            self.features.complete(row)
        return collate_rows(part.samples, pad_token_id=pad, packed=packed)


def build_loader(
    recipe: Any,
    processor: Any,
    config: Any,
    *,
    rank: int = 0,
    world_size: int = 1,
    start_step: int = 0,
    features: Any = None,
    ledger: Ledger | str | Path | None = None,
) -> StepLoader:
    """The loader of a recipe.

    Args:
        recipe: `training.recipe.Recipe`: its data, labels, sizes, batch, schedule, workers and seed are used.
        processor: `VideoLLaMA2Processor` of the model.
        config: `VideoLLaMA2Config` of the model.
        rank: This process.
        world_size: All of them.
        start_step: Where to go on; 0 begins.
        features: `training.features.TowerFeatures`, where features of frozen towers are kept.
        ledger: A `Ledger`, or the file for one with the recipe's limits, or None for one in memory.

    Raises:
        RequestError: Files are missing, or the recipe does not fit the model.
    """
    if not isinstance(ledger, Ledger):
        ledger = Ledger(ledger, max_share=recipe.faults.max_share, max_count=recipe.faults.max_count)
    sources = open_sources(recipe.data, captions=recipe.labels == "plain")
    options = encode_options(recipe, config)
    batch, schedule = recipe.batch, recipe.schedule
    order = StepOrder(mixture=sources.mixture(recipe.seed), samples=batch.samples)
    grouping = Grouping(
        micro=batch.micro,
        max_tokens=options.max_tokens,
        packing=batch.packing,
        by_length=batch.group_by_length,
    )
    total = num_steps(order.mixture.epoch_size, batch.samples, epochs=schedule.epochs, max_steps=schedule.max_steps)
    known = features.index if features is not None else None
    return StepLoader(
        sources,
        RowEncoder(processor, config, options, known),
        order,
        grouping,
        num_steps=total,
        start_step=start_step,
        rank=rank,
        world_size=world_size,
        workers=recipe.workers,
        features=features,
        ledger=ledger,
    )


def encode_options(recipe: Any, config: Any) -> EncodeOptions:
    """What of a recipe decides about the numbers of a sample; where it says no number of frames, the model does."""
    return EncodeOptions(
        labels=recipe.labels,
        branch=recipe.branch,
        pad=recipe.pad_frames,
        num_frames=recipe.num_frames or int(config.num_frames),
        sound_of_video=recipe.sound_of_video,
        max_tokens=recipe.max_tokens,
    )
