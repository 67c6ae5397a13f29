"""Zeros that a window policy appends are part of the official BEATs input and not heard by the default's tower."""

import dataclasses

import numpy as np
import pytest
import torch

from videollama2.media.types import AudioClip
from videollama2.processing.audio import AudioSpec, audio_features


def clip(num_padded):
    sound = np.random.default_rng(0).normal(size=16000).astype(np.float32) * 0.1
    waveform = np.concatenate([sound, np.zeros(num_padded, np.float32)])
    facts = {"windows": ((0.0, 1.0),), "status": "used", "policy": "centre", "duration": 1.0}
    return AudioClip(waveform=waveform, sample_rate=16000, num_padded=num_padded, **facts)


def test_log_mel_is_that_of_the_sound_alone():
    spec = AudioSpec(kind="whisper-log-mel", num_mel_bins=80)
    padded = audio_features(clip(48000), spec)
    assert padded.shape == (100, 80)
    assert torch.equal(padded, audio_features(clip(0), spec))


@pytest.mark.parametrize("change", [{"kind": "beats-fbank", "num_mel_bins": 128}, {"pad_to_seconds": 4.0}])
def test_padding_stays_where_it_belongs(change):
    spec = dataclasses.replace(AudioSpec(kind="whisper-log-mel", num_mel_bins=80), **{"dtype": None, **change})
    assert len(audio_features(clip(48000), spec)) >= 398


def test_nothing_but_padding_is_kept_as_it_is():
    silent = dataclasses.replace(clip(0), waveform=np.zeros(8000, np.float32), num_padded=8000)
    assert audio_features(silent, AudioSpec(kind="whisper-log-mel", num_mel_bins=80)).shape == (50, 80)
