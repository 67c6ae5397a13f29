"""What is known by name about the parts official checkpoints refer to, so that no download is needed for it.

An official folder holds the weights of its vision tower but only the *name* of the repository with the tower's sizes
and pixel rules. The sizes of both released towers are in `model.presets`, their pixel rules here; what a BEATs file
does not say of itself is read off its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from videollama2.model.audio.beats import BeatsConfig

_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
_PIL_BICUBIC = 3

# What `processing.AudioSpec` takes; the official front end of BEATs.
BEATS_PREPROCESSING: dict[str, Any] = {
    "kind": "beats-fbank",
    "seconds": 30.0,
    "num_mel_bins": 128,
    "sample_rate": 16000,
}


def preprocessor_config(vision_config: Mapping[str, Any]) -> dict[str, Any]:
    """The pixel rules of a CLIP or SigLIP tower of any image size, as its `preprocessor_config.json` has them.

    Args:
        vision_config: Needs `image_size`, and `tower` or `model_type`.
    """
    size = int(vision_config["image_size"])
    common: dict[str, Any] = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": _PIL_BICUBIC}
    common["rescale_factor"] = 1 / 255
    if "clip" in str(vision_config.get("tower") or vision_config.get("model_type")):
        return common | {
            "image_processor_type": "CLIPImageProcessor",
            "do_convert_rgb": True,
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            "size": {"shortest_edge": size},
            "image_mean": list(_CLIP_MEAN),
            "image_std": list(_CLIP_STD),
        }
    return common | {
        "image_processor_type": "SiglipImageProcessor",
        "size": {"height": size, "width": size},
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }


def beats_config_from_shapes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """BEATs `cfg` as its tensors show it; what shapes cannot tell (`max_distance`, deep norm) is the released one's.

    Args:
        shapes: Tensor name as in BEATs' own file -> shape.

    Returns:
        A `cfg` dict; the defaults alone if the names are not of BEATs.
    """
    sizes = asdict(BeatsConfig())
    if (patch := shapes.get("patch_embedding.weight")) is None:
        return sizes
    sizes["embed_dim"], sizes["input_patch_size"] = patch[0], patch[-1]
    sizes["conv_bias"] = "patch_embedding.bias" in shapes
    sizes["encoder_layers"] = len({name.split(".")[2] for name in shapes if name.startswith("encoder.layers.")})
    ffn, width = shapes["encoder.layers.0.fc1.weight"]
    sizes["encoder_embed_dim"], sizes["encoder_ffn_embed_dim"] = width, ffn
    bias = shapes.get("encoder.layers.0.self_attn.relative_attention_bias.weight")
    sizes["relative_position_embedding"] = bias is not None
    if bias is not None:
        sizes["num_buckets"], sizes["encoder_attention_heads"] = bias
    gate = shapes.get("encoder.layers.0.self_attn.grep_a")
    sizes["gru_rel_pos"] = gate is not None
    if gate is not None:
        sizes["encoder_attention_heads"] = gate[1]
    for suffix in ("weight_v", "weight", "parametrizations.weight.original1"):
        if (conv := shapes.get(f"encoder.pos_conv.0.{suffix}")) is not None:
            sizes["conv_pos"], sizes["conv_pos_groups"] = conv[-1], width // conv[1]
    return sizes
