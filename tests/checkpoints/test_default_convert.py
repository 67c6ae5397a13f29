"""The published formats of the default model's parts, read back into transformers' modules with the same numbers."""

import numpy as np
import pytest
import torch
from default_files import (
    GGUF_Q4_1,
    GGUF_Q8_0,
    ctranslate2_variables,
    gguf_metadata,
    gguf_tensors,
    vocabulary,
    write_ctranslate2,
    write_gguf,
)
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from videollama2.checkpoints.default.convert import (
    convert_audio_encoder,
    convert_frame_encoder,
    convert_language_model,
    language_model_config,
)
from videollama2.checkpoints.default.ctranslate2 import read_ctranslate2
from videollama2.checkpoints.default.gguf import GGUFFile
from videollama2.checkpoints.default.parts import class_names
from videollama2.checkpoints.default.tokenizer import save_tokenizer
from videollama2.errors import CheckpointError


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary()[0]),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def gguf_path(llama, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "model.gguf"
    write_gguf(path, gguf_metadata(llama.config), gguf_tensors(llama))
    return path


def test_language_model_gives_the_same_logits(llama, gguf_path):
    file = GGUFFile(gguf_path)
    config = LlamaConfig(**language_model_config(file))
    again = LlamaForCausalLM(config).eval()
    missing, unexpected = again.load_state_dict(convert_language_model(file, torch.float32), strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    again.tie_weights()
    ids = torch.arange(40)[None]
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, llama(ids).logits, atol=1e-5, rtol=1e-5)
    assert config.rope_parameters["rope_theta"] == 100000.0
    assert config.rms_norm_eps == 1e-5


def test_row_order_of_queries_matters(llama, gguf_path):
    """Without undoing GGUF's row order the logits differ: the test above can fail."""
    file = GGUFFile(gguf_path)
    converted = convert_language_model(file, torch.float32)["model.layers.0.self_attn.q_proj.weight"]
    assert not torch.equal(converted, torch.from_numpy(file.read("blk.0.attn_q.weight")))
    torch.testing.assert_close(converted, llama.model.layers[0].self_attn.q_proj.weight.detach())


@pytest.mark.parametrize(("type_id", "levels"), [(GGUF_Q4_1, 15), (GGUF_Q8_0, 254)])
def test_quantised_types_come_back_within_half_a_step(tmp_path, type_id, levels):
    values = np.random.default_rng(0).normal(size=(6, 64)).astype(np.float32) + 0.5
    write_gguf(tmp_path / "q.gguf", {}, {"w": values}, {"w": type_id})
    found = GGUFFile(tmp_path / "q.gguf").read("w")
    blocks = values.reshape(-1, 32)
    reach = blocks.max(1) - blocks.min(1) if type_id == GGUF_Q4_1 else 2 * np.abs(blocks).max(1)
    error = np.abs(found - values).reshape(-1, 32).max(1)
    # Half a step, and what fp16 loses of step and minimum.
    assert (error <= reach / levels * 0.51 + 2e-3 * np.abs(blocks).max(1)).all()
    assert found.shape == values.shape
    assert np.abs(found - values).max() > 0


def test_q4_1_places_low_and_high_halves(tmp_path):
    """Value i is in the low half of byte i, value i + 16 in its high half."""
    values = np.arange(32, dtype=np.float32) % 16
    values[16:] = 15 - values[16:]
    write_gguf(tmp_path / "q.gguf", {}, {"w": values}, {"w": GGUF_Q4_1})
    np.testing.assert_allclose(GGUFFile(tmp_path / "q.gguf").read("w"), values, atol=1e-6)


@pytest.mark.parametrize("keep", [0, 3, 20, 400, -40])
def test_truncated_gguf_is_named_as_damaged(gguf_path, tmp_path, keep):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(gguf_path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"cut\.gguf"):
        convert_language_model(GGUFFile(cut))


def test_other_gguf_content_is_refused(tmp_path):
    values = np.zeros((2, 32), np.float32)
    write_gguf(tmp_path / "a.gguf", {"general.architecture": "mamba"}, {"w": values})
    with pytest.raises(CheckpointError, match="mamba"):
        language_model_config(GGUFFile(tmp_path / "a.gguf"))
    raw = bytearray((tmp_path / "a.gguf").read_bytes())
    raw[4] = 9
    (tmp_path / "b.gguf").write_bytes(raw)
    with pytest.raises(CheckpointError, match="version 9"):
        GGUFFile(tmp_path / "b.gguf")
    with pytest.raises(CheckpointError, match="no tensor nothing"):
        GGUFFile(tmp_path / "a.gguf").read("nothing")


def test_tokenizer_splits_numbers_keeps_specials_and_round_trips(gguf_path, tmp_path):
    save_tokenizer(GGUFFile(gguf_path), tmp_path, chat_template="{{ messages[0]['content'] }}!")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    words, _ = vocabulary()
    assert tokenizer("a cat").input_ids == [words.index("a"), words.index("Ġcat")]
    assert tokenizer("12").input_ids == [words.index("1"), words.index("2")]
    assert tokenizer("<|im_start|>a<|im_end|>").input_ids == [1, words.index("a"), 2]
    text = "Größe: 12 cats\n  <ok> 猫"
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "hi!"


@pytest.fixture(scope="module")
def whisper():
    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=32,
        num_mel_bins=16,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=128,
        max_source_positions=20,
    )
    return WhisperEncoder(config).half().eval()


def test_audio_encoder_comes_back_exactly(whisper, tmp_path):
    path = tmp_path / "model.bin"
    write_ctranslate2(
        path, ctranslate2_variables(whisper), [("decoder/projection/weight", "decoder/embeddings/weight")]
    )
    converted = convert_audio_encoder(path)
    expected = whisper.state_dict()
    assert set(converted) == set(expected)
    assert all(torch.equal(converted[name], expected[name]) for name in expected)
    assert "decoder/projection/weight" in read_ctranslate2(path)


def test_damaged_or_foreign_audio_file_is_refused(whisper, tmp_path):
    path = tmp_path / "model.bin"
    variables = ctranslate2_variables(whisper)
    write_ctranslate2(path, variables)
    whole = path.read_bytes()
    for keep in (0, 5, 100, len(whole) - 500):
        path.write_bytes(whole[:keep])
        with pytest.raises(CheckpointError, match=r"model\.bin"):
            convert_audio_encoder(path)
    write_ctranslate2(path, variables, version=5)
    with pytest.raises(CheckpointError, match="version 6"):
        convert_audio_encoder(path)
    variables["encoder/layer_0/self_attention/linear_0/bias"] = np.ones(96, np.float16)
    write_ctranslate2(path, variables)
    with pytest.raises(CheckpointError, match="key bias"):
        convert_audio_encoder(path)


def test_frame_encoder_that_is_none_is_refused(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="cannot be read"):
        convert_frame_encoder(tmp_path / "a.pth")
    torch.save({"_fc.weight": torch.zeros(2, 2)}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"_fc\.bias"):
        convert_frame_encoder(tmp_path / "b.pth")


def test_pickles_are_not_run(tmp_path):
    """A weights file whose pickle would call a function is refused, and the function is not called."""

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"_fc.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(CheckpointError):
        convert_frame_encoder(tmp_path / "trap.pth")
    assert not (tmp_path / "ran").exists()


def test_class_names_are_a_thousand_and_in_order():
    names = class_names()
    assert len(names) == 1000
    assert all(name and name == name.strip() for name in names)
    # Fixed points of the ImageNet-1k order.
    assert (names[1], names[207], names[402], names[937]) == (
        "goldfish",
        "golden retriever dog",
        "acoustic guitar",
        "broccoli",
    )
