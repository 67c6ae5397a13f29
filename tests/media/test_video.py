"""Video files: the right frames at the right times, bit-equal to decoding everything, without decoding everything."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from helpers.media_files import (
    bframe_video,
    damaged_video,
    edit_list_video,
    long_video,
    make_gif,
    make_video,
    numbered_frame,
    read_number,
    tiny_video,
    tone,
    truncated_video,
    vfr_video,
)
from videollama2.media import Limits, load_video
from videollama2.media import video as video_module
from videollama2.media.deadline import Deadline
from videollama2.media.frame_array import apply_display_matrix
from videollama2.media.sampling import uniform_indices
from videollama2.media.source import open_source
from videollama2.media.video import decode_all_reference, decode_frames
from videollama2.media.video_file import index_video, indexed_video

LIMITS = Limits()

X265 = {"x265-params": "open-gop=1:keyint=12:min-keyint=12:bframes=3:log-level=none"}
FILES = {
    "h264": lambda: make_video(),
    "h264 B-frames": lambda: bframe_video(),
    "h264 open groups": lambda: bframe_video(open_gop=True),
    "h264 B-frames mkv": lambda: bframe_video(container="matroska"),
    "h264 fragmented": lambda: bframe_video(container_options={"movflags": "frag_keyframe+empty_moov"}),
    "h264 transport stream": lambda: bframe_video(container="mpegts"),
    "h264 raw": lambda: make_video(container="h264"),
    "h264 one group": lambda: make_video(options={"x264-params": "keyint=999"}, gop=None),
    "h264 intra refresh": lambda: make_video(options={"x264-params": "intra-refresh=1:keyint=12"}, gop=None),
    "hevc open groups": lambda: make_video(codec="libx265", options=X265, gop=None),
    "vp9": lambda: make_video(40, container="webm", codec="libvpx-vp9"),
    "mpeg4 avi": lambda: make_video(container="avi", codec="mpeg4", options={"bf": "2"}),
    "mpeg2 transport stream": lambda: make_video(container="mpegts", codec="mpeg2video", options={"bf": "2"}),
    "mjpeg avi": lambda: make_video(container="avi", codec="mjpeg", pix_fmt="yuvj420p"),
    "ffv1 10 bit 444": lambda: make_video(container="matroska", codec="ffv1", pix_fmt="yuv444p10le"),
    "h264 10 bit 422": lambda: make_video(pix_fmt="yuv422p10le"),
    "odd size": lambda: make_video(container="matroska", codec="ffv1", pix_fmt="yuv420p", width=97, height=63),
    "variable rate": lambda: vfr_video()[0],
}


def open_all(data):
    deadline = Deadline(60.0)
    source = open_source(data, LIMITS, deadline)
    return source, index_video(source, LIMITS, deadline), deadline


@pytest.mark.parametrize("name", FILES)
def test_every_frame_equals_plain_decoding(name):
    source, index, deadline = open_all(FILES[name]())
    plain = decode_all_reference(source, LIMITS, deadline)
    assert len(index) == len(plain)
    assert np.all(np.diff(index.times) > 0)
    for wanted in (range(len(plain)), uniform_indices(len(plain), 8), [len(plain) - 1], [13, 14]):
        result = decode_frames(source, index, list(wanted), LIMITS, deadline)
        assert not result.replaced
        for number in wanted:
            assert np.array_equal(result.frames[number], plain[number]), number
            assert read_number(result.frames[number]) == number


@pytest.mark.parametrize("name", FILES)
def test_kept_packets_give_what_seeking_gives(name, monkeypatch):
    source, _, deadline = open_all(FILES[name]())
    with av.open(source.open()) as container:
        plain = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    opened = []
    real = video_module.open_container
    monkeypatch.setattr(video_module, "open_container", lambda *args: opened.append(args) or real(*args))
    for wanted in (uniform_indices(len(plain), 8), [len(plain) - 1], [13, 14]):
        with indexed_video(source, LIMITS, deadline) as video:
            if not video.index.seekable:
                return
            given = {}
            result = decode_frames(
                source, video.index, wanted, LIMITS, deadline, video=video, on_frame=given.__setitem__
            )
        # Of an intra refresh the decoder holds frames back, which come from a second reading without skips.
        assert sorted(given) == sorted(set(wanted)) or "refresh" in name
        assert all(given[number] is result.frames[number] for number in given)
        assert all(np.array_equal(result.frames[number], plain[number]) for number in wanted)
    assert not opened or "refresh" in name


@pytest.mark.parametrize("name", FILES)
def test_large_files_are_sought_in_while_open(name, monkeypatch):
    monkeypatch.setattr("videollama2.media.video_index._KEPT_BYTES", 1000)
    source, _, deadline = open_all(FILES[name]())
    plain = decode_all_reference(source, LIMITS, deadline)
    with indexed_video(source, LIMITS, deadline) as video:
        assert not video.packets
        wanted = uniform_indices(len(plain), 8)
        result = decode_frames(source, video.index, wanted, LIMITS, deadline, video=video)
    assert all(np.array_equal(result.frames[number], plain[number]) for number in wanted)


def test_packets_that_change_the_decoder_are_not_kept(monkeypatch):
    monkeypatch.setattr("videollama2.media.video_index._is_stateful", lambda packet: not packet.is_keyframe)
    source, _, deadline = open_all(bframe_video(60))
    with indexed_video(source, LIMITS, deadline) as video:
        assert not video.packets


def test_frames_nobody_needs_are_not_decoded():
    source, index, deadline = open_all(bframe_video(240))
    result = decode_frames(source, index, [5, 100, 230], LIMITS, deadline)
    # Three groups of 12, of which the B-frames that are not wanted stay undecoded.
    assert result.num_decoded < 24
    assert sorted(result.frames) == [5, 100, 230]


def test_work_is_shared_by_threads_with_the_same_result(monkeypatch):
    source, index, deadline = open_all(bframe_video(120))
    wanted = uniform_indices(120, 16)
    alone = decode_frames(source, index, wanted, LIMITS, deadline)
    monkeypatch.setattr("videollama2.media.video._PIXELS_PER_WORKER", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(4), raising=False)
    shared = decode_frames(source, index, wanted, LIMITS, deadline)
    assert shared.num_decoded == alone.num_decoded
    assert all(np.array_equal(shared.frames[i], alone.frames[i]) for i in wanted)


def test_times_of_a_variable_rate_are_true():
    data, times = vfr_video()
    clip = load_video(data, times=[0.0, 1.9, 2.5, 5.0])
    numbers = [read_number(frame) for frame in clip.frames]
    assert numbers == list(clip.indices)
    assert numbers == [max(i for i, time in enumerate(times) if time <= wanted) for wanted in (0.0, 1.9, 2.5, 5.0)]
    assert clip.times == pytest.approx([times[number] for number in numbers], abs=1e-3)


def test_bounds_and_rate_of_a_variable_rate_go_by_true_times():
    data, times = vfr_video()
    clip = load_video(data, 8, start=4.0, end=5.0)
    assert any("even rate" in event for event in clip.events)
    assert set(clip.indices) == {42, 43, 44}
    assert times[42] < 4.0 < times[43]
    clip = load_video(data, None, fps=2.0)
    assert len(clip.frames) == 12
    assert np.abs(np.array(clip.times) - (np.arange(12) + 0.5) / 2).max() <= 0.5
    by_rate = load_video(data, 8, start=0.5, end=1.0, bounds="official")
    assert by_rate.indices == tuple(14 + i for i in uniform_indices(16, 8))


def test_edit_list_hides_frames_and_shifts_times():
    clip = load_video(edit_list_video(60, skip_seconds=0.5, fps=30), None, fps=30, max_frames=None)
    assert clip.num_source_frames == 45
    assert [read_number(frame) for frame in clip.frames] == list(range(15, 60))
    assert clip.times[0] == pytest.approx(0.0, abs=1e-3)
    assert clip.duration == pytest.approx(1.5, abs=0.01)
    assert any("edit list" in event for event in clip.events)


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_rotation_metadata_is_applied(degrees, turns):
    data = make_video(5, rotation=degrees)
    turned = load_video(data, 2)
    with av.open(io.BytesIO(data)) as container:
        stored = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    # FFmpeg's angle is counter-clockwise, as numpy's.
    for number, frame in zip(turned.indices, turned.frames):
        assert np.array_equal(frame, np.rot90(stored[number], turns))
    assert any("rotated" in event for event in turned.events)
    assert turned.frames[0].flags.c_contiguous


def test_mirroring_and_odd_angles():
    image = numbered_frame(5)
    one = 65536
    mirrored, event = apply_display_matrix(image, np.array([-one, 0, 0, 0, one, 0, 0, 0, 1 << 30], np.int32))
    assert np.array_equal(mirrored, image[:, ::-1])
    assert "mirrored" in event
    same, event = apply_display_matrix(image, np.array([46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30], np.int32))
    assert same is image
    assert "not applied" in event
    assert apply_display_matrix(image, np.array([one, 0, 0, 0, one, 0, 0, 0, 1 << 30], np.int32)) == (image, "")


def test_truncated_file_gives_what_is_there():
    clip = load_video(truncated_video(0.5, 60), 4)
    assert 10 < clip.num_source_frames < 50
    assert [read_number(frame) for frame in clip.frames] == list(clip.indices)
    assert any("cut short" in event for event in clip.events)


def test_damaged_pictures_are_replaced_and_said():
    clip = load_video(damaged_video(60), 8)
    wanted = uniform_indices(60, 8)
    assert len(clip.frames) == 8
    assert clip.indices[:2] == tuple(wanted[:2])
    assert clip.indices[-2:] == tuple(wanted[-2:])
    changed = [number for number, used in zip(wanted, clip.indices) if number != used]
    assert changed
    for number in changed:
        assert any(event.startswith(f"frame {number} cannot be decoded") for event in clip.events)
    assert read_number(clip.frames[0]) == wanted[0]
    assert read_number(clip.frames[-1]) == wanted[-1]


def test_one_frame_and_one_pixel():
    clip = load_video(make_video(1), 8)
    assert clip.indices == (0,) * 8
    assert clip.num_source_frames == 1
    clip = load_video(tiny_video(5), 4)
    assert clip.frames[0].shape == (1, 1, 3)
    assert [int(frame[0, 0, 0]) for frame in clip.frames] == [number * 40 for number in clip.indices]


def test_an_hour_is_not_decoded():
    source, index, deadline = open_all(long_video(1.0, fps=1, gop=60))
    assert len(index) == 3600
    wanted = uniform_indices(3600, 16)
    result = decode_frames(source, index, wanted, LIMITS, deadline)
    assert result.num_decoded <= 16 * 60
    assert [read_number(result.frames[i]) for i in wanted] == wanted
    assert sum(frame.nbytes for frame in result.frames.values()) < 100_000


def test_same_frames_from_path_bytes_and_file_object(tmp_path):
    data = make_video(20, sound=tone(0.7))
    path = tmp_path / "clip.txt"
    path.write_bytes(data)
    clips = [load_video(source, 4) for source in (path, str(path), data, bytearray(data), memoryview(data))]
    with path.open("rb") as stream:
        stream.seek(100)
        clips.append(load_video(stream, 4))
    clips.append(load_video(io.BytesIO(data), 4))
    for clip in clips:
        assert clip.content_hash == clips[0].content_hash
        assert clip.indices == clips[0].indices
        assert all(np.array_equal(a, b) for a, b in zip(clip.frames, clips[0].frames))
    assert clips[0].source == "clip.txt"


def test_one_frame_per_second_and_the_cut():
    data = make_video(400, fps=10)
    clip = load_video(data, None)
    assert clip.indices == tuple(range(5, 400, 10))[:32]
    assert any("first 32 of 40" in event for event in clip.events)
    assert len(load_video(data, None, max_frames=None).frames) == 40
    assert load_video(data, None, fps=0.5).indices == tuple(range(10, 400, 20))


def test_ntsc_times_are_exact():
    clip = load_video(make_video(50, fps=Fraction(30000, 1001)), 4)
    assert clip.times == pytest.approx([i * 1001 / 30000 for i in clip.indices], abs=1e-6)
    assert clip.fps == pytest.approx(30000 / 1001)


def test_gif_times_are_true_and_frames_are_taken_once():
    clip = load_video(make_gif(5, [100, 50, 200, 40, 60]), 8)
    assert clip.indices[:5] == (0, 1, 2, 3, 4)
    assert clip.num_padded == 3
    assert clip.times[:5] == pytest.approx([0.0, 0.1, 0.15, 0.35, 0.39])
    assert clip.duration == pytest.approx(0.45)
    assert [read_number(frame) for frame in clip.frames[:5]] == [0, 1, 2, 3, 4]
