import random
from collections import Counter

import numpy as np
import pytest

from videollama2.errors import MissingFilesError, RequestError
from videollama2.world.assets import asset_folder, open_catalogue
from videollama2.world.scene import DIRECTIONS, SCENE_KINDS, make_scene

NUMBER = 3000


@pytest.fixture(scope="module")
def scenes(catalogue):
    return [make_scene(catalogue, "train", 0, index) for index in range(NUMBER)]


def test_scenes_are_a_pure_function(catalogue, scenes):
    assert make_scene(catalogue, "train", 0, 17) == scenes[17]
    assert make_scene(catalogue, "train", 1, 17) != scenes[17]
    assert make_scene(catalogue, "val", 0, 17) != scenes[17]
    assert len({scene.background_seed for scene in scenes}) > NUMBER - 3


def test_kinds_come_in_their_shares(scenes):
    counts = Counter(scene.kind for scene in scenes)
    for kind, share in SCENE_KINDS.items():
        assert abs(counts[kind] / NUMBER - share) < 4 * (share / NUMBER) ** 0.5


def test_test_split_shares_no_sprite_and_no_sound(catalogue, scenes):
    test = [make_scene(catalogue, "test", 0, index) for index in range(500)]
    val = [make_scene(catalogue, "val", 0, index) for index in range(500)]

    def used(collection):
        files = {sprite.file for scene in collection for sprite in scene.sprites if sprite.file}
        return files, {sound.number for scene in collection for sound in scene.sounds}

    (train_files, train_sounds), (test_files, test_sounds), (val_files, val_sounds) = map(used, (scenes, test, val))
    assert test_files
    assert test_sounds
    assert not train_files & test_files
    assert not train_sounds & test_sounds
    assert val_files <= train_files
    assert val_sounds <= train_sounds
    assert all("/noto" in file for file in test_files)


def test_things_stay_in_the_frame(scenes):
    for scene in scenes:
        for sprite in scene.sprites:
            for place in (sprite.start, sprite.end):
                for value in place:
                    assert value - sprite.size / 2 + 0.02 >= -0.02
                    assert value + sprite.size / 2 <= 1.04


def test_direction_is_what_the_path_does(scenes):
    moves = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}
    for scene in scenes:
        for sprite in scene.sprites:
            delta = np.subtract(sprite.end, sprite.start)
            assert tuple(np.sign(np.round(delta, 9))) == moves[sprite.direction]
            assert sprite.direction == "still" or np.abs(delta).max() >= 0.29


def test_a_single_frame_does_not_tell_the_direction(catalogue):
    rng = random.Random(0)
    places, answers = [], []
    for index in range(6000):
        sprite = make_scene(catalogue, "train", 5, index, "move").sprites[0]
        moment = rng.random()
        x, y = (a + (b - a) * moment for a, b in zip(sprite.start, sprite.end))
        places.append((int(x * 6), int(y * 6), sprite.size > 0.38))
        answers.append(sprite.direction)
    # the best guess from place and size, learned on one half and tried on the other
    votes: dict[tuple, Counter] = {}
    for place, answer in zip(places[:3000], answers[:3000]):
        votes.setdefault(place, Counter())[answer] += 1
    hits = sum(votes.get(p, Counter("?")).most_common(1)[0][0] == a for p, a in zip(places[3000:], answers[3000:]))
    chance = 1 / len(DIRECTIONS)
    assert abs(hits / 3000 - chance) < 3.5 * (chance * (1 - chance) / 3000) ** 0.5


def test_order_slots_follow_each_other_and_are_seen_by_eight_frames(catalogue):
    moments = [(k + 0.5) / 8 for k in range(8)]
    alone = Counter()
    for index in range(1500):
        sprites = make_scene(catalogue, "train", 6, index, "order").sprites
        assert len({sprite.name for sprite in sprites}) == len(sprites)
        starts = [sprite.appear for sprite in sprites]
        assert starts == sorted(starts)
        for sprite in sprites:
            assert sum(sprite.appear <= moment < sprite.disappear for moment in moments) >= 1
        if len(sprites) == 2:
            for moment in moments:
                seen = [k for k, s in enumerate(sprites) if s.appear <= moment < s.disappear]
                if len(seen) == 1:
                    alone[seen[0]] += 1
    # a frame with one of two things is as often from before as from after
    assert abs(alone[0] - alone[1]) < 4 * sum(alone.values()) ** 0.5


def test_neither_an_unknown_nor_the_middle_frame_tells_the_place_in_a_sequence(catalogue):
    rng = random.Random(1)
    middle, unknown = Counter(), Counter()
    for index in range(4000):
        sprites = make_scene(catalogue, "train", 7, index, "sequence").sprites
        assert [sprite.appear for sprite in sprites] == [0.0, *(sprite.disappear for sprite in sprites[:3])]
        assert min(sprite.disappear - sprite.appear for sprite in sprites) > 0.135
        for counts, moment in ((middle, 0.5), (unknown, rng.random())):
            counts.update(k for k, s in enumerate(sprites) if s.appear <= moment < s.disappear)
    for counts in (middle, unknown):
        assert sum((counts[k] - 1000) ** 2 / 1000 for k in range(4)) < 16.3  # chi-square, p = 0.001


def test_pairs_are_the_same_played_backwards(catalogue):
    first, second = Counter(), Counter()
    for index in range(3000):
        a, b = make_scene(catalogue, "train", 7, index, "pair").sprites
        first[round(a.disappear * 10)] += 1
        second[round((1 - b.appear) * 10)] += 1
    cells = set(first) | set(second)
    assert sum((first[c] - second[c]) ** 2 / (first[c] + second[c]) for c in cells) < 3 * len(cells) + 10


def test_unknown_split_kind_and_folder_are_named(catalogue, tmp_path, monkeypatch):
    with pytest.raises(RequestError, match="train, val, test"):
        make_scene(catalogue, "dev", 0, 0)
    with pytest.raises(RequestError, match="order"):
        make_scene(catalogue, "train", 0, 0, "dance")
    with pytest.raises(MissingFilesError, match="fetch_assets"):
        asset_folder(tmp_path)
    monkeypatch.delenv("VIDEOLLAMA2_ASSETS", raising=False)
    with pytest.raises(MissingFilesError, match="VIDEOLLAMA2_ASSETS"):
        asset_folder()
    monkeypatch.setenv("VIDEOLLAMA2_ASSETS", str(catalogue.folder))
    assert open_catalogue().folder == catalogue.folder
