"""Draws scene graphs purely from (split, seed, index) and the kind of scene.

Where a family claims to need time, the draw is symmetric in time: for direction, the place of the thing at a random
moment has the same distribution whichever way it moves; for order, every time slot is alike. A single frame then says
nothing beyond chance.

Collections stay reproducible: a kind, once drawn, never changes. New kinds are reached by `kind` or `mix` only; a mix
decides which kind an index is and nothing else, so scene (split, seed, index) of a kind is the same under every mix.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from videollama2.errors import RequestError
from videollama2.world import kinds_order, kinds_sound, kinds_time
from videollama2.world.assets import Catalogue, check_split
from videollama2.world.backgrounds import BACKGROUNDS
from videollama2.world.graph import DIRECTIONS, SIDES, Scene, Sound, Sprite, side_of
from videollama2.world.kinds_plain import PLAIN_MAKERS, match, match_pair
from videollama2.world.kinds_sound import SILENT_SHARE, TWO_SOUNDS_SHARE, any_sounds, draw_sound
from videollama2.world.textures import TEXTURES

__all__ = ["DIRECTIONS", "KINDS", "MIXES", "SCENE_KINDS", "SIDES", "SILENT_SHARE", "TWO_SOUNDS_SHARE", "Mix", "Scene",
           "Sound", "Sprite", "make_scene", "mix_weights", "side_of"]  # fmt: skip

Mix = str | Mapping[str, float]
"""Name of one of `MIXES`, or weights by kind of scene (they need not add up to 1)."""

SCENE_KINDS: dict[str, float] = {
    "move": 0.26,
    "order": 0.20,
    "count": 0.15,
    "colour": 0.15,
    "place": 0.10,
    "close": 0.06,
    "match": 0.08,
}
"""Kind of scene -> share of all scenes where no mix is named."""

_MAKERS: dict[str, Callable[[random.Random, Catalogue, str], dict]] = {
    "pair": kinds_order.pair,
    "sequence": kinds_order.sequence,
    "sounds": kinds_sound.sounds,
    "word": kinds_sound.word,
    "new_word": kinds_sound.new_word,
    "said": kinds_sound.said,
    "heard": kinds_sound.heard,
    "size": kinds_time.size,
    "speed": kinds_time.speed,
    "repeat": kinds_time.repeat,
    "change": kinds_time.change,
    "vanish": kinds_time.vanish,
    "action": kinds_time.action,
    "opening": kinds_time.opening,
    "meet": kinds_time.meet,
    "camera": kinds_time.camera,
    "together": kinds_time.together,
}

_FLAT = frozenset({"pair", "sequence", "sounds", "word", "new_word"})  # drawn before there were textures

KINDS: tuple[str, ...] = (*SCENE_KINDS, *_MAKERS)
"""Every kind of scene."""

MIXES: dict[str, dict[str, float]] = {
    "plain": SCENE_KINDS,
    "order": {
        "move": 0.12, "order": 0.06, "count": 0.10, "colour": 0.08, "place": 0.12, "close": 0.06, "match": 0.14,
        "pair": 0.08, "sequence": 0.12, "sounds": 0.06, "word": 0.06,
    },
    "all": {
        "move": 0.08, "order": 0.03, "count": 0.06, "colour": 0.05, "place": 0.05, "close": 0.03, "match": 0.07,
        "pair": 0.04, "sequence": 0.07, "sounds": 0.05, "word": 0.07, "said": 0.03, "heard": 0.04, "size": 0.03,
        "speed": 0.04, "repeat": 0.05, "change": 0.05, "vanish": 0.02, "action": 0.05, "opening": 0.03, "meet": 0.02,
        "camera": 0.02, "together": 0.02,
    },
}  # fmt: skip
"""Named mixes: "plain" as without a mix; "order" with more of first and last, side, matching and words;
"all" with every kind."""


def mix_weights(mix: Mix | None) -> dict[str, float]:
    """Weights by kind, in the order of `KINDS` (so that the order in which they were written does not matter).

    Raises:
        RequestError: An unknown name or kind, a negative weight, or no weight at all.
    """
    weights = SCENE_KINDS if mix is None else MIXES.get(mix) if isinstance(mix, str) else mix
    if weights is None:
        raise RequestError(f"unknown mix {mix!r}; choose one of {', '.join(MIXES)} or give weights by kind of scene")
    unknown = [kind for kind in weights if kind not in KINDS]
    if unknown:
        raise RequestError(f"unknown kind of scene {unknown[0]!r} in the mix; choose from {', '.join(KINDS)}")
    if min(weights.values(), default=0.0) < 0 or sum(weights.values()) <= 0:
        raise RequestError(f"the mix {dict(weights)} has a negative weight or none at all; give weights above 0")
    return {kind: weights[kind] for kind in KINDS if weights.get(kind)}


def make_scene(
    catalogue: Catalogue, split: str, seed: int, index: int, kind: str | None = None, mix: Mix | None = None
) -> Scene:
    """Draws scene `index` of a collection.

    Args:
        catalogue: Sprites and sounds; the same folder gives the same scenes.
        split: "train", "val" or "test".
        seed: Seed of the collection.
        index: Number of the scene, from 0.
        kind: Forces a kind of scene; None draws one by `mix`.
        mix: Weights by kind; None is `SCENE_KINDS`.

    Raises:
        RequestError: Unknown split, kind or mix.
    """
    check_split(split)
    if kind is not None and kind not in KINDS:
        raise RequestError(f"unknown kind of scene {kind!r}; choose one of {', '.join(KINDS)}")
    rng = random.Random(f"scene/{split}/{seed}/{index}")
    weights = mix_weights(mix)
    drawn = rng.choices(list(weights), list(weights.values()))[0]
    kind = kind or drawn
    fields = _plain(rng, catalogue, split, kind) if kind in SCENE_KINDS else _later(rng, catalogue, split, kind)
    return Scene(
        split=split,
        seed=seed,
        index=index,
        kind=kind,
        **fields,
        softness=rng.choice((0.0, 0.0, rng.uniform(0.5, 5.0))),
        noise_db=rng.uniform(-70, -32),
        noise_seed=rng.randrange(2**32),
    )


def _plain(rng: random.Random, catalogue: Catalogue, split: str, kind: str) -> dict:
    choices: tuple[str, ...] = ()
    if kind == "match":
        noun, own, foreign = match_pair(rng, catalogue, split)
        sprites, choices = match(rng, catalogue, split, noun), (own, foreign)
    else:
        sprites = PLAIN_MAKERS[kind](rng, catalogue, split)
    fields = {"sprites": sprites, "duration": round(rng.uniform(4.0, 6.0), 2), **_background(rng, BACKGROUNDS)}
    if choices:
        return {**fields, "sounds": (draw_sound(rng, catalogue, split, rng.choice(choices), 0.0, 1.0),)}
    return {**fields, "sounds": any_sounds(rng, catalogue, split)}


def _background(rng: random.Random, kinds: tuple[str, ...]) -> dict:
    return {"background": rng.choice(kinds), "background_seed": rng.randrange(2**32)}


def _later(rng: random.Random, catalogue: Catalogue, split: str, kind: str) -> dict:
    """The kinds that came after the first seven; what a kind leaves open is drawn here."""
    fields = _MAKERS[kind](rng, catalogue, split)
    fields.setdefault("duration", round(rng.uniform(4.0, 6.0), 2))
    fields = {**_background(rng, BACKGROUNDS if kind in _FLAT else BACKGROUNDS + TEXTURES), **fields}
    if "sounds" not in fields:
        fields["sounds"] = any_sounds(rng, catalogue, split)
    return fields
