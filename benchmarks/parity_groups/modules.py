"""Connectors with their gradients, and BEATs: single modules in fp32."""

from __future__ import annotations

import re
from types import SimpleNamespace

import torch
from torch import Tensor

from videollama2.model.audio import build_audio_tower
from videollama2.model.connectors import build_connector, num_tokens

from .measure import GOLDEN, MODULE, Table, golden_json, golden_tensors


def connectors(table: Table) -> None:
    """All seven types: outputs, gradients, numbers of tokens at real sizes."""
    record = golden_json("connectors/connectors.json")
    for kind, content in record["types"].items():
        group, tensors = f"connector {kind}", golden_tensors(f"connectors/{kind}.safetensors")
        width = record["hidden_size"] if kind.startswith("spatial") else record["mm_hidden_size"]
        config = SimpleNamespace(mm_projector_type=kind, mm_hidden_size=width, hidden_size=record["hidden_size"])
        connector = build_connector(config)
        prefix = "weights."
        connector.load_state_dict({k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)})
        for case in content["cases"]:
            name = f"case{case['case']}"
            if "error" in case:
                shape = (case["b"], case["t"], case["h"], case["w"], width)
                table.refuses(group, name, lambda c=connector, s=shape: c(torch.zeros(s)))
                continue
            with torch.no_grad():
                output = connector(tensors[f"{name}.input"])
            table.close(group, "output", name, output, tensors[f"{name}.output"], MODULE)
            table.equal(group, "tokens", name, output.shape[1], case["tokens"])
        x = tensors["case0.input"].clone().requires_grad_()
        loss = connector(x).square().mean()
        loss.backward()
        table.close(group, "loss", "case0", loss, content["case0_loss"], MODULE)
        assert x.grad is not None
        table.close(group, "gradient of the input", "case0", x.grad, tensors["case0.input_grad"], MODULE)
        norms = {key: p.grad.norm().item() for key, p in connector.named_parameters() if p.grad is not None}
        table.equal(group, "parameters", "case0", norms.keys(), content["case0_grad_norms"].keys())
        # Relative to the largest norm of the module, as elements of one long gradient vector.
        keys = sorted(norms)
        expected = [content["case0_grad_norms"][key] for key in keys]
        table.close(group, "parameter gradient norms", "case0", [norms[key] for key in keys], expected, MODULE)
        for size, expected_tokens in content.get("tokens_at_size", {}).items():
            t, h, w = (int(n) for n in size.split("x"))
            if isinstance(expected_tokens, int):
                table.equal(group, "tokens", size, num_tokens(kind, t, h, w), expected_tokens)
            else:
                table.refuses(group, size, lambda a=(kind, t, h, w): num_tokens(*a))


def beats(table: Table) -> None:
    """BEATs in its own file format: features, class probabilities, masks."""
    file = torch.load(GOLDEN / "towers" / "beats-tiny.pt", weights_only=True)
    tower = build_audio_tower({"tower": "beats", **file["cfg"]}).eval()
    tower.load_state_dict(our_beats_names(file["model"]))
    tensors = golden_tensors("beats/beats.safetensors")
    for case in golden_json("beats/beats.json")["cases"]:
        name = case["name"]
        fbank = tensors[f"{name}.fbank"].float()
        mask = None
        if case["mask"] == "zeros":
            mask = torch.zeros(fbank.shape, dtype=torch.bool)
        elif case["mask"] != "none":
            mask = tensors[f"{name}.padding_mask_per_frame"].unsqueeze(-1).expand(fbank.shape)
        with torch.no_grad():
            if not name.startswith("predict"):
                features = tower.extract_features(fbank, mask)
                table.close("BEATs", "features", name, features, tensors[f"{name}.features"], MODULE)
                continue
            probabilities, padding = tower.predict(fbank, mask)
        table.close("BEATs", "class probabilities", name, probabilities, tensors[f"{name}.probs"], MODULE)
        if f"{name}.out_padding_mask" in tensors:
            table.equal("BEATs", "padding of tokens", name, padding, tensors[f"{name}.out_padding_mask"])


def our_beats_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """BEATs' own key names as ours: one shared bias table, torch's names for weight normalisation."""
    renamed = {}
    for name, tensor in weights.items():
        name = re.sub(r"layers\.\d+\.self_attn\.relative_attention_bias", "relative_attention_bias", name)
        name = name.replace("pos_conv.0.weight_g", "pos_conv.0.parametrizations.weight.original0")
        renamed[name.replace("pos_conv.0.weight_v", "pos_conv.0.parametrizations.weight.original1")] = tensor
    return renamed
