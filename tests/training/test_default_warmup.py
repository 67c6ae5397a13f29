"""Warm-up targets: what a token must carry, and that a thing asked about decides which token answers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from videollama2.training.default.data import ClipBatch
from videollama2.training.default.warmup import AnswerBook, WarmupHead, target_of, thing_asked


def question(family, answer, options=(), form="choice", text="?"):
    return {"family": family, "form": form, "question": text, "answer": answer, "options": list(options)}


@pytest.mark.parametrize(
    ("asked", "family", "word"),
    [
        (question("side", "on the left"), "side", "left"),
        (question("sound_order", "a bell", ["a dog", "a bell"]), "sound_first", "bell"),
        (question("sound_order", "a bell", ["a dog", "a bell"]), "sound_last", "dog"),
        (question("sound", "No sound is heard.", form="open"), "sound", None),
        (question("side", "on the left"), "when", None),
        (question("object", "A dog.", form="choice"), "object", None),
    ],
)
def test_target(asked, family, word):
    assert target_of(asked, family) == word


def test_the_longest_thing_named_is_asked_about():
    asked = question("side", "on the left", text="Where is the hot dog?")
    assert thing_asked(asked, ["dog", "hot dog", "cat"]) == "hot dog"
    assert thing_asked(question("side", "on the left", text="Where is the hotdogs?"), ["dog", "cat"]) is None


def test_the_token_that_carries_the_thing_answers():
    words = ["dog", "cat", "left", "right"]
    clip = [
        question("object", "A dog.", form="open"),
        question("first", "A cat.", form="open"),
        question("side", "on the left", text="Where is the dog?"),
        question("side", "on the right", text="Where is the cat?"),
    ]
    clips = [[clip[0], clip[2]], [clip[1], clip[3]]]
    torch.manual_seed(0)
    embedding = torch.eye(8)[: len(words)]

    def tokenizer(text, add_special_tokens):
        word = text.strip()
        return SimpleNamespace(input_ids=[words.index(word) if word in words else 0])

    book = AnswerBook(SimpleNamespace(questions=[clips]), embedding, tokenizer)
    head = WarmupHead(book, num_visual_tokens=2, num_audio_tokens=1)
    # One token says "dog, left", the other "cat, right", in both clips.
    tokens = 4 * torch.stack([embedding[0] + embedding[2], embedding[1] + embedding[3]]).expand(2, -1, -1)
    batch = ClipBatch(torch.zeros(2, 1), torch.zeros(2, 1), torch.zeros(2, 1, 8), torch.zeros(2), clips)
    _, counts = head.loss(tokens, torch.zeros(2, 1, 8), torch.zeros(2), batch)
    assert counts["side"] == (2, 2)
    swapped = 4 * torch.stack([embedding[0] + embedding[3], embedding[1] + embedding[2]]).expand(2, -1, -1)
    _, counts = head.loss(swapped, torch.zeros(2, 1, 8), torch.zeros(2), batch)
    assert counts["side"] == (0, 2)
