"""Four-way accuracy by question family: every option is scored by its likelihood after the question.

`blind` gives the language model the question without any media: what it can guess from the words alone.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import torch

from videollama2.training.default.data import FeatureStore
from videollama2.training.default.language import assemble_prefixes
from videollama2.training.default.packing import answer_logprobs, pack


@torch.inference_mode()
def evaluate(parts, store: FeatureStore, *, limit: int = 300, blind: bool = False, mode: str = "both", batch: int = 8):
    """Accuracy by family over at most `limit` questions each.

    Args:
        parts: net, llm, prompts (see `parts.py`).
        store: Features of a held-out split.
        limit: Questions per family.
        blind: No media at all.
        mode: "both" (frames and sound), "video", "audio".
        batch: Clips in a step.

    Returns:
        family -> {"n", "accuracy", "stderr", "chance"}.
    """
    embedding = parts.llm.get_input_embeddings()
    before = embedding(torch.tensor(parts.prompts.before))
    right: dict[str, list[float]] = defaultdict(list)
    chance: dict[str, list[float]] = defaultdict(list)
    for start in range(0, len(store), batch):
        indices = np.arange(start, min(start + batch, len(store)))
        clips = store.batch(indices)
        asked = [
            [q for q in clip if q["form"] == "choice" and len(right[q["family"]]) < limit] for clip in clips.questions
        ]
        asked = [list({q["family"]: q for q in clip}.values()) for clip in asked]
        keep = [i for i, clip in enumerate(asked) if clip]
        if not keep:
            continue
        if blind:
            prefixes = [before for _ in keep]
        else:
            with torch.autocast("cpu", torch.bfloat16):
                out = parts.net(clips)
            all_prefixes = assemble_prefixes(out, clips, [(mode, None)] * len(indices), before, before.dtype)
            prefixes = [all_prefixes[i] for i in keep]
        suffixes = [
            [parts.prompts.suffix(q["question"], option) for q in asked[i] for option in q["options"]] for i in keep
        ]
        packed = pack(prefixes, suffixes, embedding)
        token_scores = answer_logprobs(parts.llm, packed)
        sums = torch.zeros(int(packed.owners.max()) + 1).index_add(0, packed.owners, token_scores)
        counts = torch.bincount(packed.owners).float()
        scores = (sums / counts).tolist()
        cursor = 0
        for i in keep:
            for question in asked[i]:
                options = question["options"]
                mine = scores[cursor : cursor + len(options)]
                cursor += len(options)
                right[question["family"]].append(float(options[int(np.argmax(mine))] == question["answer"]))
                chance[question["family"]].append(1 / len(options))
        if all(len(v) >= limit for v in right.values()) and len(right) > 3:
            break
    return {
        family: {
            "n": len(v),
            "accuracy": round(float(np.mean(v)), 4),
            "stderr": round(math.sqrt(max(float(np.var(v)), 1e-9) / len(v)), 4),
            "chance": round(float(np.mean(chance[family])), 3),
        }
        for family, v in sorted(right.items())
    }
