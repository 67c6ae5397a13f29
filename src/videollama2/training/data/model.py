"""Configuration and processor of a checkpoint, without its weights: enough to measure rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def model_of(
    path_or_id: str | Path, *, offline: bool | None = None, parts: Mapping[str, str | Path] | None = None
) -> tuple[Any, Any]:
    """The `VideoLLaMA2Processor` and `VideoLLaMA2Config` of a checkpoint.

    Raises:
        MissingFilesError: With the names of all missing files.
        CheckpointError: If the checkpoint is unknown or damaged.
    """
    from videollama2.checkpoints.resolve import resolve

    return model_of_files(resolve(path_or_id, offline=offline, parts=parts))


def model_of_files(resolved: Any) -> tuple[Any, Any]:
    """As `model_of`, for a checkpoint whose files were found (`checkpoints.resolve.Resolved`)."""
    from videollama2.checkpoints.load import official_model_type, preprocessing, read_config
    from videollama2.checkpoints.tokenizer import load_tokenizer
    from videollama2.inference.engine import processor_of

    config, _ = read_config(resolved)
    pixels, audio = preprocessing(resolved, config)
    found: Any = SimpleNamespace(
        config=config,
        tokenizer=load_tokenizer(resolved.tokenizer_folder or resolved.detected.path),
        preprocessor_config=pixels,
        audio_preprocessing=audio,
        model_type=official_model_type(resolved, config),
    )
    return processor_of(found), config
