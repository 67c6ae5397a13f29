"""Whether a saved state belongs to a recipe: the same model, data and sizes, whatever computes them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videollama2.errors import CheckpointError, RequestError
from videollama2.training.recipe import Recipe, to_dict

# What may change between a stop and going on: how it is computed, where it is written, not what is learnt.
FREE = {
    "name",
    "about",
    "parallel",
    "processes",
    "workers",
    "save",
    "log",
    "faults",
    "cache_features",
    "gradient_checkpointing",
    "batch.micro",
    "batch.group_by_length",
}
_BLOCK = 1 << 22


def digest_of(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of each data file of a recipe, by its path as given.

    Raises:
        RequestError: A file is missing.
    """
    return {entry.path: _sha256(Path(entry.path).expanduser()) for entry in recipe.data}


def check_same_run(document: Mapping[str, Any], recipe: Recipe, data: Mapping[str, str], path: Path) -> None:
    """Compare a state's document with the run that would go on from it.

    Args:
        document: Of the state.
        recipe: Of the run.
        data: `digest_of` the recipe.
        path: The state's folder, for the message.

    Raises:
        CheckpointError: Naming what differs, and both values.
    """
    there, here = _flat(document["recipe"]), _flat(to_dict(recipe))
    # The model first: a user who took the wrong folder wants to read that.
    keys = sorted(there.keys() | here.keys(), key=lambda key: (not key.startswith("model"), key))
    differ = [key for key in keys if not _is_free(key) and there.get(key) != here.get(key)]
    if differ:
        said = "; ".join(f"{key} was {there.get(key)!r} and is {here.get(key)!r}" for key in differ[:3])
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise CheckpointError(
            f"{path} is the state of another run: {said}{more}; set it back, or start in another save.folder."
        )
    changed = [name for name, digest in data.items() if document["data"].get(name) != digest]
    if changed:
        raise CheckpointError(
            f"{changed[0]} is not the file that {path} was trained on (its content changed); bring it back, or start in"
            " another save.folder."
        )


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)  # type: ignore[assignment]
    else:
        return {prefix: value}
    flat: dict[str, Any] = {}
    for key, inner in items:
        flat.update(_flat(inner, f"{prefix}.{key}" if prefix else str(key)))
    return flat


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise RequestError(f"The data file {path} cannot be read ({error}); correct its path in the recipe.") from error
    return digest.hexdigest()
