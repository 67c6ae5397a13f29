"""Checkpoints in the official layouts, made from the tiny golden ones and from transformers' own models."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

GOLDEN = Path(__file__).parents[1] / "golden"
MISTRAL = GOLDEN / "checkpoints" / "VideoLLaMA2-tiny-mistral"
QWEN2 = GOLDEN / "checkpoints" / "VideoLLaMA2.1-tiny-qwen2-16F"
AV = GOLDEN / "checkpoints" / "VideoLLaMA2.1-tiny-AV"
BEATS = GOLDEN / "towers" / "beats-tiny.pt"
CLIP = GOLDEN / "towers" / "clip-vit-tiny-patch14-84"
ALL = [MISTRAL, QWEN2, AV]
OWN_KEYS = ("mm_", "num_frames", "image_", "tune_", "freeze_", "use_mm", "hidden_size_a")


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})


def split_weights(folder: Path, *, suffix: str, num_shards: int) -> list[str]:
    """Rewrites a folder's weights as shards with an index; returns the shards' names."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, index = ("model", "model.safetensors.index.json")
    if suffix == "bin":
        stem, index = ("pytorch_model", "pytorch_model.bin.index.json")
    names = [f"{stem}-{i + 1:05d}-of-{num_shards:05d}.{suffix}" for i in range(num_shards)]
    keys = sorted(weights)
    weight_map = {}
    for i, name in enumerate(names):
        part = {key: weights[key] for key in keys[i::num_shards]}
        weight_map.update(dict.fromkeys(part, name))
        if suffix == "bin":
            torch.save(part, folder / name)
        else:
            save_file(part, folder / name, {"format": "pt"})
    (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return names


def own_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """What an official flat config says beside the language model."""
    return {key: value for key, value in config.items() if key.startswith(OWN_KEYS)}


def is_llm(name: str) -> bool:
    return not any(part in name for part in ("vision_tower", "audio_tower", "mm_projector"))


def write_plain_llm(folder: Path, source: Path = MISTRAL) -> Path:
    """The language model of a golden checkpoint as a plain LLM folder."""
    config = json.loads((source / "config.json").read_text())
    text = {key: value for key, value in config.items() if not key.startswith(OWN_KEYS)}
    text["model_type"] = config["model_type"].removeprefix("videollama2_")
    text["architectures"] = [f"{text['model_type'].capitalize()}ForCausalLM"]
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(text))
    weights = {name: t for name, t in load_file(source / "model.safetensors").items() if is_llm(name)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for path in source.iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            shutil.copyfile(path, folder / path.name)
    return folder


def write_base(folder: Path, llm: Path, source: Path = MISTRAL) -> Path:
    """An official pre-training checkpoint: a config and the connector."""
    folder.mkdir(parents=True)
    config = json.loads((source / "config.json").read_text())
    config |= {"tune_mm_mlp_adapter": True, "_name_or_path": str(llm)}
    (folder / "config.json").write_text(json.dumps(config))
    weights = load_file(source / "model.safetensors")
    torch.save({k: v for k, v in weights.items() if ".mm_projector." in k}, folder / "mm_projector.bin")
    return folder


def write_backbone(folder: Path, kind: str, **changes: Any) -> tuple[Path, Any]:
    """An official full checkpoint on any backbone: transformers' own model, and the golden CLIP tower and connector.

    Returns:
        The folder, and the language model it was made from.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    settings: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 900,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **changes,
    }
    torch.manual_seed(7)
    llm = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()
    with torch.no_grad():
        for name, parameter in llm.named_parameters():
            if "norm" in name:
                parameter.add_(0.1 * torch.randn_like(parameter))
    llm.save_pretrained(folder)
    weights = load_file(folder / "model.safetensors")
    golden = load_file(MISTRAL / "model.safetensors")
    weights |= {name: tensor for name, tensor in golden.items() if not is_llm(name)}
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    text = llm.config.to_dict()
    rope = text.pop("rope_parameters", None) or {}
    text["rope_theta"] = rope.get("rope_theta", 10000.0)
    own = own_part(json.loads((MISTRAL / "config.json").read_text()))
    (folder / "config.json").write_text(json.dumps({**text, **own, "model_type": f"videollama2_{kind}"}))
    for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(MISTRAL / name, folder / name)
    return folder, llm


def text_logits(model: Any) -> torch.Tensor:
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def assert_same_weights(a: Any, b: Any) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different
