"""What is recorded: backbones, towers, connectors and formats that `tests/golden` does not hold."""

from __future__ import annotations

from typing import Any

CLIP = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "projection_dim": 16,
    "image_size": 70, "patch_size": 14, "num_channels": 3, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
}  # fmt: skip
SIGLIP = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 58, "patch_size": 8, "num_channels": 3, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
}  # fmt: skip
TEXT = {
    "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 1024,
}  # fmt: skip
LLAMA_VOCAB = {"vocab_size": 900, "bos_token_id": 1, "eos_token_id": 2}
QWEN_VOCAB = {"vocab_size": 903, "bos_token_id": 900, "eos_token_id": 902}
GEMMA_VOCAB = {"vocab_size": 480, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
PHI_VOCAB = {"vocab_size": 466, "bos_token_id": 1, "eos_token_id": 460, "pad_token_id": 460}
MISTRAL = {**TEXT, **LLAMA_VOCAB, "rope_theta": 1e6, "sliding_window": None, "rms_norm_eps": 1e-5}
QWEN2 = {**TEXT, **QWEN_VOCAB, "rope_theta": 1e6, "use_sliding_window": False, "sliding_window": 1024}
BEATS = {
    "embed_dim": 16, "encoder_layers": 2, "encoder_embed_dim": 24, "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 4, "conv_pos": 16, "conv_pos_groups": 4, "predictor_class": 11, "num_buckets": 40,
    "hidden_size": 48,
}  # fmt: skip

QUESTION = "What animals are in the video, and what are they doing?"
TURNS = [
    {"role": "user", "content": "Describe the video in detail."},
    {"role": "assistant", "content": "A man is walking."},
    {"role": "user", "content": QUESTION},
]


def single(modal: str, media: Any = None, instruct: Any = QUESTION) -> dict[str, Any]:
    """One question through `mm_infer`."""
    return {"modal": modal, "media": media, "instruct": instruct}


def usual(frames: int) -> dict[str, Any]:
    """The cases most variants have; `frames` is what the checkpoint's config says."""
    return {
        "image": single("image", "image:i1"),
        "video": single("video", f"video:v1:{frames}"),
        "turns": single("video", f"video:v2:{frames}", TURNS),
        "text": single("text"),
        # Rows: media of each in order; the text row is given a dummy by the official code.
        "batch": {"rows": [["image:i1"], [f"video:v1:{frames}", "image:i2"], [], [f"video:v2:{frames}"]]},
    }


def spec(backbone: str, text: dict[str, Any], tower: str, connector: str, frames: int, **more: Any) -> dict[str, Any]:
    """One variant. `more`: branch, own (config fields), vision (tower sizes), beats, format, cases, generation."""
    tokenizer = {"qwen2": "qwen2", "gemma2": "gemma", "phi3": "phi3"}.get(backbone, "llama")
    own = {"mm_projector_type": connector, "num_frames": frames, **more.pop("own", {})}
    default = {"branch": "main", "format": "full", "cases": usual(frames), "tokenizer": tokenizer, "vision": {}}
    return {"backbone": backbone, "text": text, "tower": tower, "own": own, **default, **more}


def few(frames: int) -> dict[str, Any]:
    """Cases where only the connector is new."""
    cases = usual(frames)
    return {name: cases[name] for name in ("image", "video", "batch")}


AV_CASES = {
    **usual(4),
    "audio": single("audio", "audio:a1:112"),
    "video_with_sound": single("video", {"video": "video:v1:4", "audio": "audio:a2:112"}),
    "turns_with_sound": single("video", {"video": "video:v2:4", "audio": "audio:a1:98"}, TURNS),
    "batch": {"rows": [[{"video": "video:v1:4", "audio": "audio:a1:112"}], ["audio:a2:112"], [], ["video:v2:4"]]},
    "batch_audio": {"rows": [["audio:a1:112"], ["audio:a2:112"]]},
    "batch_pair": {"rows": [["video:v1:4", "audio:a1:64"], ["image:i1"]]},
}
# The official code of this branch takes an image without a video for a sound, and fails.
del AV_CASES["image"]

MIXTRAL = {**TEXT, **LLAMA_VOCAB, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_theta": 1e6}
GEMMA2 = {**TEXT, **GEMMA_VOCAB, "head_dim": 16, "query_pre_attn_scalar": 24}
PHI3_LONG = {
    **TEXT, **PHI_VOCAB, "max_position_embeddings": 256, "original_max_position_embeddings": 64,
    "rope_scaling": {
        "type": "su",
        "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
        "long_factor": [2.0, 2.5, 3.0, 4.0, 5.0, 6.0],
    },
}  # fmt: skip

SPECS: dict[str, dict[str, Any]] = {
    # Released families that tests/golden does not hold.
    "mixtral": spec("mixtral", MIXTRAL, "clip", "stc_connector", 8),
    "72b": spec(
        "qwen2", {**QWEN2, "num_attention_heads": 6, "num_key_value_heads": 1}, "clip", "stc_connector", 8, salt="2",
    ),
    "72b-v35": spec("qwen2", {**QWEN2, "num_hidden_layers": 3}, "clip", "stc_connector_v35", 8),
    "mistral-16f": spec("mistral", {**MISTRAL, "hidden_size": 32}, "clip", "stc_connector", 16),
    "qwen2-tied": spec("qwen2", {**QWEN2, "tie_word_embeddings": True}, "siglip", "stc_connector_v35", 5),
    # Other backbones of the two branches.
    "llama": spec("llama", {**TEXT, **LLAMA_VOCAB, "rope_theta": 5e5}, "clip", "stc_connector", 8),
    "llama-rope-scaled": spec(
        "llama", {**TEXT, **LLAMA_VOCAB, "rope_scaling": {"type": "linear", "factor": 4.0}, "attention_bias": True},
        "siglip", "stc_connector_v35", 2, cases=few(2),
    ),
    "gemma2": spec(
        "gemma2", GEMMA2, "siglip", "stc_connector_v35", 4, branch="audio_visual",
        generation={"bos_token_id": 2, "eos_token_id": [1, 5], "pad_token_id": 0, "cache_implementation": "hybrid"},
    ),
    "phi3": spec("phi3", {**TEXT, **PHI_VOCAB}, "siglip", "stc_connector_v35", 4, branch="audio_visual"),
    "gemma2-model-file": spec(
        "gemma2", {**GEMMA2, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 8.0}, "clip", "stc_connector", 4,
        branch="audio_visual", tokenizer="gemma:model", cases={"turns": usual(4)["turns"], "text": usual(4)["text"]},
    ),
    "phi3-model-file": spec(
        "phi3", {**TEXT, **PHI_VOCAB, "num_key_value_heads": 4}, "clip", "stc_connector", 4, branch="audio_visual",
        tokenizer="phi3:model", cases={"turns": usual(4)["turns"], "text": usual(4)["text"]},
    ),
    "phi3-long": spec("phi3", PHI3_LONG, "siglip", "stc_connector_v35", 4, branch="audio_visual"),
    "mistral-model-file": spec(
        "mistral", MISTRAL, "clip", "stc_connector", 4, tokenizer="llama:model", cases={"turns": usual(4)["turns"]},
    ),
    # Every connector in a whole model, at other frame counts and grids.
    "stc": spec("mistral", MISTRAL, "siglip", "stc_connector", 3, cases=few(3), salt="2"),
    "stc-1f": spec("mistral", MISTRAL, "clip", "stc_connector", 1, cases=few(1)),
    "stp": spec("mistral", MISTRAL, "clip", "stp_connector", 6, cases=few(6)),
    "stp-odd": spec("qwen2", QWEN2, "siglip", "stp_connector", 5, cases=few(5)),
    "v35-32f": spec("qwen2", QWEN2, "siglip", "stc_connector_v35", 32, cases=few(32)),
    "spatial-conv": spec("mistral", {**MISTRAL, "hidden_size": 32}, "clip", "spatial_conv", 4, cases=few(4)),
    "spatial-pool": spec("mistral", {**MISTRAL, "hidden_size": 32}, "clip", "spatial_pool", 4, cases=few(4)),
    "mlp": spec("mistral", MISTRAL, "clip", "mlp2x_gelu", 7, cases=few(7)),
    "linear": spec("qwen2", QWEN2, "siglip", "linear", 2, cases=few(2)),
    "frames-by-default": spec("mistral", MISTRAL, "clip", "linear", 8, cases=few(8), drop=["num_frames"]),
    "cls-patch": spec(
        "mistral", MISTRAL, "clip", "mlp2x_gelu", 4, cases=few(4), own={"mm_vision_select_feature": "cls_patch"}
    ),
    "last-layer": spec(
        "mistral", MISTRAL, "clip", "stc_connector", 4, cases=few(4), own={"mm_vision_select_layer": -1},
    ),
    "first-layer": spec(
        "qwen2", QWEN2, "siglip", "stc_connector_v35", 4, cases=few(4), own={"mm_vision_select_layer": 1},
    ),
    # Other frame counts than the config's.
    "frames-given": spec(
        "mistral", MISTRAL, "clip", "stc_connector", 4,
        cases={"one": single("video", "video:v1:1"), "eleven": single("video", "video:v2:11")},
    ),
    # Where an answer ends, and what repeats.
    "stops": spec(
        "mistral", MISTRAL, "clip", "stc_connector", 4, cases={k: usual(4)[k] for k in ("image", "video", "text")},
        generation={"bos_token_id": 1, "eos_token_id": [2, 857], "repetition_penalty": 1.3},
    ),
    "stops-at-tokenizer-eos": spec(
        "mistral", MISTRAL, "clip", "stc_connector", 4, cases={k: usual(4)[k] for k in ("image", "video", "text")},
        tokenizer_config={"eos_token": "+"},
    ),
    # Formats.
    "base-mistral": spec("mistral", MISTRAL, "clip", "stc_connector", 4, format="base"),
    "base-mixtral": spec("mixtral", MIXTRAL, "clip", "stc_connector", 4, format="base", cases=few(4)),
    "base-qwen2": spec("qwen2", QWEN2, "siglip", "stc_connector_v35", 4, format="base", cases=few(4)),
    "lora-qwen2": spec("qwen2", QWEN2, "siglip", "stc_connector_v35", 4, format="lora"),
    "lora-mistral": spec("mistral", MISTRAL, "clip", "stc_connector", 4, format="lora", cases=few(4)),
    "lora-on-full": spec("qwen2", QWEN2, "siglip", "stc_connector_v35", 4, format="lora-on-full", cases=few(4)),
    "lora-rslora": spec(
        "qwen2", QWEN2, "siglip", "stc_connector_v35", 4, format="lora", cases=few(4), lora={"use_rslora": True},
    ),
    "lora-bias": spec(
        "qwen2", QWEN2, "siglip", "stc_connector_v35", 4, format="lora", cases=few(4), lora={"bias": "all"},
        pickle=True, salt="2",
    ),
    # Sound.
    "av-gemma2": spec(
        "gemma2", GEMMA2, "siglip", "stc_connector_v35", 4, branch="audio_visual", beats=BEATS,
        cases={k: AV_CASES[k] for k in ("audio", "video_with_sound", "batch")},
    ),
    "av": spec("qwen2", QWEN2, "siglip", "stc_connector_v35", 4, branch="audio_visual", beats=BEATS, cases=AV_CASES),
    "av-mistral": spec(
        "mistral", MISTRAL, "clip", "stc_connector", 4, branch="audio_visual", cases=AV_CASES,
        beats={**BEATS, "embed_dim": 24, "encoder_layers": 3, "finetuned_model": False},
        own={"mm_projector_a_type": "mlp3x_gelu"},
    ),
    "av-linear": spec(
        "qwen2", QWEN2, "siglip", "stc_connector_v35", 4, branch="audio_visual", beats=BEATS,
        own={"mm_projector_a_type": "linear"}, cases={k: AV_CASES[k] for k in ("audio", "batch")},
    ),
    "av-identity": spec(
        "qwen2", QWEN2, "siglip", "stc_connector_v35", 4, branch="audio_visual",
        beats={**BEATS, "encoder_embed_dim": 48}, own={"mm_projector_a_type": "identity"},
        cases={k: AV_CASES[k] for k in ("audio", "video_with_sound")},
    ),
}  # fmt: skip
