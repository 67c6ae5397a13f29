"""Collects the questions of one scene: wording, shuffled options and wrong answers drawn as right ones are."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from videollama2.world.graph import Scene, Sprite
from videollama2.world.nouns import CONFUSABLE, with_article
from videollama2.world.wording import ASK

Question = dict[str, object]


def sentence(text: str) -> str:
    """`"a dog"` -> `"A dog."`."""
    return text[0].upper() + text[1:] + "."


def named(sprite: Sprite) -> str:
    """ "a dog", "a red ball"."""
    return with_article(f"{sprite.colour} {sprite.name}" if sprite.colour else sprite.name)


class Writer:
    """Collects the questions of one scene."""

    def __init__(self, scene: Scene, nouns: Sequence[str], kinds: Sequence[str], words: Sequence[str] = ()) -> None:
        """The arguments are those of `make_questions`."""
        self.scene, self.nouns, self.kinds, self.words = scene, nouns, kinds, words
        self.rng = random.Random(f"questions/{scene.split}/{scene.seed}/{scene.index}")
        self.out: list[Question] = []

    def ask(self, family: str, modality: str, answer: str, options: Iterable[str] = (), form: str = "open",
            wording: str | None = None, **fill: str) -> None:  # fmt: skip
        """Adds one question.

        Args:
            family: What is asked about.
            modality: "video", "audio" or "both".
            answer: The right answer; one of `options` where there are any.
            options: What is offered; it is shuffled.
            form: "open", "yesno", "choice" or "caption".
            wording: Entry of `ASK` where it is not the family's own.
            fill: What stands for the braces in the wording.
        """
        question = self.rng.choice(ASK[wording or family]).format(**fill)
        shuffled = self.rng.sample(list(options), len(list(options))) if options else []
        assert not shuffled or (answer in shuffled and len(set(shuffled)) == len(shuffled))
        self.out.append(
            {"family": family, "modality": modality, "form": form, "question": question, "answer": answer,
             "options": shuffled}
        )  # fmt: skip

    def wrong_nouns(self, right: str, number: int = 3) -> list[str]:
        """Nouns that are not in the scene and not to be confused with the right one."""
        seen = {sprite.name for sprite in self.scene.sprites}
        pool = [noun for noun in self.nouns if noun not in seen and noun not in CONFUSABLE.get(right, {right})]
        return self.rng.sample(pool, min(number, len(pool)))

    def wrong(self, right: str, pool: Iterable[str], number: int = 3) -> list[str]:
        """`number` items of `pool` other than the right one."""
        return self.rng.sample([item for item in pool if item != right], number)

    def both_forms(
        self, family: str, modality: str, spoken: str, right: str, wrong: Sequence[str], **fill: str
    ) -> None:
        """Asks twice: openly (answered by `spoken`) and with options."""
        self.ask(family, modality, spoken, **fill)
        if not (self.scene.kind == "match" and family in ("object", "sound")):
            self.ask(family, modality, right, [right, *wrong], form="choice", **fill)
