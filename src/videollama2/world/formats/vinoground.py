"""Vinoground: pairs of films whose captions have the same words in another order, singly and joined."""

from __future__ import annotations

from dataclasses import replace

from videollama2.world.collection import Collection
from videollama2.world.graph import Camera, Scene
from videollama2.world.nouns import with_article

CSV_COLUMNS = ("index", "major", "minor", "pos_vid", "pos_start", "pos_end", "pos_cap", "neg_vid", "neg_start",
               "neg_end", "neg_cap")  # fmt: skip
_LETTER = "Answer with the option's letter from the given choices directly."


def _object(collection: Collection, index: int) -> tuple[Scene, Scene, str, str]:
    scene = collection.scene(index, "pair")
    first, second = scene.sprites
    swapped = (
        replace(second, appear=0.0, disappear=first.disappear),
        replace(first, appear=second.appear, disappear=1.0),
    )
    names = [with_article(sprite.name) for sprite in scene.sprites]
    return (scene, replace(scene, sprites=swapped), f"{names[0]} is seen before {names[1]}",
            f"{names[1]} is seen before {names[0]}")  # fmt: skip


def _action(collection: Collection, index: int) -> tuple[Scene, Scene, str, str]:
    scene = next(
        scene
        for k in range(1000)
        if (scene := collection.scene(1000 * (index + 1) + k, "change")).sprites[0].colour != scene.sprites[1].colour
    )
    before, after = scene.sprites
    swapped = (
        replace(before, colour=after.colour, rgb=after.rgb),
        replace(after, colour=before.colour, rgb=before.rgb),
    )
    return (scene, replace(scene, sprites=swapped), f"the {before.name} turns from {before.colour} to {after.colour}",
            f"the {before.name} turns from {after.colour} to {before.colour}")  # fmt: skip


def _viewpoint(collection: Collection, index: int) -> tuple[Scene, Scene, str, str]:
    scene = collection.scene(index, "camera")
    pan = (abs(scene.camera.pan[0]) if scene.camera else 0.25, 0.0)
    views = [replace(scene, camera=Camera(pan=way)) for way in (pan, (-pan[0], 0.0))]
    words = ("the view goes from the left to the right", "the view goes from the right to the left")
    return views[0], views[1], *words


_PAIRS = (
    ("object", "contextual", _object),
    ("action", "cyclical", _action),
    ("object", "", _object),
    ("viewpoint", "spatial;contextual", _viewpoint),
)


def build(collection: Collection) -> None:
    """Registers `vinoground_videos`, `vinoground_videos_concated`, two JSON files and the CSV; `clips` pairs."""
    text, video, table = [], [], []
    for index in range(collection.settings.clips):
        rng = collection.rng(index)
        major, minor, make = _PAIRS[index % len(_PAIRS)]
        positive, negative, *captions = make(collection, index)
        if rng.random() < 0.5:  # neither the member "pos" nor an order of words is ever the likelier one
            positive, negative, captions = negative, positive, captions[::-1]
        films = {
            member: collection.film(f"vinoground_videos/{index}_{member}.mp4", scene)
            for member, scene in (("pos", positive), ("neg", negative))
        }
        first = rng.randrange(2)
        joined = (positive, negative) if first == 0 else (negative, positive)
        both = collection.film(f"vinoground_videos_concated/{index}.mp4", *joined)
        order = rng.sample(range(2), 2)
        for member, (name, caption) in enumerate(zip(("pos", "neg"), captions)):
            options = "\n".join(f"{letter}. {captions[k]}" for letter, k in zip("AB", order))
            text.append({
                "idx": f"{index}_{name}", "video_name": films[name],
                "question": f"Which caption best describes this video?\n{options}\n{_LETTER}",
                "GT": "AB"[order.index(member)],
            })  # fmt: skip
            video.append({
                "idx": f"{index}_{name}", "video_name": both,
                "question": "Which video segment matches this caption? Note: The video contains two segments separated "
                f"by a 2-second black frame.\nCaption: {caption}\nA. The first fragment (before black frame)\n"
                f"B. The second fragment (after black frame)\n{_LETTER}",
                "GT": "AB"[member != first],
            })  # fmt: skip
        ids = [collection.code("abcdefghijkmnopqrstuvwxyz0123456789", 11, index, member) for member in ("pos", "neg")]
        spans = [(0.0, scene.duration) for scene in (positive, negative)]
        table.append((index, major, minor, ids[0], *spans[0], captions[0], ids[1], *spans[1], captions[1]))
    collection.json("vinoground_textscore.json", text)
    collection.json("vinoground_videoscore.json", video)
    collection.csv("vinoground.csv", CSV_COLUMNS, table)
