"""True sentences about a scene: what is seen, what is heard."""

from __future__ import annotations

from videollama2.world.describe_time import LATER_PICTURES, TIMES
from videollama2.world.graph import Scene, side_of
from videollama2.world.kinds_sound import WORD
from videollama2.world.nouns import plural, with_article
from videollama2.world.sounding import SOUND_NAMES, sound_is
from videollama2.world.writer import named, sentence

NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}

DIRECTION_ANSWERS = {
    "left": "to the left",
    "right": "to the right",
    "up": "upwards",
    "down": "downwards",
    "still": "it stays still",
}
SIDE_ANSWERS = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}


def describe_picture(scene: Scene) -> str:
    """One or two true sentences about what is seen: "A dog moves to the left."."""
    sprites = scene.sprites
    if scene.kind in ("order", "pair", "sequence", "together"):
        names = [named(sprite) for sprite in sprites]
        return sentence(f"{names[0]} appears first, then {', then '.join(names[1:])}")
    if scene.kind == "count":
        name = sprites[0].name
        number = sum(sprite.name == name for sprite in sprites)
        others = sorted({with_article(sprite.name) for sprite in sprites if sprite.name != name})
        things = with_article(name) if number == 1 else f"{NUMBERS[number]} {plural(name)}"
        verb = "is" if number == 1 else "are"
        return sentence(f"there {verb} {' and '.join([things, *others])}")
    if scene.kind in LATER_PICTURES:
        return sentence(LATER_PICTURES[scene.kind](scene))
    if len(sprites) == 2:
        where = [f"{named(s)}{' ' + SIDE_ANSWERS[side_of(s)] if scene.kind == 'place' else ''}" for s in sprites]
        return sentence(f"there is {where[0]} and {where[1]}")
    sprite = sprites[0]
    if scene.kind == "place":
        return sentence(f"{named(sprite)} is {SIDE_ANSWERS[side_of(sprite)]}")
    if scene.kind == "close":
        return sentence(f"the video shows {named(sprite)}")
    if sprite.direction == "still":
        return sentence(f"{named(sprite)} stays still")
    return sentence(f"{named(sprite)} moves {DIRECTION_ANSWERS[sprite.direction]}")


def describe_sound(scene: Scene) -> str:
    """One true sentence about what is heard: "A guitar is heard."."""
    kinds = [sound.kind for sound in scene.sounds]
    if not kinds:
        return "No sound is heard."
    if kinds[0] == WORD:
        times = "" if len(kinds) == 1 else f" {TIMES[len(kinds)]}"
        return f'A voice says "{scene.sounds[0].text}"{times}.'
    if scene.kind == "heard":
        return sentence(f"{sound_is(kinds[0])} heard {TIMES[len(kinds)]}")
    if len(kinds) == 1:
        return sentence(f"{sound_is(kinds[0])} heard")
    return sentence(f"{sound_is(kinds[0])} heard first, then {SOUND_NAMES[kinds[1]]}")
