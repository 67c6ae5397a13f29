"""Loss and accuracy on held-out rows: a row counts where every token of its answer is the likeliest one.

With an answer of one word that is what greedy decoding would say.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import torch

from videollama2.training.data import build_loader
from videollama2.training.objective import Objective
from videollama2.training.recipe import Batch, DataFile, Recipe, Schedule
from videollama2.training.start import Started, build


@dataclass(frozen=True)
class Score:
    """What a model gets on held-out rows.

    Attributes:
        loss: Mean cross-entropy of the answers' tokens.
        accuracy: Share of answers that are right to the last token.
        families: The same share by question.
        rows: How many rows.
    """

    loss: float
    accuracy: float
    families: dict[str, float]
    rows: int


@torch.no_grad()
def score(recipe: Recipe, data: DataFile, started: Started | None = None) -> Score:
    """Score what a recipe starts from.

    Args:
        recipe: Model, preprocessing and form of labels.
        data: Held-out rows.
        started: The model, where it is loaded already.
    """
    started = started or build(recipe)
    started.model.eval()
    held_out = replace(
        recipe, data=(data,), batch=Batch(samples=16, micro=16), schedule=Schedule(), cache_features=None, workers=0
    )
    loader = build_loader(held_out, started.processor, started.config)
    objective = Objective(started.model)
    loss = labels = 0.0
    right: dict[str, list[bool]] = defaultdict(list)
    for step in loader:
        for numbers, batch in zip(step.rows, step.micro_batches):
            if not numbers:
                continue
            loss += float(objective(batch))
            labels += step.num_label_tokens / len(step.micro_batches)
            for number, correct in zip(numbers, _answers_right(objective, batch)):
                right[_question(loader.sources.raw(number))].append(correct)
    every = [correct for answers in right.values() for correct in answers]
    families = {question: sum(answers) / len(answers) for question, answers in sorted(right.items())}
    return Score(loss=loss / labels, accuracy=sum(every) / len(every), families=families, rows=len(every))


def _answers_right(objective: Objective, batch: Any) -> list[bool]:
    output = objective.core.model.splice_media(**{k: v for k, v in batch.items() if k != "num_rows"})
    hidden = objective.core.model(
        inputs_embeds=output.inputs_embeds, attention_mask=output.attention_mask, use_cache=False
    ).last_hidden_state
    assert output.labels is not None
    said, wanted = objective.core._logits(hidden[:, :-1]).argmax(-1), output.labels[:, 1:]
    return ((said == wanted) | (wanted == -100)).all(1).tolist()


def _question(raw: Any) -> str:
    text = raw["conversations"][0]["value"]
    for tag in ("<video>", "<image>", "<audio>"):
        text = text.replace(tag, "")
    return text.strip() or "caption"
