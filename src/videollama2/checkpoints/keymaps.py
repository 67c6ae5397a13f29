"""Names of weights: the official code's, a tower's or an LLM's own, and ours, as data; and the plan that joins them.

Every name of a file is first brought to one *canonical* form, which is ours but for three things that files may have in
pieces: the experts of Mixtral (one tensor each; one stack in transformers 5), the weight-normalised convolution of
BEATs (gain and direction), and the copies of BEATs' shared position bias in each layer. `make_plan` then says for each
weight of the model which canonical names it is made of, and accounts for every name that is left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch

from videollama2.errors import CheckpointError

VISION = "model.vision_tower."
AUDIO = "model.audio_tower."
LANGUAGE = "model.language_model."

# Where the names of a file are from.
CHECKPOINT, LLM_FOLDER, VISION_FOLDER, AUDIO_FILE = "checkpoint", "language model", "vision tower", "audio tower"

# Wrappers that training tools leave around a name.
_WRAPPERS = re.compile(r"^(module\.)?(base_model\.model\.)?")
# (official, canonical), tried in this order; the rest of the name is kept.
_OFFICIAL_PREFIXES = (
    ("model.vision_tower.vision_tower.vision_model.", VISION),
    ("model.vision_tower.vision_tower.", VISION),
    ("model.vision_tower.", VISION),
    ("model.audio_tower.", AUDIO),
    ("model.mm_projector.", "model.mm_projector."),
    ("model.mm_projector_a.", "model.mm_projector_a."),
    ("model.tag_embeddings", "model.tag_embeddings"),
    ("mm_projector.", "model.mm_projector."),
    ("mm_projector_a.", "model.mm_projector_a."),
    ("model.language_model.", LANGUAGE),
    ("lm_head.", "lm_head."),
    ("model.", LANGUAGE),
)
# Pieces of names that differ between releases of transformers and torch: (in files, canonical).
_OLD_PIECES = (
    (".block_sparse_moe.", ".mlp."),
    (".parametrizations.weight.original0", ".weight_g"),
    (".parametrizations.weight.original1", ".weight_v"),
    (".base_layer.", "."),
)
TEXT_SIDE = "text side of CLIP"
# Canonical names that are known and not needed where the model has no such weight -> why.
_KNOWN_UNUSED: tuple[tuple[str, str], ...] = (
    (r"^model\.vision_tower\..*encoder\.layers\.\d+\.", "vision layer above the one whose features are used"),
    (r"^model\.vision_tower\..*post_layernorm\.", "after the layer whose features are used"),
    (r"^model\.vision_tower\..*head\.", "pooling head, not used"),
    (r"\.position_ids$", "counted, not learned"),
    (
        r"^model\.vision_tower\.(text_model|text_projection|visual_projection|logit_scale|logit_bias)",
        TEXT_SIDE,
    ),
    (r"^model\.audio_tower\..*predictor", "BEATs' class head, not used"),
    (r"relative_attention_bias\.weight$", "copy of the bias all layers share"),
    (r"rotary_emb\.inv_freq$", "counted, not learned"),
)


def canonical_name(name: str, origin: str = CHECKPOINT) -> str:
    """One name for one weight, whichever file it is from.

    Args:
        name: Name in the file.
        origin: Which kind of file: `CHECKPOINT`, `LLM_FOLDER`, `VISION_FOLDER` or `AUDIO_FILE`.
    """
    if origin == VISION_FOLDER:
        name = VISION + name.removeprefix("vision_model.")
    elif origin == AUDIO_FILE:
        # BEATs' own names, or those of a `.bin` cut out of a whole checkpoint.
        name = name if name.startswith(AUDIO) else AUDIO + name
    elif origin == LLM_FOLDER:
        bare = name.removeprefix("model.")
        name = name if bare.startswith("lm_head.") else LANGUAGE + bare
    else:
        name = _WRAPPERS.sub("", name)
        for old, new in _OFFICIAL_PREFIXES:
            if name.startswith(old):
                name = new + name[len(old) :]
                break
    for old, new in _OLD_PIECES:
        name = name.replace(old, new)
    return name


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one weight of the model is made.

    Attributes:
        target: Our name.
        sources: Canonical names it is made of, in order.
        how: `copy`; `experts` (sources are w1, w3 of expert 0, then 1, ...: joined and stacked); `stack`;
            `weight_norm` (gain and direction of a weight-normalised convolution, joined).
    """

    target: str
    sources: tuple[str, ...]
    how: str = "copy"

    def make(self, tensors: list[torch.Tensor]) -> torch.Tensor:
        """Joins the sources' tensors, given in order."""
        if self.how == "copy":
            return tensors[0]
        if self.how == "stack":
            return torch.stack(tensors)
        if self.how == "experts":
            return torch.stack([torch.cat(pair) for pair in zip(tensors[0::2], tensors[1::2])])
        if self.how == "weight_norm":
            gain, direction = tensors
            norm = direction.float().norm(dim=(0, 1), keepdim=True)
            return (gain.float() * direction.float() / norm).to(direction.dtype)
        raise AssertionError(f"unknown recipe {self.how}")


@dataclass(kw_only=True)
class Plan:
    """Which weight is made of what, and what is left.

    Attributes:
        recipes: One for each weight of the model that can be made.
        missing: Weights of the model that cannot.
        unused: Canonical names left over that are known -> why they are not needed.
        unexpected: Canonical names left over that nobody knows.
    """

    recipes: list[Recipe] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    unexpected: list[str] = field(default_factory=list)


def canonical_target(name: str) -> str:
    """Canonical form of one of our own names."""
    for old, new in _OLD_PIECES:
        name = name.replace(old, new)
    return name


def make_plan(targets: Mapping[str, tuple[int, ...]], sources: Iterable[str], *, tied: Iterable[str] = ()) -> Plan:
    """Joins the model's weights and the canonical names of the files.

    Args:
        targets: Our name -> shape, of every weight of the model.
        sources: Canonical names there are.
        tied: Our names that share another weight's storage and need none of their own.
    """
    left = dict.fromkeys(sources)
    given = set(left)
    tied = set(tied)
    plan = Plan()
    for target, shape in targets.items():
        recipe = _find_recipe(target, canonical_target(target), shape, given)
        if recipe is None:
            if target not in tied:
                plan.missing.append(target)
            continue
        plan.recipes.append(recipe)
        for name in recipe.sources:
            left.pop(name, None)
    for name in left:
        reason = next((why for pattern, why in _KNOWN_UNUSED if re.search(pattern, name)), None)
        if reason is None:
            plan.unexpected.append(name)
        else:
            plan.unused[name] = reason
    return plan


def _find_recipe(target: str, name: str, shape: tuple[int, ...], given: set[str]) -> Recipe | None:
    if name in given:
        return Recipe(target=target, sources=(name,))
    stem, _, last = name.rpartition(".")
    if stem.endswith(".mlp.experts") and last in ("gate_up_proj", "down_proj"):
        kinds = ("w1", "w3") if last == "gate_up_proj" else ("w2",)
        pieces = tuple(f"{stem}.{expert}.{kind}.weight" for expert in range(shape[0]) for kind in kinds)
        if all(piece in given for piece in pieces):
            return Recipe(target=target, sources=pieces, how="experts" if len(kinds) == 2 else "stack")
    if re.search(r"pos_conv(\.0)?\.weight$", name):
        pieces = tuple(f"{name}_{kind}" for kind in "gv")
        if all(piece in given for piece in pieces):
            return Recipe(target=target, sources=pieces, how="weight_norm")
    if name.endswith("relative_attention_bias.weight"):
        # One bias for all layers, wherever our tree keeps it: take any copy (they are checked to be equal).
        copies = sorted(other for other in given if other.startswith(AUDIO) and other.endswith(_last_two(name)))
        if copies:
            return Recipe(target=target, sources=(copies[0],))
    return None


def _last_two(name: str) -> str:
    """The last two words of a dotted name, with the dot before them."""
    return "." + ".".join(name.split(".")[-2:])


def check_bias_copies(tensors: Mapping[str, torch.Tensor]) -> None:
    """The copies of BEATs' shared position bias must be one and the same.

    Args:
        tensors: Canonical name -> values, of all copies.

    Raises:
        CheckpointError: If they differ.
    """
    names = sorted(tensors)
    for name in names[1:]:
        if not torch.equal(tensors[name], tensors[names[0]]):
            raise CheckpointError(
                f"{name} differs from {names[0]}: BEATs has one bias for all its layers, so this file is damaged or of "
                "another model; download it again."
            )


def to_official(name: str, tensor: torch.Tensor, *, num_audio_layers: int = 0) -> dict[str, torch.Tensor]:
    """One of our weights under its official name, or names: experts come apart, BEATs' bias is copied into each layer.

    Args:
        name: Our name.
        tensor: Its values.
        num_audio_layers: Layers of the BEATs tower.
    """
    canonical = canonical_target(name)
    if canonical.startswith(VISION):
        return {"model.vision_tower.vision_tower.vision_model." + canonical.removeprefix(VISION): tensor}
    if canonical == AUDIO + "encoder.relative_attention_bias.weight":
        copies = [
            f"{AUDIO}encoder.layers.{i}.self_attn.relative_attention_bias.weight" for i in range(num_audio_layers)
        ]
        return {copy: tensor.clone() for copy in copies}
    if not canonical.startswith(LANGUAGE):
        return {canonical: tensor}
    official = "model." + canonical.removeprefix(LANGUAGE)
    if ".mlp.experts." in official or official.endswith(".mlp.gate.weight"):
        official = official.replace(".mlp.", ".block_sparse_moe.")
    stem, _, last = official.rpartition(".")
    if last == "gate_up_proj" and stem.endswith(".experts"):
        halves = {"w1": 0, "w3": 1}
        return {
            f"{stem}.{expert}.{kind}.weight": weights.chunk(2)[half].contiguous()
            for expert, weights in enumerate(tensor)
            for kind, half in halves.items()
        }
    if last == "down_proj" and stem.endswith(".experts"):
        return {f"{stem}.{expert}.w2.weight": weights.contiguous() for expert, weights in enumerate(tensor)}
    return {official: tensor}
