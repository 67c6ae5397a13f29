"""Runs the official code on the variants of `specs.py` and writes what it gives; see README.md.

    python record.py BRANCH OFFICIAL_SOURCE [NAME ...]

needs the official source and the old packages, not this project.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "checkpoints"), sys.argv[2]]
import standins  # noqa: E402
import transformers  # noqa: E402
from transformers.models.auto import modeling_auto  # noqa: E402, F401

# After transformers, which must not see them.
standins.install()
from official_variants import TOKENIZERS, medium, seeded_tensor, seeded_uniform, thin, write_files  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from specs import SPECS  # noqa: E402
from transformers import CLIPVisionConfig, CLIPVisionModel, SiglipVisionConfig, SiglipVisionModel  # noqa: E402

import videollama2  # noqa: E402
from videollama2 import model as official  # noqa: E402
from videollama2.model import encoder, projector  # noqa: E402

BRANCH = sys.argv[1]
TAGS = {"image": -200, "video": -201, "audio": -202}
NEW_TOKENS = 12
# Kept of each sequence: at most so many rows, and every so-manyth column.
KEPT = {"rows": 12, "columns": {"inputs_embeds": 7, "logits": 37}}


class _Float32(type(torch)):
    """torch, as seen from the official modules, whose float16 is float32."""

    def __init__(self) -> None:
        super().__init__("torch")

    def __getattr__(self, name: str) -> Any:
        return torch.float32 if name == "float16" else getattr(torch, name)


def patch() -> None:
    """fp32, CPU, eager attention; nothing else."""
    official.torch = projector.torch = _Float32()
    torch.Tensor.half = lambda self: self
    torch.Tensor.cuda = lambda self, *a, **k: self

    def eager(cls: Any, config: Any, *a: Any, **k: Any) -> Any:
        config._attn_implementation = "eager"
        return config

    transformers.PreTrainedModel._autoset_attn_implementation = classmethod(eager)


def classes(backbone: str) -> tuple[Any, Any]:
    kind = f"videollama2_{backbone}"
    return official.VLLMConfigs[kind], official.VLLMs[kind]


def shapes(tensors: dict[str, torch.Tensor], prefix: str = "") -> dict[str, Any]:
    return {"prefix": prefix, "tensors": {name: list(t.shape) for name, t in tensors.items()}}


def is_media(name: str) -> bool:
    return any(part in name for part in ("vision_tower", "mm_projector", "audio_tower"))


def prepare(name: str, spec: dict[str, Any], root: Path) -> dict[str, Any]:
    """All files of a variant: settings, and names and shapes of the weights, from the official classes."""
    tower_name = f"towers/{spec['tower']}-{name}"
    record: dict[str, Any] = {"salt": spec.get("salt", ""), "json": {}, "weights": {}, "tokenizers": {}}
    vision_class, model_class = {
        "clip": (CLIPVisionConfig, CLIPVisionModel),
        "siglip": (SiglipVisionConfig, SiglipVisionModel),
    }[spec["tower"]]
    from specs import CLIP, SIGLIP

    sizes = {**{"clip": CLIP, "siglip": SIGLIP}[spec["tower"]], **spec["vision"]}
    vision = vision_class(**sizes)
    record["json"][f"{tower_name}/config.json"] = {**vision.to_diff_dict(), **sizes}
    side = sizes["image_size"]
    processor = encoder.CLIPImageProcessor if spec["tower"] == "clip" else encoder.SiglipImageProcessor
    size = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    if spec["tower"] == "siglip":
        size = {"size": {"height": side, "width": side}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    record["json"][f"{tower_name}/preprocessor_config.json"] = json.loads(processor(**size).to_json_string())
    tower = {k: v for k, v in model_class(vision).state_dict().items() if "position_ids" not in k}
    record["weights"][f"{tower_name}/model.safetensors"] = shapes(tower, "model.vision_tower.vision_tower.")
    write_files(root, record)

    own = {
        "mm_vision_tower": tower_name,
        "mm_hidden_size": sizes["hidden_size"],
        "mm_vision_select_layer": -2,
        "mm_vision_select_feature": "patch",
        "use_mm_proj": True,
        "image_aspect_ratio": "pad",
        "tune_mm_mlp_adapter": spec["format"] == "base",
    }
    if beats := spec.get("beats"):
        real = encoder.BEATsConfig
        encoder.BEATsConfig = lambda cfg=None: real({**beats, **(cfg or {})})
        own |= {"mm_audio_tower": f"towers/beats-{name}.pt", "mm_projector_a_type": "mlp2x_gelu"}
        own |= {"mm_hidden_size_a": beats["encoder_embed_dim"], "hidden_size_a": spec["text"]["hidden_size"]}
    config_class, causal_class = classes(spec["backbone"])
    config = config_class(**spec["text"], **{**own, **spec["own"]}, torch_dtype="float32")
    with torch.no_grad():
        model = causal_class(config)
    if BRANCH == "audio_visual":
        model.get_vision_tower().load_model()
    state = {k: v for k, v in model.state_dict().items() if "position_ids" not in k}
    if config.tie_word_embeddings:
        state.pop("lm_head.weight")
    flat = json.loads(config.to_json_string())
    flat["architectures"] = [causal_class.__name__]
    for key in spec.get("drop", ()):
        del flat[key]
    build = {"full": full, "base": base, "lora": lora, "lora-on-full": lora}[spec["format"]]
    build(name, spec, record, model, state, flat)
    write_files(root, record)
    return record


def full(name: str, spec: dict[str, Any], record: dict[str, Any], model: Any, state: Any, flat: Any) -> str:
    record["json"][f"{name}/config.json"] = flat
    record["weights"][f"{name}/model.safetensors"] = shapes(state)
    record["tokenizers"][name] = spec["tokenizer"]
    if "generation" in spec:
        record["json"][f"{name}/generation_config.json"] = spec["generation"]
    if "tokenizer_config" in spec:
        path = TOKENIZERS[spec["tokenizer"]] / "tokenizer_config.json"
        record["json"][f"{name}/tokenizer_config.json"] = {**json.loads(path.read_text()), **spec["tokenizer_config"]}
    return name


def plain_llm(name: str, spec: dict[str, Any], record: dict[str, Any], state: Any, flat: Any) -> str:
    folder = f"{spec['backbone']}-llm-{name}"
    text = {k: v for k, v in flat.items() if not k.startswith(("mm_", "num_frames", "image_", "tune_", "use_mm"))}
    text |= {"model_type": spec["backbone"]}
    record["json"][f"{folder}/config.json"] = text
    record["weights"][f"{folder}/model.safetensors"] = shapes({k: v for k, v in state.items() if not is_media(k)})
    record["tokenizers"][folder] = spec["tokenizer"]
    return folder


def base(name: str, spec: dict[str, Any], record: dict[str, Any], model: Any, state: Any, flat: Any) -> None:
    flat["_name_or_path"] = plain_llm(name, spec, record, state, flat)
    record["json"][f"{name}/config.json"] = flat
    connector = {k: v for k, v in model.named_parameters() if "mm_projector" in k}
    record["weights"][f"{name}/mm_projector.bin"] = shapes(connector)


def lora(name: str, spec: dict[str, Any], record: dict[str, Any], model: Any, state: Any, flat: Any) -> None:
    from peft import LoraConfig, get_peft_model

    if spec["format"] == "lora-on-full":
        below = full(f"below-{name}", spec, record, model, state, dict(flat))
    else:
        below = plain_llm(name, spec, record, state, flat)
    flat["_name_or_path"] = below
    linear = [k for k, m in model.named_modules() if isinstance(m, torch.nn.Linear) and not is_media(k)]
    targets = sorted({k.rpartition(".")[2] for k in linear} - {"lm_head"})
    given = {"r": 4, "lora_alpha": 10, "lora_dropout": 0.05, "bias": "none", **spec.get("lora", {})}
    model.get_vision_tower().requires_grad_(False)
    wrapped = get_peft_model(model, LoraConfig(target_modules=targets, task_type="CAUSAL_LM", **given))
    model.get_vision_tower().requires_grad_(False)
    for key, parameter in wrapped.named_parameters():
        if "lora_" in key:
            parameter.requires_grad = True
    for parameter in model.get_model().mm_projector.parameters():
        parameter.requires_grad = True
    bias = given["bias"] == "all"
    named = dict(wrapped.named_parameters())
    adapter = {k: v for k, v in named.items() if "lora_" in k or (bias and "bias" in k)}
    rest = {k: v for k, v in named.items() if "lora_" not in k and v.requires_grad}
    with tempfile.TemporaryDirectory() as folder:
        wrapped.save_pretrained(folder, state_dict=adapter, safe_serialization=not spec.get("pickle"))
        settings = json.loads((Path(folder) / "adapter_config.json").read_text())
        if spec.get("pickle"):
            file, saved = "adapter_model.bin", torch.load(Path(folder) / "adapter_model.bin")
        else:
            from safetensors.torch import load_file

            file, saved = "adapter_model.safetensors", load_file(Path(folder) / "adapter_model.safetensors")
    settings["target_modules"] = targets
    settings["base_model_name_or_path"] = below
    record["json"][f"{name}/config.json"] = flat
    record["json"][f"{name}/adapter_config.json"] = settings
    record["weights"][f"{name}/{file}"] = shapes(saved)
    record["weights"][f"{name}/non_lora_trainables.bin"] = shapes(rest)


def load(name: str, spec: dict[str, Any]) -> tuple[Any, Any]:
    """The official loader; the tower, where it is left random, from its own folder."""
    if spec["backbone"] == "llama":  # the official loader knows no way to this class
        model = classes("llama")[1].from_pretrained(name, torch_dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, use_fast=False)
        if BRANCH == "audio_visual":
            model.get_vision_tower().load_model()
    elif spec["format"] == "lora":
        import peft

        # Before the adapter, which changes the tower too, is added to it.
        inner = peft.PeftModel.from_pretrained
        peft.PeftModel.from_pretrained = lambda model, *a, **k: (fill_tower(model, spec), inner(model, *a, **k))[1]
        model, _, tokenizer = videollama2.model_init(name, device="cpu")
        peft.PeftModel.from_pretrained = inner
    else:
        model, _, tokenizer = videollama2.model_init(name, device="cpu")
    if spec["format"] == "base":
        fill_tower(model, spec)
    return model.float().eval(), tokenizer


def fill_tower(model: Any, spec: dict[str, Any]) -> None:
    """The official loader leaves the tower of a Base or LoRA checkpoint random; its values are in its own folder."""
    for key, parameter in model.get_vision_tower().named_parameters():
        name = f"{spec.get('salt', '')}model.vision_tower.{key}"
        parameter.data.copy_(seeded_tensor(name, tuple(parameter.shape)))


def official_medium(spec: Any, size: int) -> Any:
    if isinstance(spec, dict):
        return {key: medium(value, size) for key, value in spec.items()}
    return medium(spec, size)


def run_single(case: dict[str, Any], model: Any, tokenizer: Any, size: int) -> tuple[dict[str, Any], dict[str, Any]]:
    media = None if case["media"] is None else official_medium(case["media"], size)
    seen: dict[str, Any] = {}
    inner = model.generate

    def generate(input_ids: Any, **kwargs: Any) -> Any:
        out = inner(input_ids, return_dict_in_generate=True, output_scores=True, **kwargs)
        top = [score[0].topk(2).values for score in out.scores]
        seen.update(
            input_ids=input_ids[0].tolist(),
            masked=int((kwargs["attention_mask"] == 0).sum()),
            generated_ids=out.sequences[0].tolist(),
            margin=min(float(t[0] - t[1]) for t in top),
        )
        return out.sequences

    model.generate = generate
    text = videollama2.mm_infer(
        media, case["instruct"], model, tokenizer, modal=case["modal"], do_sample=False, max_new_tokens=NEW_TOKENS
    )
    del model.generate
    ids = torch.tensor([seen["input_ids"]])
    images = None if media is None else [(media, case["modal"])]
    with torch.no_grad():
        _, _, _, embeds, _ = model.prepare_inputs_labels_for_multimodal(ids, torch.ones_like(ids), None, None, images)
        embeds = model.get_model().embed_tokens(ids) if embeds is None else embeds
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), images=images).logits
    tensors = {"inputs_embeds": thin(embeds[0], KEPT, "inputs_embeds"), "logits": thin(logits[0], KEPT, "logits")}
    maxima = {"inputs_embeds": float(embeds.abs().max()), "logits": float(logits.abs().max())}
    return {**case, **seen, "text": text, "max": maxima}, tensors


def run_batch(
    name: str, case: dict[str, Any], model: Any, vocab: int, size: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A training batch of made-up ids, padded right, half of each row without labels."""
    rows, images = [], []
    for number, media in enumerate(case["rows"]):
        drawn = seeded_uniform(f"{name}.row{number}", 9 + 3 * number)
        ids = [int((u + 1) / 2 * (vocab - 20)) + 10 for u in drawn]
        for place, item in enumerate(media):
            kind = "video" if isinstance(item, dict) else item.split(":")[0]
            ids.insert(1 + 4 * place, TAGS[kind])
            images.append((official_medium(item, size), kind))
        if not media:
            images.append((torch.zeros(3, size, size), "image"))
        rows.append(ids)
    if all(kind == "audio" for _, kind in images):
        images = [image for image in images if image[1] == "audio"]
    length = max(map(len, rows))
    input_ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[True] * len(row) + [False] * (length - len(row)) for row in rows])
    labels = input_ids.masked_fill(~mask, -100)
    labels[:, : length // 2] = -100
    labels[input_ids < 0] = -100
    model.zero_grad()
    model.requires_grad_(True)
    model.get_vision_tower().requires_grad_(False)
    prepared = model.prepare_inputs_labels_for_multimodal(input_ids, mask, None, labels, images)
    output = model(input_ids=input_ids, attention_mask=mask, labels=labels, images=images)
    output.loss.backward()
    norms = {k: float(f"{p.grad.norm():.7g}") for k, p in model.named_parameters() if p.grad is not None}
    kept = ("mm_projector", "lm_head", "embed_tokens", "audio_tower.encoder.layers.0", "patch_embedding", "layers.0.")
    result = {
        **case,
        "input_ids": rows,
        "labels": labels.tolist(),
        "out_mask": prepared[1].long().tolist(),
        "out_labels": prepared[4].tolist(),
        "loss": float(output.loss),
        "grad_norms": {k: v for k, v in norms.items() if any(part in k for part in kept)},
        "grad_norm": float(torch.tensor(list(norms.values())).norm()),
        "max": {"inputs_embeds": float(prepared[3].abs().max()), "logits": float(output.logits.abs().max())},
    }
    tensors = {"inputs_embeds": thin(prepared[3], KEPT, "inputs_embeds"), "logits": thin(output.logits, KEPT, "logits")}
    return result, tensors


def record_variant(name: str) -> None:
    spec = SPECS[name]
    from specs import CLIP, SIGLIP

    size = {**{"clip": CLIP, "siglip": SIGLIP}[spec["tower"]], **spec["vision"]}["image_size"]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        record = prepare(name, spec, Path(folder))
        model, tokenizer = load(name, spec)
        record |= {"branch": BRANCH, "image_size": size, "new_tokens": NEW_TOKENS, **KEPT, "cases": {}}
        record["eos"] = model.generation_config.eos_token_id
        tensors: dict[str, torch.Tensor] = {}
        for case, content in spec["cases"].items():
            if "rows" in content:
                result, found = run_batch(name, content, model, spec["text"]["vocab_size"], size)
            else:
                result, found = run_single(content, model, tokenizer, size)
                print(name, case, f"margin {result['margin']:.4f}", repr(result["text"][:40]), flush=True)
            record["cases"][case] = result
            tensors |= {f"{case}.{key}": value for key, value in found.items()}
        os.chdir(HERE)
    packed = gzip.compress(json.dumps(record, separators=(",", ":")).encode(), mtime=0)
    (HERE / f"{name}.json.gz").write_bytes(packed)
    save_file(tensors, HERE / f"{name}.safetensors")


if __name__ == "__main__":
    patch()
    torch.manual_seed(0)
    wanted = sys.argv[3:] or [name for name, spec in SPECS.items() if spec["branch"] == BRANCH]
    failed = []
    for wanted_name in wanted:
        real_config = getattr(encoder, "BEATsConfig", None)
        try:
            record_variant(wanted_name)
        except Exception as error:
            import traceback

            traceback.print_exc()
            failed.append(f"{wanted_name}: {type(error).__name__}: {error}")
        encoder.BEATsConfig = real_config
        os.chdir(HERE)
    print(len(wanted), "variants,", len(failed), "failed", *failed, sep="\n")
