"""The default model's pieces as training holds them: frozen towers, LLM with LoRA, trainable net, progress files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from videollama2.training.default.data import FeatureStore
from videollama2.training.default.features import Towers
from videollama2.training.default.language import DefaultNet, Prompts
from videollama2.training.default.lora import LoRALinear, inject_lora
from videollama2.training.default.recipe import Recipe
from videollama2.training.default.warmup import AnswerBook, WarmupHead

DOUBT = "something"  # the word whose embedding takes the weight that the classifier leaves over
NUM_TOKENS = 36  # 8 frames of a 7x7 grid become 4 x 3 x 3
VISION_WIDTH, AUDIO_WIDTH, CONNECTOR_WIDTH = 1280, 384, 256


@dataclass
class Parts:
    """Everything the language phase touches."""

    net: DefaultNet
    llm: Any
    lora: dict[str, LoRALinear]
    prompts: Prompts
    class_names: list[str]
    extra: dict[str, Any]
    word_norm: float = 1.0

    def state(self) -> dict[str, Tensor]:
        """All trained tensors, float32, by name."""
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items() if k != "tag_embeddings"}
        for name, layer in self.lora.items():
            tensors[f"lora.{name}.A"], tensors[f"lora.{name}.B"] = layer.A.detach(), layer.B.detach()
        for name, module in self.extra.items():
            # The answers' embeddings are made anew from the clips at hand; their number may differ from run to run.
            tensors |= {f"{name}.{k}": v for k, v in module.state_dict().items() if ".words_" not in k}
        return {k: v.detach().contiguous() for k, v in tensors.items()}

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Put tensors of `state()` back; parts that a file does not have keep their values."""
        with torch.no_grad():
            for name, layer in self.lora.items():
                if f"lora.{name}.A" in tensors:
                    layer.A.copy_(tensors[f"lora.{name}.A"])
                    layer.B.copy_(tensors[f"lora.{name}.B"])
        self._load_module(self.net, tensors, "net.")
        for name, module in self.extra.items():
            self._load_module(module, tensors, f"{name}.")

    @staticmethod
    def _load_module(module: nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
        own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix) and ".words_" not in k}
        if own:
            module.load_state_dict(own, strict=False)

    def save_progress(self, out: Path, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Write weights, optimiser moments and the step number; each file is replaced whole."""
        from safetensors.torch import save_file

        out.mkdir(parents=True, exist_ok=True)
        moments: dict[str, Tensor] = {}
        for index, entry in optimizer.state_dict()["state"].items():
            moments |= {f"{index}.{k}": torch.as_tensor(v).contiguous() for k, v in entry.items()}
        for tensors, name in ((self.state(), "weights"), (moments, "optimizer")):
            save_file(tensors, out / f".{name}.tmp", metadata={"step": str(step)})
            os.replace(out / f".{name}.tmp", out / f"{name}.safetensors")

    def load_progress(self, out: Path, optimizer: torch.optim.Optimizer) -> int:
        """Continue from `save_progress`; 0 where nothing was saved."""
        from safetensors import safe_open

        out.mkdir(parents=True, exist_ok=True)
        if not (out / "optimizer.safetensors").exists():
            return 0
        with safe_open(out / "weights.safetensors", "pt") as file:
            self.load_state({k: file.get_tensor(k) for k in file.keys()})  # noqa: SIM118
            step = int(file.metadata()["step"])
        with safe_open(out / "optimizer.safetensors", "pt") as file:
            if int(file.metadata()["step"]) != step:
                raise RuntimeError(f"weights and optimiser in {out} are of different steps; delete both to start again")
            state: dict[int, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118
                index, name = key.split(".", 1)
                state.setdefault(int(index), {})[name] = file.get_tensor(key)
        current = optimizer.state_dict()
        current["state"] = state
        optimizer.load_state_dict(current)
        return step


def parts_folder() -> Path:
    """Folder with the converted frozen parts: efficientnet.safetensors, whisper_encoder.safetensors, llm/."""
    if override := os.environ.get("VIDEOLLAMA2_PARTS"):
        return Path(override)
    from videollama2.checkpoints.default import converted_parts

    return converted_parts()


def pixel_spec():
    """The frame tower's preprocessing: 224 px, bicubic, the whole frame, (x - 127) / 128."""
    from videollama2.processing.pixels import PixelSpec

    return PixelSpec(image_size=224, resize="stretch", mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


def frozen_towers() -> Towers:
    """Vision and audio tower with their preprocessing."""
    from safetensors.torch import load_file

    from videollama2.model.audio.whisper import WhisperEncoderTower
    from videollama2.model.vision.efficientnet import EfficientNetLite0Tower

    folder = parts_folder()
    vision, audio = EfficientNetLite0Tower().eval(), WhisperEncoderTower({"pool": 25}).eval()
    vision.load_state_dict(load_file(folder / "efficientnet.safetensors"))
    audio.load_state_dict({k: v.float() for k, v in load_file(folder / "whisper_encoder.safetensors").items()})
    return Towers(vision=vision, audio=audio, pixel_spec=pixel_spec())


def new_connector(seed: int) -> Any:
    """The STC connector (v35) of the default model, initialised to keep both content and change from the start.

    A default-initialised connector learns motion but no nouns, an averaging one nouns but no motion (docs/log.md). So
    block outputs start damped, the first shortcut is an orthogonal projection, and the Conv3d starts as means over the
    window in half the channels and as space-time gradients in the other half. A linear probe on 435 clips reads the
    direction of motion (chance .20) from its output at .58, where plain differences of the two frames give .32.
    """
    from videollama2.model.connectors import build_connector

    torch.manual_seed(seed)
    connector: Any = build_connector(
        SimpleNamespace(
            mm_projector_type="stc_connector_v35",
            mm_hidden_size=VISION_WIDTH,
            hidden_size=576,
            mm_connector_width=CONNECTOR_WIDTH,
            mm_connector_depth=4,
        )
    )
    with torch.no_grad():
        for stage in (connector.s1, connector.s2):
            for block in stage.children():
                block.conv3.bn.weight.fill_(0.25)
        nn.init.orthogonal_(connector.s1.b1.downsample.conv.weight.flatten(1))
        connector.s1.b1.downsample.conv.weight.copy_(
            nn.init.orthogonal_(torch.empty(CONNECTOR_WIDTH, VISION_WIDTH))[:, :, None, None]
        )
        conv = connector.sampler[0]
        weight = conv.weight * 0.3
        half = CONNECTOR_WIDTH // 2
        sign = torch.tensor([-1.0, 1.0])
        for channel in range(CONNECTOR_WIDTH):
            if channel < half:
                weight[channel, channel] += 0.125
            else:
                # What moved between the two frames, across the window's columns or rows: motion, with its direction.
                across = sign[None, None, :] if channel % 2 == 0 else sign[None, :, None]
                weight[channel, channel] += 0.4 * sign[:, None, None] * across
        conv.weight.copy_(weight)
        conv.bias.zero_()
    return connector


def new_projector(seed: int) -> nn.Module:
    """The audio projector (mlp2x_gelu, 384 -> 576)."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(AUDIO_WIDTH, 576), nn.GELU(), nn.Linear(576, 576))


def load_parts(recipe: Recipe, with_llm: bool = True) -> Parts:
    """A fresh trainable net and, `with_llm`, the frozen language model (bf16) with LoRA."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from videollama2.checkpoints.default.parts import class_names

    folder = parts_folder() / "llm"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    llm: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16, attn_implementation="eager")
    llm.requires_grad_(False)
    embedding = llm.get_input_embeddings().weight.detach().float()
    names = class_names()
    tags = torch.stack(
        [embedding[tokenizer(" " + n, add_special_tokens=False).input_ids].mean(0) for n in [*names, DOUBT]]
    )
    lora = inject_lora(llm, recipe.lora_rank, recipe.lora_alpha) if with_llm else {}
    net = DefaultNet(new_connector(recipe.seed), new_projector(recipe.seed), tags)
    parts = Parts(net=net, llm=llm, lora=lora, prompts=Prompts(tokenizer), class_names=names, extra={})
    parts.word_norm = float(embedding.norm(dim=-1).mean())
    return parts


def warmup_parts(recipe: Recipe, store: FeatureStore, init: Path | None = None) -> Parts:
    """Parts for the connector warm-up: no LoRA, with the warm-up head; continued from the weights in `init`."""
    from safetensors.torch import load_file

    parts = load_parts(recipe, with_llm=False)
    book = AnswerBook(store, parts.llm.get_input_embeddings().weight.detach(), parts.prompts.tokenizer)
    parts.extra["head"] = WarmupHead(book, num_visual_tokens=NUM_TOKENS)
    if init is not None:
        parts.load_state(load_file(init))
    return parts


def language_parts(recipe: Recipe, weights: Path, store: FeatureStore | None = None) -> Parts:
    """Parts for the language phase (with the warm-up head over `store`) or evaluation, started from `weights`."""
    from safetensors.torch import load_file

    parts = load_parts(recipe)
    if store is not None:
        book = AnswerBook(store, parts.llm.get_input_embeddings().weight.detach(), parts.prompts.tokenizer)
        parts.extra["head"] = WarmupHead(book, num_visual_tokens=NUM_TOKENS)
    parts.load_state(load_file(weights))
    return parts
