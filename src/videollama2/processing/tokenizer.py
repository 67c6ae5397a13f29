"""The tokenizer as prompts and batches need it: with a pad token, and with a hash that says which ids it gives."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videollama2.checkpoints import tokenizer as checkpoint_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE_MARK = "▁"


def load_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a local checkpoint folder, ids as the official code's, and see that it can pad.

    Args:
        folder: Holds `tokenizer.json`, or `tokenizer.model`, or `vocab.json` and `merges.txt`.

    Raises:
        MissingFilesError: The folder holds no vocabulary.
        CheckpointError: The files are there and cannot be read.
    """
    tokenizer = checkpoint_tokenizer.load_tokenizer(folder)
    ensure_pad_token(tokenizer)
    return tokenizer


def ensure_pad_token(tokenizer: PreTrainedTokenizerBase) -> None:
    """Give a tokenizer without a pad token the unknown token as one (official), else the end-of-sequence token."""
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token if tokenizer.unk_token is not None else tokenizer.eos_token


def decode_ids(tokenizer: PreTrainedTokenizerBase, ids: Iterable[int], *, skip_special_tokens: bool = True) -> str:
    """Text of token ids, as the official code's tokenizer gives it.

    SentencePiece tokenizers spell rare characters as single bytes. Where such bytes are no valid UTF-8, the fast one
    turns the whole run into replacement characters and the official one only the invalid bytes; here it is the latter.
    """
    ids = [int(number) for number in ids]
    tokens = tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=skip_special_tokens)
    runs = [] if not _has_byte_tokens(tokenizer) else [bool(_BYTE_TOKEN.fullmatch(token)) for token in tokens]
    if not any(runs):
        return str(tokenizer.decode(ids, skip_special_tokens=skip_special_tokens))
    text, pending = "", b""
    for token, is_byte in zip(tokens, runs):
        if is_byte:
            pending += bytes([int(token[3:5], 16)])
            continue
        text += _decode_bytes(pending) + token.replace(_SPACE_MARK, " ")
        pending = b""
    text += _decode_bytes(pending)
    return text.removeprefix(" ")


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 over vocabulary, text rules, special tokens and chat template: equal hashes give equal ids."""
    state: dict[str, Any] = {
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "chat_template": tokenizer.chat_template,
    }
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state["model"] = json.loads(backend.to_str()) if backend is not None else tokenizer.get_vocab()
    if backend is not None:
        # Padding and truncation are settings of the last call, not of the vocabulary.
        state["model"]["padding"] = state["model"]["truncation"] = None
    canonical = json.dumps(state, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _has_byte_tokens(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether bytes are spelt <0x00> ... <0xFF> (SentencePiece with byte fallback)."""
    return tokenizer.convert_tokens_to_ids("<0x0A>") not in (None, tokenizer.unk_token_id)


def _decode_bytes(data: bytes) -> str:
    """UTF-8 with one replacement character for each invalid byte (Python's "replace" joins some)."""
    text = ""
    while data:
        try:
            return text + data.decode()
        except UnicodeDecodeError as error:
            text += data[: error.start].decode() + "\ufffd"
            data = data[error.start + 1 :]
    return text
