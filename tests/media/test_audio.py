"""Sound of every kind by every policy: the right seconds, the official samples, honest statuses."""

import io
import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.media_files import make_image, make_sound, make_video, make_wav, numbered_frame, tone
from videollama2.errors import MediaError, MediaLimitError, RequestError
from videollama2.media import Limits, load_audio, load_audio_windows
from videollama2.media.windows import official_file_start, official_video_clips, plan_windows, sound_bounds

RATE = 16000


def ladder(seconds, sample_rate=RATE):
    """Sound whose level tells the second it is from: second k holds a tone of level (k+1)/100."""
    time = np.arange(round(seconds * sample_rate)) / sample_rate
    return np.sin(2 * np.pi * 500 * time) * (np.floor(time) + 1) / 100


def seconds_heard(wave):
    """The second that each second of `wave` came from."""
    count = len(wave) // RATE
    return [round(float(np.abs(wave[i * RATE : (i + 1) * RATE]).max()) * 100) - 1 for i in range(count)]


CODED = {
    "wav": lambda s: make_wav(s),
    "wav float": lambda s: make_wav(s, subtype="FLOAT"),
    "wav 24 bit": lambda s: make_wav(s, subtype="PCM_24"),
    "flac": lambda s: make_wav(s, container="FLAC"),
    "ogg vorbis": lambda s: make_wav(s, container="OGG", subtype="VORBIS"),
    "ogg opus": lambda s: make_sound(s, 48000, "ogg", "libopus"),
    "mp3": lambda s: make_wav(s, container="MP3", subtype="MPEG_LAYER_III"),
    "m4a": lambda s: make_sound(s),
    "m4a stereo": lambda s: make_sound(s, layout="stereo"),
    "mka": lambda s: make_sound(s, container="matroska", codec="flac"),
    "video": lambda s: make_video(30, sound=s),
}


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("policy", ["official-file", "official-video", "first", "centre", "uniform", "full"])
def test_every_format_under_every_policy(name, policy):
    sample_rate = 48000 if "opus" in name else RATE
    clip = load_audio(CODED[name](tone(3.0, sample_rate)), policy, seed=0)
    assert clip.status == "used"
    assert clip.sample_rate == RATE
    assert clip.duration == pytest.approx(3.0, abs=0.1)
    assert clip.waveform.ndim == 1
    sound = clip.waveform[: len(clip.waveform) - clip.num_padded]
    assert np.abs(sound).max() == pytest.approx(0.5, abs=0.06)
    # The tone is still a tone of 440 Hz at the new rate.
    piece = sound[RATE // 4 : RATE // 4 + RATE]
    assert np.abs(np.fft.rfft(piece * np.hanning(len(piece)))).argmax() == 440
    expected = {"full": round(clip.duration * RATE)}.get(policy, 30 * RATE)
    assert len(clip.waveform) == expected
    assert not clip.waveform[len(sound) :].any() or sample_rate != RATE


def test_short_files_are_the_same_under_file_policies():
    data = make_wav(ladder(3, 44100), 44100)
    official = load_audio(data, "official-file").waveform
    assert official.dtype == np.float64
    for policy in ("first", "centre", "uniform"):
        assert np.array_equal(load_audio(data, policy).waveform, official)


def test_policies_take_the_seconds_they_say():
    data = make_wav(ladder(90))
    assert seconds_heard(load_audio(data, "first").waveform) == list(range(30))
    assert seconds_heard(load_audio(data, "centre").waveform) == list(range(30, 60))
    assert seconds_heard(load_audio(data, "full").waveform) == list(range(90))
    uniform = load_audio(data, "uniform")
    assert len(uniform.windows) == 15
    assert uniform.windows[0][0] == 0
    assert uniform.windows[-1][1] == pytest.approx(90)
    assert len(uniform.waveform) == 30 * RATE
    assert load_audio(data, "first").windows == ((0.0, 30.0),)
    assert any("30 of 90" in event for event in load_audio(data, "first").events)


def test_bounds_choose_the_seconds():
    data = make_wav(ladder(20))
    clip = load_audio(data, "first", seconds=2.0, start=5.0, end=9.0)
    assert seconds_heard(clip.waveform) == [5, 6]
    assert clip.windows == ((5.0, 7.0),)
    assert seconds_heard(load_audio(data, "full", start=17.0).waveform) == [17, 18, 19]
    swapped = load_audio(data, "full", start=4.0, end=2.0)
    assert seconds_heard(swapped.waveform) == [2, 3]
    assert any("swapped" in event for event in swapped.events)
    with pytest.raises(MediaError, match="bounds inside it"):
        load_audio(data, "first", start=20.5)
    with pytest.raises(RequestError, match="takes no start"):
        load_audio(data, "official-file", start=1.0)


def test_random_window_needs_and_obeys_its_seed():
    data = make_wav(ladder(40))
    with pytest.raises(RequestError, match="give seed"):
        load_audio(data, "official-file")
    first, again, other = (load_audio(data, "official-file", seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.waveform, again.waveform)
    assert first.windows != other.windows
    assert official_file_start(40 * RATE, 30 * RATE, 3) == round(first.windows[0][0] * RATE)


def test_windows_are_the_whole_in_order():
    data = make_wav(ladder(70, 22050), 22050)
    clips = load_audio_windows(data)
    assert [clip.windows[0] for clip in clips] == [(0.0, 30.0), (30.0, 60.0), (60.0, 70.0)]
    assert all(len(clip.waveform) == 30 * RATE for clip in clips)
    assert clips[-1].num_padded == 20 * RATE
    whole = load_audio(data, "full").waveform
    assert np.allclose(np.concatenate([clips[0].waveform, clips[1].waveform]), whole[: 60 * RATE])
    assert len(load_audio_windows(make_video(5))) == 1
    assert load_audio_windows(make_video(5))[0].status == "absent"


def test_statuses():
    assert load_audio(make_video(10)).status == "absent"
    silent = load_audio(make_wav(np.zeros(RATE)))
    assert silent.status == "silent"
    assert any("no signal" in event for event in silent.events)
    failed = load_audio(b"\x00" * 100, on_error="status")
    assert failed.status == "failed"
    assert "not media" in failed.reason
    assert not failed.waveform.any()
    with pytest.raises(MediaError):
        load_audio(b"\x00" * 100)
    with pytest.raises(RequestError):
        load_audio(make_wav(tone(1)), on_error="ignore")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(value):
    samples = tone(1.0)
    samples[100] = value
    with pytest.raises(MediaError, match="NaN or infinite"):
        load_audio(make_wav(samples, subtype="FLOAT"))
    with pytest.raises(MediaError, match="NaN or infinite"):
        load_audio((samples, RATE))


def test_a_tenth_of_a_second_is_enough():
    for data in (make_wav(tone(0.1)), make_sound(tone(0.1)), make_video(3, sound=tone(0.1))):
        for policy in ("official-file", "official-video", "first", "uniform"):
            clip = load_audio(data, policy)
            assert clip.status == "used"
            assert len(clip.waveform) == 30 * RATE
    # Shorter than a clip: the official sampler takes the same sound eight times.
    clip = load_audio(make_wav(tone(0.1)), "official-video")
    assert clip.num_padded == 30 * RATE - 8 * 1600


def test_hours_of_sound_are_positioned_not_read():
    hours = np.zeros(3600 * 1000, dtype=np.float64)
    hours[1800 * 1000 : 1801 * 1000] = tone(1.0, 1000, 100)
    data = make_wav(np.tile(hours, 3), 1000, container="FLAC")
    clip = load_audio(data, "first", seconds=2.0, start=5400.0)
    assert clip.duration == 3 * 3600
    assert np.abs(clip.waveform[:RATE]).max() == pytest.approx(0.5, abs=0.05)
    assert np.abs(clip.waveform[RATE + 100 : -100]).max() < 0.05
    with pytest.raises(MediaLimitError, match="sound to take"):
        load_audio(data, "full")


def test_long_sound_tracks_are_positioned(monkeypatch):
    data = make_video(30, sound=ladder(40))
    exact = load_audio(data, "first", seconds=3.0, start=20.0)
    monkeypatch.setattr("videollama2.media.sound_readers.WHOLE_SECONDS", 10.0)
    near = load_audio(data, "first", seconds=3.0, start=20.0)
    assert any("time stamps" in event for event in near.events)
    assert seconds_heard(near.waveform) == seconds_heard(exact.waveform) == [20, 21, 22]
    assert np.abs(near.waveform - exact.waveform).max() < 0.02
    first = load_audio(data, "first", seconds=3.0)
    assert seconds_heard(first.waveform) == [0, 1, 2]
    assert len(load_audio(data, "official-video").windows) == 8


def test_channels_and_rates_are_checked_and_said():
    stereo = np.stack([tone(1.0, 8000), np.zeros(8000)], axis=1)
    clip = load_audio(make_wav(stereo, 8000), "first")
    assert any("channel 1 of 2" in event for event in clip.events)
    assert any("from 8000 to 16000 Hz" in event for event in clip.events)
    assert clip.waveform.max() == pytest.approx(0.5, abs=0.05)
    mixed = load_audio(make_wav(stereo, 8000), "official-video")
    assert mixed.waveform.max() == pytest.approx(0.25, abs=0.03)
    with pytest.raises(MediaLimitError, match="channels"):
        load_audio(make_wav(stereo), limits=Limits(channels=1))
    with pytest.raises(MediaLimitError, match="samples per second"):
        load_audio(make_wav(stereo, 8000), limits=Limits(sample_rate=4000))
    with pytest.raises(MediaLimitError, match="Limits"):
        load_audio(make_wav(stereo, 8000), limits=Limits(seconds=0.5))


def test_arrays_with_their_rate():
    wave = tone(1.0, 8000)
    clip = load_audio((wave, 8000))
    assert np.array_equal(clip.waveform, load_audio(make_wav(wave, 8000, "DOUBLE")).waveform)
    assert clip.content_hash
    with pytest.raises(RequestError, match="dtype"):
        load_audio((wave.astype(np.int64), 8000))
    with pytest.raises(RequestError, match="sample_rate"):
        load_audio((wave, 0))


def test_damaged_sound_is_an_error_of_ours():
    sound = bytearray(make_sound(tone(3.0)))
    begin = sound.index(b"mdat") + 4
    end = sound.index(b"moov") - 4
    sound[begin:end] = b"\xff" * (end - begin)
    with pytest.raises(MediaError, match=r"damaged|no sound samples"):
        load_audio(bytes(sound))
    with pytest.raises(MediaError, match=r"damaged|not media"):
        load_audio(make_wav(tone(1.0), container="FLAC")[:60])
    with pytest.raises(MediaError, match="no sound samples"):
        load_audio(make_wav(np.zeros(0)))
    with pytest.raises(MediaError, match="image="):
        load_audio(make_image(numbered_frame(1)))


def test_truncated_wav_gives_what_is_there():
    data = make_wav(tone(4.0))
    clip = load_audio(io.BytesIO(data[: len(data) // 2]))
    assert clip.duration == pytest.approx(2.0, abs=0.01)


@given(st.floats(0.001, 100_000), st.floats(0.1, 120))
@settings(max_examples=200, deadline=None)
def test_planned_windows_lie_in_the_sound_and_do_not_overlap(duration, seconds):
    for policy in ("first", "centre", "uniform", "full"):
        if policy == "full" and duration / seconds > 10_000:
            continue
        windows = plan_windows(policy, 0.0, duration, seconds)
        assert windows[0][0] >= 0
        assert windows[-1][1] <= duration + 1e-6
        assert all(a < b for a, b in windows)
        assert all(left[1] <= right[0] + 1e-6 for left, right in pairwise(windows))
        taken = sum(b - a for a, b in windows)
        assert taken == pytest.approx(duration if policy == "full" else min(duration, seconds), rel=1e-6)


@given(st.floats(0, 100_000))
@settings(deadline=None)
def test_official_clips_lie_in_the_sound(duration):
    clips = official_video_clips(duration)
    assert len(clips) == 8
    assert all(stop - start == 2 for start, stop in clips)
    assert clips[0][0] == 0
    assert clips[-1][1] <= max(duration, 2)


def test_sound_bounds_reject_what_is_no_number():
    with pytest.raises(RequestError, match="end=inf"):
        sound_bounds(3.0, 0.0, float("inf"), "x")
    with pytest.raises(RequestError, match="unknown"):
        load_audio(make_wav(tone(1)), "last")
    with pytest.raises(RequestError, match="seconds=0"):
        load_audio(make_wav(tone(1)), seconds=0)


def test_clip_can_be_written_down():
    clip = load_audio(make_video(5, sound=tone(1.0)))
    assert json.dumps([clip.windows, clip.events, clip.duration, clip.status])
