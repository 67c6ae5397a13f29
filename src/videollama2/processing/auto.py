"""Registration with the Auto classes of transformers; done when the room is imported."""

from __future__ import annotations


def register_processor() -> None:
    """Make `AutoProcessor.from_pretrained` know `VideoLLaMA2Processor` for every VideoLLaMA 2 config; idempotent."""
    from transformers import AutoProcessor

    from videollama2.model.configuration import CONFIG_CLASSES
    from videollama2.processing.processor import VideoLLaMA2Processor

    for config_class in CONFIG_CLASSES.values():
        AutoProcessor.register(config_class, VideoLLaMA2Processor, exist_ok=True)
