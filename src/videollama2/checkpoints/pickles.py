"""PyTorch pickles (`.bin`, `.pt`, `.pth`): the one place that reads them, with `weights_only=True`, never otherwise.

A pickle can run code when it is opened. Torch's restricted reader knows tensors and plain containers only; a file
that holds anything else is refused, not trusted.
"""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from videollama2.checkpoints.headers import disguised_as
from videollama2.errors import CheckpointError


def read_pickle(path: Path) -> Any:
    """Reads a torch pickle; tensors stay on disk (memory-mapped) where the file's format allows it.

    Args:
        path: The file.

    Returns:
        What was saved: tensors in dicts and lists, on the CPU.

    Raises:
        CheckpointError: If the file is empty, cut, no pickle, or holds more than tensors and plain containers.
    """
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path.name} is damaged: the file is empty; download or copy it again ({path}).")
    if (disguise := disguised_as(path)) is not None:
        raise CheckpointError(f"{path.name} is {disguise} ({path}).")
    # Only the zip format (torch >= 1.6) can be mapped; older files are one pickle stream.
    is_zip = zipfile.is_zipfile(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise CheckpointError(
                f"{path.name} is refused: it holds Python objects besides tensors, and opening those can run code; "
                f"have it saved again as safetensors by someone who trusts it ({path})."
            ) from error
        raise _damaged(path) from error
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, UnicodeDecodeError, IndexError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} is damaged: it is not a whole torch file ({path.stat().st_size} bytes); "
        f"download or copy it again ({path})."
    )


def tensors_of(path: Path, content: Any) -> dict[str, torch.Tensor]:
    """The state dict inside what a pickle held: the dict itself, or its `model` / `state_dict` entry.

    Raises:
        CheckpointError: If no dict of tensors is found.
    """
    for candidate in (content, *(content.get(key) for key in ("model", "state_dict") if isinstance(content, dict))):
        if not isinstance(candidate, dict) or not candidate:
            continue
        if all(isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in candidate.items()):
            return candidate
    raise CheckpointError(f"{path.name} holds no tensors by name, so it is not a weight file ({path}).")
