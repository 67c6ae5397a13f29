"""Kaldi's log-mel filterbank in torch: the input of BEATs.

The official code calls torchaudio's Kaldi front end with 128 bins, 25 ms windows every 10 ms and its defaults:
no dither, mean of each window removed, pre-emphasis 0.97, Povey window, FFT of the next power of two, power spectrum,
mel triangles from 20 Hz to half the sample rate, natural logarithm floored at float32's epsilon. This is that, in the
precision of the waveform (the official audio-file path is float64, the one for sound of a video float32).

Shape letters: S windows (steps), M mel bins, N samples, W samples of a window, K samples of the FFT.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from videollama2.errors import RequestError

INT16_SCALE = 2**15
_PREEMPHASIS = 0.97
_LOW_HZ = 20.0
_FLOOR = torch.finfo(torch.float32).eps


def num_fbank_steps(num_samples: int, sample_rate: int = 16000) -> int:
    """Windows of 25 ms every 10 ms that fit wholly into the samples ("snip edges"): 30 s at 16 kHz give 2998."""
    window, shift = _window_and_shift(sample_rate)
    return 0 if num_samples < window else 1 + (num_samples - window) // shift


def kaldi_fbank(waveform: torch.Tensor, *, num_mel_bins: int = 128, sample_rate: int = 16000) -> torch.Tensor:
    """Log-mel filterbank of one waveform.

    Args:
        waveform: float32 or float64 [N], in the range of 16-bit samples (the official code multiplies by 2**15).
        num_mel_bins: M, 4 or more.
        sample_rate: Samples a second, Hz.

    Returns:
        [S, M] in the waveform's dtype and on its device; S is 0 for less than 25 ms of sound. Silence is
        log(1.19e-7) = -15.94.

    Raises:
        RequestError: The waveform is not a floating-point vector, or M is below 4.
    """
    if waveform.ndim != 1 or waveform.dtype not in (torch.float32, torch.float64):
        raise RequestError(
            f"The waveform is {waveform.dtype} {list(waveform.shape)}; give one channel, float32 or float64."
        )
    if num_mel_bins < 4:
        raise RequestError(f"num_mel_bins is {num_mel_bins}; give 4 or more.")
    window, shift = _window_and_shift(sample_rate)
    num_steps = num_fbank_steps(len(waveform), sample_rate)
    if num_steps == 0:
        return waveform.new_zeros(0, num_mel_bins)

    frames_SW = waveform.unfold(0, window, shift)[:num_steps]
    frames_SW = frames_SW - frames_SW.mean(dim=1, keepdim=True)
    # The sample before a window's first one is the first one itself.
    previous_SW = torch.cat([frames_SW[:, :1], frames_SW[:, :-1]], dim=1)
    frames_SW = (frames_SW - _PREEMPHASIS * previous_SW) * _povey_window(window, waveform.dtype, waveform.device)

    fft_size = 1 << (window - 1).bit_length()
    power_SK = torch.fft.rfft(frames_SW, n=fft_size).abs().square()
    bank_KM = _mel_bank(num_mel_bins, fft_size, sample_rate, waveform.dtype, waveform.device)
    # The triangles leave out the Nyquist bin: its weight is zero in Kaldi.
    mel_SM = power_SK[:, :-1] @ bank_KM
    return mel_SM.clamp_min(_FLOOR).log()


def _window_and_shift(sample_rate: int) -> tuple[int, int]:
    return int(sample_rate * 0.025), int(sample_rate * 0.010)


@lru_cache(maxsize=8)
def _povey_window(size: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Hann window (its ends zero) to the power 0.85."""
    return torch.hann_window(size, periodic=False, dtype=dtype, device=device).pow(0.85)


@lru_cache(maxsize=8)
def _mel_bank(
    num_mel_bins: int, fft_size: int, sample_rate: int, dtype: torch.dtype, device: torch.device
) -> torch.Tensor:
    """Triangles [K/2, M], equally spaced on Kaldi's mel scale (1127 ln(1 + f/700)), not normalised."""
    low, high = _mel(_LOW_HZ), _mel(sample_rate / 2)
    step = (high - low) / (num_mel_bins + 1)
    # Kaldi's reference builds the triangles in single precision whatever the signal is; small bins depend on it.
    number_M1 = torch.arange(num_mel_bins).unsqueeze(1)
    left_M1, centre_M1, right_M1 = (low + (number_M1 + offset) * step for offset in (0.0, 1.0, 2.0))
    bin_hz_K = sample_rate / fft_size * torch.arange(fft_size // 2, dtype=torch.float32)
    bin_mel_1K = (1127.0 * (1.0 + bin_hz_K / 700.0).log()).unsqueeze(0)
    rising_MK = (bin_mel_1K - left_M1) / (centre_M1 - left_M1)
    falling_MK = (right_M1 - bin_mel_1K) / (right_M1 - centre_M1)
    return torch.minimum(rising_MK, falling_MK).clamp_min(0.0).T.contiguous().to(dtype=dtype, device=device)


def _mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)
