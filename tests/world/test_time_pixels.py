"""The truth of later kinds of scene, found again in rendered frames and waveforms by eyes and ears of its own."""

import random
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from videollama2.world import describe_time as read
from videollama2.world.backgrounds import paint_background
from videollama2.world.graph import Camera
from videollama2.world.placing import coloured_shape, stay
from videollama2.world.render import frame_moments, render_frames, render_sound
from videollama2.world.scene import make_scene
from videollama2.world.textures import TEXTURES

SIDE = 112


def _scenes(catalogue, kind, number=12):
    """Scenes with a sharp, still background, against which things stand out pixel by pixel."""
    for index in range(number):
        scene = make_scene(catalogue, "train", 9, index, kind)
        yield replace(scene, softness=0.0, camera=None)


def _masks(scene, catalogue, count):
    frames = render_frames(scene, catalogue, count, SIDE).astype(int)
    bare = np.asarray(paint_background(scene.background, scene.background_seed, SIDE)).astype(int)
    return frames, np.abs(frames - bare).sum(-1) > 0


def test_repetitions_can_be_counted_in_the_frames(catalogue):
    counts = set()
    for scene in _scenes(catalogue, "repeat", 20):
        _, masks = _masks(scene, catalogue, 8)  # eight frames are enough
        seen = masks.any((1, 2)).astype(int)
        assert (np.diff(seen, prepend=0) == 1).sum() == read.times_seen(scene)
        counts.add(read.times_seen(scene))
    assert counts == {1, 2, 3, 4}


def test_things_come_and_go_in_the_frames(catalogue):
    for scene in _scenes(catalogue, "vanish"):
        _, masks = _masks(scene, catalogue, 8)
        assert (masks[0].any(), masks[-1].any()) == (not read.appears(scene), read.appears(scene))


def test_changes_are_seen_in_the_frames(catalogue):
    found = set()
    for scene in _scenes(catalogue, "change", 30):
        frames, masks = _masks(scene, catalogue, 8)
        what = read.what_changes(scene)
        found.add(what)
        if what == "nothing":
            assert np.array_equal(frames[0], frames[-1])
        elif what == "size":
            assert (masks[-1].sum() > 2 * masks[0].sum()) == ("larger" in read.change_of(scene))
            assert max(masks[-1].sum(), masks[0].sum()) > 2 * min(masks[-1].sum(), masks[0].sum())
        elif what == "colour":
            both = ndimage.binary_erosion(masks[0] & masks[-1], iterations=2)
            assert np.abs(np.median(frames[0][both], 0) - np.median(frames[-1][both], 0)).max() > 25
        else:
            assert (masks[0] ^ masks[-1]).sum() > 0.08 * masks[0].sum()
            both = ndimage.binary_erosion(masks[0] & masks[-1], iterations=3)
            assert np.abs(np.median(frames[0][both], 0) - np.median(frames[-1][both], 0)).max() < 40
    assert len(found) == 4


def test_the_larger_the_faster_and_the_nearer_are_so_in_the_frames(catalogue):
    for scene in _scenes(catalogue, "size"):
        _, masks = _masks(scene, catalogue, 1)
        labels, _ = ndimage.label(masks[0])
        areas = np.bincount(labels.ravel())[1:]
        first, second = np.argsort(areas)[::-1][:2]
        x = ndimage.center_of_mass(masks[0], labels, first + 1)[1] / SIDE
        assert abs(read.larger(scene).start[0] - x) < 0.1
        assert areas[first] > 2 * areas[second]
    for scene in _scenes(catalogue, "speed"):
        ways = []
        for sprite in scene.sprites:
            _, masks = _masks(replace(scene, sprites=(sprite,)), catalogue, 16)
            centres = np.array([ndimage.center_of_mass(mask) for mask in masks])
            ways.append(np.abs(np.diff(centres, axis=0)).sum())
        assert scene.sprites[int(np.argmax(ways))] is read.faster(scene)
        assert max(ways) > 2 * min(ways)
    for scene in _scenes(catalogue, "meet"):
        _, masks = _masks(scene, catalogue, 8)
        spread = [np.argwhere(mask).std(0).sum() for mask in masks]
        assert (spread[-1] < spread[0]) == read.comes_together(scene)


def test_opening_and_growing_are_seen_in_the_frames(catalogue):
    for scene in _scenes(catalogue, "opening", 16):
        sprite = replace(scene.sprites[0], rgb=(250, 120, 30), brightness=1.0)
        frames, _ = _masks(replace(scene, sprites=(sprite,), background="plain"), catalogue, 8)
        fill = np.abs(frames - np.array(sprite.rgb)).sum(-1) < 30
        covered = fill.sum((1, 2))
        if sprite.name in ("door", "curtain"):  # the leaf covers less and less
            assert (covered[-1] < covered[0]) == read.opens(sprite)
        else:
            assert np.abs(frames[-1] - frames[0]).sum() > 0
    for scene in _scenes(catalogue, "action"):
        _, masks = _masks(scene, catalogue, 8)
        assert (masks[-1].sum() > masks[0].sum()) == read.grows(scene.sprites[0])


def test_turning_is_as_it_is_called(catalogue):
    scene = replace(make_scene(catalogue, "train", 0, 0, "close"), background="plain", softness=0.0)
    plain = coloured_shape(
        random.Random(0), "triangle", "red", **{**stay((0.5, 0.5), 0.6), "angle": 0.0, "flip": False}
    )
    for turn, name, apex in ((90.0, "counter-clockwise", "left"), (-90.0, "clockwise", "right")):
        sprite = replace(plain, turn=turn)
        assert read.turning(sprite) == name
        # the middle of the frame's upper edge holds the apex before, the side after a quarter turn
        _, masks = _masks(replace(scene, sprites=(sprite,)), catalogue, [0.0, 1.0])
        columns = masks[1].sum(0)
        left, right = columns[: SIDE // 2].sum(), columns[SIDE // 2 :].sum()
        assert (left < right) == (apex == "left")  # the broad base is on the other side
        assert masks[0][: SIDE // 2].sum() < masks[0][SIDE // 2 :].sum()


def test_the_reverse_of_an_action_is_the_same_frames_in_another_order(catalogue):
    moments = frame_moments(8)
    for scene in _scenes(catalogue, "action", 4):
        sprite = scene.sprites[0]
        back = replace(
            sprite, size=sprite.end_size, end_size=sprite.size, turn=-sprite.turn, angle=sprite.angle + sprite.turn
        )
        assert read.grows(back) != read.grows(sprite)
        assert read.turning(back) != read.turning(sprite)
        forwards = render_frames(scene, catalogue, moments, SIDE).astype(int)
        backwards = render_frames(replace(scene, sprites=(back,)), catalogue, moments, SIDE).astype(int)
        assert np.abs(forwards - backwards[::-1]).mean() < 0.5


def test_the_camera_moves_as_said(catalogue):
    scene = replace(make_scene(catalogue, "train", 0, 3, "close"), background="brick", softness=0.0)
    pan = Camera(pan=(0.25, 0.0))
    frames = render_frames(replace(scene, sprites=(), camera=pan), catalogue, [0.0, 1.0], 128).astype(int)
    assert read.panning(replace(scene, camera=pan)) == "right"
    # what was a quarter of the frame to the right is now in its place: 32 pixels
    assert np.abs(frames[1][:, :96] - frames[0][:, 32:]).mean() < 1
    zoom = Camera(zoom=2.0)
    frames = render_frames(replace(scene, sprites=(), camera=zoom), catalogue, [0.0, 1.0], 128).astype(float)
    inner = ndimage.zoom(frames[0][32:96, 32:96].mean(-1), 2, order=1)
    assert np.corrcoef(inner.ravel(), frames[1].mean(-1).ravel())[0, 1] > 0.85
    assert read.zooming(replace(scene, camera=zoom)) == "in"


def test_a_camera_never_shows_what_was_not_painted(catalogue):
    for index in range(30):
        for kind in ("camera", "speed", "repeat"):
            scene = make_scene(catalogue, "train", 2, index, kind)
            for moment in (0.0, 0.5, 1.0):
                if scene.camera is not None:
                    x, y, zoom = scene.camera.view(moment)
                    assert min(x, y) - 0.5 / zoom > -0.35
                    assert max(x, y) + 0.5 / zoom < 1.35


@pytest.mark.parametrize("kind", ["heard", "said"])
def test_repeated_sounds_can_be_counted_by_ear(catalogue, kind):
    for index in range(24):
        scene = replace(make_scene(catalogue, "train", 9, index, kind), noise_db=-80.0)
        wave = render_sound(scene, catalogue)
        loud = ndimage.maximum_filter1d(np.abs(wave), 1200) > 0.02 * np.abs(wave).max()
        assert (np.diff(loud.astype(int), prepend=0) == 1).sum() == len(scene.sounds)


def test_what_is_seen_while_the_sound_is_heard(catalogue):
    for scene in _scenes(catalogue, "together", 8):
        wave = render_sound(replace(scene, noise_db=-80.0), catalogue)
        loudest = int(np.argmax([np.square(part).sum() for part in np.array_split(wave, 4)]))
        _, masks = _masks(scene, catalogue, 4)
        row, column = np.array(ndimage.center_of_mass(masks[loudest])) / SIDE
        seen = next(s for s in scene.sprites if s.seen((scene.sounds[0].start + scene.sounds[0].end) / 2))
        assert scene.sprites[loudest] is seen
        assert abs(column - seen.start[0]) < 0.06
        assert abs(row - seen.start[1]) < 0.06


@pytest.mark.parametrize("kind", TEXTURES)
def test_textures_have_detail_at_every_scale_as_photographs_do(kind):
    one, same, other = (np.asarray(paint_background(kind, seed, 128)).astype(float) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert np.abs(one - other).mean() > 3
    grey = one.mean(-1)
    for sigma in (1, 4, 12):
        assert (ndimage.gaussian_filter(grey, sigma / 2) - ndimage.gaussian_filter(grey, sigma)).std() > 0.4
