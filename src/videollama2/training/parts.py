"""The five parts of a model: which weights are whose, what is trained at which rate, and LoRA on the language model.

    vision_tower      CLIP, SigLIP, ...            model.vision_tower
    connector         STC and its like             model.mm_projector
    audio_tower       BEATs, ...                   model.audio_tower
    audio_projector   MLP                          model.mm_projector_a
    language_model    the LLM with its head        model.language_model, lm_head

The official recipe freezes the vision tower in every stage; here a part is trained where a recipe names it.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import nn

from videollama2.errors import MissingDependencyError, RequestError
from videollama2.training.recipe import PART_NAMES, Lora, Recipe

PREFIXES = {
    "vision_tower": ("model.vision_tower.",),
    "connector": ("model.mm_projector.",),
    "audio_tower": ("model.audio_tower.",),
    "audio_projector": ("model.mm_projector_a.",),
    "language_model": ("model.language_model.", "lm_head."),
}
# What wrappers put before a name: peft, DDP, torch.compile.
_WRAPPERS = re.compile(r"^((base_model\.model\.)|(module\.)|(_orig_mod\.))*")
_NO_DECAY = re.compile(r"(\.bias|(norm|bn)\w*\.weight|grep_a)$", re.IGNORECASE)

Parts = dict[str, list[tuple[str, nn.Parameter]]]


def plain_name(name: str) -> str:
    """A weight's own name, without what peft, DDP or torch.compile put before it (and peft's `base_layer` inside)."""
    return _WRAPPERS.sub("", name).replace(".base_layer.", ".")


def part_of(name: str) -> str:
    """The part a weight belongs to.

    Raises:
        RequestError: A name that is of none of the five.
    """
    bare = plain_name(name)
    for part, prefixes in PREFIXES.items():
        if bare.startswith(prefixes):
            return part
    raise RequestError(f"The weight {name} belongs to none of {', '.join(PART_NAMES)}; give a VideoLLaMA 2 model.")


def parts_of(model: nn.Module) -> Parts:
    """All weights by part, under their plain names; parts the model does not have are left out."""
    parts: Parts = {}
    for name, parameter in model.named_parameters():
        parts.setdefault(part_of(name), []).append((plain_name(name), parameter))
    return {part: parts[part] for part in PART_NAMES if part in parts}


def apply(model: nn.Module, recipe: Recipe) -> nn.Module:
    """Freezes and frees the parts as a recipe says, and puts LoRA on where it asks for it.

    Args:
        model: `VideoLLaMA2ForConditionalGeneration`.
        recipe: The recipe.

    Returns:
        The model, wrapped by peft where the recipe has LoRA.

    Raises:
        RequestError: The recipe trains a part the model does not have, or weights that are quantised.
        MissingDependencyError: LoRA without peft.
    """
    found = check_parts(model, recipe)
    model.requires_grad_(False)
    for part, weights in found.items():
        if part not in recipe.train or recipe.train[part].lora is not None:
            continue
        for name, parameter in weights:
            if not parameter.dtype.is_floating_point:
                raise RequestError(f"{name} is quantised and cannot be trained; use lora, or leave quantize out.")
            parameter.requires_grad_(True)
    if recipe.lora is None:
        return model
    return add_lora(model, recipe.lora, seed=recipe.seed, masters=recipe.precision != "bf16-pure")


def check_parts(model: nn.Module, recipe: Recipe) -> Parts:
    """All weights by part, when the model has every part the recipe trains.

    Raises:
        RequestError: It has not.
    """
    found = parts_of(model)
    for part in recipe.train:
        if part not in found:
            raise RequestError(f"train.{part}: the model has no {part} (it has {', '.join(found)}); {_cure(part)}.")
    return found


def _cure(part: str) -> str:
    if part.startswith("audio"):
        return "give model.audio_tower (a BEATs file), or take train." + part + " away"
    if part in ("vision_tower", "connector"):
        return "give a checkpoint with eyes, or take train." + part + " away"
    return f"take train.{part} away"


def linear_layers(model: nn.Module) -> list[str]:
    """Full names of the language model's linear layers, quantised ones too: what LoRA is put on.

    Experts of Mixtral are one stacked weight in transformers 5, no linear layers, and stay as they are.
    """
    return [
        name
        for name, module in model.named_modules()
        if plain_name(name).startswith("model.language_model.") and isinstance(module, nn.Linear)
    ]


def add_lora(model: nn.Module, lora: Lora, *, seed: int = 0, masters: bool = True) -> nn.Module:
    """Puts LoRA (or DoRA) on the language model's linear layers with peft; it starts as no change at all.

    Args:
        model: The model, quantised or not; what is frozen stays frozen, what is free stays free.
        lora: Rank, scale and so on.
        seed: Of the first factors.
        masters: Keep the factors in fp32 whatever the dtype of the layers.

    Returns:
        A `peft.PeftModel` around the model.

    Raises:
        MissingDependencyError: If peft is not installed.
    """
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingDependencyError("LoRA needs peft: pip install 'videollama2[train]'.") from error
    free = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        use_dora=lora.dora,
        target_modules=linear_layers(model),
        bias="none",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        wrapped: Any = get_peft_model(model, config, autocast_adapter_dtype=masters)  # type: ignore[arg-type]
    # peft freezes all but its own factors; parts that train beside it are freed again.
    names = {plain_name(name) for name in free}
    for name, parameter in wrapped.named_parameters():
        if plain_name(name) in names:
            parameter.requires_grad_(True)
    return wrapped


def trained(parts: Parts) -> Parts:
    """The weights that learn, by part."""
    learning = {part: [(n, p) for n, p in weights if p.requires_grad] for part, weights in parts.items()}
    return {part: weights for part, weights in learning.items() if weights}


def parameter_groups(parts: Parts, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for an optimiser: one a part, two where weight decay leaves biases and gains of norms out.

    Args:
        parts: From `parts_of`.
        recipe: Gives each part's peak learning rate.

    Returns:
        `params`, `names`, `part`, `lr`, `weight_decay` of each.
    """
    groups = []
    decay = recipe.schedule.weight_decay
    for part, weights in trained(parts).items():
        kinds = {True: decay, False: 0.0} if decay else {None: 0.0}
        for kind, value in kinds.items():
            chosen = [(n, p) for n, p in weights if kind is None or bool(_NO_DECAY.search(n)) is not kind]
            if chosen:
                groups.append(
                    {
                        "params": [parameter for _, parameter in chosen],
                        "names": [name for name, _ in chosen],
                        "part": part,
                        "lr": recipe.train[part].lr,
                        "weight_decay": value,
                    }
                )
    return groups
