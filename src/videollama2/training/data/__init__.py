"""Training data: files of rows -> a fixed order -> steps -> batches, the same on any number of processes.

`rows` and `sources` read the official rows, `mixture` orders them, `encode` turns one into tensors, `lengths`,
`packing` and `plan` decide which rows pass together, `loader` delivers steps, `ledger` keeps what could not be used and
`check` looks at everything before a run.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Ledger", "Step", "StepLoader", "build_loader", "check_data"]

_HOMES = {
    "Ledger": "ledger",
    "Step": "loader",
    "StepLoader": "loader",
    "build_loader": "loader",
    "check_data": "check",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first used: decode workers need none of the loader."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
