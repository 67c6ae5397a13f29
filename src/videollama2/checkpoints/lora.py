"""LoRA adapters: read by canonical names, added to a weight while it is loaded, or kept apart with peft.

The official training writes a peft adapter on the LLM's linear layers (and, by a suffix match, on the vision tower's)
and the connector beside it. Adding B A * scale to a weight as it streams by needs no second copy of the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from videollama2.checkpoints.files import WeightSet
from videollama2.checkpoints.keymaps import CHECKPOINT, canonical_name
from videollama2.checkpoints.verify import check_tensor
from videollama2.errors import CheckpointError

_MAGNITUDE = re.compile(r"^(?P<module>.+)\.lora_magnitude_vector(\.default)?(\.weight)?$")
_FACTOR = re.compile(r"^(?P<module>.+)\.lora_(?P<side>A|B)(\.default)?(\.weight)?$")


@dataclass(frozen=True, kw_only=True)
class LoraPair:
    """The two factors of one layer: names in the adapter file, and the scale of their product."""

    a: str
    b: str
    scale: float


@dataclass(kw_only=True)
class Adapter:
    """A LoRA adapter.

    Attributes:
        weights: Its file.
        config: `adapter_config.json`.
        pairs: Canonical name of the weight -> its factors.
        others: Canonical name -> name in the file, of weights saved whole (modules_to_save, biases).
        magnitudes: Canonical name of the weight -> name in the file of its outputs' lengths (DoRA).
    """

    weights: WeightSet
    config: dict[str, Any]
    pairs: dict[str, LoraPair]
    others: dict[str, str]
    magnitudes: dict[str, str] = field(default_factory=dict)

    def faults(self) -> dict[str, str]:
        """What is wrong with the values of its factors: name in the file -> fault."""
        names = [name for pair in self.pairs.values() for name in (pair.a, pair.b)] + list(self.magnitudes.values())
        checked = {name: check_tensor(name, self.weights.load(name)) for name in names}
        return {name: fault for name, fault in checked.items() if fault is not None}

    def delta(self, name: str) -> torch.Tensor | None:
        """What to add to the weight of a canonical name, fp32, or None."""
        pair = self.pairs.get(name)
        if pair is None:
            return None
        product = self.weights.load(pair.b).float() @ self.weights.load(pair.a).float()
        return (product.T if self.config.get("fan_in_fan_out") else product) * pair.scale

    def rescale(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """DoRA's last step: each output (row) of a changed weight at its trained length; others as they are."""
        if name not in self.magnitudes:
            return tensor
        length = self.weights.load(self.magnitudes[name]).float().reshape(-1)
        return tensor * (length / tensor.norm(dim=1))[:, None]


def open_adapter(weights: WeightSet, config: Mapping[str, Any]) -> Adapter:
    """Reads the structure of a LoRA adapter.

    Args:
        weights: The adapter's file.
        config: `adapter_config.json`.

    Raises:
        CheckpointError: If it is of another peft type, a factor lacks its partner, or a DoRA its lengths.
    """
    config = dict(config)
    if str(config.get("peft_type", "LORA")).upper() != "LORA":
        raise CheckpointError(f"The adapter is of type {config['peft_type']}; only LoRA can be loaded.")
    factors: dict[str, dict[str, str]] = {}
    others: dict[str, str] = {}
    magnitudes: dict[str, str] = {}
    for name in weights:
        if (length := _MAGNITUDE.match(name)) is not None:
            magnitudes[canonical_name(length["module"] + ".weight", CHECKPOINT)] = name
            continue
        match = _FACTOR.match(name)
        if match is None:
            if "lora_" in name:
                raise CheckpointError(f"The adapter holds {name}, which is no LoRA factor of a linear layer.")
            others[canonical_name(name.replace(".modules_to_save.default", ""), CHECKPOINT)] = name
            continue
        target = canonical_name(match["module"] + ".weight", CHECKPOINT)
        factors.setdefault(target, {})[match["side"]] = name
    if not factors:
        raise CheckpointError("The adapter holds no LoRA factors; is it the right file?")
    alone = [target for target, sides in factors.items() if set(sides) != {"A", "B"}]
    if alone:
        raise CheckpointError(f"The adapter has only one of the two LoRA factors for {alone[0]}; download it again.")
    unlike = sorted(set(factors) ^ set(magnitudes)) if config.get("use_dora") or magnitudes else []
    if unlike:
        raise CheckpointError(f"The adapter is a DoRA but lacks factors or lengths for {unlike[0]}; download it again.")
    if magnitudes and config.get("fan_in_fan_out"):
        raise CheckpointError("The adapter is a DoRA of transposed layers, which no model of ours has; give another.")
    pairs = {
        target: LoraPair(a=sides["A"], b=sides["B"], scale=_scale(config, target, weights[sides["A"]].shape[0]))
        for target, sides in factors.items()
    }
    return Adapter(weights=weights, config=config, pairs=pairs, others=others, magnitudes=magnitudes)


def _scale(config: Mapping[str, Any], target: str, rank: int) -> float:
    """alpha / r (or / sqrt(r)); the rank is that of the tensors, alpha may be given by layer."""
    alpha = config.get("lora_alpha", rank)
    module = target.removesuffix(".weight")
    for pattern, value in (config.get("alpha_pattern") or {}).items():
        if re.search(rf"(^|\.){pattern}$", module):
            alpha = value
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def attach(model: torch.nn.Module, adapter: Adapter, targets: Mapping[str, str]) -> torch.nn.Module:
    """Puts an adapter on a loaded model with peft, not merged.

    Args:
        model: The model with its base weights.
        adapter: The adapter.
        targets: Canonical name -> our name of the weights the adapter changes.

    Returns:
        A `peft.PeftModel` around the model.

    Raises:
        CheckpointError: If peft cannot hold the adapter (it changes a weight that is no linear layer of ours).
    """
    from videollama2.errors import MissingDependencyError

    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise MissingDependencyError("Keeping a LoRA apart needs peft: pip install 'videollama2[train]'.") from error
    modules = dict(model.named_modules())
    names: dict[str, str] = {}
    for target in adapter.pairs:
        module = targets[target].removesuffix(".weight")
        if not isinstance(modules.get(module), torch.nn.Linear):
            raise CheckpointError(f"The LoRA of {target} cannot be kept apart; load it with merge_lora=True.")
        names[target] = module
    ranks = {names[t]: adapter.weights[pair.a].shape[0] for t, pair in adapter.pairs.items()}
    scales = {names[t]: pair.scale for t, pair in adapter.pairs.items()}
    rank = next(iter(ranks.values()))
    config = LoraConfig(
        r=rank,
        lora_alpha=rank,
        target_modules=list(names.values()),
        rank_pattern={name: value for name, value in ranks.items() if value != rank},
        alpha_pattern={name: scales[name] * ranks[name] for name in names.values()},
        lora_dropout=float(adapter.config.get("lora_dropout", 0.0)),
        fan_in_fan_out=bool(adapter.config.get("fan_in_fan_out", False)),
        use_dora=bool(adapter.magnitudes),
    )
    wrapped = get_peft_model(model, config)  # type: ignore[arg-type]
    layers = dict(wrapped.named_modules())
    with torch.no_grad():
        for target, module in names.items():
            layer: Any = layers[f"base_model.model.{module}"]
            pair = adapter.pairs[target]
            for factor, name in ((layer.lora_A, pair.a), (layer.lora_B, pair.b)):
                factor["default"].weight.copy_(adapter.weights.load(name))
            if target in adapter.magnitudes:
                length = layer.lora_magnitude_vector["default"].weight
                length.copy_(adapter.weights.load(adapter.magnitudes[target]).reshape(length.shape))
    wrapped.eval()
    return wrapped
