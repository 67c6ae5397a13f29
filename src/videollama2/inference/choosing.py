"""Multiple choice: by the likelihood of every option as the answer, or by letting the model name one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from videollama2.errors import RequestError
from videollama2.inference.answer import Answer
from videollama2.inference.core import Core, Reading
from videollama2.inference.decoding import score_continuation
from videollama2.inference.request import Request

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def choose_by_likelihood(
    core: Core, request: Request, options: Sequence[str], by_mean: bool, show_options: bool
) -> Answer:
    """Takes the option whose tokens are the most likely answer; equal scores go to the earlier one.

    The prompt is read once; every option continues from its keys and values.
    """
    question = with_options(request.question, options) if show_options else request.question
    reading = core.read(replace(request, question=question))
    scores = score_options(core, reading, options, by_mean)
    choice = scores.index(max(scores))
    return finish(core, request, reading, options, choice, scores, by_mean, "likelihood")


def choose_by_generation(
    core: Core, request: Request, options: Sequence[str], by_mean: bool, show_options: bool
) -> Answer:
    """Lets the model answer and finds the option that it names; where it names none, the likelihood decides."""
    question = with_options(request.question, options) if show_options else request.question
    reading = core.read(replace(request, question=question))
    written, row = core.generate([reading])[0]
    choice = find_option(written.text, options)
    events = [f"the model wrote {written.text!r}"]
    if choice is not None:
        return finish(core, request, reading, options, choice, None, by_mean, "generate", tuple(row.ids), events)
    scores = score_options(core, reading, options, by_mean)
    events.append("it names none of the options: the option of the highest likelihood was taken")
    choice = scores.index(max(scores))
    return finish(core, request, reading, options, choice, scores, by_mean, "generate", tuple(row.ids), events)


def score_options(core: Core, reading: Reading, options: Sequence[str], by_mean: bool) -> tuple[float, ...]:
    """Log-probability of every option as the beginning of the answer."""
    scores = []
    with reading.timer.stage("generate"):
        for option in options:
            ids = core.processor.tokenizer(option.strip(), add_special_tokens=False)["input_ids"]
            if not ids:
                raise RequestError(f"option {option!r} has no tokens: write it in words")
            log_probs = score_continuation(core.model, reading.prompt, ids)
            scores.append(sum(log_probs) / (len(ids) if by_mean else 1))
    return tuple(scores)


def finish(
    core: Core,
    request: Request,
    reading: Reading,
    options: Sequence[str],
    choice: int,
    scores: tuple[float, ...] | None,
    by_mean: bool,
    method: str,
    token_ids: tuple[int, ...] = (),
    events: Sequence[str] = (),
) -> Answer:
    """The answer whose text is the chosen option; it keeps the question as it was asked."""
    settings = {"method": method, "normalize": "mean" if by_mean else "sum", "options": list(options)}
    reading.request = replace(reading.request, question=request.question)
    return core.make_answer(
        reading,
        options[choice],
        "choice",
        token_ids=token_ids,
        events=events,
        settings=settings,
        choice=choice,
        option_scores=scores,
    )


def with_options(question: str, options: Sequence[str]) -> str:
    """The question with lettered options and how to answer."""
    if len(options) > len(LETTERS):
        raise RequestError(f"{len(options)} options cannot be shown with letters: give at most {len(LETTERS)}")
    lines = [f"({letter}) {option}" for letter, option in zip(LETTERS, options)]
    return "\n".join([question, "Options:", *lines, "Answer with the letter of the right option."])


def find_option(text: str, options: Sequence[str]) -> int | None:
    """The option an answer names: by its letter, else by its words if exactly one option's occur; None if unclear."""
    letters = LETTERS[: len(options)]
    match = re.match(rf"\W*(?:(?:the\s+)?(?:answer|option)(?:\s+is)?\W+)?([{letters}])(?![\w'])", text, re.IGNORECASE)
    # A lone "a" or "I" that begins a sentence is a word, not a letter of an option.
    if match and (match.group(1).isupper() or len(text.strip(" ().,:")) == 1) and not _is_word(text, match):
        return letters.index(match.group(1).upper())
    lowered = text.lower()
    whole = [place for place, option in enumerate(options) if option.strip().lower() == lowered.strip(" .")]
    if whole:
        return whole[0]
    named = [
        place
        for place, option in enumerate(options)
        if re.search(rf"(?<!\w){re.escape(option.strip().lower())}(?!\w)", lowered)
    ]
    # Of options inside one another ("red", "dark red") the longer was meant.
    longest = [
        place
        for place in named
        if not any(place != other and options[place].lower() in options[other].lower() for other in named)
    ]
    return longest[0] if len(longest) == 1 else None


def _is_word(text: str, match: re.Match[str]) -> bool:
    return match.group(1) in ("A", "I") and re.match(r"\s+[a-z]", text[match.end(1) :]) is not None
