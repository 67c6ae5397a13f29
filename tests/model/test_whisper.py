"""The Whisper encoder tower against transformers' own encoder, and its rules for lengths and pooling."""

import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from videollama2.errors import RequestError
from videollama2.model.audio.base import build_audio_tower

SIZES = {"hidden_size": 32, "num_mel_bins": 16, "num_layers": 2, "num_heads": 4, "max_positions": 60}


def build(pool=1, **changes):
    torch.manual_seed(0)
    return build_audio_tower({"tower": "whisper_encoder", "pool": pool, **SIZES, **changes}).eval()


@pytest.fixture(scope="module")
def reference():
    config = WhisperConfig(
        d_model=32,
        num_mel_bins=16,
        encoder_layers=2,
        encoder_attention_heads=4,
        encoder_ffn_dim=128,
        max_source_positions=60,
    )
    torch.manual_seed(1)
    return WhisperEncoder(config).eval()


def test_full_length_equals_transformers(reference):
    tower = build()
    tower.load_state_dict(reference.state_dict())
    values = torch.randn(2, 120, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = reference(values.transpose(1, 2)).last_hidden_state
        found = torch.stack(tower(values, torch.tensor([120, 120])))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0.1


def test_default_sizes_are_whisper_tiny():
    tower = build_audio_tower({"tower": "whisper_encoder"})
    config = WhisperConfig(
        d_model=384, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=1536, num_mel_bins=80
    )
    with torch.device("meta"):
        reference = WhisperEncoder(config)
    assert {k: v.shape for k, v in tower.state_dict().items()} == {
        k: v.shape for k, v in reference.state_dict().items()
    }
    assert (tower.hidden_size, tower.num_mel_bins, tower.pool) == (384, 80, 25)


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 119, 120])
@pytest.mark.parametrize("pool", [1, 4, 25])
def test_number_of_tokens_is_as_told(steps, pool):
    tower = build(pool=pool)
    with torch.no_grad():
        (tokens,) = tower(torch.randn(1, steps, 16), torch.tensor([steps]))
    assert tokens.shape == (tower.num_tokens(steps), 32)


def test_ten_seconds_are_twenty_tokens():
    assert build(pool=25).num_tokens(1000) == 20


def test_padding_and_company_change_nothing():
    tower = build(pool=4)
    values = torch.randn(4, 100, 16, generator=torch.Generator().manual_seed(3))
    lengths = torch.tensor([37, 100, 5, 37])
    with torch.no_grad():
        together = tower(values, lengths)
        alone = [tower(v[None, :n], torch.tensor([n]))[0] for v, n in zip(values, lengths.tolist())]
    for one, other in zip(together, alone):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[0], together[3])


def test_pool_averages_and_the_last_group_is_short():
    pooled, every = build(pool=4), build(pool=1)
    pooled.load_state_dict(every.state_dict())
    values, lengths = torch.randn(1, 20, 16), torch.tensor([20])  # 10 positions: groups of 4, 4, 2
    with torch.no_grad():
        (positions,), (tokens,) = every(values, lengths), pooled(values, lengths)
    expected = torch.stack([positions[:4].mean(0), positions[4:8].mean(0), positions[8:].mean(0)])
    torch.testing.assert_close(tokens, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("length", [0, 121, -1])
def test_impossible_lengths_are_refused(length):
    with pytest.raises(RequestError, match="log-mel steps"):
        build()(torch.randn(1, 130, 16), torch.tensor([length]))


def test_impossible_pool_is_refused():
    with pytest.raises(RequestError, match="pool"):
        build(pool=0)


def test_no_sounds_give_no_tokens():
    assert build()(torch.randn(0, 10, 16), torch.zeros(0, dtype=torch.long)) == []
