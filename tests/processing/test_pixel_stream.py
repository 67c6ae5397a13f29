"""Pixels made while frames are decoded: the same bits as afterwards, whatever the source; failures reach the caller."""

import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.media_files import (
    bframe_video,
    damaged_video,
    make_gif,
    make_image,
    make_video,
    numbered_frame,
)
from videollama2.errors import MediaError, MediaTimeoutError
from videollama2.media import load_video
from videollama2.processing import pixel_stream
from videollama2.processing.pixel_spec import PixelSpec
from videollama2.processing.pixel_stream import PixelStream, load_with_pixels
from videollama2.processing.pixels import preprocess_frames
from videollama2.processing.processor import VideoLLaMA2Processor

STRETCH = PixelSpec(image_size=48)
CROP = PixelSpec(
    image_size=32, resize="shortest_edge_crop", shortest_edge=40, mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28)
)
SOURCES = {
    "B-frames": (lambda folder: bframe_video(60), {"num_frames": 8}),
    "more frames than there are": (lambda folder: make_video(3), {"num_frames": 8}),
    "one frame a second": (lambda folder: make_video(90, fps=30), {"num_frames": None}),
    "times, backwards and twice": (lambda folder: bframe_video(60, fps=30), {"times": [1.5, 0.2, 1.5, 0.0]}),
    "rotated": (lambda folder: make_video(10, rotation=90), {"num_frames": 4}),
    "damaged": (lambda folder: damaged_video(60), {"num_frames": 8}),
    "no presentation times": (lambda folder: make_video(20, container="h264"), {"num_frames": 5}),
    "GIF with black frames": (lambda folder: make_gif(5, [100, 50, 200, 40, 60]), {"num_frames": 8}),
    "list of sizes": (lambda folder: [numbered_frame(n, width=40 + 8 * n) for n in range(3)], {"num_frames": 5}),
    "array": (lambda folder: np.stack([numbered_frame(n) for n in range(6)]), {"num_frames": 6}),
    "folder": (lambda folder: write_folder(folder), {"num_frames": 4}),
}


def write_folder(folder):
    for number in range(9):
        (folder / f"{number}.png").write_bytes(make_image(numbered_frame(number)))
    return folder


def by_hand(frame, spec, pad):
    """One frame, written plainly with Pillow."""
    image = Image.fromarray(frame)
    width, height = image.size
    if pad:
        square = Image.new("RGB", (max(image.size),) * 2, tuple(int(mean * 255) for mean in spec.mean))
        square.paste(image, ((square.width - width) // 2, (square.height - height) // 2))
        image = square
    side = spec.image_size
    if spec.resize == "stretch":
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    else:
        scale = spec.shortest_edge / min(image.size)
        image = image.resize(tuple(int(length * scale) for length in image.size), Image.Resampling.BICUBIC)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    mean, std = torch.tensor(spec.mean, dtype=torch.float64), torch.tensor(spec.std, dtype=torch.float64)
    levels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    return levels * (1 / 255 / std).float().view(3, 1, 1) + (-mean / std).float().view(3, 1, 1)


def threads_of_ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("videollama2")]


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize(("spec", "pad"), [(STRETCH, False), (STRETCH, True), (CROP, False)])
def test_streamed_equals_afterwards(name, spec, pad, tmp_path):
    make, sampling = SOURCES[name]
    source = make(tmp_path)
    plain = load_video(source, **sampling)
    clip, pixels = load_with_pixels(partial(load_video, source, **sampling), spec, pad=pad)
    assert clip.indices == plain.indices
    assert clip.events == plain.events
    assert all(np.array_equal(one, other) for one, other in zip(clip.frames, plain.frames, strict=True))
    assert torch.equal(pixels, torch.stack([by_hand(frame, spec, pad) for frame in plain.frames]))
    assert not threads_of_ours()


def test_frames_are_ready_before_the_load_ends(monkeypatch):
    done = []
    work = PixelStream._work
    monkeypatch.setattr(PixelStream, "_work", lambda self, row, frame: (work(self, row, frame), done.append(frame)))
    with PixelStream(STRETCH) as stream:
        clip = load_video(bframe_video(60), 8, sink=stream)
        stream._wait()
        assert {id(frame) for frame in done} == {id(frame) for frame in clip.frames}
        stream.pixels(clip.frames)
    assert len(done) == 8, "nothing is worked on twice"


def test_what_was_taken_counts_only_if_it_stayed():
    frames = [numbered_frame(number) for number in range(4)]
    with PixelStream(STRETCH) as stream:
        stream.expect(4)
        stream.take(0, frames[0])
        stream.take(1, frames[3])
        stream.take(1, frames[1])
        stream.take(2, frames[2].copy())
        pixels = stream.pixels([frames[0], frames[1], frames[2], frames[0]])
    assert torch.equal(pixels, preprocess_frames([frames[0], frames[1], frames[2], frames[0]], STRETCH))


def test_more_or_fewer_frames_than_announced():
    frames = [numbered_frame(number) for number in range(4)]
    for announced in (2, 9):
        with PixelStream(STRETCH) as stream:
            stream.expect(announced)
            stream.take(0, frames[1])
            assert torch.equal(stream.pixels(frames), preprocess_frames(frames, STRETCH))


def test_a_failure_in_a_thread_reaches_the_caller(monkeypatch):
    resize = pixel_stream.resize_frame
    calls = []

    def fails_once(*args):
        calls.append(args)
        if len(calls) == 3:
            raise MemoryError("no room for this frame")
        return resize(*args)

    monkeypatch.setattr(pixel_stream, "resize_frame", fails_once)
    with pytest.raises(MemoryError, match="no room"):
        load_with_pixels(partial(load_video, bframe_video(60), 8), STRETCH)
    assert not threads_of_ours()


def test_a_failing_load_leaves_no_thread_behind(monkeypatch):
    busy = threading.Event()
    resize = pixel_stream.resize_frame
    monkeypatch.setattr(pixel_stream, "resize_frame", lambda *args: (busy.wait(0.02), resize(*args))[1])

    def load(sink):
        load_video(bframe_video(60), 8, sink=sink)
        raise MediaError("the disk is gone")

    with pytest.raises(MediaError, match="disk is gone"):
        load_with_pixels(load, STRETCH)
    assert not threads_of_ours()


def test_the_deadline_holds_while_frames_are_taken():
    with pytest.raises(MediaTimeoutError), PixelStream(STRETCH) as stream:
        load_video(bframe_video(60), 8, timeout=1e-4, sink=stream)
    assert not threads_of_ours()


def test_a_sink_that_refuses_ends_the_load():
    class Full:
        def expect(self, num_frames):
            self.num_frames = num_frames

        def take(self, place, frame):
            raise OSError("full")

    sink = Full()
    with pytest.raises(OSError, match="full"):
        load_video(bframe_video(60), 8, sink=sink)
    assert sink.num_frames == 8


def test_several_decoders_and_one_stream(monkeypatch):
    data = bframe_video(120)
    expected = preprocess_frames(load_video(data, 16).frames, STRETCH)
    monkeypatch.setattr("videollama2.media.video._PIXELS_PER_WORKER", 1)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(4), raising=False)
    for _ in range(5):
        assert torch.equal(load_with_pixels(partial(load_video, data, 16), STRETCH)[1], expected)


def test_the_processor_streams(tokenizers, monkeypatch):
    processor = VideoLLaMA2Processor(tokenizers["qwen2"], STRETCH, None, 4, "videollama2_qwen2")
    data = bframe_video(60)
    taken = []
    take = PixelStream.take
    monkeypatch.setattr(PixelStream, "take", lambda *args: (taken.append(args[1]), take(*args)))
    batch = processor("What?", videos=data)
    assert sorted(taken) == [0, 1, 2, 3]
    assert torch.equal(batch["pixel_values"], preprocess_frames(load_video(data, 4).frames, STRETCH))
    fast = processor("What?", videos=data, backend="torch")
    assert torch.equal(fast["pixel_values"], preprocess_frames(load_video(data, 4).frames, STRETCH, backend="torch"))
    assert len(taken) == 4
