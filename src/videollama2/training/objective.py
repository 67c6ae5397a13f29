"""What is called, wrapped and differentiated in training: a batch in, the summed loss over its labels out.

One module around the model, so that DDP, FSDP2 and DeepSpeed see a single forward pass with the loss inside it, and the
logits of unlabelled positions are never made. Processes that work in step must run the same modules: where another
one has a picture and this one has none, an empty picture passes and counts nothing.

Shape legend: B rows, L token ids, P positions after the splice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from videollama2.model.modeling import MEDIA_ARGUMENTS, VideoLLaMA2ForConditionalGeneration
from videollama2.training.loss import POSITIONS_PER_CHUNK, label_loss

VISUAL, AUDIO = "visual", "audio"
_TENSORS = ("input_ids", "attention_mask", "labels", "segment_ids", *MEDIA_ARGUMENTS)
# What an empty sound is: two seconds of fbank or log-mel rows, enough for every tower's first windows.
_EMPTY_STEPS = 208

Batch = Mapping[str, Any]


class Objective(nn.Module):
    """The model with its loss.

    Args:
        model: The model, or peft's wrapper around it.
        chunk: Label positions whose logits are held at once; None: all of a batch.
    """

    def __init__(self, model: nn.Module, *, chunk: int | None = POSITIONS_PER_CHUNK) -> None:
        super().__init__()
        self.module = model
        self.chunk = chunk

    @property
    def core(self) -> VideoLLaMA2ForConditionalGeneration:
        """The model without peft's wrapper (its LoRA layers are inside)."""
        get_base_model = getattr(self.module, "get_base_model", None)
        core = self.module if get_base_model is None else get_base_model()
        assert isinstance(core, VideoLLaMA2ForConditionalGeneration)
        return core

    def forward(self, batch: Batch, empty: frozenset[str] = frozenset()) -> Tensor:
        """Sum of the cross-entropies of the batch's labels, a scalar in fp32.

        Args:
            batch: The model's arguments (docs/architecture.md, "Tensors of a batch") with labels [B, L]; other
                entries are not looked at.
            empty: Modalities ("visual", "audio") that this batch lacks and others run at the same time.
        """
        given = {name: batch[name] for name in _TENSORS if batch.get(name) is not None}
        model = self.core.model
        # First and in the order of media, so that layers are gathered in the same order on all processes.
        order = [modality for modality in (VISUAL, AUDIO) if modality in empty]
        zeros = [0.0 * self._empty(modality, batch["input_ids"].device).sum() for modality in order]
        spliced = model.splice_media(**given)
        assert spliced.labels is not None
        # Into the language model, so that the gradient goes back through its layers here too.
        inputs_embeds = (
            spliced.inputs_embeds + torch.stack(zeros).sum().to(spliced.inputs_embeds)
            if zeros
            else spliced.inputs_embeds
        )
        hidden_bpe = model(
            inputs_embeds=inputs_embeds,
            attention_mask=spliced.attention_mask,
            segment_ids=spliced.segment_ids,
            use_cache=False,
        ).last_hidden_state
        chunk = self.chunk or spliced.labels.numel() or 1
        loss = label_loss(hidden_bpe, spliced.labels, self.core._logits, chunk=chunk)
        return loss if loss.requires_grad or not torch.is_grad_enabled() else loss + self._anchor()

    def _anchor(self) -> Tensor | float:
        """A zero with a gradient, for text where only a connector learns: every process must pass backward."""
        learning = (weight for weight in self.module.parameters() if weight.requires_grad)
        # A layer's slices (DTensors) are not gathered here; those of the rest are.
        weight = next((weight for weight in learning if not hasattr(weight, "to_local")), None)
        return 0.0 if weight is None else 0.0 * weight.flatten()[:1].float().sum()

    def _empty(self, modality: str, device: torch.device) -> Tensor:
        model = self.core.model
        if modality == VISUAL:
            side = model.vision_tower.image_size
            return model.encode_visual(torch.zeros(1, 3, side, side, device=device), [1], [True])[0]
        values = torch.zeros(1, _EMPTY_STEPS, model.audio_tower.num_mel_bins, device=device)
        return model.encode_audio(values)[0]


def modalities_of(batch: Batch) -> frozenset[str]:
    """Which towers or connectors a batch passes."""
    visual = batch.get("pixel_values") is not None or bool(batch.get("frame_features"))
    audio = batch.get("audio_values") is not None or bool(batch.get("audio_features"))
    return frozenset(([VISUAL] if visual else []) + ([AUDIO] if audio else []))


def nothing_to_learn(pad: int = 0) -> dict[str, Tensor]:
    """A batch of two tokens without labels, for a process that has no rows when others have."""
    ids = torch.full((1, 2), pad, dtype=torch.long)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": torch.full_like(ids, -100)}


def to_device(batch: Batch, device: torch.device) -> dict[str, Any]:
    """A batch with its tensors (those in lists too) on a device; numbers and names stay."""

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=True)
        if isinstance(value, (list, tuple)):
            return [move(item) for item in value]
        return value

    return {name: move(value) for name, value in batch.items()}


def set_modes(model: nn.Module) -> None:
    """Put the model in training mode and frozen towers in evaluation mode: what is not trained must not waver.

    The language model is always in training mode; transformers computes activations again only there.
    """
    model.train()
    for name, module in model.named_modules():
        if name.rpartition(".")[2] not in ("vision_tower", "audio_tower", "mm_projector", "mm_projector_a"):
            continue
        if not any(parameter.requires_grad for parameter in module.parameters()):
            module.eval()


def save_activations(model: nn.Module) -> None:
    """Gradient checkpointing: keep the input of each layer and compute the rest again in the backward pass.

    On the language model always, on a tower's layers where the tower is trained.
    """
    from functools import partial

    from torch.utils.checkpoint import checkpoint

    core = Objective(model).core
    core.model.language_model.activation_checkpointing_enable()
    for name in ("vision_tower", "audio_tower"):
        tower = getattr(core.model, name, None)
        if tower is None or not any(parameter.requires_grad for parameter in tower.parameters()):
            continue
        for layer in layers_of(tower):
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)  # type: ignore[method-assign]


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The repeated layers of a tower or language model: members of its outermost lists of two and more."""
    found: list[nn.Module] = []
    for child in module.children():
        if isinstance(child, nn.ModuleList) and len(child) > 1:
            found += list(child)
        else:
            found += layers_of(child)
    return found
