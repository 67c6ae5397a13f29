"""Questions and answers read off a scene graph.

Every question is a dict: `family`; `modality` ("video", "audio" or "both": what one must perceive); `form` ("open",
"yesno", "choice" or "caption"); `question`; `answer`; `options` (for "choice": the offered answers, shuffled, the right
one among them; else empty). Wrong options are drawn as the right ones are: without the clip one is at chance.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from videollama2.world.nouns import CONFUSABLE, plural, with_article
from videollama2.world.scene import DIRECTIONS, SIDES, SILENT_SHARE, TWO_SOUNDS_SHARE, Scene, Sprite, side_of
from videollama2.world.shapes import COLOURS
from videollama2.world.sounding import NO_SOUND, NOUN_SOUNDS, SOUND_NAMES, belongs, sound_is

Question = dict[str, object]

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}

_DIRECTION_ANSWERS = {
    "left": "to the left",
    "right": "to the right",
    "up": "upwards",
    "down": "downwards",
    "still": "it stays still",
}
_SIDE_ANSWERS = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}

_ASK: dict[str, tuple[str, ...]] = {
    "object": ("What is shown in the video?", "What do you see?", "Which object is in the video?", "What is this?",
               "What can be seen in the clip?"),
    "moving": ("What is moving?", "Which object moves in the video?", "What is the thing that moves?"),
    "direction": ("In which direction does the {x} move?", "Which way does the {x} go?",
                  "Where is the {x} moving?", "How does the {x} move?"),
    "count": ("How many {xs} are there?", "How many {xs} do you see?", "Count the {xs} in the video.",
              "What is the number of {xs}?"),
    "colour": ("What colour is the {x}?", "Which colour does the {x} have?", "What is the color of the {x}?"),
    "first": ("What appears first?", "Which object is seen first?", "What is shown first in the video?"),
    "last": ("What appears last?", "Which object is seen last?", "What is shown at the end of the video?"),
    "order": ("Which appears first, {x} or {y}?", "What is seen first, {x} or {y}?", "What comes first: {x} or {y}?"),
    "side": ("Where is the {x}?", "On which side of the picture is the {x}?", "Where in the frame is the {x}?"),
    "sound": ("What do you hear?", "What sound is heard?", "Which sound is in the clip?", "What can be heard?",
              "What is making the sound?"),
    "sound_order": ("Which sound comes first, {x} or {y}?", "What is heard first, {x} or {y}?"),
    "match": ("Does the sound belong to what is shown?", "Does the sound fit the picture?",
              "Is the sound made by the thing in the video?"),
    "exists": ("Is there {x} in the video?", "Do you see {x}?", "Does the video show {x}?"),
    "sound_exists": ("Do you hear {x}?", "Can {x} be heard?"),
    "caption": ("Describe the video.", "What happens in the video?", "Give a short caption of the clip.",
                "Describe what you see."),
    "audio_caption": ("Describe the sound.", "Describe what you hear.", "What happens in the audio?"),
    "av_caption": ("Describe the video and its sound.", "What do you see and hear?",
                   "What is seen and heard in the clip?"),
}  # fmt: skip


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


def _named(sprite: Sprite) -> str:
    """ "a dog", "a red ball"."""
    return with_article(f"{sprite.colour} {sprite.name}" if sprite.colour else sprite.name)


class _Writer:
    """Collects the questions of one scene."""

    def __init__(self, scene: Scene, nouns: Sequence[str], kinds: Sequence[str]) -> None:
        self.scene, self.nouns, self.kinds = scene, nouns, kinds
        self.rng = random.Random(f"questions/{scene.split}/{scene.seed}/{scene.index}")
        self.out: list[Question] = []

    def ask(self, family: str, modality: str, answer: str, options: Iterable[str] = (), form: str = "open",
            wording: str | None = None, **fill: str) -> None:  # fmt: skip
        question = self.rng.choice(_ASK[wording or family]).format(**fill)
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
        return self.rng.sample([item for item in pool if item != right], number)

    def both_forms(
        self, family: str, modality: str, spoken: str, right: str, wrong: Sequence[str], **fill: str
    ) -> None:
        self.ask(family, modality, spoken, **fill)
        if not (self.scene.kind == "match" and family in ("object", "sound")):
            self.ask(family, modality, right, [right, *wrong], form="choice", **fill)


def _ask_object(writer: _Writer, sprite: Sprite) -> None:
    right = sprite.name
    writer.both_forms("object", "video", _sentence(with_article(right)), right, writer.wrong_nouns(right))


def _ask_exists(writer: _Writer) -> None:
    """One question answered yes and one answered no, so that neither is the better guess."""
    rng = writer.rng
    present = rng.choice([sprite for sprite in writer.scene.sprites if sprite.colour is None]).name
    for name, answer in ((present, "Yes."), (writer.wrong_nouns(present, 1)[0], "No.")):
        writer.ask("exists", "video", answer, form="yesno", x=with_article(name))


def _ask_direction(writer: _Writer, sprite: Sprite) -> None:
    direction = sprite.direction
    if direction == "still":
        spoken = f"The {sprite.name} stays still."
    else:
        spoken = f"The {sprite.name} moves {_DIRECTION_ANSWERS[direction]}."
    wrong = [_DIRECTION_ANSWERS[other] for other in writer.wrong(direction, DIRECTIONS)]
    writer.both_forms("direction", "video", spoken, _DIRECTION_ANSWERS[direction], wrong, x=sprite.name)
    if direction != "still" and sprite.colour is None:
        writer.ask("object", "video", _sentence(with_article(sprite.name)), wording="moving")


def _ask_count(writer: _Writer) -> None:
    name = writer.scene.sprites[0].name
    number = sum(sprite.name == name for sprite in writer.scene.sprites)
    right = NUMBERS[number]
    wrong = [NUMBERS[other] for other in NUMBERS if other != number]
    writer.both_forms("count", "video", _sentence(right), right, wrong, xs=plural(name))


def _ask_colour(writer: _Writer) -> None:
    sprite = writer.rng.choice(writer.scene.sprites)
    right = sprite.colour or ""
    writer.both_forms("colour", "video", _sentence(right), right, writer.wrong(right, COLOURS), x=sprite.name)


def _ask_order(writer: _Writer) -> None:
    sprites, rng = writer.scene.sprites, writer.rng
    names = [sprite.name for sprite in sprites]
    if len(names) == 2:
        x, y = rng.sample(names, 2)
        fill = {"x": with_article(x), "y": with_article(y)}
        writer.both_forms("order", "video", _sentence(with_article(names[0])), names[0], names[1:], **fill)
    for family, right in (("first", names[0]), ("last", names[-1])):
        writer.ask(family, "video", _sentence(with_article(right)))
        if len(names) == 4:  # all four were seen: only their order tells the answer
            writer.ask(family, "video", right, names, form="choice")


def _ask_side(writer: _Writer) -> None:
    sprite = writer.rng.choice(writer.scene.sprites)
    side = side_of(sprite)
    wrong = [_SIDE_ANSWERS[other] for other in SIDES if other != side]
    spoken = f"The {sprite.name} is {_SIDE_ANSWERS[side]}."
    writer.both_forms("side", "video", spoken, _SIDE_ANSWERS[side], wrong, x=sprite.name)


def _ask_sound(writer: _Writer) -> None:
    sounds, rng = writer.scene.sounds, writer.rng
    kinds = [sound.kind for sound in sounds]
    everything = [*writer.kinds, NO_SOUND]
    if len(kinds) == 1:
        wrong = [SOUND_NAMES.get(kind, kind) for kind in writer.wrong(kinds[0], everything)]
        name = SOUND_NAMES[kinds[0]]
        writer.both_forms("sound", "audio", _sentence(name), name, wrong)
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
        writer.both_forms("sound_order", "audio", _sentence(names[0]), names[0], names[1:], x=x, y=y)
    if kinds and writer.scene.kind != "match":
        absent = rng.choice([kind for kind in writer.kinds if kind not in kinds])
        for kind, answer in ((rng.choice(kinds), "Yes."), (absent, "No.")):
            writer.ask("sound_exists", "audio", answer, form="yesno", x=SOUND_NAMES[kind])


def _ask_match(writer: _Writer) -> None:
    noun, kind = writer.scene.sprites[0].name, writer.scene.sounds[0].kind
    writer.ask("match", "both", "Yes." if belongs(kind, noun) else "No.", form="yesno")
    writer.ask("match", "both", "yes" if belongs(kind, noun) else "no", ["yes", "no"], form="choice")


def describe_picture(scene: Scene) -> str:
    """One or two true sentences about what is seen: "A dog moves to the left."."""
    sprites = scene.sprites
    if scene.kind == "order":
        names = [_named(sprite) for sprite in sprites]
        return _sentence(f"{names[0]} appears first, then {', then '.join(names[1:])}")
    if scene.kind == "count":
        name = sprites[0].name
        number = sum(sprite.name == name for sprite in sprites)
        others = sorted({with_article(sprite.name) for sprite in sprites if sprite.name != name})
        things = with_article(name) if number == 1 else f"{NUMBERS[number]} {plural(name)}"
        verb = "is" if number == 1 else "are"
        return _sentence(f"there {verb} {' and '.join([things, *others])}")
    if len(sprites) == 2:
        where = [f"{_named(s)}{' ' + _SIDE_ANSWERS[side_of(s)] if scene.kind == 'place' else ''}" for s in sprites]
        return _sentence(f"there is {where[0]} and {where[1]}")
    sprite = sprites[0]
    if scene.kind == "place":
        return _sentence(f"{_named(sprite)} is {_SIDE_ANSWERS[side_of(sprite)]}")
    if scene.kind == "close":
        return _sentence(f"the video shows {_named(sprite)}")
    if sprite.direction == "still":
        return _sentence(f"{_named(sprite)} stays still")
    return _sentence(f"{_named(sprite)} moves {_DIRECTION_ANSWERS[sprite.direction]}")


def describe_sound(scene: Scene) -> str:
    """One true sentence about what is heard: "A guitar is heard."."""
    kinds = [sound.kind for sound in scene.sounds]
    if not kinds:
        return "No sound is heard."
    if len(kinds) == 1:
        return _sentence(f"{sound_is(kinds[0])} heard")
    return _sentence(f"{sound_is(kinds[0])} heard first, then {SOUND_NAMES[kinds[1]]}")


def make_questions(scene: Scene, nouns: Sequence[str], kinds: Sequence[str]) -> list[Question]:
    """All questions a scene can answer, in a fixed order; a pure function of the scene.

    Scenes of kind "match" show a few nouns and sounds far more often than the rest are shown; offering those among
    options, or asking whether they are there, would reward a blind guess, so it is not done.

    Args:
        scene: The scene graph.
        nouns: Nouns that occur in this split; wrong answers are drawn from them.
        kinds: Kinds of sound that occur in this split.
    """
    writer = _Writer(scene, nouns, kinds)
    main = scene.sprites[0]
    if main.colour is None:
        if scene.kind != "match":
            _ask_exists(writer)
        if scene.kind != "order" and len({sprite.name for sprite in scene.sprites}) == 1:
            _ask_object(writer, main)
    if scene.kind in ("move", "colour") and len(scene.sprites) == 1:
        _ask_direction(writer, main)
    if scene.kind == "count":
        _ask_count(writer)
    if scene.kind == "colour":
        _ask_colour(writer)
    if scene.kind == "order":
        _ask_order(writer)
    if scene.kind == "place":
        _ask_side(writer)
    _ask_sound(writer)
    if scene.kind == "match" and main.name in NOUN_SOUNDS and len(scene.sounds) == 1:
        _ask_match(writer)
    picture, sound = describe_picture(scene), describe_sound(scene)
    writer.ask("caption", "video", picture, form="caption")
    writer.ask("audio_caption", "audio", sound, form="caption")
    writer.ask("av_caption", "both", f"{picture} {sound}", form="caption")
    return writer.out


def choice_prompt(question: Question) -> tuple[str, str]:
    """A "choice" question as text with lettered options.

    Returns:
        The prompt (question, "Options:", one "(A) ..." a line, the request for the letter) and the right letter.
    """
    options = [str(option) for option in question["options"]]  # type: ignore[attr-defined]
    lines = [f"({chr(65 + k)}) {option}" for k, option in enumerate(options)]
    prompt = "\n".join([str(question["question"]), "Options:", *lines, "Answer with the option's letter."])
    return prompt, chr(65 + options.index(str(question["answer"])))
