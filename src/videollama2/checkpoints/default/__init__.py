"""The default model: its published parts fetched and converted once, joined with this project's own small weights."""

from videollama2.checkpoints.default.assemble import converted_parts, default_model_path
from videollama2.checkpoints.default.fetch import fetch_parts

__all__ = ["converted_parts", "default_model_path", "fetch_parts"]
