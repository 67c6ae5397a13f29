"""The tokenizer of a checkpoint, so that it gives the ids the official code gives.

The official code tokenizes text around a media tag piece by piece, and old Llama SentencePiece tokenizers put a
space mark before each piece. transformers 5 rebuilds Llama tokenizers by newer rules and drops that mark in
front of a leading space, which shifts every prompt by a token. So `tokenizer.json` is taken as it stands, and where
only `tokenizer.model` is there, the old rules are written out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from videollama2.checkpoints.files import read_json
from videollama2.checkpoints.sentencepiece_file import CONTROL, NORMAL, UNKNOWN, USER_DEFINED, read_sentencepiece
from videollama2.errors import CheckpointError, MissingFilesError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json")
# Everything a tokenizer may be made of; a copy of a checkpoint takes those that are there.
ALL_TOKENIZER_FILES = (
    *TOKENIZER_FILES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)
SPACE_MARK = "▁"


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer's vocabulary."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def load_tokenizer(folder: str | Path) -> Any:
    """Loads the tokenizer of a checkpoint folder.

    Args:
        folder: Local folder with `tokenizer.json`, or `tokenizer.model`, or `vocab.json` and `merges.txt`.

    Returns:
        A transformers tokenizer (fast) with the folder's chat template and special tokens. On a piece of text it gives
        the ids of the official code's slow tokenizer.

    Raises:
        MissingFilesError: If the folder holds no tokenizer.
        CheckpointError: If its files cannot be read.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    folder = Path(folder)
    if not has_tokenizer(folder):
        raise MissingFilesError(
            f"No tokenizer in {folder}: one of {', '.join(TOKENIZER_FILES)} is needed; copy them from the checkpoint."
        )
    try:
        if (folder / "tokenizer.json").is_file():
            return PreTrainedTokenizerFast.from_pretrained(folder)
        if (folder / "tokenizer.model").is_file():
            config_path = folder / "tokenizer_config.json"
            config = read_json(config_path) if config_path.is_file() else {}
            tokenizer = from_sentencepiece(folder / "tokenizer.model", config)
            return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_tokenizer_settings(config))
        return AutoTokenizer.from_pretrained(folder)
    except CheckpointError:
        raise
    # The tokenizers library raises plain Exception for any fault of a file.
    except Exception as error:
        raise CheckpointError(
            f"The tokenizer in {folder} cannot be read ({error}); copy its files from the checkpoint again."
        ) from error


def from_sentencepiece(path: Path, config: Mapping[str, Any]) -> Any:
    """A `tokenizers.Tokenizer` that follows a SentencePiece BPE model by the rules of the official, slow tokenizers.

    A space mark goes before each piece of text between special tokens (old Llama rules, which is what a config
    without `legacy` means), before the text alone (`legacy: false`), or nowhere (models without a dummy prefix, such as
    Gemma's).

    Args:
        path: `tokenizer.model`.
        config: `tokenizer_config.json`.

    Returns:
        Tokenizer: byte fallback, BOS in front (unless special tokens are off).

    Raises:
        CheckpointError: If the file is not a SentencePiece BPE model, or the config's added tokens do not follow it.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    model = read_sentencepiece(path)
    names = [piece.text for piece in model.pieces]
    vocab = {name: i for i, name in enumerate(names)}
    plain = {p.text: p.score for p in model.pieces if p.kind in (NORMAL, USER_DEFINED)}
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=_merges_in_order(plain, vocab),
            unk_token=names[model.unk_id],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    to_marks = normalizers.Replace(" ", SPACE_MARK)
    to_text = [decoders.Replace(SPACE_MARK, " "), decoders.ByteFallback(), decoders.Fuse()]
    legacy = config.get("legacy") is not False
    if not model.add_dummy_prefix:
        tokenizer.normalizer = to_marks
        symbols = [AddedToken(p.text, normalized=True, special=False) for p in model.pieces if p.kind == USER_DEFINED]
        tokenizer.add_tokens(symbols)
    elif legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE_MARK), to_marks])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE_MARK, prepend_scheme="first", split=False)
    if model.add_dummy_prefix:
        to_text.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(to_text)
    special = [p.text for p in model.pieces if p.kind in (CONTROL, UNKNOWN)]
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in special])
    _add_tokens(tokenizer, config, path)
    if model.bos_id >= 0:
        bos = names[model.bos_id]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, model.bos_id)]
        )
    return tokenizer


def _add_tokens(tokenizer: Any, config: Mapping[str, Any], path: Path) -> None:
    """Adds the tokens of `tokenizer_config.json`, with the ids it gives."""
    from tokenizers import AddedToken

    added = config.get("added_tokens_decoder") or {}
    for number, fields in sorted(added.items(), key=lambda item: int(item[0])):
        flags = {name: bool(fields.get(name)) for name in ("lstrip", "rstrip", "single_word", "special")}
        token = AddedToken(fields["content"], normalized=False, **flags)
        (tokenizer.add_special_tokens if flags["special"] else tokenizer.add_tokens)([token])
        if tokenizer.token_to_id(fields["content"]) != int(number):
            raise CheckpointError(
                f"tokenizer_config.json gives {fields['content']!r} the id {number}, for which {path.name} has no "
                "place; copy both from one checkpoint."
            )


def _merges_in_order(scores: dict[str, float], vocab: dict[str, int]) -> list[tuple[str, str]]:
    """BPE merges as SentencePiece does them: the pair whose joined piece scores highest comes first."""
    merges = [
        (piece[:cut], piece[cut:], score)
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    merges.sort(key=lambda merge: (-merge[2], vocab[merge[0]], vocab[merge[1]]))
    return [(left, right) for left, right, _ in merges]


def _tokenizer_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Special tokens, template and padding side of `tokenizer_config.json`, as keyword arguments."""
    names = ("bos_token", "eos_token", "unk_token", "pad_token", "padding_side", "model_max_length", "chat_template")
    settings = {name: config[name] for name in names if config.get(name) is not None}
    for name, value in settings.items():
        if isinstance(value, dict) and "content" in value:
            settings[name] = value["content"]
    settings.setdefault("bos_token", "<s>")
    settings.setdefault("eos_token", "</s>")
    settings.setdefault("unk_token", "<unk>")
    return settings
