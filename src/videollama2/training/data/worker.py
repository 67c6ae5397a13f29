"""Decode workers: tasks in, finished micro-batches out, in the order of the tasks."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from videollama2.errors import RequestError
from videollama2.training.data.collate import Batch, collate_rows
from videollama2.training.data.encode import Encoded, RowEncoder
from videollama2.training.data.parallel import context
from videollama2.training.data.planner import Task, fault_entry
from videollama2.training.data.rows import RowFaultError
from videollama2.training.data.sources import Sources

# Seconds between looks at whether the workers still live.
_POLL = 5.0


@dataclass(kw_only=True)
class Made:
    """A micro-batch, or the samples of one whose features the main process has to complete.

    Attributes:
        batch: Collated; None where `samples` are given or nothing is left.
        samples: Samples of each row.
        rows: Numbers of the rows it holds; empty where all were faulty or there were none.
        faults: Entries for the ledger.
        events: By row number.
        num_label_tokens: Tokens learnt from.
        num_tokens: Positions after the splice.
        num_padded_positions: Positions computed.
    """

    batch: Batch | None = None
    samples: list[list[Encoded]] | None = None
    rows: tuple[int, ...] = ()
    faults: list[dict[str, Any]] = field(default_factory=list)
    events: dict[int, tuple[str, ...]] = field(default_factory=dict)
    num_label_tokens: int = 0
    num_tokens: int = 0
    num_padded_positions: int = 0


class MicroBatchMaker(Dataset):
    """Makes the micro-batch of a task; a copy of it lives in every worker.

    Args:
        sources: The rows.
        encoder: Rows to tensors.
        packed: Several samples share a row.
        collate: Give a batch; else samples.
    """

    def __init__(self, sources: Sources, encoder: RowEncoder, packed: bool, *, collate: bool = True) -> None:
        self.sources, self.encoder, self.packed, self.collate = sources, encoder, packed, collate

    def __getitem__(self, task: Task) -> Made:
        """Read, decode and encode the samples; one that cannot be used leaves its place empty."""
        made = Made()
        rows: list[list[Encoded]] = []
        for numbers in task.rows:
            kept = [sample for number in numbers if (sample := self._sample(number, made)) is not None]
            if kept:
                rows.append(kept)
        samples = [sample for row in rows for sample in row]
        if not samples:
            return made
        made.rows = tuple(sample.number for sample in samples)
        made.events = {sample.number: sample.events for sample in samples if sample.events}
        made.num_label_tokens = sum(sample.num_label_tokens for sample in samples)
        made.num_tokens = sum(sample.num_positions for sample in samples)
        made.num_padded_positions = len(rows) * max(sum(sample.num_positions for sample in row) for row in rows)
        if self.collate:
            made.batch = collate_rows(rows, pad_token_id=self.encoder.tokenizer.pad_token_id, packed=self.packed)
        else:
            made.samples = rows
        return made

    def _sample(self, number: int, made: Made) -> Encoded | None:
        row, faults = self.sources.parse(number)
        if row is None:
            made.faults.append(fault_entry(self.sources, number, "row", None, faults[0]))
            return None
        stage = "text"
        try:
            self.encoder.text(row)
            stage = "media"
            return self.encoder.encode(row, number)
        except RowFaultError as error:
            made.faults.append(fault_entry(self.sources, number, stage, row.id, error.fault))
            return None


def delivered(
    maker: MicroBatchMaker, tasks: Iterable[Task], workers: int, prefetch: int, deadline: float
) -> Iterator[Made]:
    """Make the micro-batches of tasks, ahead and in order.

    Args:
        maker: Copied to every worker.
        tasks: Read only as far as workers have room: `workers * prefetch` ahead.
        workers: Processes; 0 works in this one.
        prefetch: Micro-batches for each worker.
        deadline: Seconds without a micro-batch after which the run stops.

    Raises:
        RequestError: A worker died or is silent.
    """
    if workers == 0:
        for task in tasks:
            yield maker[task]
        return
    loader = DataLoader(
        maker,
        sampler=tasks,  # type: ignore[arg-type]
        batch_size=None,
        collate_fn=_as_it_is,  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=prefetch,
        timeout=min(_POLL, deadline),
        worker_init_fn=_start_worker,
        multiprocessing_context=context(),
    )
    iterator = iter(loader)
    silent_since = time.monotonic()
    while True:
        try:
            made = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader" not in str(error):
                raise
            # torch looks whether workers live only when the time is up; a live one may go on until the deadline.
            if "timed out" in str(error) and time.monotonic() - silent_since < deadline:
                continue
            # They do not listen to SIGTERM, and this process could not end before a hung one.
            for process in getattr(iterator, "_workers", ()):
                process.kill()
            sentence = " ".join(str(error).split())
            raise RequestError(
                f"A decode worker died or hung ({sentence}); use fewer workers, give the machine more shared memory"
                " (/dev/shm), or find the file with 'videollama2 data check --decode'."
            ) from error
        yield made
        silent_since = time.monotonic()


def _as_it_is(made: Made) -> Made:
    return made


def _start_worker(_: int) -> None:
    # Signals are for the main process, which finishes its step first and then lets the workers go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
