"""From a conversation and decoded media to the model's inputs.

Prompts and token ids (`prompt`, `tokenizer`), pixels (`pixels`), sound features (`fbank`, `log_mel`, `audio`), training
labels (`labels`), and all of it behind one Hugging Face processor (`processor`). Media are opened below, in `media/`.
Importing this room makes the processor known to `AutoProcessor`, as importing `model/` does the configs and models.
"""

from .auto import register_processor

register_processor()
