"""Audio features of clips: both kinds, precision, and sound that cannot be used."""

import numpy as np
import pytest
import torch

from videollama2.errors import MediaError, RequestError
from videollama2.media.types import AudioClip
from videollama2.processing.audio import AudioSpec, audio_features
from videollama2.processing.fbank import kaldi_fbank
from videollama2.processing.log_mel import whisper_log_mel

NOISE = np.random.default_rng(0).standard_normal(16000) * 0.1


def clip(waveform=NOISE, **fields):
    defaults = {"sample_rate": 16000, "windows": ((0.0, 1.0),), "status": "used", "policy": "full", "duration": 1.0}
    return AudioClip(waveform=waveform, **(defaults | fields))


def test_beats_features_are_rounded_to_bf16_from_the_clips_own_precision():
    features = audio_features(clip(), AudioSpec())
    assert features.dtype == torch.float32
    assert torch.equal(features, kaldi_fbank(torch.from_numpy(NOISE) * 32768).bfloat16().float())
    exact = audio_features(clip(), AudioSpec(dtype="float32"))
    assert torch.equal(exact, kaldi_fbank(torch.from_numpy(NOISE) * 32768).float())
    assert not torch.equal(features, exact)
    single = audio_features(clip(NOISE.astype(np.float32)), AudioSpec(dtype="float32"))
    assert torch.equal(single, kaldi_fbank(torch.from_numpy(NOISE.astype(np.float32)) * 32768))


def test_whisper_features():
    spec = AudioSpec(kind="whisper-log-mel", num_mel_bins=80)
    assert torch.equal(audio_features(clip(), spec), whisper_log_mel(torch.from_numpy(NOISE).float()))


def test_padding_on_request():
    assert audio_features(clip(), AudioSpec(pad_to_seconds=2.0)).shape == (198, 128)
    assert audio_features(clip(NOISE[:100]), AudioSpec(pad_to_seconds=2.0)).shape == (198, 128)


@pytest.mark.parametrize("kind", ["beats-fbank", "whisper-log-mel"])
def test_silence_is_finite(kind):
    features = audio_features(clip(np.zeros(16000), status="silent"), AudioSpec(kind=kind, num_mel_bins=80))
    assert features.isfinite().all()
    assert features.std() == 0


@pytest.mark.parametrize(
    ("bad", "error", "match"),
    [
        (clip(status="failed", reason="truncated"), MediaError, "truncated"),
        (clip(sample_rate=44100), RequestError, "44100 Hz"),
        (clip(np.full(16000, np.nan)), MediaError, "NaN"),
        (clip(NOISE[:100]), MediaError, "less than one window"),
        (clip(NOISE[:0]), MediaError, "less than one window"),
    ],
)
def test_sound_that_cannot_be_used(bad, error, match):
    with pytest.raises(error, match=match):
        audio_features(bad, AudioSpec())


def test_spec():
    spec = AudioSpec(kind="whisper-log-mel", num_mel_bins=80, seconds=10.0)
    assert spec.dtype == "float32"
    assert AudioSpec(**spec.to_dict()) == spec
    for fields in ({"kind": "mfcc"}, {"seconds": 0}, {"num_mel_bins": 1}, {"sample_rate": 8000}, {"dtype": "int8"}):
        with pytest.raises(RequestError):
            AudioSpec(**fields)
