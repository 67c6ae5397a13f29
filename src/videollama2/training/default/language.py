"""The language phase: connector, projector and LoRA learn through the frozen LLM, the warm-up loss kept beside it."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from videollama2.training.default.data import ClipBatch, FeatureStore, balanced_indices
from videollama2.training.default.mirror import augmented
from videollama2.training.default.packing import Suffix, answer_logprobs, pack
from videollama2.training.default.recipe import Recipe


class Prompts:
    """Token ids before and after the media placeholder, from the model's own chat template."""

    def __init__(self, tokenizer):
        """Split the rendered turn at the placeholder, exactly as inference does."""
        self.tokenizer = tokenizer
        self.end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self._cache: dict[str, tuple[int, ...]] = {}
        self.before = self._ids("<|im_start|>user\n")

    def _ids(self, text: str) -> tuple[int, ...]:
        if text not in self._cache:
            self._cache[text] = tuple(self.tokenizer(text, add_special_tokens=False).input_ids)
        return self._cache[text]

    def suffix(self, question: str, answer: str) -> Suffix:
        """Everything after the media: the question, the assistant's opening and the answer with its end token."""
        ids = self._ids(f"\n{question}<|im_end|>\n<|im_start|>assistant\n")
        answer_ids = (*self._ids(answer), self.end)
        return Suffix(ids=ids + answer_ids, num_answer=len(answer_ids))


class DefaultNet(torch.nn.Module):
    """Connector, audio projector and tag embeddings of the default model around cached tower features."""

    def __init__(self, connector: torch.nn.Module, projector: torch.nn.Module, tag_embeddings: Tensor):
        """Trainable parts and the (fixed) word embeddings of the 1000 tag classes."""
        super().__init__()
        self.connector = connector
        self.projector = projector
        self.tag_embeddings: Tensor
        self.register_buffer("tag_embeddings", tag_embeddings)

    def forward(self, batch: ClipBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Visual tokens [B, N, D], tag tokens [B, slots, D], audio tokens [B, A, D]."""
        from videollama2.model.tags import tag_tokens

        visual = self.connector(batch.grid)
        tags = torch.stack([tag_tokens(t, self.tag_embeddings, num_slots=t.shape[0] // 2) for t in batch.tags])
        return visual, tags, self.projector(batch.audio)


def choose_questions(pool: list[dict], count: int, rng: np.random.Generator) -> list[dict]:
    """`count` questions of `pool`, families spread evenly."""
    seen: dict[str, int] = {}
    ranked: list[tuple[int, int, dict]] = []
    for i in rng.permutation(len(pool)):
        family = pool[i]["family"]
        ranked.append((seen.get(family, 0), len(ranked), pool[i]))
        seen[family] = seen.get(family, 0) + 1
    return [q for *_, q in sorted(ranked, key=lambda r: r[:2])[:count]]


def augment(batch: ClipBatch, recipe: Recipe, rng: np.random.Generator, class_names: list[str]):
    """Modality dropout and tag drill: the changed batch and, per clip, (what is given, class of the drill)."""
    plans: list[tuple[str, str | None]] = []
    grid, tags = batch.grid.clone(), batch.tags.clone()
    for row in range(len(grid)):
        draw = rng.random()
        has_sound = bool(batch.audio_length[row] > 0)
        if draw < recipe.drop_video and has_sound:
            plans.append(("audio", None))
        elif draw < recipe.drop_video + recipe.still_image:
            frame = int(rng.integers(grid.shape[1]))
            grid[row] = grid[row, frame].clone()
            tags[row] = tags[row, frame].clone()
            plans.append(("image", None))
        elif draw < recipe.drop_video + recipe.still_image + recipe.drop_sound:
            plans.append(("video", None))
        elif draw < recipe.drop_video + recipe.still_image + recipe.drop_sound + recipe.tag_drill:
            target = int(rng.integers(tags.shape[-1]))
            weight = float(rng.uniform(0.35, 0.95))
            noise = torch.from_numpy(rng.dirichlet(np.full(tags.shape[-1], 0.02), size=tags.shape[1])).float()
            tags[row] = (1 - weight) * noise
            tags[row, :, target] += weight
            plans.append(("drill", class_names[target]))
        else:
            plans.append(("both" if has_sound else "video", None))
    changed = ClipBatch(grid, tags, batch.audio, batch.audio_length, batch.questions)
    return changed, plans


# What stays true of a clip reduced to one of its frames. (A thing of an "order" scene may be missing in that frame.)
STILL_FAMILIES = {"object", "colour", "count", "side"}
LETTER_SHARE = 0.3
DRILL_QUESTIONS = ("What is in this video?", "What is shown?", "What do you see?", "What object is in the video?")


def article(noun: str) -> str:
    """'a dog', 'an apple'."""
    return ("an " if noun[0].lower() in "aeiou" else "a ") + noun


def questions_for(plan: tuple[str, str | None], clip: list[dict], recipe: Recipe, rng) -> list[tuple[str, str]]:
    """(question, answer) pairs that stay true under the plan."""
    kind, drill = plan
    if kind == "drill":
        picks = rng.permutation(len(DRILL_QUESTIONS))[:2]
        return [(DRILL_QUESTIONS[i], article(str(drill))) for i in picks]
    pool = [q for q in clip if _allowed(q, kind)]
    return [as_text(q, rng) for q in choose_questions(pool, recipe.questions_per_clip, rng)]


def _allowed(question: dict, kind: str) -> bool:
    if kind == "image":
        return question["family"] in STILL_FAMILIES
    if kind == "video":
        return question["modality"] == "video"
    return kind == "both" or question["modality"] == "audio"


def as_text(question: dict, rng: np.random.Generator) -> tuple[str, str]:
    """What is asked and answered: choices as the bare question with the option's words, or as lettered options."""
    from videollama2.world.questions import choice_prompt

    if question["form"] == "choice" and rng.random() < LETTER_SHARE:
        return choice_prompt(question)
    return question["question"], question["answer"]


def assemble_prefixes(net_out, batch: ClipBatch, plans, before: Tensor, dtype: torch.dtype) -> list[Tensor]:
    """Per clip: [tokens before | tags | connector tokens | audio tokens] as the plan has them."""
    visual, tags, audio = net_out
    prefixes = []
    for row, (kind, _) in enumerate(plans):
        pieces = [before]
        if kind != "audio":
            pieces += [tags[row], visual[row]]
        if kind in ("audio", "both"):
            pieces.append(audio[row, : int(batch.audio_length[row])])
        prefixes.append(torch.cat([p.to(dtype) for p in pieces]))
    return prefixes


def cosine(step: int, total: int, warmup: float = 0.03) -> float:
    """Learning-rate factor: linear warm-up, then a cosine to zero."""
    start = max(1, int(total * warmup))
    if step < start:
        return (step + 1) / start
    return 0.5 * (1 + math.cos(math.pi * (step - start) / max(1, total - start)))


def train_language(parts, store: FeatureStore, recipe: Recipe, out: Path, head=None, save_every: int = 200) -> None:
    """Run the phase on `parts` (net, llm, LoRA, prompts, class_names); saves to `out` atomically, logs JSON lines."""
    net, llm = parts.net, parts.llm
    dtype = next(llm.parameters()).dtype
    lora = [p for layer in parts.lora.values() for p in (layer.A, layer.B)]
    rest = [p for p in net.parameters() if p.requires_grad] + (list(head.parameters()) if head is not None else [])
    optimizer = torch.optim.AdamW(
        [{"params": lora, "lr": recipe.lora_lr}, {"params": rest, "lr": recipe.connector_lr}],
        weight_decay=0.0,
        betas=(0.9, 0.98),
    )
    peaks = [group["lr"] for group in optimizer.param_groups]
    embedding = llm.get_input_embeddings()
    before = embedding(torch.tensor(parts.prompts.before)).detach()
    start_step = parts.load_progress(out, optimizer)
    log = (out / "language.jsonl").open("a")
    tick = time.time()
    seen = 0
    for step in range(start_step, recipe.language_steps):
        rng = np.random.Generator(np.random.PCG64([recipe.seed, 77, step]))
        batch = store.batch(balanced_indices(store, recipe.language_batch, step, recipe.seed + 1))
        batch, plans = augment(augmented(batch, rng), recipe, rng, parts.class_names)
        pairs = [questions_for(p, c, recipe, rng) for p, c in zip(plans, batch.questions)]
        keep = [i for i, p in enumerate(pairs) if p]
        with torch.autocast("cpu", torch.bfloat16):
            net_out = net(batch)
        prefixes = assemble_prefixes(net_out, batch, plans, before, dtype)
        packed = pack(
            [prefixes[i] for i in keep],
            [[parts.prompts.suffix(q, a) for q, a in pairs[i]] for i in keep],
            embedding,
        )
        loss = -answer_logprobs(llm, packed).mean()
        total = loss
        if head is not None and recipe.warmup_weight:
            plain = torch.tensor([kind in ("both", "video") for kind, _ in plans])
            if plain.any():
                sub = ClipBatch(
                    batch.grid[plain],
                    batch.tags[plain],
                    batch.audio[plain],
                    batch.audio_length[plain],
                    [q for q, k in zip(batch.questions, plain.tolist()) if k],
                )
                side, _ = head.loss(net_out[0][plain], net_out[2][plain], sub.audio_length, sub)
                total = total + recipe.warmup_weight * side
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(lora + rest, recipe.grad_clip)
        for group, peak in zip(optimizer.param_groups, peaks):
            group["lr"] = peak * cosine(step, recipe.language_steps)
        optimizer.step()
        seen += sum(len(pairs[i]) for i in keep)
        if step % 10 == 0:
            row = {
                "step": step,
                "loss": round(loss.item(), 4),
                "total": round(total.item(), 4),
                "grad_norm": round(float(norm), 3),
                "questions_per_second": round(seen / (time.time() - tick), 2),
                "length": packed.embeds.shape[1],
            }
            log.write(json.dumps(row) + "\n")
            log.flush()
            print(json.dumps(row), flush=True)
            tick, seen = time.time(), 0
        if (step + 1) % save_every == 0 or step + 1 == recipe.language_steps:
            parts.save_progress(out, optimizer, step + 1)
