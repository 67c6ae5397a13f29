"""Connector warm-up: tokens learn to point at the LLM's own word embeddings before the LLM is in the loop.

For a question family f with candidate answers w, a clip's tokens x_n are scored by
    s(w) = logsumexp_n( x_n . e_w / |e_w| * scale + b_fn )
with e_w the mean word embedding of the answer and b a learned bias by family and token position ("first" reads early
slots). Cross-entropy over the family's candidates. It needs no LLM forward and teaches place, motion, number and kind.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from videollama2.training.default.data import ClipBatch, FeatureStore, short_answer

SOUND_FAMILIES = ("sound",)
# Families of the warm-up and the form of question whose answer is the target.
FORMS = {
    "object": "open",
    "colour": "open",
    "count": "open",
    "first": "open",
    "last": "open",
    "sound": "open",
    "direction": "choice",
}

# Motion is the slowest to be learned and the rarest in the clips.
FAMILY_WEIGHT = {"direction": 2.0}


def _is_target(question: dict) -> bool:
    return FORMS.get(question["family"]) == question["form"] and not question["answer"].startswith("No sound")


class AnswerBook(nn.Module):
    """Families, their candidate answers and the embeddings of these."""

    def __init__(self, store: FeatureStore, embedding: Tensor, tokenizer):
        """Collect the short answers of every family in `store`; `embedding` is [vocabulary, D]."""
        super().__init__()
        answers: dict[str, set[str]] = defaultdict(set)
        for shard in store.questions:
            for clip in shard:
                for question in clip:
                    if _is_target(question):
                        answers[question["family"]].add(short_answer(question["answer"]))
        self.candidates = {family: sorted(words) for family, words in sorted(answers.items())}
        self.index = {f: {w: i for i, w in enumerate(words)} for f, words in self.candidates.items()}
        for family, words in self.candidates.items():
            rows = [embedding[tokenizer(" " + w, add_special_tokens=False).input_ids].float().mean(0) for w in words]
            self.register_buffer(f"words_{family}", F.normalize(torch.stack(rows) - embedding.float().mean(0), dim=-1))

    def words(self, family: str) -> Tensor:
        """Unit vectors [W, D] of a family's candidates."""
        return self.get_buffer(f"words_{family}")

    def targets(self, questions: list[list[dict]], family: str) -> tuple[Tensor, Tensor]:
        """(rows, answer index) of the clips that ask about `family`."""
        rows, labels = [], []
        for row, clip in enumerate(questions):
            for question in clip:
                if question["family"] == family and _is_target(question):
                    label = self.index[family].get(short_answer(question["answer"]))
                    if label is not None:
                        rows.append(row)
                        labels.append(label)
                    break
        return torch.tensor(rows, dtype=torch.long), torch.tensor(labels, dtype=torch.long)


class WarmupHead(nn.Module):
    """Scores of a family's candidates from visual tokens [B, N, D] or audio tokens [B, A, D]."""

    def __init__(self, book: AnswerBook, num_visual_tokens: int):
        """One learned position bias per family for visual tokens; a learned scale."""
        super().__init__()
        self.book = book
        self.bias = nn.ParameterDict({f: nn.Parameter(torch.zeros(num_visual_tokens)) for f in book.candidates})
        self.scale = nn.Parameter(torch.tensor(1.0))

    def loss(
        self, visual_BND: Tensor, audio_BAD: Tensor, audio_length_B: Tensor, batch: ClipBatch
    ) -> tuple[Tensor, dict[str, tuple[int, int]]]:
        """Mean loss over families, and (right, asked) by family."""
        losses, counts = [], {}
        for family in self.book.candidates:
            rows, labels = self.book.targets(batch.questions, family)
            if family in SOUND_FAMILIES:
                keep = audio_length_B[rows] > 0
                rows, labels = rows[keep], labels[keep]
            if not len(rows):
                continue
            if family in SOUND_FAMILIES:
                tokens = audio_BAD[rows]
                positions = torch.arange(tokens.shape[1])[None] < audio_length_B[rows][:, None]
                bias = torch.zeros(positions.shape).masked_fill(~positions, -1e4)
            else:
                tokens, bias = visual_BND[rows], self.bias[family]
            scores = torch.einsum("bnd,wd->bnw", tokens.float(), self.book.words(family)) * self.scale.exp()
            scores = torch.logsumexp(scores + (bias[..., None]), dim=1)
            losses.append(FAMILY_WEIGHT.get(family, 1.0) * F.cross_entropy(scores, labels))
            counts[family] = (int((scores.argmax(-1) == labels).sum()), len(rows))
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
