"""Questions of the kinds of scene that are made for order and for the ear."""

from __future__ import annotations

from videollama2.world.questions_plain import ask_exists, ask_object, ask_order
from videollama2.world.sounding import SOUND_NAMES
from videollama2.world.writer import Writer, sentence

WHEN = ("first", "second", "third", "last")


def ask_pair(writer: Writer) -> None:
    """Two things in order."""
    ask_exists(writer)
    ask_order(writer)


def ask_sequence(writer: Writer) -> None:
    """Four things in order: which is first and last, and at which place one of them comes."""
    ask_exists(writer)
    ask_order(writer)
    place = writer.rng.randrange(4)
    sprite, right = writer.scene.sprites[place], WHEN[place]
    wrong = [other for other in WHEN if other != right]
    writer.both_forms("when", "video", f"The {sprite.name} appears {right}.", right, wrong, x=sprite.name)


def ask_sounds(writer: Writer) -> None:
    """Two sounds in order, and whether a sound is heard at all."""
    ask_object(writer, writer.scene.sprites[0])
    kinds, rng = [sound.kind for sound in writer.scene.sounds], writer.rng
    names = [SOUND_NAMES[kind] for kind in kinds]
    x, y = rng.sample(names, 2)
    writer.both_forms("sound_order", "audio", sentence(names[0]), names[0], names[1:], x=x, y=y)
    absent = rng.choice([kind for kind in writer.kinds if kind not in kinds])
    for kind, answer in ((rng.choice(kinds), "Yes."), (absent, "No.")):
        writer.ask("sound_exists", "audio", answer, form="yesno", x=SOUND_NAMES[kind])


def ask_word(writer: Writer) -> None:
    """Which word is said; once asked openly, once with four words, once each for yes and no."""
    ask_object(writer, writer.scene.sprites[0])
    right = writer.scene.sounds[0].text
    writer.both_forms("word", "audio", sentence(right), right, writer.wrong(right, writer.words))
    for said, answer in ((right, "Yes."), (writer.wrong(right, writer.words, 1)[0], "No.")):
        writer.ask("word_said", "audio", answer, form="yesno", x=said)


SOUND_ASKERS = {
    "pair": ask_pair,
    "sequence": ask_sequence,
    "sounds": ask_sounds,
    "word": ask_word,
    "new_word": ask_word,
}
