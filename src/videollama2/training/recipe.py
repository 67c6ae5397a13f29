"""Recipes: what is trained, from what, on what and how, as one frozen object read from a short YAML file.

A recipe ships with the package (`load("videollama2.1-7b/video-2")`) or is a file of the user's; `extends: NAME` takes
another one as its ground, and `key=value` words change single values. Nothing is guessed: an unknown key, a value of
the wrong type or out of its range is an error that names the key, the file and what would be right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from videollama2.errors import RequestError
from videollama2.training.recipe_reading import (
    between,
    merge,
    nearest,
    one_of,
    plain,
    positive,
    read_dataclass,
    read_overrides,
    read_yaml,
)

PART_NAMES = ("vision_tower", "connector", "audio_tower", "audio_projector", "language_model")
LABELS = ("plain", "chat")
BRANCHES = ("main", "audio_visual")
PRECISIONS = ("fp32", "bf16", "bf16-pure")
PARALLEL = ("none", "ddp", "fsdp2", "zero2", "zero3")
SCHEDULES = ("cosine", "linear", "constant")
RECIPES = Path(__file__).with_name("recipes")


@dataclass(frozen=True, kw_only=True)
class Compose:
    """A model put together of parts that were never trained together.

    Attributes:
        language_model: Folder or hub id of a plain language model (Mistral, Mixtral, Qwen2, Llama, Gemma2, Phi3).
        vision_tower: Folder or hub id of CLIP or SigLIP; None: no eyes.
        audio_tower: BEATs' own `.pt` file, or its weights cut out of a checkpoint; None: no ears.
        connector: Connector type, see `model.connectors`.
        num_frames: Frames of a video, 1 to 32.
    """

    language_model: str
    vision_tower: str | None = None
    audio_tower: str | None = None
    connector: str = "stc_connector_v35"
    num_frames: int = 16

    def __post_init__(self) -> None:
        between("model.compose.num_frames", self.num_frames, 1, 32)


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What the run starts from: a checkpoint (`from`) or parts (`compose`), one of the two.

    Attributes:
        from_: Folder or hub id of a full, Base or LoRA checkpoint; `from` in the file.
        compose: Parts to put together.
        connector_weights: `mm_projector` file (or its folder) of stage 1, in place of the connector's weights.
        audio_projector_weights: `mm_projector_a` file (or its folder), likewise.
        audio_tower: BEATs file that gives a checkpoint without ears its audio tower, or replaces the one it has.
        parts: Places of parts a checkpoint names by hub id (`vision_tower`, `audio_tower`, `language_model`,
            `tokenizer`).
    """

    from_: str | None = None
    compose: Compose | None = None
    connector_weights: str | None = None
    audio_projector_weights: str | None = None
    audio_tower: str | None = None
    parts: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if (self.from_ is None) == (self.compose is None):
            raise RequestError("model needs one of `from` (a checkpoint) and `compose` (parts); give exactly one.")
        if self.compose is not None and self.audio_tower is not None:
            raise RequestError(
                "model.audio_tower is for a checkpoint given by `from`; write model.compose.audio_tower."
            )


@dataclass(frozen=True, kw_only=True)
class Lora:
    """LoRA on the language model's linear layers (not its head).

    Attributes:
        r: Rank, at least 1.
        alpha: The change is scaled by alpha / r; more than 0.
        dropout: Share of the layers' inputs that LoRA does not see in a step, 0 to 1.
        dora: Weight-decomposed LoRA: a trained length for each output.
        quantize: `nf4` keeps the frozen language model in 4 bits (QLoRA); None leaves it.
    """

    r: int = 128
    alpha: float = 256.0
    dropout: float = 0.05
    dora: bool = False
    quantize: str | None = None

    def __post_init__(self) -> None:
        between("lora.r", self.r, 1, 4096)
        positive("lora.alpha", self.alpha)
        between("lora.dropout", self.dropout, 0.0, 0.999)
        if self.quantize is not None:
            one_of("lora.quantize", self.quantize, ("nf4",))


@dataclass(frozen=True, kw_only=True)
class TrainPart:
    """How one part of the model is trained; in the file a number alone is its learning rate.

    Attributes:
        lr: Peak learning rate, 0 to 1; 0 is frozen by another name and refused.
        lora: LoRA in place of the weights themselves; the language model only.
    """

    lr: float
    lora: Lora | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.lr) and 0.0 < self.lr < 1.0):
            raise RequestError(f"lr is {self.lr}; choose a number between 0 and 1 (a part not named is frozen).")


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """One file of rows.

    Attributes:
        path: JSON, JSONL or Parquet file of rows in the official form.
        folder: Folder the rows' media paths are relative to; None: the file's own.
        weight: How often each row is seen in an epoch; 0.5 is half of them, 2 is each twice. More than 0.
        limit: Rows taken from the beginning; None: all.
        ignore_keys: Keys of the rows that mean nothing to training; any other unknown key is a fault.
    """

    path: str
    folder: str | None = None
    weight: float = 1.0
    limit: int | None = None
    ignore_keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        positive("data.weight", self.weight)
        if self.limit is not None:
            between("data.limit", self.limit, 1, 10**12)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """How rows become batches.

    Attributes:
        samples: Rows of one optimiser step, over all processes.
        micro: Rows of one forward pass on one process; with packing: packs.
        packing: Put several rows into one sequence of at most `max_tokens` positions.
        group_by_length: Rows of like length together, so that little is padded; not with packing.
    """

    samples: int = 128
    micro: int = 4
    packing: bool = False
    group_by_length: bool = True

    def __post_init__(self) -> None:
        between("batch.samples", self.samples, 1, 10**7)
        between("batch.micro", self.micro, 1, 10**5)
        if self.micro > self.samples:
            raise RequestError(
                f"batch.micro is {self.micro} and batch.samples {self.samples}; choose micro <= samples."
            )


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Optimiser (AdamW) and learning rate over the run.

    Attributes:
        epochs: Times through the data; may be a fraction. More than 0.
        max_steps: Optimiser steps after which the run ends, and over which the schedule is stretched; None: by epochs.
        warmup_ratio: Share of the steps in which the learning rate rises from 0, 0 to 1.
        kind: `cosine` (to 0, as the official recipe), `linear` or `constant`.
        weight_decay: Of weights that are neither biases nor gains of norms; at least 0.
        clip: Largest norm of the gradient; 0: not clipped.
        betas: Of AdamW.
    """

    epochs: float = 1.0
    max_steps: int | None = None
    warmup_ratio: float = 0.03
    kind: str = "cosine"
    weight_decay: float = 0.0
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.999)

    def __post_init__(self) -> None:
        positive("schedule.epochs", self.epochs)
        if self.max_steps is not None:
            between("schedule.max_steps", self.max_steps, 1, 10**12)
        between("schedule.warmup_ratio", self.warmup_ratio, 0.0, 1.0)
        one_of("schedule.kind", self.kind, SCHEDULES)
        between("schedule.weight_decay", self.weight_decay, 0.0, 1e6)
        between("schedule.clip", self.clip, 0.0, 1e9)
        for beta in self.betas:
            between("schedule.betas", beta, 0.0, 0.999999)


@dataclass(frozen=True, kw_only=True)
class Save:
    """Where and how often the run's state is kept.

    Attributes:
        folder: Of states, logs and the result; `NAME` in it is the recipe's name.
        every: Optimiser steps between states; 0: only at the end and when stopped.
        keep: States kept; older ones are removed.
    """

    folder: str = "runs/NAME"
    every: int = 500
    keep: int = 3

    def __post_init__(self) -> None:
        between("save.every", self.every, 0, 10**12)
        between("save.keep", self.keep, 1, 10**6)


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How many samples may be damaged before the run stops.

    Attributes:
        max_share: Of the rows of an epoch, 0 to 1; not looked at where they are fewer than a hundred.
        max_count: Different rows in all.
    """

    max_share: float = 0.01
    max_count: int = 100

    def __post_init__(self) -> None:
        between("faults.max_share", self.max_share, 0.0, 1.0)
        between("faults.max_count", self.max_count, 0, 10**12)


@dataclass(frozen=True, kw_only=True)
class Log:
    """What is written while it runs.

    Attributes:
        tensorboard: TensorBoard files beside the JSON lines, where it is installed.
        every: Optimiser steps between lines.
    """

    tensorboard: bool = True
    every: int = 1

    def __post_init__(self) -> None:
        between("log.every", self.every, 1, 10**9)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run; the field names are the keys of the file.

    Attributes:
        name: Of the run, in file names: letters, digits, `.`, `_`, `-` and `/`.
        about: One sentence for `videollama2 train --list`.
        model: What it starts from.
        train: Part -> how it is trained; parts not named are frozen.
        data: Files of rows; may be empty in a file, not in a run.
        labels: `plain` (captions: all text after the tag is learned) or `chat` (the assistant's turns are).
        branch: Official code whose plain labels are meant: `main` or `audio_visual`.
        pad_frames: Pad pictures to squares before resizing, as the official instruction tuning.
        sound_of_video: Take the sound track of videos too, where the model has ears.
        num_frames: Frames of a video, 1 to 32; None: the model's.
        max_tokens: Positions of a row after the splice; longer rows are cut at the end and counted.
        batch: Rows a step.
        schedule: Optimiser and learning rate.
        precision: `fp32`; `bf16`: trained weights fp32, computed in bf16 (autocast), frozen ones bf16; `bf16-pure`: all
            weights, gradients and moments bf16.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        parallel: `none`, `ddp`, `fsdp2`, `zero2`, `zero3`.
        processes: Processes the recipe is made for; only the dry run looks at it (the launcher decides).
        cache_features: Folder for the features of frozen towers; None: encode each time.
        workers: Decoding workers of each process; 0: in the process itself.
        seed: Of data order, fresh weights and dropout.
        save: States and result.
        faults: Damaged samples.
        log: Lines and TensorBoard.
    """

    name: str
    model: ModelSource
    train: dict[str, TrainPart]
    about: str = ""
    data: tuple[DataFile, ...] = ()
    labels: str = "chat"
    branch: str = "main"
    pad_frames: bool = False
    sound_of_video: bool = False
    num_frames: int | None = None
    max_tokens: int = 2048
    batch: Batch = Batch()
    schedule: Schedule = Schedule()
    precision: str = "bf16"
    gradient_checkpointing: bool = True
    parallel: str = "none"
    processes: int = 1
    cache_features: str | None = None
    workers: int = 4
    seed: int = 42
    save: Save = Save()
    faults: Faults = Faults()
    log: Log = Log()

    def __post_init__(self) -> None:
        if not self.name or set(self.name) - set(_NAME_LETTERS) or ".." in self.name or self.name.startswith("/"):
            raise RequestError(
                f"name is {self.name!r}; use letters, digits, '.', '_', '-' and '/', as in video-2-lora."
            )
        for part, how in self.train.items():
            if part not in PART_NAMES:
                raise RequestError(
                    f"train.{part} is no part of the model{nearest(part, PART_NAMES)}; parts: {', '.join(PART_NAMES)}."
                )
            if how.lora is not None and part != "language_model":
                raise RequestError(
                    f"train.{part}.lora: LoRA is for the language model's linear layers only; give {part} a learning "
                    "rate, or leave it out to freeze it."
                )
        if not self.train:
            raise RequestError("train names no part, so nothing would be learned; for example train.connector=1e-3.")
        one_of("labels", self.labels, LABELS)
        one_of("branch", self.branch, BRANCHES)
        if self.num_frames is not None:
            between("num_frames", self.num_frames, 1, 32)
        between("max_tokens", self.max_tokens, 8, 10**7)
        one_of("precision", self.precision, PRECISIONS)
        one_of("parallel", self.parallel, PARALLEL)
        between("processes", self.processes, 1, 10**6)
        between("workers", self.workers, 0, 1024)
        between("seed", self.seed, 0, 2**63 - 1)
        if self.quantize and self.parallel in ("fsdp2", "zero3"):
            raise RequestError(
                f"parallel {self.parallel} shards weights, which 4-bit ones are not made for; use ddp or zero2 with "
                "lora.quantize, or take quantize away."
            )
        if self.cache_features is not None and "vision_tower" in self.train:
            raise RequestError("cache_features keeps features of frozen towers, but train names the vision_tower.")

    @property
    def lora(self) -> Lora | None:
        """LoRA of the language model, or None."""
        part = self.train.get("language_model")
        return part.lora if part is not None else None

    @property
    def quantize(self) -> str | None:
        """`nf4` where the frozen language model is kept in 4 bits."""
        return self.lora.quantize if self.lora is not None else None

    @property
    def folder(self) -> Path:
        """Where states, logs and the result go."""
        return Path(self.save.folder.replace("NAME", self.name)).expanduser()


_NAME_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/"


def load(name_or_path: str | Path, overrides: Iterable[str] | Mapping[str, Any] = ()) -> Recipe:
    """Reads a recipe.

    Args:
        name_or_path: Name of a recipe of the package (see `names`), or a YAML file.
        overrides: `key=value` words with dotted keys (`schedule.epochs=2`, `data.0.path=rows.json`,
            `train.vision_tower=null`), or the same as a mapping; values are YAML.

    Returns:
        The recipe, every value checked.

    Raises:
        RequestError: No such recipe; an unknown key (the nearest is named), a wrong type, a value out of range.
    """
    where, fields = _read_file(name_or_path)
    fields = read_overrides(fields, overrides, Recipe)
    return from_dict(fields, where)


def from_dict(fields: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain data, the reverse of `to_dict`.

    Args:
        fields: As the YAML file has them, without `extends`.
        where: What to call it in errors.

    Raises:
        RequestError: As `load`.
    """
    try:
        return read_dataclass(Recipe, fields, "")
    except RequestError as error:
        raise RequestError(f"{where}: {error}") from error


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """Plain data of a recipe, for JSON and YAML; `from_dict` gives the recipe again."""
    result = plain(recipe)
    assert isinstance(result, dict)
    return result


def to_yaml(recipe: Recipe) -> str:
    """The recipe as a file's text, with every value written out."""
    import yaml

    return yaml.safe_dump(to_dict(recipe), sort_keys=False, allow_unicode=True)


def names() -> list[str]:
    """Names of the recipes of the package, sorted."""
    return sorted(path.relative_to(RECIPES).with_suffix("").as_posix() for path in RECIPES.rglob("*.yaml"))


def _read_file(name_or_path: str | Path, *, may_extend: bool = True, beside: Path | None = None) -> tuple[str, dict]:
    """Name for errors and fields of a recipe file, its ground already beneath it."""
    path, where = _find(str(name_or_path), beside)
    fields = read_yaml(path, where)
    ground = fields.pop("extends", None)
    if ground is None:
        return where, fields
    if not may_extend:
        raise RequestError(f"{where} extends {ground} and is itself extended; a recipe extends one that stands alone.")
    if not isinstance(ground, str):
        raise RequestError(f"{where}: extends is {ground!r}; give the name or path of one recipe.")
    _, beneath = _read_file(ground, may_extend=False, beside=path.parent)
    return where, merge(beneath, fields)


def _find(name: str, beside: Path | None) -> tuple[Path, str]:
    shipped = names()
    if name in shipped:
        return RECIPES / f"{name}.yaml", name
    path = Path(name).expanduser()
    for place in (path, beside / path if beside is not None else path):
        if place.is_file():
            return place, str(place)
    if path.suffix in (".yaml", ".yml"):
        raise RequestError(f"There is no recipe file {name}; check the path, or see `videollama2 train --list`.")
    raise RequestError(
        f"There is no recipe {name!r}{nearest(name, shipped)}; see `videollama2 train --list`, or give a YAML file."
    )
