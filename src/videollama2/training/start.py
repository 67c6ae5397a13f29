"""The model a run starts from, ready to train: a full, Base or LoRA checkpoint, or a plain LLM with towers.

Everything is read through `checkpoints`, so every weight is accounted for; what no file has (a connector nobody
trained) begins with seeded weights, and the notes say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from videollama2.errors import CheckpointError, MissingDependencyError, RequestError
from videollama2.training import parts as model_parts
from videollama2.training.parts import Parts
from videollama2.training.recipe import Recipe

if TYPE_CHECKING:
    from videollama2.checkpoints.hub import Progress
    from videollama2.checkpoints.load import LoadedCheckpoint
    from videollama2.checkpoints.resolve import Resolved


@dataclass(kw_only=True)
class Started:
    """A model to train and what belongs to it.

    Attributes:
        model: `VideoLLaMA2ForConditionalGeneration`, wrapped by peft where the recipe has LoRA; frozen and freed.
        processor: `VideoLLaMA2Processor` of the model.
        parts: Part -> (plain name, parameter), all of them; those that learn have `requires_grad`.
        config: The model's configuration, with the recipe's `num_frames`.
        loaded: What was loaded: tokenizer, preprocessing, ledger of the weights.
        resolved: The files it came from.
        base: What a result that holds only what was trained lies on: folder or hub id.
        own: Parts whose weights are not those of `base`, beside the trained ones: fresh ones, or from a file given.
        notes: What was chosen, made fresh or left aside, in sentences.
    """

    model: Any
    processor: Any
    parts: Parts
    config: Any
    loaded: LoadedCheckpoint
    resolved: Resolved
    base: str
    own: frozenset[str]
    notes: tuple[str, ...] = ()


def build(
    recipe: Recipe,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    *,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Started:
    """Loads the model of a recipe and makes its parts learn or not.

    Args:
        recipe: The recipe.
        device: Where the model goes.
        dtype: Of the weights as they are loaded; None: fp32 for `precision: fp32`, else bf16. With `precision: bf16`
            the weights that learn become fp32 masters.
        offline: No downloads; None: as HF_HUB_OFFLINE says.
        progress: Told of downloads and of weights done.

    Raises:
        MissingFilesError: With the names of all missing files.
        CheckpointError: The checkpoint is damaged, of another model, or cannot be trained so.
        RequestError: The recipe trains a part the model does not have.
        MissingDependencyError: LoRA without peft, QLoRA without bitsandbytes.
    """
    from videollama2.checkpoints.compose import fresh_connectors
    from videollama2.checkpoints.load import load_resolved
    from videollama2.inference.engine import processor_of

    check_installed(recipe)
    resolved, name = find(recipe, offline=offline, progress=progress)
    check_fits(recipe, resolved)
    made: list[str] = []
    loaded = load_resolved(
        resolved,
        name,
        device=device,
        dtype=dtype or weights_dtype(recipe),
        quantization="4bit" if recipe.quantize else None,
        progress=progress,
        amend=fresh_connectors(recipe.seed, made),
    )
    if recipe.num_frames is not None:
        loaded.config.num_frames = recipe.num_frames
    model = model_parts.apply(loaded.model, recipe)
    found = model_parts.parts_of(model)
    if recipe.precision == "bf16":
        keep_masters(found)
    base, own = base_of(recipe, resolved)
    own |= {model_parts.part_of(prefix) for prefix in made}
    return Started(
        model=model,
        processor=processor_of(loaded),
        parts=found,
        config=loaded.config,
        loaded=loaded,
        resolved=resolved,
        base=base,
        own=frozenset(own),
        notes=tuple(loaded.report.notes),
    )


def find(recipe: Recipe, *, offline: bool | None = None, progress: Progress | None = None) -> tuple[Resolved, str]:
    """All files of a recipe's model, and what to call it.

    Raises:
        MissingFilesError: With the names of all missing files.
        CheckpointError: If it is no model to train.
    """
    from videollama2.checkpoints.compose import compose, extend
    from videollama2.checkpoints.detect import BEATS
    from videollama2.checkpoints.resolve import resolve

    source = recipe.model
    if source.compose is not None:
        made = source.compose
        name = f"the model on {made.language_model}"
        resolved = compose(
            made.language_model,
            vision_tower=made.vision_tower,
            audio_tower=made.audio_tower,
            connector=made.connector,
            num_frames=made.num_frames,
            offline=offline,
            progress=progress,
        )
    else:
        assert source.from_ is not None
        name = source.from_
        resolved = resolve(name, offline=offline, parts=source.parts, progress=progress)
        if resolved.detected.kind == BEATS:
            raise CheckpointError(f"{name} is a BEATs audio tower alone; give it as model.audio_tower beside a model.")
    resolved = extend(
        resolved,
        audio_tower=source.audio_tower,
        connector_weights=source.connector_weights,
        audio_projector_weights=source.audio_projector_weights,
    )
    return resolved, name


def check_fits(recipe: Recipe, resolved: Resolved) -> None:
    """Looks at what can be known before any weight is read.

    Raises:
        CheckpointError: A LoRA that is neither merged nor trained on as a whole.
        RequestError: 4-bit weights where the language model itself is to learn.
    """
    how = recipe.train.get("language_model")
    whole = how is not None and how.lora is None
    if has_adapter(resolved) and not whole:
        raise CheckpointError(
            f"{recipe.model.from_} is a LoRA; what is trained on it would lie on two checkpoints: merge it first with "
            "`videollama2 merge`, or train the whole language model."
        )
    if recipe.labels == "plain" and recipe.sound_of_video:
        raise RequestError("labels plain are captions of one medium; take sound_of_video away, or use labels: chat.")


def check_installed(recipe: Recipe) -> None:
    """Looks for the optional packages a recipe needs, before the work is done.

    Raises:
        MissingDependencyError: With the command that installs what is missing.
    """
    from importlib.util import find_spec

    for wanted, package, extra, why in (
        (recipe.lora is not None, "peft", "train", "lora"),
        (recipe.quantize is not None, "bitsandbytes", "quant", "lora.quantize: nf4 (QLoRA)"),
        (recipe.parallel in ("zero2", "zero3"), "deepspeed", "deepspeed", f"parallel: {recipe.parallel}"),
    ):
        if wanted and find_spec(package) is None:
            raise MissingDependencyError(
                f"{why} needs {package}, which is not installed: pip install 'videollama2[{extra}]'."
            )


def has_adapter(resolved: Resolved) -> bool:
    """Whether a LoRA is among a checkpoint's files."""
    return resolved.detected.adapter is not None or (resolved.base is not None and has_adapter(resolved.base))


def weights_dtype(recipe: Recipe) -> torch.dtype:
    """Of the weights as they are loaded."""
    return torch.float32 if recipe.precision == "fp32" else torch.bfloat16


def keep_masters(parts: Parts) -> None:
    """Makes the weights that learn fp32, so that small updates are not lost; what is frozen stays as it is."""
    for weights in model_parts.trained(parts).values():
        for _, parameter in weights:
            parameter.data = parameter.data.float()


def base_of(recipe: Recipe, resolved: Resolved) -> tuple[str, set[str]]:
    """What a result that holds only a few parts lies on, and which other parts it must hold.

    A Base checkpoint (or an earlier result of this kind) is not built upon: its parts are held too, and the result
    lies on what it lies on. So results of several stages need none of the stages before.
    """
    from videollama2.checkpoints.resolve import find_local

    own: set[str] = set()
    if recipe.model.connector_weights is not None:
        own.add("connector")
    if recipe.model.audio_projector_weights is not None:
        own.add("audio_projector")
    if recipe.model.compose is not None:
        return _absolute(recipe.model.compose.language_model), own
    assert recipe.model.from_ is not None
    level, place = resolved, recipe.model.from_
    while level.detected.connectors:
        own |= {_FILES[file.stem] for file in level.detected.connectors}
        if level.base is not None and level.base.detected.path == level.detected.path:
            level = level.base
            continue
        name = recipe.model.parts.get("language_model") or level.detected.base_name or ""
        local = find_local(name, level.detected.path)
        place = str(local.absolute()) if local is not None else name
        if level.base is None:
            break
        level = level.base
    return _absolute(place), own


_FILES = {"mm_projector": "connector", "mm_projector_a": "audio_projector", "audio_tower": "audio_tower"}


def _absolute(place: str) -> str:
    path = Path(place).expanduser()
    return str(path.absolute()) if path.exists() else place


def core_of(model: nn.Module) -> Any:
    """The model without what wraps it (peft, the training objective)."""
    while True:
        inner = getattr(model, "module", None)
        if isinstance(inner, nn.Module):
            model = inner
        elif hasattr(model, "get_base_model"):
            model = model.get_base_model()  # type: ignore[operator]
        else:
            return model
