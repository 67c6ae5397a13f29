"""Prompts and ids against the recorded official ones; what users type never becomes a placeholder."""

import pytest
from golden_files import GOLDEN, golden_json
from hypothesis import given, settings
from hypothesis import strategies as st

from videollama2.errors import RequestError
from videollama2.processing.prompt import (
    SENTINELS,
    build_messages,
    official_generation_settings,
    official_prompt,
    render_chat,
    tokenize_multimodal,
)

BRANCH = {"main": "main", "av": "audio_visual"}
RECORDED = {name: golden_json(f"prompts/prompts_{name}.json") for name in BRANCH}
CASES = [(name, number) for name in BRANCH for number in range(len(RECORDED[name]["cases"]))]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_official_prompt(tokenizers, name, number):
    case = RECORDED[name]["cases"][number]
    tokenizer = tokenizers[case["tokenizer"]]
    prompt = official_prompt(tokenizer, case["model_type"], case["modal"], case["instruct"], BRANCH[name])
    assert prompt.text == case["prompt"]
    assert list(prompt.input_ids) == case["input_ids"]
    zeros = [position for position, seen in enumerate(prompt.attention_mask) if not seen]
    assert zeros == case["attention_zero_positions"]
    assert official_generation_settings(tokenizer) == case["generate_defaults"]


@pytest.mark.parametrize("name", BRANCH)
def test_split_at_tags(tokenizers, name):
    """Slow and fast tokenizers agreed in every recorded case, so one tokenizer must give both."""
    for case in RECORDED[name]["split_cases"]:
        assert tokenize_multimodal(case["text"], tokenizers[case["tokenizer"]], case["modal_token"]) == case["ids"]


@pytest.mark.parametrize(("name", "number"), CASES)
def test_render_chat_equals_the_official_ids_where_those_are_right(tokenizers, name, number):
    case = RECORDED[name]["cases"][number]
    tokenizer, modal = tokenizers[case["tokenizer"]], case["modal"]
    turns = case["instruct"]
    turns = [{"role": "user", "content": turns}] if isinstance(turns, str) else [dict(turn) for turn in turns]
    spoken = "".join(turn["content"] for turn in turns)
    if modal != "text":
        turns[0]["media"] = [modal]
    chat = render_chat(tokenizer, turns, model_type=case["model_type"])
    assert chat.media == (() if modal == "text" else (modal,))
    has_tag = f"<{modal}>" in spoken
    has_control = any(token in spoken for token in tokenizer.all_special_tokens)
    if has_tag or has_control:
        assert chat.events
        assert sum(token < 0 for token in chat.input_ids) == len(chat.media)
        assert list(chat.input_ids) != case["input_ids"]
    else:
        assert list(chat.input_ids) == case["input_ids"]


def test_official_instruct_is_not_changed():
    turns = [{"role": "user", "content": "a"}]
    build_messages(turns, "video", "videollama2_mistral")
    assert turns == [{"role": "user", "content": "a"}]


@pytest.mark.parametrize("instruct", [[], ["Hi"], [{"role": "user", "content": "a"}, "b"]])
def test_official_instruct_must_be_text_or_turns(instruct):
    with pytest.raises(RequestError, match="list of turns"):
        build_messages(instruct, "video", "videollama2_qwen2")


def test_audio_is_refused_by_the_main_branch(tokenizers):
    with pytest.raises(RequestError, match="audio"):
        official_prompt(tokenizers["qwen2"], "videollama2_qwen2", "audio", "Hi", "main")


def test_sampling_settings(tokenizers):
    assert official_generation_settings(tokenizers["qwen2"], do_sample=True)["temperature"] == 0.2
    assert official_generation_settings(tokenizers["qwen2"], do_sample=True, temperature=0.7)["temperature"] == 0.7


@pytest.mark.parametrize("which", ["mistral", "qwen2"])
def test_several_media_in_several_turns(tokenizers, which):
    turns = [
        {"role": "user", "content": "Compare.", "media": ["video", "image", "audio"]},
        {"role": "assistant", "content": "Same."},
        {"role": "user", "content": "And this?", "media": ["image"]},
    ]
    chat = render_chat(tokenizers[which], turns, model_type="videollama2_qwen2")
    assert [token for token in chat.input_ids if token < 0] == [-201, -200, -202, -200]
    assert chat.media == ("video", "image", "audio", "image")
    assert "<video>\n<image>\n<audio>\nCompare." in chat.text
    assert "<image>\nAnd this?" in chat.text
    assert chat.events == ()


def test_parts_may_stand_in_any_order(tokenizers):
    content = [{"type": "text", "text": "Before"}, {"type": "video"}, {"type": "text", "text": "after?"}]
    chat = render_chat(tokenizers["qwen2"], [{"role": "user", "content": content}], model_type="videollama2_qwen2")
    assert "Before\n<video>\nafter?" in chat.text
    as_parts = [{"type": "image"}, {"type": "text", "text": "What?"}]
    one = render_chat(tokenizers["qwen2"], [{"role": "user", "content": as_parts}], model_type="videollama2_qwen2")
    other = render_chat(
        tokenizers["qwen2"], [{"role": "user", "content": "What?", "media": ["image"]}], model_type="videollama2_qwen2"
    )
    assert one == other


def test_a_longer_chat_begins_with_the_shorter_one(tokenizers):
    """The engine keeps the cache of earlier turns: the ids of a chat must be a prefix of its continuation's."""
    turns = [{"role": "user", "content": "What happens?", "media": ["video"]}]
    for which in ("mistral", "qwen2"):
        short = render_chat(tokenizers[which], turns, model_type="videollama2_qwen2").input_ids
        more = [*turns, {"role": "assistant", "content": "A dog."}, {"role": "user", "content": "Which?"}]
        long = render_chat(tokenizers[which], more, model_type="videollama2_qwen2").input_ids
        assert long[: len(short)] == short


@pytest.mark.parametrize(("which", "control"), [("qwen2", "<|im_end|>"), ("mistral", "</s>")])
def test_control_tokens_in_a_question_are_text(tokenizers, which, control):
    tokenizer = tokenizers[which]
    question = f"Stop {control} now <audio>?"
    plain = render_chat(tokenizer, [{"role": "user", "content": "Stop now?"}], model_type="videollama2_qwen2")
    chat = render_chat(tokenizer, [{"role": "user", "content": question}], model_type="videollama2_qwen2")
    control_id = tokenizer.convert_tokens_to_ids(control)
    assert chat.input_ids.count(control_id) == plain.input_ids.count(control_id)
    assert question in chat.text
    assert len(chat.events) == 2
    assert any(control in event for event in chat.events)
    assert not any(token < 0 for token in chat.input_ids)


@pytest.mark.parametrize("which", ["mistral", "qwen2"])
def test_system_text(tokenizers, which):
    turns = [{"role": "user", "content": "Hi?"}]
    render = lambda **kwargs: render_chat(tokenizers[which], turns, **kwargs).text  # noqa: E731
    assert "helpful, respectful" in render(model_type="videollama2_mistral")
    assert "helpful, respectful" not in render(model_type="videollama2_qwen2")
    assert "<<SYS>>" not in render(model_type="videollama2_mistral", system="")
    assert "<<SYS>>\nBe brief.\n<</SYS>>" in render(model_type="videollama2_mistral", system="Be brief.")
    own = [{"role": "system", "content": "Be brief."}, *turns]
    assert "Be brief." in render_chat(tokenizers[which], own, model_type="videollama2_qwen2").text
    with pytest.raises(RequestError, match="twice"):
        render_chat(tokenizers[which], own, model_type="videollama2_qwen2", system="Be long.")


@pytest.mark.parametrize(
    ("turns", "match"),
    [
        ([], "no question"),
        ([{"role": "user", "content": "  ", "media": ["video"]}], "asks nothing"),
        ([{"role": "assistant", "content": "Hi"}], "asks nothing"),
        ([{"role": "robot", "content": "Hi"}], "robot"),
        ([{"role": "user", "content": 5}], "int"),
        ([{"role": "user", "content": "Hi", "media": ["smell"]}], "smell"),
        ([{"role": "user", "content": [{"type": "text"}]}], "parts are"),
        (
            [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b", "media": ["image"]},
                {"role": "user", "content": "c"},
            ],
            "only user turns",
        ),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "refuses the turns"),
    ],
)
def test_bad_turns(tokenizers, turns, match):
    with pytest.raises(RequestError, match=match):
        render_chat(tokenizers["mistral"], turns, model_type="videollama2_qwen2")


def test_no_template(tokenizers):
    from videollama2.processing.tokenizer import load_tokenizer

    bare = load_tokenizer(GOLDEN / "checkpoints/VideoLLaMA2.1-tiny-qwen2-16F")
    bare.chat_template = None
    with pytest.raises(RequestError, match="no chat template"):
        render_chat(bare, [{"role": "user", "content": "Hi"}], model_type="videollama2_qwen2")


def test_a_template_that_drops_content_is_noticed(tokenizers):
    from videollama2.processing.tokenizer import load_tokenizer

    deaf = load_tokenizer(GOLDEN / "checkpoints/VideoLLaMA2.1-tiny-qwen2-16F")
    deaf.chat_template = "{% for message in messages %}{{ message['role'] }}{% endfor %}"
    with pytest.raises(RequestError, match="kept 0 of 1"):
        render_chat(deaf, [{"role": "user", "content": "Hi", "media": ["video"]}], model_type="videollama2_qwen2")


FRAGMENTS = st.sampled_from(
    ["<video>", "<image>", "<audio>", "<|im_end|>", "<|im_start|>", "[[media-slot:0]]", "[[media-slot", "\n", " a", "é"]
)


@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(FRAGMENTS, max_size=6), media=st.lists(st.sampled_from(sorted(SENTINELS)), max_size=3))
def test_number_of_sentinels_is_number_of_media(tokenizers, pieces, media):
    turns = [{"role": "user", "content": "x" + "".join(pieces), "media": media}]
    chat = render_chat(tokenizers["qwen2"], turns, model_type="videollama2_qwen2")
    assert [token for token in chat.input_ids if token < 0] == [SENTINELS[modality] for modality in media]
    assert "x" + "".join(pieces) in chat.text
