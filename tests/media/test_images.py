"""Still images, folders, lists and arrays: upright RGB as the official code gets it, or a clear reason why not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.media_files import bomb_png, make_gif, make_image, make_video, numbered_frame, read_number
from videollama2.errors import MediaError, MediaLimitError, RequestError
from videollama2.media import Limits, load_image, load_video, probe


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    picture = numbered_frame(5)
    clip = load_image(make_image(picture, "PNG", orientation=orientation))
    turns = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
        8: lambda p: np.rot90(p, 1),
    }
    assert np.array_equal(clip.frames[0], turns[orientation](picture))
    assert bool(clip.events) == (orientation != 1)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
@pytest.mark.parametrize("container", ["PNG", "TIFF"])
def test_modes_become_plain_rgb(mode, container):
    if container == "PNG" and mode == "CMYK":
        container = "JPEG"
    data = make_image(numbered_frame(9), container, mode)
    clip = load_image(data)
    assert np.array_equal(clip.frames[0], np.array(Image.open(io.BytesIO(data)).convert("RGB")))
    assert clip.frames[0].dtype == np.uint8
    assert clip.times == (0.0,)
    assert clip.num_source_frames == 1


def test_alpha_is_dropped_as_the_official_code_does_and_said():
    picture = np.zeros((4, 4, 4), dtype=np.uint8)
    picture[..., 0] = 200
    clip = load_image(make_image(picture))
    assert clip.frames[0][0, 0].tolist() == [200, 0, 0]
    assert any("transparency" in event for event in clip.events)


def test_sixteen_bit_greys_keep_their_greys():
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256)
    clip = load_image(make_image(ramp))
    assert np.array_equal(clip.frames[0][0, :, 0], np.arange(256))
    assert any("16-bit" in event for event in clip.events)


def test_float_greys_are_refused():
    buffer = io.BytesIO()
    Image.fromarray(np.ones((3, 3), dtype=np.float32)).save(buffer, "TIFF")
    with pytest.raises(RequestError, match="8-bit PNG"):
        load_image(buffer.getvalue())


def test_arrays_and_pil_images():
    picture = numbered_frame(77)
    clip = load_image(picture)
    assert np.array_equal(clip.frames[0], picture)
    assert np.array_equal(load_image(Image.fromarray(picture)).frames[0], picture)
    assert load_image(picture[..., 0]).frames[0].shape == picture.shape
    other = picture.copy()
    other[0, 0, 0] ^= 1
    assert load_image(other).content_hash != clip.content_hash
    assert load_image(picture.reshape(96, 64, 3)).content_hash != clip.content_hash
    for wrong in (picture / 255.0, picture.transpose(2, 0, 1), np.zeros((0, 4, 3), np.uint8), picture[None]):
        with pytest.raises(RequestError, match=r"give|pass"):
            load_image(wrong)


def test_one_pixel_and_the_first_frame_of_an_animation():
    assert load_image(make_image(np.zeros((1, 1, 3), np.uint8))).frames[0].shape == (1, 1, 3)
    clip = load_image(make_gif(6))
    assert read_number(clip.frames[0]) == 0
    assert any("first of 6" in event for event in clip.events)


def test_animated_webp_and_png_are_videos():
    frames = [Image.fromarray(numbered_frame(i)) for i in range(12)]
    for container in ("WEBP", "PNG"):
        buffer = io.BytesIO()
        frames[0].save(buffer, container, save_all=True, append_images=frames[1:], duration=100, lossless=True)
        clip = load_video(buffer.getvalue(), 4)
        assert [read_number(frame) for frame in clip.frames] == list(clip.indices)
        assert clip.duration == pytest.approx(1.2)
        assert probe(buffer.getvalue()).kind == "gif"


def test_huge_dimensions_are_refused_from_the_header():
    default = Image.MAX_IMAGE_PIXELS
    for size in ((60000, 60000), (10000, 10000)):
        with pytest.raises(MediaLimitError):
            load_image(bomb_png(*size))
    with pytest.raises(MediaLimitError, match="pixels"):
        load_image(make_image(numbered_frame(1)), limits=Limits(pixels=1000))
    with pytest.raises(MediaLimitError, match="pixels"):
        load_image(numbered_frame(1), limits=Limits(pixels=1000))
    assert default == Image.MAX_IMAGE_PIXELS


def test_damaged_images():
    data = make_image(numbered_frame(3), "JPEG")
    for broken in (data[: len(data) // 2], data[:20], make_image(numbered_frame(3))[:60]):
        with pytest.raises(MediaError, match="damaged"):
            load_image(broken)


@pytest.fixture
def folder(tmp_path) -> Path:
    for number in range(1, 13):
        (tmp_path / f"{number}.png").write_bytes(make_image(numbered_frame(number)))
    (tmp_path / ".hidden").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "sub").mkdir()
    return tmp_path


def test_folders_are_sorted_by_name_at_three_per_second(folder):
    clip = load_video(folder, 12)
    assert [read_number(frame) for frame in clip.frames] == [1, 10, 11, 12, 2, 3, 4, 5, 6, 7, 8, 9]
    assert clip.times == pytest.approx([i / 3 for i in range(12)])
    assert clip.fps == 3
    assert any("3 entries" in event and "notes.txt" in event for event in clip.events)
    assert load_video(folder, 4, start=1.0, end=2.0).indices == (2, 3, 4, 5)
    assert load_video(folder, 4, source_fps=12, times=[0.5]).indices == (6,)
    before = clip.content_hash
    (folder / "1.png").rename(folder / "0.png")
    assert load_video(folder, 4).content_hash != before


def test_folder_without_images(tmp_path):
    with pytest.raises(MediaError, match="holds no images"):
        load_video(tmp_path)
    with pytest.raises(MediaError, match="a folder, not an image"):
        load_image(tmp_path)


def test_lists_and_arrays_are_taken_whole_unless_they_have_a_rate():
    stack = np.stack([numbered_frame(i) for i in range(20)])
    clip = load_video(stack, 8)
    assert clip.indices == tuple(range(20))
    assert any("not resampled" in event for event in clip.events)
    assert np.isnan(clip.times).all()
    assert load_video(list(stack), 8).indices == clip.indices
    sampled = load_video(stack, 4, source_fps=10)
    assert sampled.indices == (2, 7, 12, 17)
    assert sampled.times == pytest.approx([0.2, 0.7, 1.2, 1.7])
    with pytest.raises(RequestError, match="source_fps"):
        load_video(stack, 8, start=1.0)
    with pytest.raises(RequestError, match="dtype float64"):
        load_video(stack / 255)
    with pytest.raises(RequestError, match=r"\[T, H, W, 3\]"):
        load_video(stack[0])
    with pytest.raises(MediaError, match="no frames"):
        load_video([])
    with pytest.raises(RequestError, match="Frame 1 of the list is a int"):
        load_video([stack[0], 7])


def test_probe_tells_what_is_what(folder):
    assert probe(folder).kind == "folder"
    assert probe(folder).num_frames == 12
    info = probe(make_video(30))
    assert (info.kind, info.num_frames, info.width, info.height, info.has_audio) == ("video", 30, 96, 64, False)
    assert info.duration == pytest.approx(1.0)
    assert probe(make_image(numbered_frame(1), "JPEG")).kind == "image"
    assert probe(np.stack([numbered_frame(1)] * 4)).num_frames == 4
    with pytest.raises(MediaLimitError):
        probe(make_video(30), Limits(frames=10))
