"""Questions of the first seven kinds of scene; their order and wording belong to stored collections and stay."""

from __future__ import annotations

from videollama2.world.describe import DIRECTION_ANSWERS, NUMBERS, SIDE_ANSWERS
from videollama2.world.graph import DIRECTIONS, SIDES, Sprite, side_of
from videollama2.world.kinds_sound import SILENT_SHARE, TWO_SOUNDS_SHARE
from videollama2.world.nouns import plural, with_article
from videollama2.world.shapes import COLOURS
from videollama2.world.sounding import NO_SOUND, NOUN_SOUNDS, SOUND_NAMES, belongs
from videollama2.world.writer import Writer, sentence


def ask_object(writer: Writer, sprite: Sprite) -> None:
    """What is shown."""
    right = sprite.name
    writer.both_forms("object", "video", sentence(with_article(right)), right, writer.wrong_nouns(right))


def ask_exists(writer: Writer) -> None:
    """One question answered yes and one answered no, so that neither is the better guess."""
    rng = writer.rng
    present = rng.choice([sprite for sprite in writer.scene.sprites if sprite.colour is None]).name
    for name, answer in ((present, "Yes."), (writer.wrong_nouns(present, 1)[0], "No.")):
        writer.ask("exists", "video", answer, form="yesno", x=with_article(name))


def ask_direction(writer: Writer, sprite: Sprite) -> None:
    """Which way it moves, if it does."""
    direction = sprite.direction
    if direction == "still":
        spoken = f"The {sprite.name} stays still."
    else:
        spoken = f"The {sprite.name} moves {DIRECTION_ANSWERS[direction]}."
    wrong = [DIRECTION_ANSWERS[other] for other in writer.wrong(direction, DIRECTIONS)]
    writer.both_forms("direction", "video", spoken, DIRECTION_ANSWERS[direction], wrong, x=sprite.name)
    if direction != "still" and sprite.colour is None:
        writer.ask("object", "video", sentence(with_article(sprite.name)), wording="moving")


def ask_count(writer: Writer) -> None:
    """How many there are."""
    name = writer.scene.sprites[0].name
    number = sum(sprite.name == name for sprite in writer.scene.sprites)
    right = NUMBERS[number]
    wrong = [NUMBERS[other] for other in NUMBERS if other != number]
    writer.both_forms("count", "video", sentence(right), right, wrong, xs=plural(name))


def ask_colour(writer: Writer) -> None:
    """The colour of one of the shapes."""
    sprite = writer.rng.choice(writer.scene.sprites)
    right = sprite.colour or ""
    writer.both_forms("colour", "video", sentence(right), right, writer.wrong(right, COLOURS), x=sprite.name)


def ask_order(writer: Writer) -> None:
    """Which came first and which last."""
    sprites, rng = writer.scene.sprites, writer.rng
    names = [sprite.name for sprite in sprites]
    if len(names) == 2:
        x, y = rng.sample(names, 2)
        fill = {"x": with_article(x), "y": with_article(y)}
        writer.both_forms("order", "video", sentence(with_article(names[0])), names[0], names[1:], **fill)
    for family, right in (("first", names[0]), ("last", names[-1])):
        writer.ask(family, "video", sentence(with_article(right)))
        if len(names) == 4:  # all four were seen: only their order tells the answer
            writer.ask(family, "video", right, names, form="choice")


def ask_side(writer: Writer) -> None:
    """Where in the frame one of the things is."""
    sprite = writer.rng.choice(writer.scene.sprites)
    side = side_of(sprite)
    wrong = [SIDE_ANSWERS[other] for other in SIDES if other != side]
    spoken = f"The {sprite.name} is {SIDE_ANSWERS[side]}."
    writer.both_forms("side", "video", spoken, SIDE_ANSWERS[side], wrong, x=sprite.name)


def ask_sound(writer: Writer) -> None:
    """What is heard, or which of two sounds came first."""
    sounds, rng = writer.scene.sounds, writer.rng
    kinds = [sound.kind for sound in sounds]
    everything = [*writer.kinds, NO_SOUND]
    if len(kinds) == 1:
        wrong = [SOUND_NAMES.get(kind, kind) for kind in writer.wrong(kinds[0], everything)]
        name = SOUND_NAMES[kinds[0]]
        writer.both_forms("sound", "audio", sentence(name), name, wrong)
    elif not kinds:
        writer.ask("sound", "audio", "No sound is heard.")
        # silence is far commoner than any one kind of sound: as a choice it is asked as rarely as each of those
        share = (1 - SILENT_SHARE - TWO_SOUNDS_SHARE) / len(writer.kinds)
        if rng.random() < share / SILENT_SHARE:
            wrong = [SOUND_NAMES[kind] for kind in writer.wrong(NO_SOUND, writer.kinds)]
            writer.ask("sound", "audio", NO_SOUND, [NO_SOUND, *wrong], form="choice")
    else:
        names = [SOUND_NAMES[kind] for kind in kinds]
        x, y = rng.sample(names, 2)
        writer.both_forms("sound_order", "audio", sentence(names[0]), names[0], names[1:], x=x, y=y)
    if kinds and writer.scene.kind != "match":
        absent = rng.choice([kind for kind in writer.kinds if kind not in kinds])
        for kind, answer in ((rng.choice(kinds), "Yes."), (absent, "No.")):
            writer.ask("sound_exists", "audio", answer, form="yesno", x=SOUND_NAMES[kind])


def ask_match(writer: Writer) -> None:
    """Whether the sound could come from the thing."""
    noun, kind = writer.scene.sprites[0].name, writer.scene.sounds[0].kind
    writer.ask("match", "both", "Yes." if belongs(kind, noun) else "No.", form="yesno")
    writer.ask("match", "both", "yes" if belongs(kind, noun) else "no", ["yes", "no"], form="choice")


def ask_plain(writer: Writer) -> None:
    """Everything the scene can be asked, less captions.

    Scenes of kind "match" show a few nouns and sounds far more often than the rest are shown; offering those among
    options, or asking whether they are there, would reward a blind guess, so it is not done.
    """
    scene, main = writer.scene, writer.scene.sprites[0]
    if main.colour is None:
        if scene.kind != "match":
            ask_exists(writer)
        if scene.kind != "order" and len({sprite.name for sprite in scene.sprites}) == 1:
            ask_object(writer, main)
    if scene.kind in ("move", "colour") and len(scene.sprites) == 1:
        ask_direction(writer, main)
    if scene.kind == "count":
        ask_count(writer)
    if scene.kind == "colour":
        ask_colour(writer)
    if scene.kind == "order":
        ask_order(writer)
    if scene.kind == "place":
        ask_side(writer)
    ask_sound(writer)
    if scene.kind == "match" and main.name in NOUN_SOUNDS and len(scene.sounds) == 1:
        ask_match(writer)
