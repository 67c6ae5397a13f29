"""All tensors a checkpoint is made of, by canonical name: its own files over its towers' over the language model's.

A Base checkpoint is a connector on a tower and a plain LLM; a LoRA checkpoint is changes on top of that. Here they
become one table, the upper file winning, with a note of what it replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from videollama2.checkpoints import keymaps
from videollama2.checkpoints.files import WeightSet
from videollama2.checkpoints.headers import TensorEntry
from videollama2.checkpoints.lora import Adapter, open_adapter
from videollama2.checkpoints.resolve import Resolved
from videollama2.errors import CheckpointError


@dataclass(kw_only=True)
class Sources:
    """Where each weight is, by canonical name.

    Attributes:
        table: Canonical name -> file set and the name in it.
        adapter: LoRA to add on the way, or None.
        notes: What was replaced or left aside.
    """

    table: dict[str, tuple[WeightSet, str]] = field(default_factory=dict)
    adapter: Adapter | None = None
    notes: list[str] = field(default_factory=list)

    def entry(self, name: str) -> TensorEntry:
        """What the header says of a canonical name."""
        weights, raw = self.table[name]
        return weights[raw]

    def load(self, name: str) -> torch.Tensor:
        """Reads one weight as it lies on disk, without the LoRA."""
        weights, raw = self.table[name]
        return weights.load(raw)

    def merged(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """Adds the LoRA to a weight: in fp32 where it has one, else as it is.

        Raises:
            CheckpointError: If the LoRA is for a weight of another size.
        """
        delta = self.adapter.delta(name) if self.adapter is not None else None
        if delta is None:
            return tensor
        if delta.shape != tensor.shape:
            raise CheckpointError(
                f"The LoRA of {name} is for a weight of {list(delta.shape)}, the base has {list(tensor.shape)}; "
                "give the base it was trained on with parts={'language_model': ...}."
            )
        assert self.adapter is not None
        return self.adapter.rescale(name, tensor.float() + delta)

    def add(self, weights: WeightSet, origin: str, *, what: str) -> None:
        """Lays a file set over what is there.

        Args:
            weights: The files.
            origin: Kind of names, see `keymaps.canonical_name`.
            what: What it is, for the note on replaced weights.
        """
        replaced = 0
        for raw in weights:
            name = keymaps.canonical_name(raw, origin)
            replaced += name in self.table
            self.table[name] = (weights, raw)
        if replaced:
            self.notes.append(f"{what} replaces {replaced} weights of what lies beneath it")

    def add_tensors(self, tensors: Mapping[str, torch.Tensor], *, what: str) -> None:
        """Lays tensors in memory, by canonical name, over what is there.

        Args:
            tensors: Canonical name -> values.
            what: What they are, for the note.
        """
        place = Path(what)
        entries = {
            name: TensorEntry(name=name, shape=tuple(tensor.shape), dtype=tensor.dtype, file=place)
            for name, tensor in tensors.items()
        }
        weights = WeightSet(entries=entries, _open={place: dict(tensors)})
        self.table.update({name: (weights, name) for name in tensors})
        self.notes.append(what)

    def bias_copies(self) -> list[str]:
        """Canonical names of all copies of BEATs' shared position bias."""
        return [n for n in self.table if n.startswith(keymaps.AUDIO) and n.endswith("relative_attention_bias.weight")]


def gather(resolved: Resolved) -> Sources:
    """Opens all files of a checkpoint and lays them over each other.

    Args:
        resolved: The files.

    Raises:
        CheckpointError: If a file is damaged.
    """
    detected = resolved.detected
    sources = gather(resolved.base) if resolved.base is not None else Sources()
    sources.notes.extend(resolved.notes)
    if sources.adapter is not None and detected.adapter is not None:
        raise CheckpointError(
            f"{detected.path} is a LoRA on top of another LoRA; merge the lower one first with `videollama2 merge`."
        )
    if resolved.language_model.files:
        llm = WeightSet.open(resolved.language_model.files, index=resolved.language_model.index)
        sources.add(llm, keymaps.LLM_FOLDER, what="the language model")
    if resolved.vision is not None and resolved.vision.weights.files:
        tower = WeightSet.open(resolved.vision.weights.files, index=resolved.vision.weights.index)
        sources.add(tower, keymaps.VISION_FOLDER, what="the vision tower")
    if resolved.audio is not None and resolved.audio.weights.files:
        sources.add(WeightSet.open(resolved.audio.weights.files), keymaps.AUDIO_FILE, what="the audio tower")
    if detected.weights.files:
        own = WeightSet.open(detected.weights.files, index=detected.weights.index)
        sources.add(own, keymaps.CHECKPOINT, what="the checkpoint")
    for path in (*detected.connectors, *([detected.non_lora] if detected.non_lora is not None else [])):
        sources.add(WeightSet.open([path]), keymaps.CHECKPOINT, what=path.name)
    if detected.adapter is not None:
        _add_adapter(sources, resolved)
    return sources


def _add_adapter(sources: Sources, resolved: Resolved) -> None:
    detected = resolved.detected
    assert detected.adapter is not None
    adapter = open_adapter(WeightSet.open([detected.adapter]), detected.adapter_config or {})
    lost = [name for name in adapter.pairs if name not in sources.table]
    if lost:
        raise CheckpointError(
            f"The LoRA in {detected.path} changes {len(lost)} weights its base does not have (first: {lost[0]}); "
            "give the base it was trained on with parts={'language_model': ...}."
        )
    for name, raw in adapter.others.items():
        sources.table[name] = (adapter.weights, raw)
    sources.adapter = adapter
