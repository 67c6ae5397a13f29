"""The tiny parts that the miniature starts from, in the layouts of real ones: language model, SigLIP, BEATs.

Towers are random and stay so (real ones are trained and stay so): a random network, too, tells colours and pitches
apart. The language model learns the few words there are, for connectors are trained against one that can speak.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from videollama2.training.mini.clips import SIDE, documents
from videollama2.training.schedule import rate

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
WIDTH = 96
DOCUMENTS, LANGUAGE_STEPS = 4000, 600
VISION: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": 14,
}
# Patches of 64 steps and mel bins: 92 tokens for the official 30 seconds, where 16 would give 1496.
BEATS: dict[str, Any] = {
    "input_patch_size": 64,
    "embed_dim": 64,
    "encoder_layers": 2,
    "encoder_embed_dim": 64,
    "encoder_ffn_embed_dim": 128,
    "encoder_attention_heads": 4,
    "conv_pos": 16,
    "conv_pos_groups": 4,
    "num_buckets": 32,
    "finetuned_model": False,
}


def write_language_model(folder: Path, seed: int = 0) -> float:
    """A Qwen2 of two layers with a byte-pair tokenizer, taught the documents of `clips`; its last loss."""
    from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM

    template = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n"
    texts = documents(DOCUMENTS, seed, template.format)
    tokenizer = _tokenizer(texts)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    pad, end = (tokenizer.convert_tokens_to_ids(SPECIAL_TOKENS[place]) for place in (0, 2))
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=pad,
        tie_word_embeddings=False,
        initializer_range=0.05,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    loss = _teach(model, [tokenizer.encode(text) for text in texts], pad)
    model.generation_config = GenerationConfig(eos_token_id=[pad, end], pad_token_id=pad)
    model.save_pretrained(folder)
    return loss


def _tokenizer(texts: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=list(SPECIAL_TOKENS), show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=SPECIAL_TOKENS[2], pad_token=SPECIAL_TOKENS[0]
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _teach(model: Any, texts: list[list[int]], pad: int) -> float:
    """Next-token prediction over whole texts, as language models are pre-trained."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.0)
    loss = torch.zeros(())
    for step in range(LANGUAGE_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * rate(step, LANGUAGE_STEPS, warmup_ratio=0.05, kind="cosine")
        chosen = [torch.tensor(texts[(step * 64 + place) % len(texts)]) for place in range(64)]
        ids = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=pad)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text) for text in chosen], batch_first=True)
        loss = model(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(mask == 0, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return float(loss.detach())


def write_vision_tower(folder: Path, seed: int = 0) -> Path:
    """A random SigLIP with its image processor."""
    from transformers import SiglipVisionConfig, SiglipVisionModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SiglipVisionModel(SiglipVisionConfig(**VISION))
    model.save_pretrained(folder)
    processor: dict[str, Any] = {
        "image_processor_type": "SiglipImageProcessor",
        "do_resize": True,
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"height": SIDE, "width": SIDE},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def write_audio_tower(path: Path, seed: int = 0) -> Path:
    """A random BEATs in its own format."""
    from videollama2.checkpoints.keymaps import to_official
    from videollama2.model.audio import build_audio_tower

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = build_audio_tower({"tower": "beats", **BEATS})
    prefix = "model.audio_tower."
    state: dict[str, torch.Tensor] = {}
    for name, tensor in tower.state_dict().items():
        official = to_official(prefix + name, tensor, num_audio_layers=BEATS["encoder_layers"])
        state.update({key.removeprefix(prefix): value.clone() for key, value in official.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"cfg": dict(BEATS), "model": state}, path)
    return path
