"""VideoLLaMA 2: video, image and sound in, text out.

Start with ``VideoLLaMA2.from_pretrained()`` and ``.ask(...)``; scripts written for the official repository use
`model_init` and `mm_infer`. Names are imported when they are first used, so ``import videollama2`` itself loads neither
torch nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "VideoLLaMA2": "videollama2.inference.engine",
    "Answer": "videollama2.inference.answer",
    "FailedAnswer": "videollama2.inference.answer",
    "Request": "videollama2.inference.request",
    "model_init": "videollama2.inference.compat",
    "mm_infer": "videollama2.inference.compat",
    "VideoLLaMA2Config": "videollama2.model.configuration",
    "VideoLLaMA2ForConditionalGeneration": "videollama2.model.modeling",
    "VideoLLaMA2Processor": "videollama2.processing.processor",
    "VideoLLaMA2Error": "videollama2.errors",
    "MediaError": "videollama2.errors",
    "MediaLimitError": "videollama2.errors",
    "MediaTimeoutError": "videollama2.errors",
    "RequestError": "videollama2.errors",
    "CheckpointError": "videollama2.errors",
    "MissingFilesError": "videollama2.errors",
    "MissingDependencyError": "videollama2.errors",
}

if TYPE_CHECKING:
    from videollama2.errors import (
        CheckpointError,
        MediaError,
        MediaLimitError,
        MediaTimeoutError,
        MissingDependencyError,
        MissingFilesError,
        RequestError,
        VideoLLaMA2Error,
    )
    from videollama2.inference.answer import Answer, FailedAnswer
    from videollama2.inference.compat import mm_infer, model_init
    from videollama2.inference.engine import VideoLLaMA2
    from videollama2.inference.request import Request
    from videollama2.model.configuration import VideoLLaMA2Config
    from videollama2.model.modeling import VideoLLaMA2ForConditionalGeneration
    from videollama2.processing.processor import VideoLLaMA2Processor

__all__ = [
    "Answer",
    "CheckpointError",
    "FailedAnswer",
    "MediaError",
    "MediaLimitError",
    "MediaTimeoutError",
    "MissingDependencyError",
    "MissingFilesError",
    "Request",
    "RequestError",
    "VideoLLaMA2",
    "VideoLLaMA2Config",
    "VideoLLaMA2Error",
    "VideoLLaMA2ForConditionalGeneration",
    "VideoLLaMA2Processor",
    "__version__",
    "mm_infer",
    "model_init",
]


def __getattr__(name: str) -> Any:
    """Imports a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return sorted(__all__)
