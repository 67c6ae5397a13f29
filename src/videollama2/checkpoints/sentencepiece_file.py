"""What a SentencePiece `tokenizer.model` holds, read off its protocol-buffer bytes.

The pieces' kinds (a symbol of the user, a byte, a control sign) decide how a text is cut, and the `sentencepiece`
package does not tell all of them; the few fields that are needed take less code than another dependency.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from videollama2.errors import CheckpointError

# Field numbers of the format (sentencepiece_model.proto).
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE_TEXT, _PIECE_SCORE, _PIECE_KIND = 1, 2, 3
_MODEL_TYPE, _UNK_ID, _BOS_ID = 3, 40, 41
_ADD_DUMMY_PREFIX = 3
_BPE = 2
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One entry of the vocabulary: its text, its score (higher joins earlier) and its kind."""

    text: str
    score: float = 0.0
    kind: int = NORMAL


@dataclass(frozen=True, kw_only=True)
class SentencePieceModel:
    """A byte-pair vocabulary.

    Attributes:
        pieces: In order of their ids.
        unk_id: Id of the unknown piece.
        bos_id: Id of the beginning of a text; -1 where there is none.
        add_dummy_prefix: Whether a space mark is put before a text.
    """

    pieces: tuple[Piece, ...]
    unk_id: int = 0
    bos_id: int = 1
    add_dummy_prefix: bool = True


def read_sentencepiece(path: Path) -> SentencePieceModel:
    """Reads a `tokenizer.model`.

    Raises:
        CheckpointError: If the file is not a SentencePiece model, or not of the byte-pair kind.
    """
    pieces: list[Piece] = []
    trainer: dict[int, int] = {}
    normalizer: dict[int, int] = {}
    try:
        for number, value in _fields(path.read_bytes()):
            if number == _PIECES and isinstance(value, bytes):
                pieces.append(_piece(value))
            elif number in (_TRAINER, _NORMALIZER) and isinstance(value, bytes):
                numbers = {key: item for key, item in _fields(value) if isinstance(item, int)}
                (trainer if number == _TRAINER else normalizer).update(numbers)
    except (IndexError, UnicodeDecodeError, struct.error, ValueError) as error:
        raise CheckpointError(f"{path.name} is not a SentencePiece model; copy it again ({path}).") from error
    if not pieces:
        raise CheckpointError(f"{path.name} is not a SentencePiece model; copy it again ({path}).")
    if trainer.get(_MODEL_TYPE) != _BPE:
        raise CheckpointError(
            f"{path.name} is a SentencePiece model of another kind than byte-pair; copy tokenizer.json too ({path})."
        )
    return SentencePieceModel(
        pieces=tuple(pieces),
        unk_id=_signed(trainer.get(_UNK_ID, 0)),
        bos_id=_signed(trainer.get(_BOS_ID, 1)),
        add_dummy_prefix=bool(normalizer.get(_ADD_DUMMY_PREFIX, 1)),
    )


def _piece(data: bytes) -> Piece:
    fields = dict(_fields(data))
    text, score, kind = fields.get(_PIECE_TEXT, b""), fields.get(_PIECE_SCORE, b"\0\0\0\0"), fields.get(_PIECE_KIND, 1)
    if not (isinstance(text, bytes) and isinstance(score, bytes) and isinstance(kind, int)):
        raise ValueError("a piece has fields of other types")
    return Piece(text=text.decode(), score=struct.unpack("<f", score)[0], kind=kind)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field of a message: an int, or the bytes of all else."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == 2:
            size, place = _varint(data, place)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if number == 0 or place + size > len(data):
            raise ValueError("a field beyond the end")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number without end")


def _signed(value: int) -> int:
    """Negative numbers are written as 64 bits."""
    return value - (1 << 64) if value >= 1 << 63 else value
