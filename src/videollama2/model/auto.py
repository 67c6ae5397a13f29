"""Registration with the Auto classes of transformers."""

from __future__ import annotations

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForImageTextToText

from .configuration import CONFIG_CLASSES, VideoLLaMA2Config
from .modeling import VideoLLaMA2ForConditionalGeneration, VideoLLaMA2Model


def register() -> None:
    """Make configs and models known to the Auto classes; calling it again changes nothing."""
    for model_type, config_class in CONFIG_CLASSES.items():
        AutoConfig.register(model_type, config_class, exist_ok=True)
    # Every model_type is read into a VideoLLaMA2Config.
    AutoModel.register(VideoLLaMA2Config, VideoLLaMA2Model, exist_ok=True)
    for auto_class in (AutoModelForCausalLM, AutoModelForImageTextToText):
        auto_class.register(VideoLLaMA2Config, VideoLLaMA2ForConditionalGeneration, exist_ok=True)
