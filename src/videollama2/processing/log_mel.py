"""Whisper's log-mel spectrogram in torch: the input of the default model's audio encoder.

As in Whisper's own front end: 16 kHz, periodic Hann window of 400 samples every 160, reflected edges, power spectrum,
80 area-normalised mel triangles on Slaney's scale, base-10 logarithm, everything more than 8 below the clip's maximum
raised to that, then (x + 4) / 4. Unlike Whisper's, it takes sound of any length and pads to 30 s only when asked.

Shape letters: S steps, M mel bins, N samples, K bins of the FFT.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from videollama2.errors import RequestError

SAMPLE_RATE = 16000
_WINDOW = 400
_SHIFT = 160
_FLOOR = 1e-10
_DYNAMIC_RANGE = 8.0


def num_log_mel_steps(num_samples: int) -> int:
    """Steps for this many samples at 16 kHz: one each 10 ms, an unfinished one is dropped."""
    return num_samples // _SHIFT


def whisper_log_mel(
    waveform: torch.Tensor, *, num_mel_bins: int = 80, pad_to_seconds: float | None = None
) -> torch.Tensor:
    """Log-mel spectrogram of one waveform at 16 kHz.

    Args:
        waveform: float32 or float64 [N], full scale +-1.0.
        num_mel_bins: M; Whisper's models up to large-v2 use 80, large-v3 uses 128.
        pad_to_seconds: Zeros are appended (or the end is cut) to this length first; Whisper's own is 30. None keeps
            the sound as long as it is.

    Returns:
        float32 [S, M] (Whisper's is [M, S]) on the waveform's device; S is 0 for less than 10 ms of sound.

    Raises:
        RequestError: The waveform is not a floating-point vector.
    """
    if waveform.ndim != 1 or not waveform.is_floating_point():
        raise RequestError(
            f"The waveform is {waveform.dtype} {list(waveform.shape)}; give one channel, floating point."
        )
    waveform = waveform.float()
    if pad_to_seconds is not None:
        wanted = round(pad_to_seconds * SAMPLE_RATE)
        waveform = torch.nn.functional.pad(waveform[:wanted], (0, max(0, wanted - len(waveform))))
    num_steps = num_log_mel_steps(len(waveform))
    if num_steps == 0:
        return waveform.new_zeros(0, num_mel_bins)
    # The edges are reflected by half a window, which needs more sound than that.
    too_short = _WINDOW // 2 + 1 - len(waveform)
    if too_short > 0:
        waveform = torch.nn.functional.pad(waveform, (0, too_short))
    window = torch.hann_window(_WINDOW, device=waveform.device)
    spectrum_KS = torch.stft(waveform, _WINDOW, _SHIFT, window=window, center=True, return_complex=True)
    power_SK = spectrum_KS[:, :num_steps].abs().square().T
    mel_SM = power_SK @ _mel_bank(num_mel_bins, waveform.device)
    log_SM = mel_SM.clamp_min(_FLOOR).log10()
    log_SM = torch.maximum(log_SM, log_SM.max() - _DYNAMIC_RANGE)
    return (log_SM + 4.0) / 4.0


@lru_cache(maxsize=8)
def _mel_bank(num_mel_bins: int, device: torch.device) -> torch.Tensor:
    """Slaney's triangles [K, M] from 0 Hz to 8 kHz, each of unit area."""
    bin_hz_K1 = np.linspace(0.0, SAMPLE_RATE / 2, _WINDOW // 2 + 1)[:, None]
    edges_hz = _slaney_to_hertz(np.linspace(0.0, _hertz_to_slaney(SAMPLE_RATE / 2), num_mel_bins + 2))
    left_M, centre_M, right_M = edges_hz[:-2], edges_hz[1:-1], edges_hz[2:]
    rising_KM = (bin_hz_K1 - left_M) / (centre_M - left_M)
    falling_KM = (right_M - bin_hz_K1) / (right_M - centre_M)
    triangles_KM = np.maximum(0.0, np.minimum(rising_KM, falling_KM)) * (2.0 / (right_M - left_M))
    return torch.from_numpy(triangles_KM).to(device=device, dtype=torch.float32)


# Slaney's scale: linear to 1 kHz (15 mels), then logarithmic, 27 mels for a factor of 6.4.
_LINEAR_HZ_PER_MEL = 200.0 / 3.0
_KNEE_HZ = 1000.0
_KNEE_MEL = _KNEE_HZ / _LINEAR_HZ_PER_MEL
_LOG_STEP = np.log(6.4) / 27.0


def _hertz_to_slaney(hertz: float) -> float:
    if hertz < _KNEE_HZ:
        return hertz / _LINEAR_HZ_PER_MEL
    return float(_KNEE_MEL + np.log(hertz / _KNEE_HZ) / _LOG_STEP)


def _slaney_to_hertz(mels: np.ndarray) -> np.ndarray:
    above = _KNEE_HZ * np.exp(_LOG_STEP * (mels - _KNEE_MEL))
    return np.where(mels < _KNEE_MEL, mels * _LINEAR_HZ_PER_MEL, above)
