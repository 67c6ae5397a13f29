"""8- and 4-bit weights through bitsandbytes: the language model's linear layers, nothing else.

Towers, connectors, embeddings and the output head stay as they are: they lose more than they save. Each weight is
quantised when it is loaded, so the model is never whole in memory in its full size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from videollama2.errors import CheckpointError, MissingDependencyError

MODES = ("8bit", "4bit")
LANGUAGE_MODEL = "model.language_model."


def quantization_config(mode: str, dtype: torch.dtype) -> Any:
    """The transformers config that says how a model is quantised.

    Args:
        mode: `8bit` (LLM.int8) or `4bit` (nf4, double quantisation, as the official QLoRA).
        dtype: What 4-bit layers compute in.

    Raises:
        CheckpointError: For another mode.
    """
    from transformers import BitsAndBytesConfig

    if mode not in MODES:
        raise CheckpointError(f"Unknown quantization {mode!r}; choose one of {', '.join(MODES)} or None.")
    kept = ["vision_tower", "mm_projector", "audio_tower", "mm_projector_a", "lm_head"]
    if mode == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=kept)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=kept,
    )


class Quantizer:
    """Swaps the language model's linear layers for quantised ones and fills them.

    Args:
        mode: `8bit` or `4bit`.
        dtype: What the layers compute in.
        device: Where they go.

    Raises:
        MissingDependencyError: If bitsandbytes is not installed.
    """

    def __init__(self, mode: str, dtype: torch.dtype, device: torch.device | str) -> None:
        self.config = quantization_config(mode, dtype)
        try:
            import bitsandbytes
        except ImportError as error:
            raise MissingDependencyError(
                f"quantization={mode!r} needs bitsandbytes: pip install 'videollama2[quant]'."
            ) from error
        self.bnb = bitsandbytes
        self.mode, self.dtype, self.device = mode, dtype, torch.device(device)

    def prepare(self, model: nn.Module) -> int:
        """Replaces the layers of a model that was built empty.

        Returns:
            How many layers were replaced.
        """
        swaps = [
            (name, module)
            for name, module in model.named_modules()
            if name.startswith(LANGUAGE_MODEL) and type(module) is nn.Linear
        ]
        for name, module in swaps:
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, self._layer(module))
        return len(swaps)

    def _layer(self, old: nn.Linear) -> nn.Module:
        bias = old.bias is not None
        if self.mode == "8bit":
            return self.bnb.nn.Linear8bitLt(
                old.in_features, old.out_features, bias, has_fp16_weights=False, threshold=6.0, device="meta"
            )
        return self.bnb.nn.Linear4bit(
            old.in_features,
            old.out_features,
            bias,
            compute_dtype=self.dtype,
            compress_statistics=True,
            quant_type="nf4",
            device="meta",
        )

    def place(self, module: nn.Module, leaf: str, tensor: torch.Tensor) -> bool:
        """Puts a weight into its layer, quantised, if it is one of those; see `fill.Placer`."""
        if leaf != "weight" or not isinstance(module, (self.bnb.nn.Linear8bitLt, self.bnb.nn.Linear4bit)):
            return False
        kind: Any = type(module.weight)
        weight = kind(tensor.contiguous(), requires_grad=False, **self._settings(module))
        module._parameters["weight"] = weight.to(self.device)
        return True

    def _settings(self, module: Any) -> dict[str, Any]:
        if self.mode == "8bit":
            return {"has_fp16_weights": False}
        return {"quant_type": "nf4", "compress_statistics": True, "module": module}

    def finish(self, model: Any) -> None:
        """Marks the model as quantised, in the way transformers and peft look for."""
        model.config.quantization_config = self.config
        model.quantization_method = self.config.quant_method
        model.is_quantized = True
        if self.mode == "8bit":
            model.is_loaded_in_8bit = True
        else:
            model.is_loaded_in_4bit = True
