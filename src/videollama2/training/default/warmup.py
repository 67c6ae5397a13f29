"""Connector warm-up: tokens learn to point at the LLM's own word embeddings before the LLM is in the loop.

For a question family f with candidate answers w, a clip's tokens x_n are scored by
    s(w) = logsumexp_n( x_n . e_w / |e_w| * scale + b_fn )
with e_w the mean word embedding of the answer and b a learned bias by family and token position ("first" reads early
slots). Where a question is about one of several things, x_n . e_thing is added for each token: the token that
carries the thing must carry the answer. Cross-entropy over the family's candidates. It needs no LLM forward and teaches
place, motion, number and kind.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2.training.default.data import ClipBatch, FeatureStore, short_answer
from videollama2.world.shapes import SHAPES

# A target is what a family's question of this form is answered with. Of "A or B first?" both sounds are targets: the
# answer of "sound_first", the other option of "sound_last".
FORMS = {
    "object": "open",
    "colour": "open",
    "count": "open",
    "first": "open",
    "last": "open",
    "direction": "choice",
    "side": "choice",
    "when": "choice",
    "sound": "open",
    "word": "open",
    "sound_first": "choice",
    "sound_last": "choice",
}
ASKED_AS = {"sound_first": "sound_order", "sound_last": "sound_order"}
SOUND_FAMILIES = ("sound", "word", "sound_first", "sound_last")
# Families that ask about one of several things: the token that carries the thing must carry the answer too.
ABOUT_A_THING = ("side", "when", "colour")

# Motion is the slowest to be learned and the rarest in the clips.
FAMILY_WEIGHT = {"direction": 2.0}


def target_of(question: dict, family: str) -> str | None:
    """The words a family's token is asked to carry for this question; None where it is no target of the family."""
    if question["family"] != ASKED_AS.get(family, family) or question["form"] != FORMS[family]:
        return None
    answer = question["answer"]
    if answer.startswith("No sound"):
        return None
    if family == "sound_last":
        answer = next(option for option in question["options"] if option != answer)
    return short_answer(answer)


def thing_asked(question: dict, things: Sequence[str]) -> str | None:
    """The longest of `things` that the question names as whole words."""
    text = question["question"].lower()
    named = [thing for thing in things if re.search(rf"\b{re.escape(thing)}\b", text)]
    return max(named, key=len, default=None)


class AnswerBook(nn.Module):
    """Families, their candidate answers and the embeddings of these."""

    def __init__(self, store: FeatureStore, embedding: Tensor, tokenizer):
        """Collect the short answers of every family in `store`; `embedding` is [vocabulary, D]."""
        super().__init__()
        answers: dict[str, set[str]] = defaultdict(set)
        for clip in (clip for shard in store.questions for clip in shard):
            for question, family in product(clip, FORMS):
                if (word := target_of(question, family)) is not None:
                    answers[family].add(word)
        self.candidates = {family: sorted(words) for family, words in sorted(answers.items())}
        things = {word for family in ("object", "first", "last") for word in self.candidates.get(family, ())}
        self.candidates["thing"] = sorted(things | set(SHAPES))
        self._asked: dict[str, str | None] = {}
        self.index = {f: {w: i for i, w in enumerate(words)} for f, words in self.candidates.items()}
        for family, words in self.candidates.items():
            rows = [embedding[tokenizer(" " + w, add_special_tokens=False).input_ids].float().mean(0) for w in words]
            self.register_buffer(f"words_{family}", F.normalize(torch.stack(rows) - embedding.float().mean(0), dim=-1))

    @property
    def families(self) -> list[str]:
        """Families that are answered (not the list of things)."""
        return [family for family in self.candidates if family != "thing"]

    def words(self, family: str) -> Tensor:
        """Unit vectors [W, D] of a family's candidates."""
        return self.get_buffer(f"words_{family}")

    def targets(self, questions: list[list[dict]], family: str) -> tuple[Tensor, Tensor, Tensor]:
        """(rows, answer index, index of the thing asked about or -1) of the clips that ask about `family`."""
        found: list[tuple[int, int, int]] = []
        for row, clip in enumerate(questions):
            for question in clip:
                word = target_of(question, family)
                label = self.index[family].get(word) if word is not None else None
                if label is None:
                    continue
                thing = self._thing(question) if family in ABOUT_A_THING else None
                if family not in ABOUT_A_THING or thing is not None:
                    found.append((row, label, self.index["thing"][thing] if thing is not None else -1))
                    break
        rows, labels, things = torch.tensor(found, dtype=torch.long).reshape(-1, 3).unbind(1)
        return rows, labels, things

    def _thing(self, question: dict) -> str | None:
        text = question["question"]
        if text not in self._asked:
            self._asked[text] = thing_asked(question, self.candidates["thing"])
        return self._asked[text]


class WarmupHead(nn.Module):
    """Scores of a family's candidates from visual tokens [B, N, D] or audio tokens [B, A, D]."""

    def __init__(self, book: AnswerBook, num_visual_tokens: int, num_audio_tokens: int = 16):
        """One learned position bias per family; a learned scale for answers and one for the thing asked about."""
        super().__init__()
        self.book = book
        self.bias = nn.ParameterDict(
            {
                family: nn.Parameter(torch.zeros(num_audio_tokens if family in SOUND_FAMILIES else num_visual_tokens))
                for family in book.families
            }
        )
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.thing_scale = nn.Parameter(torch.tensor(1.0))

    def loss(
        self, visual_BND: Tensor, audio_BAD: Tensor, audio_length_B: Tensor, batch: ClipBatch
    ) -> tuple[Tensor, dict[str, tuple[int, int]]]:
        """Mean loss over families, and (right, asked) by family."""
        losses, counts = [], {}
        for family in self.book.families:
            rows, labels, things = self.book.targets(batch.questions, family)
            if family in SOUND_FAMILIES:
                keep = audio_length_B[rows] > 0
                rows, labels, things = rows[keep], labels[keep], things[keep]
            if not len(rows):
                continue
            tokens, bias_bn = visual_BND[rows].float(), self.bias[family].expand(len(rows), -1)
            if family in SOUND_FAMILIES:
                tokens = audio_BAD[rows].float()
                heard = torch.arange(tokens.shape[1])[None] < audio_length_B[rows][:, None]
                # Sounds of any moment count alike, but for what came first or last.
                timed = family in ("sound_first", "sound_last")
                bias_bn = (self.bias[family] if timed else torch.zeros_like(self.bias[family])).expand(len(rows), -1)
                bias_bn = bias_bn.masked_fill(~heard, -1e4)
            if family in ABOUT_A_THING:
                thing_bd = self.book.words("thing")[things]
                bias_bn = bias_bn + torch.einsum("bnd,bd->bn", tokens, thing_bd) * self.thing_scale.exp()
            scores_bnw = torch.einsum("bnd,wd->bnw", tokens, self.book.words(family)) * self.scale.exp()
            scores_bw = torch.logsumexp(scores_bnw + bias_bn[..., None], dim=1)
            losses.append(FAMILY_WEIGHT.get(family, 1.0) * F.cross_entropy(scores_bw, labels))
            counts[family] = (int((scores_bw.argmax(-1) == labels).sum()), len(rows))
        total = torch.stack(losses).mean() if losses else visual_BND.sum() * 0.0
        return total, counts


def train_warmup(parts, store: FeatureStore, recipe, out, log_every: int = 25) -> None:
    """Train connector, projector and the head's biases; saves `weights.safetensors` in `out`, logs JSON lines.

    Args:
        parts: `parts.Parts` with `extra["head"]` a WarmupHead.
        store: Training features.
        recipe: `recipe.Recipe`.
        out: Folder for weights and `warmup.jsonl`.
        log_every: Steps between log lines.
    """
    import json
    import time

    import numpy as np

    from videollama2.training.default.data import step_indices
    from videollama2.training.default.language import cosine
    from videollama2.training.default.mirror import augmented

    head = parts.extra["head"]
    params = [p for m in (parts.net, head) for p in m.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=recipe.warmup_lr, weight_decay=0.05, betas=(0.9, 0.98))
    steps = recipe.warmup_clips // recipe.warmup_batch
    start = parts.load_progress(out, optimizer)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    tick, first = time.time(), start
    with (out / "warmup.jsonl").open("a") as log:
        for step in range(start, steps):
            batch = store.batch(step_indices(len(store), recipe.warmup_batch, step, recipe.seed))
            batch = augmented(batch, np.random.Generator(np.random.PCG64([recipe.seed, 55, step])))
            with torch.autocast("cpu", torch.bfloat16):
                visual = parts.net.connector(batch.grid)
                audio = parts.net.projector(batch.audio)
            loss, asked = head.loss(visual, audio, batch.audio_length, batch)
            # Tokens as long as word embeddings are what the frozen LLM can read from its first step on.
            length = parts.word_norm
            drift = ((visual.float().norm(dim=-1) / length - 1) ** 2).mean()
            drift = drift + ((audio.float().norm(dim=-1) / length - 1) ** 2).mean()
            optimizer.zero_grad(set_to_none=True)
            (loss + 0.1 * drift).backward()
            torch.nn.utils.clip_grad_norm_(params, recipe.grad_clip)
            for group in optimizer.param_groups:
                group["lr"] = recipe.warmup_lr * cosine(step, steps)
            optimizer.step()
            for family, (good, total) in asked.items():
                counts[family][0] += good
                counts[family][1] += total
            if (step + 1) % log_every == 0:
                row = {
                    "step": step + 1,
                    "loss": round(loss.item(), 4),
                    "drift": round(drift.item(), 4),
                    "clips_per_second": round((step + 1 - first) * recipe.warmup_batch / (time.time() - tick), 1),
                    "accuracy": {f: round(g / t, 3) for f, (g, t) in counts.items()},
                }
                print(json.dumps(row), flush=True)
                log.write(json.dumps(row) + "\n")
                log.flush()
                counts.clear()
            if (step + 1) % 400 == 0 or step + 1 == steps:
                parts.save_progress(out, optimizer, step + 1)


@torch.inference_mode()
def evaluate_warmup(parts, store: FeatureStore) -> dict[str, float]:
    """Accuracy by family over all candidates (hundreds for nouns) on a held-out store."""
    import numpy as np

    head = parts.extra["head"]
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for start in range(0, len(store), 64):
        batch = store.batch(np.arange(start, min(start + 64, len(store))))
        with torch.autocast("cpu", torch.bfloat16):
            visual = parts.net.connector(batch.grid)
            audio = parts.net.projector(batch.audio)
        _, asked = head.loss(visual, audio, batch.audio_length, batch)
        for family, (good, total) in asked.items():
            counts[family][0] += good
            counts[family][1] += total
    return {f: round(g / t, 3) for f, (g, t) in counts.items()}
