"""The tiny models of `selfcheck`: one for each backbone, connector and tower, with weights that are a pure function.

Nothing is downloaded: sizes stand here, weights come from `selfcheck_weights`, the tokenizer knows bytes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videollama2.checkpoints import facts
from videollama2.checkpoints.load import LoadedCheckpoint
from videollama2.checkpoints.verify import WeightReport
from videollama2.inference.selfcheck_weights import fill_with_seeded_weights

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)
# Towers and language models are of one width, because connectors of depth 0 have no way to change it.
WIDTH = 64

CLIP = {
    "tower": "clip",
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 14,
    "hidden_act": "quick_gelu",
}
SIGLIP = {
    "tower": "siglip",
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 14,
    "hidden_act": "gelu_pytorch_tanh",
}
BEATS = {
    "tower": "beats",
    "embed_dim": 16,
    "encoder_layers": 2,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 48,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "num_buckets": 32,
}
TEXT = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": WIDTH,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "pad_token_id": 256,
    "bos_token_id": None,
    "eos_token_id": 258,
}
TEXT_EXTRA: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gemma2": {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 64},
}


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model to check.

    Attributes:
        name: Its name in the report.
        backbone: Language model of transformers.
        connector: Connector type.
        vision: Configuration of the vision tower.
        audio: Configuration of the audio tower, None for a model that does not hear.
        num_frames: Frames of a video.
        salt: Chooses the weights: such that no answer hangs on a near tie.
    """

    name: str
    backbone: str
    connector: str
    vision: dict[str, Any]
    audio: dict[str, Any] | None = None
    num_frames: int = 8
    salt: str = ""


VARIANTS = (
    Variant(name="mistral", backbone="mistral", connector="stc_connector", vision=CLIP),
    Variant(name="mixtral", backbone="mixtral", connector="stp_connector", vision=CLIP),
    Variant(name="qwen2", backbone="qwen2", connector="stc_connector_v35", vision=SIGLIP),
    Variant(name="qwen2-clip", backbone="qwen2", connector="linear", vision=CLIP, salt="1"),
    Variant(name="llama", backbone="llama", connector="spatial_conv", vision=SIGLIP, num_frames=4, salt="2"),
    Variant(name="gemma2", backbone="gemma2", connector="spatial_pool", vision=CLIP, num_frames=4, salt="2"),
    Variant(name="phi3", backbone="phi3", connector="mlp2x_gelu", vision=SIGLIP, num_frames=4),
    Variant(name="qwen2-av", backbone="qwen2", connector="stc_connector_v35", vision=SIGLIP, audio=BEATS, salt="1"),
)


def build_variant(variant: Variant, device: str) -> LoadedCheckpoint:
    """The model of a variant with its seeded weights, in float32, and what belongs to it."""
    import torch
    from transformers import GenerationConfig

    from videollama2.model.configuration import VideoLLaMA2Config
    from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration

    config = VideoLLaMA2Config(
        text_config={"model_type": variant.backbone, **TEXT, **TEXT_EXTRA.get(variant.backbone, {})},
        vision_config=dict(variant.vision),
        audio_config=dict(variant.audio) if variant.audio else None,
        mm_projector_type=variant.connector,
        num_frames=variant.num_frames,
    )
    model = VideoLLaMA2ForConditionalGeneration(config).float().eval()
    fill_with_seeded_weights(model, variant.salt)
    generation_config = GenerationConfig(
        eos_token_id=[256, 258], pad_token_id=256, repetition_penalty=1.05 if variant.backbone == "qwen2" else 1.0
    )
    model.generation_config = generation_config
    return LoadedCheckpoint(
        model=model.to(torch.device(device)),  # type: ignore[arg-type]
        config=config,
        tokenizer=byte_tokenizer(),
        preprocessor_config=facts.preprocessor_config(config.vision_config or {}),
        audio_preprocessing=dict(facts.BEATS_PREPROCESSING) if variant.audio else None,
        generation_config=generation_config,
        report=WeightReport(loaded=[name for name, _ in model.named_parameters()]),
        model_hash="",
        kind="ours",
        model_type=config.official_model_type,
        family="VideoLLaMA2",
        modalities=("text", "image", "video", *(("audio",) if variant.audio else ())),
        path=Path(variant.name),
    )


def byte_tokenizer() -> Any:
    """A tokenizer whose tokens are the 256 bytes and three control tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(list(SPECIAL_TOKENS))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
