"""Are the weights what they should be? Content of each tensor, and the ledger of names.

A checkpoint that loads is not yet a checkpoint that works: a dropped shard leaves layers at random, a bad disk leaves
zeros, a bad conversion leaves NaN. Each weight is looked at once while it is loaded, and each name is accounted for as
loaded, known and unused, missing, or unexpected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from videollama2.checkpoints.files import some_names
from videollama2.errors import CheckpointError

# Trained weights stay far below this in every dtype; beyond it the bits are not a weight's.
MAX_MAGNITUDE = 1e8

# One value for all of a tensor is right for these: biases and gains as they are born, a LoRA that has not moved yet.
_MAY_BE_ZERO = re.compile(r"(bias|lora_B(\.default)?\.weight|in_proj_bias)$")
_MAY_BE_CONSTANT = re.compile(r"(bias|grep_a|(norm|bn|norm\d?|layrnorm|layernorm)\w*\.weight|weight_g|original0)$")
# Rows of tokens that do not exist are zero in embeddings and heads.
_MAY_END_IN_ZEROS = re.compile(r"(embed_tokens|lm_head|position_embedding|embed_positions|lora_B(\.default)?)\.weight$")


def check_tensor(name: str, tensor: torch.Tensor) -> str | None:
    """Looks at the values of one weight.

    Args:
        name: Its name; tells which constants are right (biases of zero, norm gains of one, a new LoRA's B of zero).
        tensor: Its values, any shape and dtype.

    Returns:
        What is wrong, in a few words, or None.
    """
    if tensor.numel() == 0:
        return "empty"
    if not tensor.dtype.is_floating_point:
        return None
    if tensor.dtype.itemsize == 1:
        tensor = tensor.to(torch.float32)
    flat = tensor.detach().reshape(-1)
    low, high = (float(value) for value in torch.aminmax(flat))
    if low != low or high != high:
        return f"NaN ({int(torch.isnan(flat).sum())} of {flat.numel()} values)"
    if low == -float("inf") or high == float("inf"):
        return f"infinite ({int(torch.isinf(flat).sum())} of {flat.numel()} values)"
    if max(-low, high) > MAX_MAGNITUDE:
        return f"out of range (values up to {max(-low, high):.1e})"
    if low == high:
        if low == 0.0:
            return None if _MAY_BE_ZERO.search(name) else "all zero"
        if flat.numel() > 1 and not _MAY_BE_CONSTANT.search(name):
            return f"constant (every value is {low:g})"
        return None
    # A download into a file of the final size leaves zeros where it stopped.
    if flat.numel() >= 64 and not _MAY_BE_ZERO.search(name) and not _MAY_END_IN_ZEROS.search(name):
        tail = flat[-(flat.numel() // 4) :]
        if float(flat[-1]) == 0.0 and not bool(tail.any()):
            return "its last quarter is zero"
    return None


@dataclass(kw_only=True)
class WeightReport:
    """What became of every weight.

    Attributes:
        loaded: Names of weights of the model that were filled.
        unused: Names in the files that are known and not needed -> why.
        missing: Names of weights of the model that no file has.
        unexpected: Names in the files that nobody knows.
        wrong_shape: Name -> the two shapes.
        bad_content: Name -> what is wrong with its values.
        notes: What was left aside or chosen on the way, in sentences.
    """

    loaded: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    wrong_shape: dict[str, str] = field(default_factory=dict)
    bad_content: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if nothing is missing, unexpected, misshapen or damaged."""
        return not (self.missing or self.unexpected or self.wrong_shape or self.bad_content)

    def faults(self, *, strict: bool = True) -> list[str]:
        """The faults that stop a load, one sentence each. Unexpected names do so only if strict."""
        found = []
        if self.missing:
            found.append(
                f"{len(self.missing)} weights are missing ({_by_part(self.missing)}: {some_names(self.missing)})"
            )
        if self.wrong_shape:
            shown = some_names(f"{name} {what}" for name, what in self.wrong_shape.items())
            found.append(f"{len(self.wrong_shape)} weights have the wrong shape ({shown})")
        if self.bad_content:
            shown = some_names(f"{name} is {what}" for name, what in self.bad_content.items())
            found.append(f"{len(self.bad_content)} weights are damaged ({shown})")
        if self.unexpected and strict:
            found.append(f"{len(self.unexpected)} weights are not of this model ({some_names(self.unexpected)})")
        return found

    @property
    def verdict(self) -> str:
        """One line: good or not, with the counts."""
        counts = f"{len(self.loaded)} weights loaded, {len(self.unused)} known and unused, {len(self.missing)} missing"
        if self.ok:
            return f"good: {counts}"
        return f"bad: {counts}; " + "; ".join(self.faults())

    def raise_faults(self, where: str, *, strict: bool = True) -> None:
        """Stops where something is wrong.

        Args:
            where: Name of the checkpoint, for the message.
            strict: Whether unexpected names are faults.

        Raises:
            CheckpointError: With every kind of fault and the names.
        """
        faults = self.faults(strict=strict)
        if not faults:
            return
        if self.wrong_shape or (self.missing and self.unexpected):
            hint = (
                "the config.json and the weights look as if they came from different checkpoints; compare the folders"
            )
        elif self.missing:
            hint = "the folder is incomplete; download the missing parts or give them with `parts`"
        elif self.bad_content:
            hint = "download or convert the files that hold them again"
        else:
            hint = "pass strict=False to leave them aside"
        raise CheckpointError(f"{where}: " + "; ".join(faults) + f". {hint[0].upper()}{hint[1:]}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "verdict": self.verdict,
            "loaded": len(self.loaded),
            "unused": dict(self.unused),
            "missing": list(self.missing),
            "unexpected": list(self.unexpected),
            "wrong_shape": dict(self.wrong_shape),
            "bad_content": dict(self.bad_content),
            "notes": list(self.notes),
        }


PARTS: Mapping[str, str] = {
    "model.vision_tower.": "vision tower",
    "model.mm_projector.": "connector",
    "model.audio_tower.": "audio tower",
    "model.mm_projector_a.": "audio projector",
    "model.language_model.": "language model",
    "lm_head.": "language model",
}


def part_of(name: str) -> str:
    """Part of the model a weight (by our name) belongs to, in words."""
    return next((part for prefix, part in PARTS.items() if name.startswith(prefix)), "other")


def _by_part(names: list[str]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        counts[part_of(name)] = counts.get(part_of(name), 0) + 1
    return ", ".join(f"{part} {count}" for part, count in counts.items())


__all__ = ["CheckpointError", "WeightReport", "check_tensor", "part_of"]
