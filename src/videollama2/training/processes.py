"""The processes of a run: which one this is, what it computes on, and how they agree.

`torchrun` starts them and says so in the environment; without it there is one. What they agree on (counts, stops,
faults) goes over gloo, gradients over NCCL on GPUs and gloo on CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
import torch.distributed as dist

from videollama2.errors import RequestError

# A process that waits longer for the others takes them for dead; a slow save or a long file must fit in.
PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class Processes:
    """One process among those of a run.

    Attributes:
        rank: Its number, from 0.
        size: How many there are.
        device: What it computes on.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this is the one that logs and writes what is written once."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Each value added up over the processes, exact for counts below 2^53."""
        return self._reduce(values, "SUM")

    def max(self, values: Sequence[float]) -> list[float]:
        """The largest of each value."""
        return self._reduce(values, "MAX")

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on any process."""
        return bool(self.max([float(flag)])[0])

    def barrier(self) -> None:
        """Wait until all are here."""
        self.sum([0.0])

    def _reduce(self, values: Sequence[float], how: str) -> list[float]:
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, op=getattr(dist.ReduceOp, how))
        return tensor.tolist()


@contextmanager
def join(parallel: str) -> Iterator[Processes]:
    """Meet the other processes of the run, and part from them at the end.

    Args:
        parallel: The recipe's word; `none` must be alone.

    Raises:
        RequestError: Several processes without a way to work together.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size > 1 and parallel == "none":
        raise RequestError(
            f"{size} processes were started but the recipe says parallel: none, so each would train alone;"
            " add parallel=ddp (or fsdp2, zero2, zero3), or start one process."
        )
    device = _device(int(os.environ.get("LOCAL_RANK", str(rank))))
    # Sharding needs a group even for one process; this one has the address of nobody.
    met_before = dist.is_initialized()
    if not met_before and (size > 1 or parallel in ("fsdp2", "zero2", "zero3")):
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        if "MASTER_PORT" in os.environ or size > 1:
            dist.init_process_group(backend, rank=rank, world_size=size, timeout=PATIENCE)
        else:
            dist.init_process_group(backend, rank=0, world_size=1, store=dist.HashStore())
    try:
        yield Processes(rank=rank, size=size, device=device)
    finally:
        if dist.is_initialized() and not met_before:
            dist.destroy_process_group()


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
