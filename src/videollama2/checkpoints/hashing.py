"""A fingerprint of a model's weights, fast enough to put on every answer.

Two checkpoints with the same fingerprint hold the same tensors for every practical purpose: it covers all names, shapes
and dtypes, the size of every file, and the bytes of each file, whole up to 64 MB, beyond that sixteen 1 MB samples
spread evenly over it (first and last byte included). It is no proof against tampering.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from videollama2.checkpoints.headers import TensorEntry

WHOLE_UP_TO = 64 * 2**20
SAMPLE_BYTES = 2**20
NUM_SAMPLES = 16


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a file's size and its bytes, all or samples; see the module's docstring."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        if size <= WHOLE_UP_TO:
            while block := stream.read(SAMPLE_BYTES):
                digest.update(block)
        else:
            for i in range(NUM_SAMPLES):
                stream.seek(i * (size - SAMPLE_BYTES) // (NUM_SAMPLES - 1))
                digest.update(stream.read(SAMPLE_BYTES))
    return digest.hexdigest()


def hash_weights(entries: Iterable[tuple[str, TensorEntry]], files: Iterable[Path]) -> str:
    """SHA-256 (hex) of the weights a model is made of.

    Args:
        entries: Name and header entry of every tensor.
        files: All weight files.
    """
    digest = hashlib.sha256()
    for name, entry in sorted(entries, key=lambda item: item[0]):
        digest.update(f"{name} {list(entry.shape)} {entry.dtype}\n".encode())
    for file_hash in sorted(hash_file(path) for path in files):
        digest.update(file_hash.encode())
    return digest.hexdigest()
