"""Whisper's log-mel against the feature extractor of transformers."""

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from videollama2.errors import RequestError
from videollama2.processing.log_mel import num_log_mel_steps, whisper_log_mel


def sound(seconds, seed=0):
    generator = np.random.default_rng(seed)
    time = np.arange(int(seconds * 16000)) / 16000
    chirp = 0.3 * np.sin(2 * np.pi * (200 + 300 * time) * time) * (time < seconds / 2)
    return (chirp + 0.01 * generator.standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize("num_mel_bins", [80, 128])
@pytest.mark.parametrize("seconds", [30, 4.2])
def test_equals_transformers_on_thirty_seconds(num_mel_bins, seconds):
    extractor = WhisperFeatureExtractor(feature_size=num_mel_bins)
    waveform = sound(seconds)
    expected = extractor(waveform, sampling_rate=16000, return_tensors="np")["input_features"][0].T
    ours = whisper_log_mel(torch.from_numpy(waveform), num_mel_bins=num_mel_bins, pad_to_seconds=30)
    assert ours.shape == (3000, num_mel_bins)
    np.testing.assert_allclose(ours.numpy(), expected, atol=2e-4)


def test_short_sound_is_the_start_of_padded_sound():
    """Without padding, only the reflected last windows differ (the maximum is the same)."""
    waveform = torch.from_numpy(sound(2.0))
    short, padded = whisper_log_mel(waveform), whisper_log_mel(waveform, pad_to_seconds=30)
    assert short.shape == (200, 80)
    torch.testing.assert_close(short[:198], padded[:198], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("samples", "steps"), [(0, 0), (159, 0), (160, 1), (200, 1), (16000, 100), (16159, 100)])
def test_any_length(samples, steps):
    assert num_log_mel_steps(samples) == steps
    features = whisper_log_mel(torch.full((samples,), 0.1))
    assert features.shape == (steps, 80)
    assert features.isfinite().all()


def test_range():
    features = whisper_log_mel(torch.from_numpy(sound(1.0)))
    assert features.max() - features.min() <= 2.0 + 1e-6
    assert whisper_log_mel(torch.zeros(1600)).unique().item() == pytest.approx(-1.5)


def test_bad_waveforms_are_refused():
    with pytest.raises(RequestError, match="one channel"):
        whisper_log_mel(torch.zeros(2, 1600))
