"""The Kaldi filterbank against recorded official values and against first principles."""

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from golden_files import GOLDEN, golden_json, golden_tensors

from videollama2.errors import RequestError
from videollama2.processing.fbank import kaldi_fbank, num_fbank_steps

TENSORS = "audio/audio.safetensors"


def official_file_waveform(name):
    """Channel 0, 30 s, 16 kHz: written out here so that this file needs nothing but the filterbank."""
    samples, rate = soundfile.read(GOLDEN / "media" / name, always_2d=True)
    samples = np.pad(samples[:, 0], (0, 30 * rate - len(samples)))
    if rate != 16000:
        samples = scipy.signal.resample(samples, 480000)
    return torch.from_numpy(samples) * 2**15


@pytest.mark.parametrize(("case", "name"), [(0, "tone_16k_mono.wav"), (1, "tone_44k_stereo.wav")])
def test_filterbank_equals_the_official_one(case, name):
    recorded = golden_json("audio/audio.json")["cases"][case]
    fbank = kaldi_fbank(official_file_waveform(name))
    assert list(fbank.shape) == recorded["shape"][1:]
    assert fbank.dtype == torch.float64
    assert float(fbank.mean()) == pytest.approx(recorded["fbank_mean"], abs=1e-6)
    assert float(fbank.max()) == pytest.approx(recorded["fbank_max"], abs=1e-6)
    tensors = golden_tensors(TENSORS)
    torch.testing.assert_close(fbank[::101].float(), tensors[f"case{case}.fbank_f32_r101"], rtol=0, atol=1e-5)
    assert torch.equal(fbank.bfloat16()[::41], tensors[f"case{case}.fbank_bf16_r41"])


def test_single_precision_is_close_to_double():
    waveform = official_file_waveform("tone_16k_mono.wav")[:48000]
    single = kaldi_fbank(waveform.float())
    assert single.dtype == torch.float32
    # Quiet bins are differences of large numbers: the logarithm shows float32's last bits there.
    loud = kaldi_fbank(waveform) > 5
    assert loud.sum() > 100
    assert (single - kaldi_fbank(waveform))[loud].abs().max() < 2e-3


@pytest.mark.parametrize(
    ("samples", "steps"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16000, 98), (480000, 2998)]
)
def test_windows_fit_wholly(samples, steps):
    assert num_fbank_steps(samples) == steps
    assert kaldi_fbank(torch.zeros(samples)).shape == (steps, 128)


def test_silence_and_loudness():
    assert kaldi_fbank(torch.zeros(1600)).unique().item() == pytest.approx(-15.942385, abs=1e-5)
    tone = 1000 * torch.sin(torch.arange(1600, dtype=torch.float64) * 2 * torch.pi * 1000 / 16000)
    quiet, loud = kaldi_fbank(tone), kaldi_fbank(10 * tone)
    peak = quiet.mean(0).argmax()
    # Ten times the amplitude is a hundred times the power, in every window.
    torch.testing.assert_close(loud[:, peak] - quiet[:, peak], torch.full((8,), np.log(100.0)), check_dtype=False)


def test_a_tone_is_in_its_bin():
    mel = lambda hertz: 1127 * np.log(1 + hertz / 700)  # noqa: E731
    centres = mel(20) + (np.arange(128) + 1) * (mel(8000) - mel(20)) / 129
    for hertz in (500, 2000, 6000):
        tone = 1000 * torch.sin(torch.arange(16000, dtype=torch.float64) * 2 * torch.pi * hertz / 16000)
        assert abs(int(kaldi_fbank(tone).mean(0).argmax()) - int(np.abs(centres - mel(hertz)).argmin())) <= 1


def test_bad_waveforms_are_refused():
    with pytest.raises(RequestError, match="one channel"):
        kaldi_fbank(torch.zeros(1, 1600))
    with pytest.raises(RequestError, match="int16"):
        kaldi_fbank(torch.zeros(1600, dtype=torch.int16))
    with pytest.raises(RequestError, match="num_mel_bins"):
        kaldi_fbank(torch.zeros(1600), num_mel_bins=2)
