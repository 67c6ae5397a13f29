"""Questions of the kinds of scene that need time: counts of events, changes, actions, cameras, what goes together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from videollama2.world import describe_time as read
from videollama2.world.describe_time import TIMES
from videollama2.world.graph import Sprite
from videollama2.world.kinds_time import CHANGES
from videollama2.world.nouns import with_article
from videollama2.world.questions_plain import ask_exists, ask_object
from videollama2.world.sounding import SOUND_NAMES
from videollama2.world.writer import Writer, sentence


def _times(writer: Writer, family: str, modality: str, number: int, x: str) -> None:
    right = TIMES[number]
    writer.both_forms(family, modality, sentence(right), right, [TIMES[n] for n in TIMES if n != number], x=x)


def _either(writer: Writer, family: str, spoken: str, right: str, wrong: str, **fill: str) -> None:
    """One of two answers, asked openly and with both on offer."""
    writer.both_forms(family, "video", spoken, right, [wrong], **fill)


def _which(writer: Writer, family: str, right: Sprite) -> None:
    """Which of the two things of the scene."""
    first, second = writer.rng.sample([sprite.name for sprite in writer.scene.sprites], 2)
    fill = {"x": with_article(first), "y": with_article(second)}
    wrong = second if right.name == first else first
    _either(writer, family, sentence(f"the {right.name}"), right.name, wrong, **fill)


def ask_repeat(writer: Writer) -> None:
    """How many times a thing is seen."""
    sprite = writer.scene.sprites[0]
    ask_object(writer, sprite)
    _times(writer, "repeat", "video", read.times_seen(writer.scene), sprite.name)


def ask_heard(writer: Writer) -> None:
    """How many times a sound is heard."""
    sounds = writer.scene.sounds
    ask_object(writer, writer.scene.sprites[0])
    _times(writer, "times_heard", "audio", len(sounds), SOUND_NAMES[sounds[0].kind])


def ask_said(writer: Writer) -> None:
    """How many times a word is said."""
    ask_object(writer, writer.scene.sprites[0])
    _times(writer, "times_said", "audio", len(writer.scene.sounds), writer.scene.sounds[0].text)


def ask_size(writer: Writer) -> None:
    """Which thing is larger, and which is further left."""
    ask_exists(writer)
    _which(writer, "size", read.larger(writer.scene))
    _which(writer, "relation", read.leftmost(writer.scene))


def ask_speed(writer: Writer) -> None:
    """Which thing is faster."""
    ask_exists(writer)
    _which(writer, "speed", read.faster(writer.scene))


def ask_change(writer: Writer) -> None:
    """What changes, and from what to what."""
    scene, what = writer.scene, read.what_changes(writer.scene)
    spoken = f"The {what} changes." if what != "nothing" else "Nothing changes."
    writer.both_forms("change", "video", spoken, what, [other for other in CHANGES if other != what])
    if what != "nothing":
        right, reverse = read.change_of(scene), read.change_of(scene, reverse=True)
        name = "shape" if what == "shape" else scene.sprites[0].name
        _either(writer, "state", sentence(right), right, reverse, x=name)


def ask_vanish(writer: Writer) -> None:
    """Whether a thing comes or goes."""
    sprite, appears = writer.scene.sprites[0], read.appears(writer.scene)
    right, wrong = ("it appears", "it vanishes") if appears else ("it vanishes", "it appears")
    writer.ask("object", "video", sentence(with_article(sprite.name)))
    _either(writer, "vanish", sentence(right.replace("it", f"the {sprite.name}")), right, wrong, x=sprite.name)


def ask_action(writer: Writer) -> None:
    """What a thing does: four answers that are two pairs of reverses, and each half alone."""
    sprite = writer.scene.sprites[0]
    ask_object(writer, sprite)
    small, large = sorted((sprite.size, sprite.end_size or sprite.size))
    actions = [
        read.action_of(replace(sprite, size=a, end_size=b, turn=sign * sprite.turn))
        for a, b in ((small, large), (large, small))
        for sign in (1, -1)
    ]
    right = read.action_of(sprite)
    writer.both_forms("action", "video", sentence(right), right, [a for a in actions if a != right], x=sprite.name)
    sizes = ("it grows", "it shrinks") if read.grows(sprite) else ("it shrinks", "it grows")
    _either(writer, "grow", sentence(sizes[0]), *sizes, x=sprite.name)
    turns = sorted(("clockwise", "counter-clockwise"), key=lambda way: way != read.turning(sprite))
    _either(writer, "turn", sentence(turns[0]), turns[0], turns[1], x=sprite.name)


def ask_opening(writer: Writer) -> None:
    """Whether a thing opens or closes."""
    sprite = writer.scene.sprites[0]
    right, wrong = ("it opens", "it closes") if read.opens(sprite) else ("it closes", "it opens")
    _either(writer, "opening", sentence(right.replace("it", f"the {sprite.name}")), right, wrong, x=sprite.name)


def ask_meet(writer: Writer) -> None:
    """Whether two things come together."""
    ask_exists(writer)
    answers = ("they come together", "they move apart")
    right, wrong = answers if read.comes_together(writer.scene) else answers[::-1]
    x, y = (f"the {sprite.name}" for sprite in writer.scene.sprites)
    _either(writer, "meet", sentence(right), right, wrong, x=x, y=y)


def ask_camera(writer: Writer) -> None:
    """How the view moves: four answers that are two pairs of reverses, and each half alone."""
    scene, right = writer.scene, read.camera_of(writer.scene)
    ask_exists(writer)
    wrong = [f"it moves to the {side} and zooms {way}" for side in ("left", "right") for way in ("in", "out")]
    writer.both_forms("camera", "video", sentence(right), right, [answer for answer in wrong if answer != right])
    sides = sorted(("to the left", "to the right"), key=lambda side: not side.endswith(read.panning(scene)))
    _either(writer, "pan", sentence(sides[0]), *sides)
    ways = sorted(("it zooms in", "it zooms out"), key=lambda way: not way.endswith(f" {read.zooming(scene)}"))
    _either(writer, "zoom", sentence(ways[0]), *ways)


def ask_together(writer: Writer) -> None:
    """What is seen while the sound is heard."""
    scene = writer.scene
    ask_exists(writer)
    (sound,) = scene.sounds
    seen = next(sprite.name for sprite in scene.sprites if sprite.seen((sound.start + sound.end) / 2))
    wrong = [sprite.name for sprite in scene.sprites if sprite.name != seen]
    spoken = sentence(with_article(seen))
    writer.both_forms("together", "both", spoken, seen, wrong, x=SOUND_NAMES[sound.kind])


TIME_ASKERS: dict[str, Callable[[Writer], None]] = {
    "repeat": ask_repeat,
    "heard": ask_heard,
    "said": ask_said,
    "size": ask_size,
    "speed": ask_speed,
    "change": ask_change,
    "vanish": ask_vanish,
    "action": ask_action,
    "opening": ask_opening,
    "meet": ask_meet,
    "camera": ask_camera,
    "together": ask_together,
}
