"""Kaldi's filterbank the plain way: one window after the other, as its definition reads."""

from __future__ import annotations

import numpy as np
import torch


def plain_fbank(wave: torch.Tensor, num_mel_bins: int = 128, sample_rate: int = 16000) -> torch.Tensor:
    """Filterbank [S, M] of a float64 waveform in the range of 16-bit samples."""
    size, shift, fft_size = sample_rate // 40, sample_rate // 100, 512
    window = np.hanning(size) ** 0.85
    bank = _mel_bank(num_mel_bins, fft_size, sample_rate)
    samples, rows = wave.numpy(), []
    for start in range(0, len(samples) - size + 1, shift):
        piece = samples[start : start + size] - samples[start : start + size].mean()
        piece = piece - 0.97 * np.concatenate([piece[:1], piece[:-1]])
        power = np.abs(np.fft.rfft(piece * window, fft_size)) ** 2
        rows.append(np.log(np.maximum(bank @ power[:-1], np.finfo(np.float32).eps)))
    return torch.from_numpy(np.stack(rows))


def _mel_bank(num_mel_bins: int, fft_size: int, sample_rate: int) -> np.ndarray:
    low, high = (1127 * np.log(1 + hertz / 700) for hertz in (20, sample_rate / 2))
    edges = (low + np.arange(num_mel_bins + 2) * (high - low) / (num_mel_bins + 1)).astype(np.float32)
    hertz = np.arange(fft_size // 2, dtype=np.float32) * np.float32(sample_rate / fft_size)
    mel = np.float32(1127) * np.log(1 + hertz / np.float32(700))
    bank = np.zeros((num_mel_bins, fft_size // 2))
    for row, (left, centre, right) in enumerate(zip(edges, edges[1:], edges[2:])):
        bank[row] = np.maximum(np.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)), 0)
    return bank
