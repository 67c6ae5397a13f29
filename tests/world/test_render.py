import zlib

import av
import numpy as np
import pytest
from scipy import ndimage

from videollama2.errors import RequestError
from videollama2.world.backgrounds import BACKGROUNDS, paint_background
from videollama2.world.clip import write_clip
from videollama2.world.dataset import sample, samples
from videollama2.world.render import frame_moments, render_frames, render_sound
from videollama2.world.scene import make_scene


def _changed(scene, frames, index):
    """Pixels of a frame that are not background."""
    bare = np.asarray(paint_background(scene.background, scene.background_seed, frames.shape[1])).astype(int)
    return np.abs(frames[index].astype(int) - bare).sum(axis=-1) > 0


def _sharp(catalogue, kind, wanted, number):
    """Scenes without lens blur, whose pixels outside the things equal the background's."""
    found = []
    for index in range(400):
        scene = make_scene(catalogue, "train", 3, index, kind)
        if not scene.softness and wanted(scene):
            found.append(scene)
    return found[:number]


def test_shapes_types_and_determinism(asset_dir):
    first = sample("train", 0, 5, assets=asset_dir)
    assert first.frames.shape == (8, 224, 224, 3)
    assert first.frames.dtype == np.uint8
    assert first.waveform.dtype == np.float32
    assert first.waveform.shape == (round(first.scene.duration * 16000),)
    assert np.abs(first.waveform).max() <= 1.0
    again = sample("train", 0, 5, assets=asset_dir)
    assert np.array_equal(first.frames, again.frames)
    assert np.array_equal(first.waveform, again.waveform)
    assert first.questions == again.questions
    small = sample("train", 0, 5, num_frames=3, size=96, assets=asset_dir)
    assert small.frames.shape == (3, 96, 96, 3)
    assert small.scene == first.scene


def test_workers_change_nothing(asset_dir):
    alone = list(samples("val", 1, range(6), assets=asset_dir, size=64))
    shared = list(samples("val", 1, range(6), workers=2, assets=asset_dir, size=64))
    assert [one.scene for one in alone] == [one.scene for one in shared]
    for one, other in zip(alone, shared):
        assert np.array_equal(one.frames, other.frames)
        assert np.array_equal(one.waveform, other.waveform)


def test_motion_in_the_pixels_is_the_direction_said(catalogue):
    step = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0), "still": (0, 0)}
    scenes = _sharp(catalogue, "move", lambda scene: True, 30)
    assert len({scene.sprites[0].direction for scene in scenes}) == 5
    for scene in scenes:
        frames = render_frames(scene, catalogue, 8, 112)
        centres = [ndimage.center_of_mass(_changed(scene, frames, k)) for k in range(8)]
        moved = np.subtract(centres[-1], centres[0]) / 112
        expected = np.multiply(step[scene.sprites[0].direction], 7 / 8)
        length = max(abs(np.subtract(scene.sprites[0].end, scene.sprites[0].start)))
        assert np.allclose(moved, expected * length, atol=0.05)


def test_as_many_things_are_drawn_as_counted(catalogue):
    scenes = _sharp(catalogue, "count", lambda scene: True, 30)
    for scene in scenes:
        frames = render_frames(scene, catalogue, 1, 224)
        labels, _ = ndimage.label(_changed(scene, frames, 0))
        found = (np.bincount(labels.ravel())[1:] > 100).sum()  # less than that is the soft rim of a thing
        assert found == len(scene.sprites)


def test_things_are_seen_in_their_time_only(catalogue):
    for scene in _sharp(catalogue, "order", lambda scene: len(scene.sprites) in (3, 4), 10):
        moments = frame_moments(8)
        frames = render_frames(scene, catalogue, moments, 112)
        for k, moment in enumerate(moments):
            (visible,) = [s for s in scene.sprites if s.appear <= moment < s.disappear] or [None]
            changed = _changed(scene, frames, k)
            if visible is None:
                assert not changed.any()
                continue
            row, column = np.array(ndimage.center_of_mass(changed)) / 112
            assert abs(column - visible.start[0]) < 0.06
            assert abs(row - visible.start[1]) < 0.06


def test_a_word_is_heard_where_and_as_often_as_said(catalogue):
    times = set()
    for index in range(40):
        scene = make_scene(catalogue, "train", 5, index, "word")
        wave = render_sound(scene, catalogue)
        times.add(len(scene.sounds))
        inside = np.zeros(len(wave), bool)
        for sound in scene.sounds:
            first, last = round(sound.start * len(wave)), round(sound.end * len(wave))
            inside[first:last] = True
            spectrum = np.abs(np.fft.rfft(wave[first:last]))
            pitch = 200 + zlib.crc32(sound.text.encode()) % 2000  # what the stand-in for a voice says the word by
            assert abs(spectrum.argmax() * 16000 / (last - first) - pitch * sound.speed) < 25
        assert np.abs(wave[~inside]).max() < 6 * 10 ** (scene.noise_db / 20)
    assert times == {1, 2}


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_vary_and_repeat(kind):
    one, same, other = (np.asarray(paint_background(kind, seed, 64)) for seed in (1, 1, 2))
    assert one.shape == (64, 64, 3)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_sound_is_heard_when_said_and_only_then(catalogue):
    silent = heard = pairs = 0
    for index in range(60):
        scene = make_scene(catalogue, "test", 4, index)
        wave = render_sound(scene, catalogue)
        floor = 10 ** (scene.noise_db / 20)
        if not scene.sounds:
            silent += 1
            assert np.abs(wave).max() < 6 * floor
        for sound in scene.sounds:
            part = wave[round(sound.start * len(wave)) : round(sound.end * len(wave))]
            level = 10 ** (sound.gain_db / 20)
            assert 0.8 * level < np.abs(part).max() < 1.2 * level + 6 * floor
            heard += 1
        if len(scene.sounds) == 2:
            pairs += 1
            assert scene.sounds[0].end <= scene.sounds[1].start
            assert scene.sounds[0].kind != scene.sounds[1].kind
    assert min(silent, heard, pairs) > 3


def test_a_written_clip_is_h264_and_aac_and_looks_as_rendered(catalogue, tmp_path):
    scene = make_scene(catalogue, "train", 0, 1)
    path = write_clip(scene, tmp_path / "clip.mp4", catalogue, size=128, fps=12)
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4"]
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.average_rate, audio.rate, audio.layout.name) == (12, 16000, "mono")
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
    assert len(frames) == round(scene.duration * 12)
    wanted = render_frames(scene, catalogue, frame_moments(len(frames)), 128)
    assert np.abs(np.stack(frames).astype(int) - wanted).mean() < 8
    with av.open(str(path)) as container:
        wave = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(len(wave) / 16000 - scene.duration) < 0.15


def test_a_clip_that_cannot_be_written_leaves_nothing(catalogue, tmp_path):
    scene = make_scene(catalogue, "train", 0, 1)
    with pytest.raises(RequestError, match="even size"):
        write_clip(scene, tmp_path / "clip.mp4", catalogue, size=127)
    with pytest.raises(OSError, match="No such file"):
        write_clip(scene, tmp_path / "missing" / "clip.mp4", catalogue, size=32)
    assert list(tmp_path.iterdir()) == []
