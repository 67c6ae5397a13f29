"""Weight files <-> modules: every official format, LoRA, Base and ours, read, checked, written and converted.

This room alone opens weight files. `load_checkpoint` gives a model that is ready to run, `inspect_checkpoint` says
what a folder is and whether it is sound, the others write.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videollama2.checkpoints.convert import convert_checkpoint
    from videollama2.checkpoints.inspect import Inspection, inspect_checkpoint
    from videollama2.checkpoints.load import LoadedCheckpoint, load_checkpoint
    from videollama2.checkpoints.merge import merge_checkpoint
    from videollama2.checkpoints.resolve import resolve
    from videollama2.checkpoints.tokenizer import load_tokenizer
    from videollama2.checkpoints.verify import WeightReport
    from videollama2.checkpoints.write import export_official, save_checkpoint

_HOMES = {
    "Inspection": "inspect",
    "LoadedCheckpoint": "load",
    "WeightReport": "verify",
    "convert_checkpoint": "convert",
    "export_official": "write",
    "inspect_checkpoint": "inspect",
    "load_checkpoint": "load",
    "load_tokenizer": "tokenizer",
    "merge_checkpoint": "merge",
    "resolve": "resolve",
    "save_checkpoint": "write",
}

__all__ = [
    "Inspection",
    "LoadedCheckpoint",
    "WeightReport",
    "convert_checkpoint",
    "export_official",
    "inspect_checkpoint",
    "load_checkpoint",
    "load_tokenizer",
    "merge_checkpoint",
    "resolve",
    "save_checkpoint",
]


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use: torch and transformers are not loaded before."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
