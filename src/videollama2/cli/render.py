"""An answer on the terminal: the answer, then what the model saw and heard."""

from __future__ import annotations

from videollama2.inference.answer import Answer

DEMO_NOTE = (
    "note: answered by the small demonstration model, which is often wrong; "
    "give --model with an official checkpoint for real use"
)


def render_answer(answer: Answer, *, is_default: bool = False, verbose: bool = False) -> str:
    """The answer, an empty line, and the block "what it saw and heard"."""
    return f"{answer.text}\n\n{render_provenance(answer, is_default=is_default, verbose=verbose)}"


def render_provenance(answer: Answer, *, is_default: bool = False, verbose: bool = False) -> str:
    """What the model saw and heard, and a word of care where it is the demonstration model."""
    summary = answer.summary(verbose=verbose)
    return f"{summary}\n  {DEMO_NOTE}" if is_default else summary
