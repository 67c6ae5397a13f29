"""What users really pass: every wrong source ends in one sentence of ours, soon, and names the way out."""

import io
import os
import random
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.media_files import (
    bframe_video,
    damaged_video,
    frameless_video,
    headless_video,
    make_image,
    make_sound,
    make_video,
    make_wav,
    not_media,
    numbered_frame,
    tone,
)
from videollama2.errors import MediaError, MediaLimitError, MediaTimeoutError, RequestError, VideoLLaMA2Error
from videollama2.media import Limits, load_audio, load_audio_windows, load_image, load_video, probe

LOADERS = [load_video, load_image, load_audio, load_audio_windows, probe]


@pytest.mark.parametrize("load", LOADERS)
@pytest.mark.parametrize("kind", not_media())
def test_files_that_are_no_media(load, kind):
    with pytest.raises(MediaError) as caught:
        load(not_media()[kind])
    message = str(caught.value)
    assert message.startswith("bytes ")
    assert message.endswith(".")
    assert "\n" not in message


@pytest.mark.parametrize("load", LOADERS)
def test_missing_empty_and_unreadable(load, tmp_path):
    with pytest.raises(MediaError, match="check the path"):
        load(tmp_path / "nothing.mp4")
    (tmp_path / "empty.mp4").write_bytes(b"")
    with pytest.raises(MediaError, match="is empty"):
        load(tmp_path / "empty.mp4")
    with pytest.raises(MediaError, match="is empty"):
        load(b"")
    with pytest.raises(MediaError, match="download it first"):
        load("https://example.org/clip.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError, match="neither a file nor a folder"):
        load(tmp_path / "pipe.mp4")
    with pytest.raises(MediaError):
        load("a\0b.mp4")
    with pytest.raises(RequestError, match="of type int"):
        load(5)
    with pytest.raises(RequestError):
        load(None)


def test_wrong_extension_works_by_content(tmp_path):
    contents = {"a.png": make_video(5), "b.mp4": make_wav(tone(1)), "c.wav": make_image(numbered_frame(2), "JPEG")}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    assert load_video(tmp_path / "a.png").num_source_frames == 5
    assert load_audio(tmp_path / "b.mp4").status == "used"
    assert load_image(tmp_path / "c.wav").frames[0].shape == (64, 96, 3)


def test_the_wrong_argument_is_told_the_right_one(tmp_path):
    video, sound, image = make_video(5), make_wav(tone(1)), make_image(numbered_frame(2))
    cases = [
        (load_video, sound, "audio="),
        (load_video, make_sound(tone(1)), "audio="),
        (load_video, image, "image="),
        (load_image, video, "video="),
        (load_image, sound, "audio="),
        (load_audio, image, "image="),
    ]
    for load, data, needle in cases:
        with pytest.raises(MediaError, match=needle):
            load(data)


def test_files_without_anything_to_decode():
    for data in (headless_video(), frameless_video(), make_video(30)[:40], make_video(30)[:2000]):
        with pytest.raises(MediaError):
            load_video(data)


def test_bounds_and_times_outside():
    data = make_video(30)
    for bounds in ({"start": 5.0}, {"start": 5.0, "end": 9.0}, {"end": -3.0}, {"end": 0.0}, {"times": [4.0]}):
        with pytest.raises(MediaError, match=r"inside the clip|earlier time"):
            load_video(data, **bounds)
    for bounds in ({"start": float("nan")}, {"times": [-1.0]}, {"times": []}, {"start": 0.5, "times": [0.1]}):
        with pytest.raises(RequestError):
            load_video(data, **bounds)
    assert load_video(data, 4, start=0.0, end=1000.0).indices[-1] > 20


def test_limits_are_checked_in_one_place(tmp_path):
    data = make_video(30, sound=tone(1))
    for limits, needle in (
        (Limits(bytes=100), "bytes"),
        (Limits(pixels=100), "pixels"),
        (Limits(frames=10), "frames"),
        (Limits(sampled_frames=4), "sampled_frames"),
        (Limits(decoded_bytes=1000), "decoded_bytes"),
        (Limits(seconds=0.5), "seconds"),
    ):
        with pytest.raises(MediaLimitError, match=rf"Limits\({needle}="):
            load_video(data, limits=limits)
    with pytest.raises(MediaLimitError, match="audio_seconds"):
        load_audio(data, limits=Limits(audio_seconds=0.2))
    with pytest.raises(MediaLimitError, match="bytes"):
        load_video(io.BytesIO(data), limits=Limits(bytes=100))
    (tmp_path / "1.png").write_bytes(make_image(numbered_frame(1)))
    with pytest.raises(MediaLimitError, match="bytes"):
        load_video(tmp_path, limits=Limits(bytes=10))
    with pytest.raises(RequestError, match=r"Limits\.frames"):
        Limits(frames=0)


def test_a_file_object_that_hangs_is_left_behind():
    release = threading.Event()

    class Hanging(io.RawIOBase):
        def readable(self):
            return True

        def read(self, size=-1):
            release.wait(30)
            return b""

    begun = time.monotonic()
    with pytest.raises(MediaTimeoutError, match=r"longer than 0\.2 s"):
        load_video(Hanging(), timeout=0.2)
    release.set()
    assert time.monotonic() - begun < 5


def test_decoding_stops_at_its_deadline(monkeypatch):
    data = bframe_video(60)
    moments = iter(range(10_000))
    # One second passes at every look at the clock.
    monkeypatch.setattr("videollama2.media.deadline.time.monotonic", lambda: float(next(moments)))
    with pytest.raises(MediaTimeoutError, match="larger timeout"):
        load_video(data, 16, timeout=15)
    with pytest.raises(RequestError, match="timeout=0"):
        load_video(data, timeout=0)


def test_file_objects_that_fail_or_give_text():
    class Failing(io.RawIOBase):
        def readable(self):
            return True

        def read(self, size=-1):
            raise OSError("the disk is gone")

    with pytest.raises(MediaError, match="the disk is gone"):
        load_video(Failing())
    with pytest.raises(MediaError, match="binary mode"):
        load_video(io.StringIO("text"))


def test_large_file_objects_go_to_disk_and_are_removed(monkeypatch, tmp_path):
    monkeypatch.setattr("videollama2.media.source._SPOOL_BYTES", 100)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    data = make_video(10)
    assert load_video(io.BytesIO(data), 4).content_hash == load_video(data, 4).content_hash
    assert not list(tmp_path.iterdir())


FLIPPABLE = {
    "video": damaged_video(30),
    "mkv": make_video(20, container="matroska"),
    "wav": make_wav(tone(0.5)),
    "flac": make_wav(tone(0.5), container="FLAC"),
    "m4a": make_sound(tone(0.5)),
    "png": make_image(numbered_frame(3)),
    "jpeg": make_image(numbered_frame(3), "JPEG"),
}


@given(st.sampled_from(sorted(FLIPPABLE)), st.integers(0, 2**32), st.integers(1, 30), st.floats(0.05, 1.0))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_damage_of_any_kind_gives_an_answer_or_an_error_of_ours(kind, seed, num_flips, keep):
    generator = random.Random(seed)
    data = bytearray(FLIPPABLE[kind])
    for _ in range(num_flips):
        data[generator.randrange(len(data))] = generator.randrange(256)
    data = data[: max(int(len(data) * keep), 1)]
    for load in (load_video, load_image, load_audio, probe):
        try:
            result = load(bytes(data), timeout=20, limits=Limits(pixels=4_000_000, audio_seconds=60))
            outcome = getattr(result, "content_hash", "0" * 64)
        except VideoLLaMA2Error as error:
            outcome = str(error)
        assert len(outcome) == 64 or outcome.endswith(".")


def test_streams_of_an_unknown_codec():
    data = make_video(5, container="matroska", codec="mpeg4").replace(b"V_MPEG4/ISO/ASP", b"V_XXXX4/ISO/ASP")
    assert probe(data).width == 0
    with pytest.raises(MediaError, match=r"cannot be decoded here|no video stream"):
        load_video(data)


def test_import_is_light_and_changes_nothing():
    code = (
        "import sys, videollama2.media\n"
        "heavy = {'torch', 'transformers', 'av', 'scipy', 'soundfile', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
