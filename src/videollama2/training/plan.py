"""The dry run: what a recipe would train, how much memory it would take, how many steps. Nothing is loaded or written.

The model is built without memory for its weights; sizes come from the files, or are known by name where the files of a
released model are not here.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from videollama2.errors import MissingDependencyError, MissingFilesError
from videollama2.training import parts as model_parts
from videollama2.training.known import known_config
from videollama2.training.memory import Memory, Weight, memory_of
from videollama2.training.recipe import PART_NAMES, Recipe
from videollama2.training.start import check_fits, check_installed, find

# Rows whose text is read to estimate the positions of all.
SAMPLED_ROWS = 200


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run would be.

    Attributes:
        name: Of the recipe.
        model: What it starts from, in words.
        parameters: Part -> all and trained ones.
        memory: Of each process.
        processes: Processes it is planned for.
        parallel: How they share the model.
        rows: Rows of an epoch after weights and limits; None without data.
        steps: Optimiser steps; None where neither data nor `max_steps` say.
        warmup_steps: Of these, with rising learning rate.
        micro_batches: Passes of each process a step, if nothing is packed.
        positions_per_row: Mean of some rows, after the splice; None where it cannot be known.
        state_bytes: One saved state of the run on disk.
        notes: What was assumed.
    """

    name: str
    model: str
    parameters: dict[str, tuple[int, int]]
    memory: Memory
    processes: int
    parallel: str
    rows: int | None
    steps: int | None
    warmup_steps: int | None
    micro_batches: int
    positions_per_row: float | None
    state_bytes: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        plain = asdict(self)
        plain["parameters"] = {part: {"all": a, "trained": t} for part, (a, t) in self.parameters.items()}
        plain["memory"]["total"] = self.memory.total
        return plain

    def render(self) -> str:
        """One table for a terminal."""
        lines = [f"{self.name}: {self.model}", "", f"  {'part':<16}{'parameters':>16}{'trained':>16}"]
        both = self.parameters.values()
        totals = {"all": (sum(count for count, _ in both), sum(trained for _, trained in both))}
        rows = {**self.parameters, **totals}
        lines += [f"  {part:<16}{count:>16,}{trained:>16,}" for part, (count, trained) in rows.items()]
        shared = f"{self.processes} x {self.parallel}" if self.processes > 1 else "1 process"
        lines += ["", f"  memory of each process ({shared})"]
        estimates = {"gathered": " (estimate)", "activations": " (estimate)"}
        for kind in ("weights", "gradients", "optimizer", "gathered", "activations", "total"):
            size = getattr(self.memory, kind)
            if size or kind != "gathered":
                lines.append(f"  {kind:<16}{size / 2**30:>12.2f} GiB{estimates.get(kind, '')}")
        lines += ["", f"  rows an epoch    {_or_unknown(self.rows)}"]
        warmup = f" ({self.warmup_steps} of warm-up)" if self.steps is not None else ""
        lines.append(f"  steps            {_or_unknown(self.steps)}{warmup}, {self.micro_batches} micro-batches each")
        if self.positions_per_row is not None:
            lines.append(f"  positions a row  {self.positions_per_row:,.0f} on average")
        lines.append(f"  a saved state    {self.state_bytes / 2**30:.2f} GiB on disk")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def plan(recipe: Recipe, *, processes: int | None = None, offline: bool | None = None) -> Plan:
    """Plans a run.

    Args:
        recipe: The recipe.
        processes: How many; None: those torchrun started, or the recipe's.
        offline: No downloads; None: as HF_HUB_OFFLINE says. A dry run downloads no weights of models known by name.

    Raises:
        MissingFilesError: Files of a model that is not known by name are missing.
        CheckpointError: The checkpoint cannot be trained so.
        RequestError: The recipe trains a part the model does not have, or its data are not there.
    """
    from videollama2.training.schedule import rate

    count = processes or int(os.environ.get("WORLD_SIZE", "0")) or recipe.processes
    config, processor, notes = _model_of(recipe, offline)
    weights = weights_of(recipe, config)
    rows, steps = _steps_of(recipe)
    if rows is None:
        notes.append("the recipe names no data; give data.0.path=ROWS.json data.0.folder=MEDIA")
    try:
        check_installed(recipe)
    except MissingDependencyError as error:
        notes.append(str(error))
    has_experts = hasattr(config.text_config, "num_local_experts")
    if recipe.lora is not None and has_experts:
        notes.append("experts are stacked weights, no linear layers: LoRA leaves them as they are")
    warmup = None
    if steps is not None:
        schedule = recipe.schedule
        warmup = math.ceil(schedule.warmup_ratio * steps)
        # Raises for a kind of schedule there is not.
        rate(0, steps, warmup_ratio=schedule.warmup_ratio, kind=schedule.kind)
    learning = [weight for weight in weights if weight.trained]
    parameters = {
        part: (
            sum(w.numel for w in weights if w.part == part),
            sum(w.numel for w in learning if w.part == part),
        )
        for part in PART_NAMES
        if any(w.part == part for w in weights)
    }
    item = 2 if recipe.precision == "bf16-pure" else 4
    return Plan(
        name=recipe.name,
        model=recipe.model.from_ or f"parts on {recipe.model.compose.language_model}",  # type: ignore[union-attr]
        parameters=parameters,
        memory=memory_of(weights, recipe, config, count),
        processes=count,
        parallel=recipe.parallel,
        rows=rows,
        steps=steps,
        warmup_steps=warmup,
        micro_batches=math.ceil(recipe.batch.samples / (recipe.batch.micro * count)),
        positions_per_row=_mean_positions(recipe, config, processor) if processor is not None and rows else None,
        state_bytes=3 * item * sum(w.numel for w in learning),
        notes=tuple(notes),
    )


def weights_of(recipe: Recipe, config: Any) -> list[Weight]:
    """Every weight of a recipe's model with LoRA's, and what is done with it; nothing is loaded.

    Raises:
        RequestError: The recipe trains a part the model does not have.
    """
    from videollama2.checkpoints.load import build_empty

    model = build_empty(config)
    lora = recipe.lora
    if recipe.num_frames is not None:
        config.num_frames = recipe.num_frames
    parts = model_parts.check_parts(model, recipe)
    linear = set(model_parts.linear_layers(model)) if lora is not None else set()
    weights = [
        Weight(
            part=part,
            name=name,
            shape=tuple(parameter.shape),
            trained=part in recipe.train and recipe.train[part].lora is None,
            quantized=recipe.quantize is not None and name.removesuffix(".weight") in linear,
        )
        for part, pairs in parts.items()
        for name, parameter in pairs
    ]
    shapes: dict[str, tuple[int, ...]]
    for name in sorted(linear):
        layer = model.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        assert lora is not None
        shapes = {"lora_A": (lora.r, layer.in_features), "lora_B": (layer.out_features, lora.r)}
        if lora.dora:
            shapes["lora_magnitude_vector"] = (layer.out_features,)
        weights += [
            Weight(part="language_model", name=f"{name}.{factor}.default.weight", shape=shape, trained=True)
            for factor, shape in shapes.items()
        ]
    return weights


def _model_of(recipe: Recipe, offline: bool | None) -> tuple[Any, Any, list[str]]:
    """Configuration, processor (None where files are not here) and notes of a recipe's model."""
    from videollama2.checkpoints import hub
    from videollama2.training.data.model import model_of_files

    known = known_config(recipe)
    try:
        # What is known by name is not fetched only to count it.
        resolved, _ = find(recipe, offline=True if known is not None else hub.is_offline(offline))
    except MissingFilesError:
        if known is None:
            raise
        return known, None, ["sizes known by name; the files are not here and were not looked at"]
    check_fits(recipe, resolved)
    processor, config = model_of_files(resolved)
    return config, processor, [*resolved.notes]


def _steps_of(recipe: Recipe) -> tuple[int | None, int | None]:
    """Rows of an epoch and steps of the run."""
    from videollama2.training.data.plan import num_steps
    from videollama2.training.data.sources import open_sources

    if not recipe.data:
        return None, recipe.schedule.max_steps
    mixture = open_sources(recipe.data, captions=recipe.labels == "plain").mixture(recipe.seed)
    schedule = recipe.schedule
    steps = num_steps(mixture.epoch_size, recipe.batch.samples, epochs=schedule.epochs, max_steps=schedule.max_steps)
    return mixture.epoch_size, steps


def _mean_positions(recipe: Recipe, config: Any, processor: Any) -> float | None:
    """Mean positions of rows taken evenly from the data; rows with faults are left to `videollama2 data check`."""
    from videollama2.training.data.encode import RowEncoder
    from videollama2.training.data.loader import encode_options
    from videollama2.training.data.rows import RowFaultError
    from videollama2.training.data.sources import open_sources

    sources = open_sources(recipe.data, captions=recipe.labels == "plain")
    encoder = RowEncoder(processor, config, encode_options(recipe, config))
    lengths = []
    for number in range(0, len(sources), max(1, len(sources) // SAMPLED_ROWS)):
        row, _ = sources.parse(number)
        if row is None:
            continue
        try:
            lengths.append(encoder.text(row).num_positions)
        except RowFaultError:
            continue
    return sum(lengths) / len(lengths) if lengths else None


def _or_unknown(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"
