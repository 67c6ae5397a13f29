import pytest
from hypothesis import given
from hypothesis import strategies as st

from videollama2.errors import RequestError
from videollama2.inference.request import GenerationSettings, MediaSettings, Request, check_options, tag_events


@pytest.mark.parametrize("question", ["", "   \n", None, 3, b"what"])
def test_a_question_is_needed(question):
    with pytest.raises(RequestError, match="question"):
        Request(question=question)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"num_frames": 0}, "num_frames"),
        ({"num_frames": 2.5}, "num_frames"),
        ({"num_frames": True}, "num_frames"),
        ({"num_frames": 8, "fps": 1.0}, "exclude"),
        ({"fps": -1.0}, "fps"),
        ({"fps": float("nan")}, "fps"),
        ({"start": -1.0}, "start"),
        ({"start": 3.0, "end": 2.0}, "end"),
        ({"end": 0.0}, "end"),
        ({"start": float("inf")}, "start"),
        ({"audio_policy": "loudest"}, "official-file"),
        ({"on_audio_error": "hide"}, "note or raise"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"temperature": 0.0}, "temperature"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"seed": "x"}, "seed"),
        ({"video": "a", "image": "b"}, "both"),
        ({"image": "a", "audio": "b"}, "both"),
        ({"frames": 8}, "num_frames"),
    ],
)
def test_wrong_arguments_are_named(options, word):
    with pytest.raises(RequestError, match=word):
        Request.build("what?", **options)


def test_build_sorts_arguments_into_groups():
    request = Request.build("what?", video="a.mp4", num_frames=4, seed=3, do_sample=True, audio="b.wav")
    assert request.media == MediaSettings(num_frames=4)
    assert request.generation == GenerationSettings(seed=3, do_sample=True)
    assert request.modality == "video"
    assert Request.build("what?", times=[1.0, 2.0]).media.times == (1.0, 2.0)


def test_modality():
    assert Request(question="q").modality == "text"
    assert Request(question="q", audio="a").modality == "audio"
    assert Request(question="q", image="a").modality == "image"


def test_coerce():
    assert Request.coerce("q").question == "q"
    assert Request.coerce({"question": "q", "fps": 2.0}).media.fps == 2.0
    with pytest.raises(RequestError, match="question"):
        Request.coerce({"video": "a.mp4"})
    with pytest.raises(RequestError, match="list"):
        Request.coerce([1])


@pytest.mark.parametrize("options", [["one"], [], "ab", ["a", ""], ["a", "a "], ["a", 3], None])
def test_options_are_checked(options):
    with pytest.raises(RequestError):
        check_options(options)


def test_tag_text_is_noted():
    assert tag_events("is <video> a tag?", "<video><audio>") == [
        "the text '<audio>' in the question was kept as text, it stands for no media",
        "the text '<video>' in the question was kept as text, it stands for no media",
    ]
    assert tag_events("plain < video >") == []


@given(st.integers(1, 10**6), st.floats(0, 1e6), st.floats(1e-3, 1e6))
def test_good_bounds_pass(num_frames, start, length):
    settings = MediaSettings(num_frames=num_frames, start=start, end=start + length)
    assert settings.end > settings.start
