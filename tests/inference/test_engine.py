"""Asking, choosing, chatting and streaming with the tiny official checkpoints."""

import json

import numpy as np
import pytest
import torch

from videollama2.errors import CheckpointError, MediaError, RequestError
from videollama2.inference import prepare
from videollama2.inference.answer import Answer
from videollama2.inference.choosing import find_option
from videollama2.inference.decoding import score_continuation
from videollama2.inference.engine import VideoLLaMA2
from videollama2.inference.request import Request

from .conftest import AV, GOLDEN, MISTRAL, QWEN2, golden_media, golden_model, load_engine

SHORT = {"max_new_tokens": 12}


@pytest.mark.parametrize("name", [MISTRAL, QWEN2, AV])
def test_text_answers_are_the_official_ones(name):
    facts, _ = golden_model(name)
    fact = facts["cases"]["text"]
    answer = load_engine(name).ask(fact["instruct"], max_new_tokens=24)
    assert answer.text == fact["text"]
    assert list(answer.token_ids) == fact["generated_ids"]
    assert answer.finish_reason == "length"


def test_answers_from_a_file_equal_the_official_two_functions(media_folder):
    from videollama2 import mm_infer, model_init

    model, processor, tokenizer = model_init(str(GOLDEN / "checkpoints" / AV), device="cpu", torch_dtype="float32")
    engine = load_engine(AV)
    path = str(media_folder / "clip_av.mp4")
    for va in (False, True):
        tensor = processor["video"](path, va=va)
        expected = mm_infer(tensor, "What is it?", model, tokenizer, **SHORT)
        assert engine.ask("What is it?", video=path, use_audio=va, **SHORT).text == expected
    sound = str(media_folder / "tone_16k_mono.wav")
    expected = mm_infer(processor["audio"](sound), "What is it?", model, tokenizer, "audio", **SHORT)
    assert engine.ask("What is it?", audio=sound, **SHORT).text == expected
    image = str(media_folder / "photo.jpg")
    expected = mm_infer(processor["image"](image), "What is it?", model, tokenizer, "image", **SHORT)
    assert engine.ask("What is it?", image=image, **SHORT).text == expected


def test_provenance_tells_all(av, clip):
    answer = av.ask("What?", video=clip, num_frames=4, **SHORT)
    provenance = answer.provenance
    (seen,), (heard,) = provenance.visuals, provenance.audio
    assert (seen.kind, seen.source, seen.num_source_frames, seen.fps) == ("video", "clip.mp4", 12, 8.0)
    assert seen.times == tuple(index / 8 for index in seen.indices)
    assert len(seen.indices) == 4
    assert (heard.status, heard.policy, heard.duration) == ("used", "official-video", 1.5)
    assert provenance.audio_status == "used"
    tokens = provenance.tokens
    assert tokens["audio"] == 1496
    assert tokens["generated"] == len(answer.token_ids)
    assert (
        tokens["video"]
        == av.core.features.get(
            av.core.preparer._key(
                "video", seen.content_hash, sampling={"start": None, "end": None, "num_frames": 4}, copies=None
            )
        ).features.shape[0]
    )
    assert set(provenance.seconds) == {"decode", "preprocess", "encode", "prefill", "generate"}
    assert provenance.seconds["encode"] > 0
    assert provenance.settings["num_frames"] == 4
    assert provenance.settings["repetition_penalty"] == 1.05
    assert len(provenance.model_hash) == len(provenance.preprocessing_hash) == 64
    assert any("zeros" in event for event in provenance.events)
    json.dumps(answer.to_dict(), allow_nan=False)


def count_calls(monkeypatch, engine):
    calls = dict.fromkeys(("load_video", "load_audio", "encode_visual", "encode_audio"), 0)

    def counted(name, function):
        def call(*args, **kwargs):
            calls[name] += 1
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(prepare, "load_video", counted("load_video", prepare.load_video))
    monkeypatch.setattr(
        "videollama2.inference.media_records.load_audio",
        counted("load_audio", prepare.load_sound.__globals__["load_audio"]),
    )
    for name in ("encode_visual", "encode_audio"):
        monkeypatch.setattr(engine.model, name, counted(name, getattr(engine.model, name)))
    return calls


def test_a_second_question_decodes_and_encodes_nothing(av, clip, monkeypatch):
    calls = count_calls(monkeypatch, av)
    first = av.ask("What?", video=clip, **SHORT)
    assert set(calls.values()) == {1}
    second = av.ask("Where is it?", video=clip, **SHORT)
    assert set(calls.values()) == {1}
    assert second.provenance.cache["feature_hits"] == 2
    assert second.provenance.cache["prefix_tokens"] > 1496
    assert second.provenance.seconds["encode"] == 0
    assert second.provenance.visuals == first.provenance.visuals
    assert second.provenance.audio == first.provenance.audio
    av.ask("Where is it?", video=clip.read_bytes(), **SHORT)
    assert set(calls.values()) == {1}, "the content counts, not the name"
    av.ask("Where is it?", video=clip, num_frames=3, **SHORT)
    assert calls == {"load_video": 2, "load_audio": 1, "encode_visual": 2, "encode_audio": 1}
    av.clear_cache()
    assert av.ask("Where is it?", video=clip, **SHORT).token_ids == second.token_ids
    assert calls["load_video"] == 3


def test_answers_do_not_depend_on_earlier_questions(av, clip):
    questions = ["What?", "Is it <video> or sound?", "How many squares are there?"]
    fresh = []
    for question in questions:
        av.clear_cache()
        fresh.append(av.ask(question, video=clip, **SHORT).token_ids)
    av.clear_cache()
    assert [av.ask(question, video=clip, **SHORT).token_ids for question in questions] == fresh


def test_features_on_disk_serve_another_run(clip, tmp_path, monkeypatch):
    folder = GOLDEN / "checkpoints" / QWEN2
    options = {"device": "cpu", "dtype": "float32", "cache_dir": tmp_path}
    first = VideoLLaMA2.from_pretrained(folder, **options).ask("What?", video=clip, **SHORT)
    other = VideoLLaMA2.from_pretrained(folder, **options)
    calls = count_calls(monkeypatch, other)
    again = other.ask("What?", video=clip, **SHORT)
    assert again.token_ids == first.token_ids
    assert again.provenance.visuals == first.provenance.visuals
    assert set(calls.values()) == {0}
    changed = VideoLLaMA2.from_pretrained(folder, **{**options, "dtype": "bfloat16"})
    assert changed.ask("What?", video=clip, **SHORT).provenance.cache["feature_hits"] == 0


def test_bounds_and_times_reach_the_media(av, clip):
    answer = av.ask("What?", video=clip, start=0.5, end=1.2, num_frames=3, **SHORT)
    assert all(0.3 <= time <= 1.2 for time in answer.provenance.visuals[0].times)
    assert answer.provenance.audio[0].policy == "uniform"
    assert answer.provenance.audio[0].windows == ((0.5, 1.2),)
    answer = av.ask("What?", video=clip, times=[0.0, 1.0], use_audio=False, **SHORT)
    assert answer.provenance.visuals[0].times == (0.0, 1.0)
    assert answer.provenance.audio == ()
    assert av.ask("What?", video=clip, fps=2, use_audio=False, **SHORT).provenance.settings["fps"] == 2
    with pytest.raises(MediaError):
        av.ask("What?", video=clip, start=100.0, end=101.0, **SHORT)


def test_a_video_with_another_sound(av, clip, media_folder):
    answer = av.ask("What?", video=clip, audio=media_folder / "tone_16k_mono.wav", **SHORT)
    assert answer.provenance.audio[0].source == "tone_16k_mono.wav"
    assert answer.provenance.audio[0].policy == "centre"
    assert answer.provenance.tokens["audio"] == 1496


def test_sound_that_is_absent_silent_or_full(av, media_folder):
    answer = av.ask("What?", video=media_folder / "tall_silent.mp4", **SHORT)
    assert answer.provenance.audio_status == "absent"
    assert "audio" not in {name for name, count in answer.provenance.tokens.items() if count}
    assert any("no sound track" in event for event in answer.provenance.events)
    silence = (np.zeros(16000, dtype=np.float32), 16000)
    answer = av.ask("What?", audio=silence, **SHORT)
    assert answer.provenance.audio_status == "silent"
    assert answer.provenance.tokens["audio"] == 1496
    noise = (np.random.default_rng(0).uniform(-0.1, 0.1, 16000 * 31).astype(np.float32), 16000)
    answer = av.ask("What?", audio=noise, audio_policy="full", **SHORT)
    assert len(answer.provenance.audio[0].windows) == 2
    assert answer.provenance.tokens["audio"] > 1496


def damaged_sound(clip, tmp_path):
    """The clip with its sound track's bytes overwritten where they are decoded."""
    import av as pyav

    raw = bytearray(clip.read_bytes())
    with pyav.open(str(clip)) as container:
        for packet in container.demux(audio=0):
            if packet.size and packet.pos is not None:
                raw[packet.pos : packet.pos + packet.size] = b"\x55" * packet.size
    path = tmp_path / "damaged.mp4"
    path.write_bytes(bytes(raw))
    return path


def test_damaged_sound_is_told_or_raised(av, clip, tmp_path):
    path = damaged_sound(clip, tmp_path)
    answer = av.ask("What?", video=path, **SHORT)
    assert answer.provenance.audio[0].status == "failed"
    assert answer.provenance.audio_status.startswith("failed(")
    assert any("frames alone" in event for event in answer.provenance.events)
    assert answer.token_ids == av.ask("What?", video=path, use_audio=False, **SHORT).token_ids
    with pytest.raises(MediaError):
        av.ask("What?", video=path, on_audio_error="raise", **SHORT)
    with pytest.raises(MediaError):
        av.ask("What?", audio=path, **SHORT)


def test_missing_modalities_are_named(qwen2, clip, media_folder):
    with pytest.raises(RequestError, match=r"cannot hear.*text, image and video"):
        qwen2.ask("What?", audio=media_folder / "tone_16k_mono.wav")
    answer = qwen2.ask("What?", video=clip, **SHORT)
    assert any("does not hear" in event for event in answer.provenance.events)
    assert answer.provenance.audio == ()


def test_tags_in_the_question_are_text(qwen2, clip):
    answer = qwen2.ask("What is <video> and <audio>?", video=clip, **SHORT)
    assert sum("plain text" in event for event in answer.provenance.events) == 2
    assert answer.provenance.tokens["video"] > 0


def test_generation_settings(qwen2):
    draws = [qwen2.ask("Tell", do_sample=True, temperature=2.0, seed=seed, **SHORT) for seed in (1, 1, 2)]
    assert draws[0].token_ids == draws[1].token_ids != draws[2].token_ids
    unseeded = qwen2.ask("Tell", do_sample=True, temperature=2.0, **SHORT)
    seed = unseeded.provenance.settings["seed"]
    assert unseeded.token_ids == qwen2.ask("Tell", do_sample=True, temperature=2.0, seed=seed, **SHORT).token_ids
    facts, _ = golden_model(QWEN2)
    fact = facts["cases"]["text"]
    plain = qwen2.ask(fact["instruct"], repetition_penalty=1.0, max_new_tokens=24)
    assert list(plain.token_ids) == fact["generated_ids_repetition_penalty_1"]


def test_a_prompt_must_fit_the_model(qwen2):
    most = qwen2.model.config.text_config.max_position_embeddings
    answer = qwen2.ask("Tell", max_new_tokens=2)
    room = most - answer.provenance.tokens["text"]
    reading = qwen2.core.read(Request.build("Tell", max_new_tokens=most))
    assert reading.sampling.max_new_tokens == room
    assert any("lowered" in event for event in reading.events)
    with pytest.raises(RequestError, match="fewer frames"):
        qwen2.ask("word " * most)


def test_stream_gives_the_answer_in_pieces(av, clip):
    *pieces, answer = av.stream("What?", video=clip, max_new_tokens=30)
    assert isinstance(answer, Answer)
    assert len(pieces) > 3
    assert "".join(pieces) == answer.text
    whole = av.ask("What?", video=clip, max_new_tokens=30)
    assert whole.token_ids == answer.token_ids
    assert whole.text == answer.text


def test_chat_equals_asking_anew(av, clip):
    chat = av.chat(video=clip, **SHORT)
    questions = ["What is this?", "And <video> what else?", "Why?"]
    answers = [chat.ask(questions[0]), list(chat.stream(questions[1]))[-1], chat.ask(questions[2])]
    assert answers[1].provenance.cache["prefix_tokens"] > answers[0].provenance.tokens["text"] + 1496
    assert answers[2].provenance.cache["prefix_tokens"] > answers[1].provenance.cache["prefix_tokens"]
    for turn, question in enumerate(questions):
        av.clear_cache()
        messages = [{"role": "user", "content": questions[0], "media": ["video"]}]
        for place in range(turn):
            messages.append({"role": "assistant", "content": answers[place].text})
            messages.append({"role": "user", "content": questions[place + 1]})
        reading = av.core.read(Request.build(question, video=clip, **SHORT), messages)
        ((anew, _),) = av.core.generate([reading])
        assert reading.num_kept == 0
        assert anew.token_ids == answers[turn].token_ids
    first = chat.turns[0][1]
    chat.reset()
    assert chat.ask(questions[0]).token_ids == first.token_ids


def test_chat_equals_the_official_turns():
    facts, tensors = golden_model(MISTRAL)
    fact = facts["cases"]["multiturn_text"]
    engine = load_engine(MISTRAL)
    messages = [dict(turn) for turn in fact["instruct"]]
    reading = engine.core.read(Request.build(messages[-1]["content"], max_new_tokens=24), messages)
    ((answer, _),) = engine.core.generate([reading])
    assert answer.text == fact["text"]
    assert golden_media(tensors, fact["media"]) is None


def test_a_failed_turn_leaves_the_chat_as_it_was(av, clip):
    chat = av.chat(video=clip, **SHORT)
    chat.ask("What?")
    with pytest.raises(RequestError):
        chat.ask("")
    assert len(chat.turns) == 1
    with pytest.raises(RequestError):
        av.chat(video=clip, image="x.png")
    text_chat = av.chat(**SHORT)
    assert text_chat.ask("Hello?").provenance.visuals == ()


def test_choose_by_likelihood_scores_every_option(av, clip):
    options = ["left", "to the right side", "up"]
    answer = av.choose("Where?", options, video=clip)
    assert answer.text == options[answer.choice]
    assert answer.finish_reason == "choice"
    assert answer.choice == int(np.argmax(answer.option_scores))
    assert answer.question == "Where?"
    av.clear_cache()
    reading = av.core.read(Request.build("Where?", video=clip))
    for option, score in zip(options, answer.option_scores):
        ids = av.tokenizer(option, add_special_tokens=False)["input_ids"]
        assert score == pytest.approx(np.mean(score_continuation(av.model, reading.prompt, ids)), abs=1e-5)
    summed = av.choose("Where?", options, video=clip, normalize="sum")
    assert summed.option_scores[1] == pytest.approx(
        answer.option_scores[1] * len(av.tokenizer(options[1], add_special_tokens=False)["input_ids"]), abs=1e-4
    )
    turned = av.choose("Where?", options[::-1], video=clip)
    assert turned.text == answer.text
    with_list = av.choose("Where?", options, video=clip, show_options=True)
    assert with_list.provenance.tokens["text"] > answer.provenance.tokens["text"]


def test_choose_by_generation_always_gives_an_option(av, clip):
    options = ["left", "right"]
    answer = av.choose("Where?", options, video=clip, method="generate", **SHORT)
    assert answer.text in options
    assert any("the model wrote" in event for event in answer.provenance.events)
    # The tiny model writes nonsense, so the likelihood has to decide, and that is told.
    assert answer.option_scores is not None
    assert any("names none" in event for event in answer.provenance.events)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("B", 1),
        ("(b)", 1),
        ("b.", 1),
        ("A. red", 0),
        ("The answer is C", 2),
        ("Option (B): dark red", 1),
        ("It is dark red.", 1),
        ("blue", 2),
        ("A dog is red", 0),
        ("red or blue", None),
        ("bread", None),
        ("", None),
        ("D", None),
    ],
)
def test_naming_an_option(text, place):
    assert find_option(text, ["red", "dark red", "blue"]) == place


def test_choose_refuses_what_is_no_choice(av):
    for options, arguments in ((["a"], {}), (["a", "b"], {"method": "dice"}), (["a", "b"], {"normalize": "max"})):
        with pytest.raises(RequestError):
            av.choose("What?", options, **arguments)
    with pytest.raises(RequestError):
        av.choose("", ["a", "b"])


def test_caption_asks_for_what_is_there(av, clip, media_folder):
    assert av.caption(video=clip, use_audio=False, **SHORT).question == "Describe the video in detail."
    assert av.caption(audio=media_folder / "tone_16k_mono.wav", **SHORT).question == "Describe the sound in detail."
    with pytest.raises(RequestError, match="nothing to describe"):
        av.caption()


def test_weights_without_sense_are_refused(clip):
    engine = VideoLLaMA2.from_pretrained(GOLDEN / "checkpoints" / QWEN2, device="cpu", dtype="float32")
    with torch.no_grad():
        engine.model.model.mm_projector.readout[0].bias[0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        engine.ask("What?", video=clip)


def test_bfloat16_and_devices_by_name(clip):
    engine = VideoLLaMA2.from_pretrained(GOLDEN / "checkpoints" / AV, device="cpu", dtype="bf16")
    assert engine.dtype == torch.bfloat16
    assert engine.device == torch.device("cpu")
    assert engine.ask("What?", video=clip, **SHORT).token_ids == engine.ask("What?", video=clip, **SHORT).token_ids
    with pytest.raises(RequestError):
        VideoLLaMA2.from_pretrained(GOLDEN / "checkpoints" / AV, device="cuda:77")
    with pytest.raises(RequestError):
        VideoLLaMA2.from_pretrained(GOLDEN / "checkpoints" / AV, device="cpu", dtype="int1")
