"""What happens in the kinds of scene that need time, in words; questions and captions say it alike."""

from __future__ import annotations

from collections.abc import Callable

from videollama2.world.graph import Scene, Sprite
from videollama2.world.writer import named

TIMES = {1: "once", 2: "twice", 3: "three times", 4: "four times"}


def times_seen(scene: Scene) -> int:
    """How often the thing of a "repeat" scene appears."""
    return len(scene.sprites[0].windows)


def larger(scene: Scene) -> Sprite:
    """The larger of two things."""
    return max(scene.sprites, key=lambda sprite: sprite.size)


def leftmost(scene: Scene) -> Sprite:
    """The thing further left."""
    return min(scene.sprites, key=lambda sprite: sprite.start[0])


def faster(scene: Scene) -> Sprite:
    """The one that goes further in the same time."""

    def way(sprite: Sprite) -> float:
        return sprite.laps * max(abs(b - a) for a, b in zip(sprite.start, sprite.end))

    return max(scene.sprites, key=way)


def what_changes(scene: Scene) -> str:
    """One of `CHANGES`: what differs between the shape before and after."""
    before, after = scene.sprites
    if before.colour != after.colour:
        return "colour"
    if before.name != after.name:
        return "shape"
    return "size" if before.size != after.size else "nothing"


def change_of(scene: Scene, *, reverse: bool = False) -> str:
    """ "it turns from red to blue", "it becomes larger", "it turns from a ball into a star", "it does not change"."""
    before, after = reversed(scene.sprites) if reverse else scene.sprites
    what = what_changes(scene)
    if what == "colour":
        return f"it turns from {before.colour} to {after.colour}"
    if what == "shape":
        return f"it turns from {named_shape(before)} into {named_shape(after)}"
    if what == "size":
        return "it becomes larger" if after.size > before.size else "it becomes smaller"
    return "it does not change"


def named_shape(sprite: Sprite) -> str:
    """ "a ball", without its colour."""
    return named(Sprite(**{**sprite.__dict__, "colour": None}))


def appears(scene: Scene) -> bool:
    """Whether the thing of a "vanish" scene comes rather than goes."""
    return scene.sprites[0].appear > 0


def grows(sprite: Sprite) -> bool:
    """Whether a thing becomes larger."""
    return (sprite.end_size or sprite.size) > sprite.size


def turning(sprite: Sprite) -> str:
    """ "clockwise" or "counter-clockwise", as the viewer sees it."""
    return "counter-clockwise" if sprite.turn > 0 else "clockwise"


def action_of(sprite: Sprite) -> str:
    """ "it grows and turns clockwise"."""
    return f"it {'grows' if grows(sprite) else 'shrinks'} and turns {turning(sprite)}"


def opens(sprite: Sprite) -> bool:
    """Whether a thing opens rather than closes."""
    return sprite.open_end > (sprite.open_start or 0.0)


def comes_together(scene: Scene) -> bool:
    """Whether two things end nearer to each other than they began."""

    def apart(moment: float) -> float:
        (ax, ay), (bx, by) = (sprite.place(moment) for sprite in scene.sprites)
        return abs(ax - bx) + abs(ay - by)

    return apart(1.0) < apart(0.0)


def panning(scene: Scene) -> str:
    """Side to which the view moves: "left" or "right"."""
    assert scene.camera is not None
    return "right" if scene.camera.pan[0] > 0 else "left"


def zooming(scene: Scene) -> str:
    """ "in" or "out"."""
    assert scene.camera is not None
    return "in" if scene.camera.zoom > 1 else "out"


def camera_of(scene: Scene) -> str:
    """ "it moves to the left and zooms in"."""
    return f"it moves to the {panning(scene)} and zooms {zooming(scene)}"


def _said_of(sprite: Sprite, what: str) -> str:
    return named(sprite) + what.removeprefix("it")


def _sized(scene: Scene, sprite: Sprite) -> str:
    return f"a {'large' if sprite is larger(scene) else 'small'} {sprite.name}"


LATER_PICTURES: dict[str, Callable[[Scene], str]] = {
    "repeat": lambda scene: f"{named(scene.sprites[0])} appears {TIMES[times_seen(scene)]}",
    "size": lambda scene: f"{' and '.join(_sized(scene, sprite) for sprite in scene.sprites)} are shown",
    "speed": lambda scene: (
        f"{named(faster(scene))} moves fast and "
        f"{next(named(s) for s in scene.sprites if s is not faster(scene))} moves slowly"
    ),
    "change": lambda scene: _said_of(scene.sprites[0], change_of(scene)),
    "vanish": lambda scene: f"{named(scene.sprites[0])} {'appears' if appears(scene) else 'vanishes'}",
    "action": lambda scene: _said_of(scene.sprites[0], action_of(scene.sprites[0])),
    "opening": lambda scene: f"{named(scene.sprites[0])} {'opens' if opens(scene.sprites[0]) else 'closes'}",
    "meet": lambda scene: (
        f"{named(scene.sprites[0])} and {named(scene.sprites[1])} "
        f"{'come together' if comes_together(scene) else 'move apart'}"
    ),
    "camera": lambda scene: (
        f"the camera shows {named(scene.sprites[0])} and {named(scene.sprites[1])}; {camera_of(scene)}"
    ),
}
"""Kind of scene -> what is seen, as a clause."""
