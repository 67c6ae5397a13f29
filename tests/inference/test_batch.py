"""A batch answers every item as if it were alone, and what fails fails alone."""

import pytest

from videollama2.errors import RequestError
from videollama2.inference.answer import Answer, FailedAnswer
from videollama2.inference.batching import batch_bytes
from videollama2.inference.request import Request

from .bad_media import write_bad_media


@pytest.fixture
def items(clip, media_folder, tmp_path):
    bad = write_bad_media(tmp_path)
    good = [
        {"question": "What happens?", "video": clip, "max_new_tokens": 9},
        "Say something.",
        {"question": "What is it?", "image": media_folder / "photo.jpg", "max_new_tokens": 14},
        {"question": "What is heard?", "audio": media_folder / "tone_16k_mono.wav", "max_new_tokens": 5},
        {"question": "And now?", "video": clip, "use_audio": False, "max_new_tokens": 12},
        Request.build("Which?", video=media_folder / "tall_silent.mp4", num_frames=4, max_new_tokens=8),
        {"question": "What is <video>?", "image": media_folder / "img_gray.png", "max_new_tokens": 7},
        {"question": "Draw!", "do_sample": True, "seed": 3, "temperature": 1.5, "max_new_tokens": 10},
        {"question": "Who?", "video": media_folder / "anim.gif", "max_new_tokens": 6},
        {"question": "How many frames?", "video": media_folder / "frames", "max_new_tokens": 6},
        {"question": "What happens?", "video": clip, "max_new_tokens": 1},
        {
            "question": "A much longer question about what is to be seen in the picture, please?",
            "image": media_folder / "img_rgba.png",
            "max_new_tokens": 20,
        },
        {"question": "What?", "video": clip, "start": 0.2, "end": 1.0, "max_new_tokens": 6},
        {"question": "Long", "max_new_tokens": 25},
        {"question": "penalty", "repetition_penalty": 1.0, "max_new_tokens": 12},
        {"question": "Draw!", "do_sample": True, "seed": 4, "temperature": 1.5, "max_new_tokens": 10},
    ]
    good[1] = {"question": good[1], "max_new_tokens": 11}
    wrong = [
        {"question": "", "video": clip},
        {"question": "What?", "video": bad["truncated.mp4"][0]},
        {"question": "What?", "image": bad["huge.png"][0]},
        {"question": "What?", "colour": "red"},
        17,
    ]
    mixed = list(good)
    for place, item in zip((0, 4, 9, 15, 20), wrong):
        mixed.insert(place, item)
    return mixed, wrong


def test_batch_equals_alone_and_the_bad_fail_alone(av, items):
    mixed, wrong = items
    assert len(mixed) == 21
    alone = {}
    for place, item in enumerate(mixed):
        if item not in wrong:
            request = Request.coerce(item)
            alone[place] = av.core.generate([av.core.read(request)])[0][0]
    av.clear_cache()
    answers = av.ask_batch(mixed)
    assert [isinstance(answer, Answer) for answer in answers] == [item not in wrong for item in mixed]
    for place, expected in alone.items():
        assert answers[place].token_ids == expected.token_ids, place
        assert answers[place].text == expected.text
        assert answers[place].provenance.tokens == expected.provenance.tokens
        assert answers[place].provenance.visuals == expected.provenance.visuals
        assert answers[place].provenance.audio == expected.provenance.audio
        assert answers[place].provenance.events == expected.provenance.events
    failed = [answer for answer in answers if isinstance(answer, FailedAnswer)]
    assert [answer.error_code for answer in failed] == ["request", "media", "media_limit", "request", "request"]
    assert [answer.index for answer in failed] == [0, 4, 9, 15, 20]
    assert all(len(answer.error_message) > 20 for answer in failed)
    small = av.ask_batch(mixed, batch_size=3)
    assert [answer.to_dict().get("token_ids") for answer in small] == [
        answer.to_dict().get("token_ids") for answer in answers
    ]


def test_memory_sets_the_size_of_batches(av, monkeypatch):
    sizes = []
    generate = av.core.generate

    def watched(readings):
        sizes.append(len(readings))
        return generate(readings)

    monkeypatch.setattr(av.core, "generate", watched)
    requests = [{"question": f"Say {number}", "max_new_tokens": 2} for number in range(6)]
    av.ask_batch(requests)
    reading = av.core.read(Request.coerce(requests[0]))
    av.ask_batch(requests, memory=batch_bytes([reading] * 2))
    av.ask_batch(requests, memory=0)
    av.ask_batch(requests, batch_size=4)
    assert sizes == [6, 2, 2, 2, 1, 1, 1, 1, 1, 1, 4, 2]


def test_a_fault_of_one_item_is_reported_with_it(av, monkeypatch):
    read = av.core.read

    def breaks(request, *args):
        if request.question == "break":
            raise ZeroDivisionError("oh")
        return read(request, *args)

    monkeypatch.setattr(av.core, "read", breaks)
    answers = av.ask_batch([{"question": "break"}, {"question": "work", "max_new_tokens": 1}])
    assert answers[0].error_code == "internal"
    assert answers[1].ok


def test_a_batch_is_a_list(av):
    assert av.ask_batch([]) == []
    for wrong in ("question", {"question": "q"}, 3):
        with pytest.raises(RequestError):
            av.ask_batch(wrong)
    with pytest.raises(RequestError):
        av.ask_batch(["q"], batch_size=0)
