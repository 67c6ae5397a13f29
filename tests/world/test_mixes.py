import dataclasses
import hashlib
import json
from collections import Counter

import pytest

from videollama2.errors import MissingFilesError, RequestError
from videollama2.world.assets import Catalogue
from videollama2.world.dataset import sample
from videollama2.world.kinds_plain import PLAIN_MAKERS
from videollama2.world.questions import make_questions
from videollama2.world.scene import KINDS, MIXES, SCENE_KINDS, make_scene, mix_weights

# Made when there were seven kinds and no mixes; a trained model and stored features depend on it.
FIRST_COLLECTIONS = "9f56dab2f72eb2d251ab2d7b261e08c5891c96a37597e3fe845a964b810c39fa"

FIRST_SPRITE = {"name", "file", "size", "start", "end", "colour", "rgb", "direction", "appear", "disappear", "flip",
                "angle", "brightness", "saturation", "detail", "shading"}  # fmt: skip
FIRST_SOUND = {"kind", "number", "start", "end", "gain_db", "offset", "speed", "tilt"}
FIRST_SCENE = {"split", "seed", "index", "kind", "duration", "background", "background_seed", "softness", "noise_db",
               "noise_seed"}  # fmt: skip


def _first_fields(record, names):
    return [getattr(record, name) for name in sorted(names)]


def _plain(scene):
    things = [_first_fields(sprite, FIRST_SPRITE) for sprite in scene.sprites]
    return [_first_fields(scene, FIRST_SCENE), things, [_first_fields(sound, FIRST_SOUND) for sound in scene.sounds]]


def test_collections_without_a_mix_are_what_they_always_were(catalogue):
    digest = hashlib.sha256()
    for split in ("train", "test"):
        nouns, sounds = catalogue.nouns(split), catalogue.sound_kinds(split)
        for index in range(200):
            scene = make_scene(catalogue, split, index % 3, index)
            digest.update(json.dumps([_plain(scene), make_questions(scene, nouns, sounds)]).encode())
    assert digest.hexdigest() == FIRST_COLLECTIONS


def test_things_and_sounds_of_the_first_kinds_use_no_later_field(catalogue):
    for index in range(50):
        scene = make_scene(catalogue, "train", 0, index)
        for record, names in [(s, FIRST_SPRITE) for s in scene.sprites] + [(s, FIRST_SOUND) for s in scene.sounds]:
            for field in dataclasses.fields(record):
                assert field.name in names or getattr(record, field.name) == field.default


def test_a_mix_decides_the_kind_and_nothing_else(catalogue):
    for index in range(60):
        scene = make_scene(catalogue, "train", 4, index, mix="order")
        assert scene == make_scene(catalogue, "train", 4, index, kind=scene.kind)
        assert scene == make_scene(catalogue, "train", 4, index, mix={scene.kind: 3})
        assert make_scene(catalogue, "train", 4, index, mix="plain") == make_scene(catalogue, "train", 4, index)


def test_mixes_come_in_their_shares_whatever_their_order(catalogue):
    weights = {"word": 3.0, "sequence": 1.0, "move": 0.0}
    kinds = [make_scene(catalogue, "train", 0, index, mix=weights).kind for index in range(1200)]
    assert kinds == [
        make_scene(catalogue, "train", 0, i, mix=dict(reversed(weights.items()))).kind for i in range(1200)
    ]
    counts = Counter(kinds)
    assert set(counts) == {"word", "sequence"}
    assert abs(counts["word"] / 1200 - 0.75) < 4 * (0.75 * 0.25 / 1200) ** 0.5


def test_named_mixes_hold_known_kinds_only():
    for name, weights in MIXES.items():
        assert set(mix_weights(name)) == set(weights) <= set(KINDS)
        assert "new_word" not in weights  # exists in one split only
        assert abs(sum(weights.values()) - 1) < 1e-9, name
    assert set(PLAIN_MAKERS) | {"match"} == set(SCENE_KINDS)


@pytest.mark.parametrize("mix", ["dance", {"dance": 1.0}, {}, {"move": 0.0}, {"move": 1.0, "word": -1.0}])
def test_a_wrong_mix_is_named(catalogue, mix):
    with pytest.raises(RequestError, match="mix"):
        make_scene(catalogue, "train", 0, 0, mix=mix)


def test_new_words_are_said_in_the_test_split_only(catalogue):
    trained = {make_scene(catalogue, "train", 0, i, "word").sounds[0].text for i in range(200)}
    tested = {make_scene(catalogue, "test", 0, i, "word").sounds[0].text for i in range(200)}
    new = {make_scene(catalogue, "test", 0, i, "new_word").sounds[0].text for i in range(200)}
    assert trained == tested == set(catalogue.words("train"))
    assert new == set(catalogue.words("test", new=True))
    assert not new & trained
    with pytest.raises(RequestError, match="split 'test' only"):
        make_scene(catalogue, "train", 0, 0, "new_word")
    questions = sample("test", 0, 0, kind="new_word", assets=catalogue).questions
    (options,) = [q["options"] for q in questions if (q["family"], q["form"]) == ("word", "choice")]
    assert set(options) <= new


def test_voices_of_training_are_not_heard_in_the_test_split(catalogue):
    def voices(split):
        scenes = (make_scene(catalogue, split, 0, index, "word") for index in range(200))
        return {catalogue.word_row(sound.number)["voice"] for scene in scenes for sound in scene.sounds}

    assert voices("train") == voices("val")
    assert not voices("train") & voices("test")


def test_a_folder_without_words_says_how_to_get_them(asset_dir, tmp_path):
    (tmp_path / "index.json").write_text((asset_dir / "index.json").read_text())
    with pytest.raises(MissingFilesError, match="fetch_words"):
        make_scene(Catalogue(tmp_path), "train", 0, 0, "word")
    assert make_scene(Catalogue(tmp_path), "train", 0, 0, "move").kind == "move"
