"""The official two functions against what the official code answered."""

import subprocess
import sys

import pytest
import torch

from videollama2 import mm_infer, model_init
from videollama2.errors import RequestError
from videollama2.processing.tokenizer import decode_ids

from .conftest import AV, GOLDEN, MISTRAL, QWEN2, golden_media, golden_model

_loaded = {}


def init(name):
    if name not in _loaded:
        _loaded[name] = model_init(
            str(GOLDEN / "checkpoints" / name), device="cpu", torch_dtype="float32", offline=True
        )
    return _loaded[name]


def answered_cases():
    for name in (MISTRAL, QWEN2, AV):
        facts, _ = golden_model(name)
        for case, fact in facts["cases"].items():
            if "text" in fact:
                yield pytest.param(name, case, id=f"{name}-{case}")


@pytest.mark.parametrize(("name", "case"), answered_cases())
def test_golden_answers(name, case):
    facts, tensors = golden_model(name)
    fact = facts["cases"][case]
    model, _, tokenizer = init(name)
    media = golden_media(tensors, fact["media"])
    arguments = {"model": model, "tokenizer": tokenizer, "modal": fact["modal"], "max_new_tokens": 24}
    assert mm_infer(media, fact["instruct"], do_sample=False, **arguments) == fact["text"]
    plain = decode_ids(tokenizer, fact["generated_ids_repetition_penalty_1"]).strip()
    assert mm_infer(media, fact["instruct"], repetition_penalty=1.0, **arguments) == plain


def test_an_image_alone_works_on_an_audio_visual_model():
    _, tensors = golden_model(AV)
    model, _, tokenizer = init(AV)
    text = mm_infer(golden_media(tensors, "image"), "What?", model, tokenizer, modal="image", max_new_tokens=4)
    assert text


def test_processors_give_official_shapes(media_folder):
    _, processor, _ = init(AV)
    assert sorted(processor) == ["audio", "image", "video"]
    assert processor["image"](str(media_folder / "photo.jpg")).shape == (1, 3, 100, 100)
    clip = str(media_folder / "clip_av.mp4")
    assert processor["video"](clip).shape == (8, 3, 100, 100)
    assert processor["video"](clip, s=0.5, e=2.0, num_frames=4).shape == (4, 3, 100, 100)
    assert processor["video"](clip, num_frames=None).shape == (3, 3, 100, 100)
    both = processor["video"](clip, va=True)
    assert sorted(both) == ["audio", "video"]
    assert both["audio"].shape == (1, 2998, 128)
    assert both["audio"].dtype == torch.bfloat16
    assert torch.equal(both["video"], processor["video"](clip, va=False))
    silent = processor["video"](str(media_folder / "tall_silent.mp4"), va=True)
    assert silent["audio"].std() == 0
    assert processor["audio"](str(media_folder / "tone_44k_stereo.wav")).shape == (1, 2998, 128)


def test_padding_and_frames_in_memory(media_folder):
    import numpy as np

    _, processor, _ = init(QWEN2)
    frames = [np.full((20, 30, 3), level, np.uint8) for level in (0, 255)]
    pixels = processor["video"](frames, num_frames=2, aspect_ratio="pad")
    assert pixels.shape == (2, 3, 100, 100)
    assert float(pixels[1].min()) < 0.5 < float(pixels[1].max())
    with pytest.raises(RequestError, match="does not hear"):
        processor["video"](str(media_folder / "clip_av.mp4"), va=True)
    assert "audio" not in processor


def test_long_sound_is_deterministic_and_says_so(media_folder):
    import random

    _, processor, _ = init(AV)
    path = str(media_folder / "tone_8k_long.wav")
    with pytest.warns(UserWarning, match="official random window"):
        first = processor["audio"](path)
    random.seed(5)
    with pytest.warns(UserWarning, match="middle"):
        assert torch.equal(first, processor["audio"](path))
    drawn = processor["audio"](path, policy="official-file", seed=3)
    assert torch.equal(drawn, processor["audio"](path, seed=3))
    assert not torch.equal(drawn, first)


@pytest.mark.parametrize("modal_type", ["a", "v", "av"])
def test_towers_may_be_set_to_none(modal_type, media_folder):
    model, processor, tokenizer = model_init(str(GOLDEN / "checkpoints" / AV), device="cpu", torch_dtype="fp32")
    if modal_type == "a":
        model.model.vision_tower = None
    elif modal_type == "v":
        model.model.audio_tower = None
    preprocess = processor["audio" if modal_type == "a" else "video"]
    path = str(media_folder / "clip_av.mp4")
    tensor = preprocess(path) if modal_type == "a" else preprocess(path, va=modal_type == "av")
    whole, _, _ = init(AV)
    answers = [
        mm_infer(
            tensor,
            "What is heard?",
            model=one,
            tokenizer=tokenizer,
            modal="audio" if modal_type == "a" else "video",
            do_sample=False,
            max_new_tokens=8,
        )
        for one in (model, whole)
    ]
    assert answers[0] == answers[1]
    if modal_type == "a":
        with pytest.raises(RequestError, match="no vision_tower"):
            mm_infer(processor["video"](path), "What?", model, tokenizer)


def test_dtypes_can_be_changed_by_the_script(media_folder):
    model, processor, tokenizer = model_init(str(GOLDEN / "checkpoints" / AV), device="cpu", torch_dtype="bfloat16")
    assert model.dtype == torch.bfloat16
    tensor = processor["video"](str(media_folder / "clip_av.mp4"), va=True)
    model = model.float()
    reference, _, _ = init(AV)
    text = mm_infer({k: v.half() for k, v in tensor.items()}, "What?", model, tokenizer, max_new_tokens=4)
    assert text
    assert reference.dtype == torch.float32


def test_sampling_follows_its_seed():
    model, _, tokenizer = init(QWEN2)
    state = torch.random.get_rng_state()
    texts = [
        mm_infer(None, "Tell", model, tokenizer, "text", do_sample=True, temperature=2.0, seed=seed, max_new_tokens=12)
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(state, torch.random.get_rng_state())


def test_wrong_input_is_refused():
    model, _, tokenizer = init(QWEN2)
    pixels = torch.zeros(2, 3, 100, 100)
    for arguments, word in [
        ((pixels, "q", model, tokenizer, "smell"), "modal"),
        ((pixels, "", model, tokenizer, "video"), "question"),
        ((pixels, 3, model, tokenizer, "video"), "instruct"),
        ((pixels, "q", model, tokenizer, "image"), "image"),
        ((None, "q", model, tokenizer, "video"), "tensor"),
        ((torch.zeros(1, 50, 128), "q", model, tokenizer, "audio"), "audio_tower"),
    ]:
        with pytest.raises(RequestError, match=word):
            mm_infer(*arguments)
    with pytest.warns(UserWarning, match="num_wings"):
        mm_infer(None, "q", model, tokenizer, "text", num_wings=2, max_new_tokens=1)
    with pytest.raises(RequestError, match="num_wings"):
        model_init(str(GOLDEN / "checkpoints" / QWEN2), num_wings=2)


SCRIPT = """
import sys
sys.path.append('./')
from videollama2 import model_init, mm_infer
from videollama2.utils import disable_torch_init

def inference():
    disable_torch_init()
    modal = 'video'
    modal_path = {clip!r}
    instruct = 'What animals are in the video, what are they doing?'
    model_path = {model!r}
    model, processor, tokenizer = model_init(model_path)
    assert model.config.num_frames == 16
    output = mm_infer(processor[modal](modal_path), instruct, model=model, tokenizer=tokenizer, do_sample=False,
                      modal=modal, max_new_tokens=6)
    print('answer:', output)

if __name__ == "__main__":
    inference()
"""


def test_an_official_script_runs_unchanged(media_folder, tmp_path):
    script = SCRIPT.format(clip=str(media_folder / "clip_av.mp4"), model=str(GOLDEN / "checkpoints" / QWEN2))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("answer: ")
    assert len(run.stdout) > 10
