"""What prompts are made of: tags, sentinels, the tokenizer's chat template, tokenising piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from videollama2.errors import RequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TAGS = {"image": "<image>", "video": "<video>", "audio": "<audio>"}
SENTINELS = {"image": -200, "video": -201, "audio": -202}
SENTINEL_OF_TAG = {TAGS[modality]: SENTINELS[modality] for modality in TAGS}

# Model types whose official prompt opens with Llama 2's system message.
SYSTEM_MESSAGE_TYPES = ("videollama2", "videollama2_mistral", "videollama2_mixtral")
# A fact of the released checkpoints (they were evaluated with it), double space included.
LLAMA2_SYSTEM_TEXT = (
    "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being safe.  "
    "Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or illegal content. "
    "Please ensure that your responses are socially unbiased and positive in nature.\n"
    "If a question does not make any sense, or is not factually coherent, explain why instead of answering something "
    "not correct. If you don't know the answer to a question, please don't share false information."
)


def wrap_system_text(text: str) -> str:
    """Put a system text between Llama 2's marks, as the official prompt does."""
    return f"<<SYS>>\n{text}\n<</SYS>>"


def encode(tokenizer: PreTrainedTokenizerBase, text: str, **settings: Any) -> list[int]:
    """Ids of a piece of text by itself, no special tokens added."""
    return list(tokenizer(text, add_special_tokens=False, **settings)["input_ids"])


def apply_template(
    tokenizer: PreTrainedTokenizerBase, messages: list[dict[str, str]], *, add_generation_prompt: bool
) -> str:
    """Run the tokenizer's chat template.

    Raises:
        RequestError: There is no template, or it refuses the turns.
    """
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise RequestError("The tokenizer has no chat template; use the tokenizer of an instruction-tuned checkpoint.")
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt))
    except TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise RequestError(f"The chat template refuses the turns ({roles}): {error}") from error
