"""The tokenizer of a checkpoint, so that it gives the ids the official code gives.

The official code tokenizes text around a media tag piece by piece, and old Llama SentencePiece tokenizers put a
space mark before each piece. transformers 5 rebuilds Llama tokenizers by newer rules and drops that mark in
front of a leading space, which shifts every prompt by a token. So `tokenizer.json` is taken as it stands, and where
only `tokenizer.model` is there, the old rules are written out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from videollama2.checkpoints.files import read_json
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
            return PreTrainedTokenizerFast(
                tokenizer_object=legacy_sentencepiece(folder / "tokenizer.model"), **_tokenizer_settings(folder)
            )
        return AutoTokenizer.from_pretrained(folder)
    except CheckpointError:
        raise
    # The tokenizers library raises plain Exception for any fault of a file.
    except Exception as error:
        raise CheckpointError(
            f"The tokenizer in {folder} cannot be read ({error}); copy its files from the checkpoint again."
        ) from error


def legacy_sentencepiece(path: Path) -> Any:
    """A `tokenizers.Tokenizer` that follows a SentencePiece BPE model by the old Llama rules.

    Args:
        path: `tokenizer.model`.

    Returns:
        Tokenizer: a space mark before each piece of text, byte fallback, BOS in front (unless special tokens are off).

    Raises:
        CheckpointError: If the file is not a SentencePiece BPE model.
    """
    import sentencepiece
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors

    try:
        pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} is not a SentencePiece model; copy it again ({path}).") from error
    names = [pieces.id_to_piece(i) for i in range(pieces.get_piece_size())]
    vocab = {name: i for i, name in enumerate(names)}
    plain = {
        name: pieces.get_score(i)
        for i, name in enumerate(names)
        if not (pieces.is_control(i) or pieces.is_unknown(i) or pieces.is_byte(i) or pieces.is_unused(i))
    }
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocab,
            merges=_merges_in_order(plain, vocab),
            unk_token=pieces.id_to_piece(pieces.unk_id()),
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE_MARK), normalizers.Replace(" ", SPACE_MARK)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(SPACE_MARK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [i for i in range(len(names)) if pieces.is_control(i) or pieces.is_unknown(i)]
    tokenizer.add_special_tokens([AddedToken(names[i], normalized=False, special=True) for i in special])
    bos = pieces.bos_id()
    if bos >= 0:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{names[bos]} $A",
            pair=f"{names[bos]} $A {names[bos]}:1 $B:1",
            special_tokens=[(names[bos], bos)],
        )
    return tokenizer


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


def _tokenizer_settings(folder: Path) -> dict[str, Any]:
    """Special tokens, template and padding side of `tokenizer_config.json`, as keyword arguments."""
    path = folder / "tokenizer_config.json"
    config = read_json(path) if path.is_file() else {}
    names = ("bos_token", "eos_token", "unk_token", "pad_token", "padding_side", "model_max_length", "chat_template")
    settings = {name: config[name] for name in names if config.get(name) is not None}
    for name, value in settings.items():
        if isinstance(value, dict) and "content" in value:
            settings[name] = value["content"]
    settings.setdefault("bos_token", "<s>")
    settings.setdefault("eos_token", "</s>")
    settings.setdefault("unk_token", "<unk>")
    return settings
