"""Rebuild the default language model's tokenizer from its GGUF file: words, merges, special tokens, chat template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from videollama2.checkpoints.default.gguf import GGUFFile
from videollama2.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_CONTROL_TOKEN = 3  # type number of special tokens in GGUF


def save_tokenizer(file: GGUFFile, folder: str | Path, chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """Write `tokenizer.json`, `tokenizer_config.json` and the chat template into `folder`, as transformers reads them.

    The tokenizer is a byte-level BPE that splits numbers into single digits and adds no token by itself.

    Args:
        file: the language model's file.
        folder: where to.
        chat_template: in place of the published one.

    Returns:
        The tokenizer.

    Raises:
        CheckpointError: the file's tokenizer is of another kind.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    meta = file.metadata
    kind = (meta.get("tokenizer.ggml.model"), meta.get("tokenizer.ggml.pre"))
    if kind != ("gpt2", "smollm"):
        raise CheckpointError(f"{file.path} has a tokenizer of kind {kind}; ('gpt2', 'smollm') can be read.")
    words: list[str] = meta["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in meta["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={word: index for index, word in enumerate(words)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = meta["tokenizer.ggml.token_type"]
    special = [word for word, type_id in zip(words, types) if type_id == _CONTROL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(word, normalized=False, special=True) for word in special])

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=words[meta["tokenizer.ggml.bos_token_id"]],
        eos_token=words[meta["tokenizer.ggml.eos_token_id"]],
        unk_token=words[meta["tokenizer.ggml.unknown_token_id"]],
        pad_token=words[meta["tokenizer.ggml.padding_token_id"]],
        additional_special_tokens=[word for word in special if not re.fullmatch(r"<\|\w+\|>", word)],
        model_max_length=meta["llama.context_length"],
        clean_up_tokenization_spaces=False,
        chat_template=chat_template or meta["tokenizer.chat_template"],
    )
    wrapped.save_pretrained(folder)
    return wrapped
