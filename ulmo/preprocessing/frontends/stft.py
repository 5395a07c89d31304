"""Short-time Fourier transform: M linear bands up to Nyquist."""

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ulmo.config import PrepSettings, UserError

Array = NDArray[np.float32]

BLOCK_FRAMES = 128
"""Few enough that a block stays in the cache (facts: five times librosa's speed)."""


def hann(win_length: int, n_fft: int) -> Array:
    """Periodic Hann window in the middle of n_fft samples, for which a full-scale sine has power 1.

    A sine of amplitude 1 gives |X| = sum(window) / 2 at its bin.
    """
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
    start = (n_fft - win_length) // 2
    padded = np.zeros(n_fft)
    padded[start : start + win_length] = window * (2 / window.sum())
    return padded.astype(np.float32)


def power_spectra(segment: Array, window: Array, hop_length: int) -> Array:
    """Power (frames, n_fft // 2 + 1) of every full window in a segment, hop_length apart."""
    frames = sliding_window_view(segment, len(window))[::hop_length] * window
    spectra = scipy.fft.rfft(frames, axis=-1, overwrite_x=True)
    power: Array = spectra.real**2 + spectra.imag**2
    return power


def check_window(settings: PrepSettings, win_length: int, n_fft: int, remedy: str) -> None:
    """Refuse a window that is longer than its FFT, or shorter than the hop (samples unseen).

    `remedy` names the setting that lengthens the window.
    """
    if win_length > n_fft:
        raise UserError(
            f"win_length {win_length} is longer than n_fft {n_fft}: set n_fft to {win_length}"
        )
    if settings.hop_length > win_length:
        raise UserError(
            f"hop_length {settings.hop_length} is longer than the window of {win_length} samples: "
            f"set hop_length to {win_length // 2}, or {remedy} to {2 * settings.hop_length}"
        )


class Stft:
    """M bins of a short-time Fourier transform, the DC bin dropped.

    n_fft is 2M by default, which gives exactly M bins without DC, and for M = 224 a fast
    length (448; 2(M - 1) = 446 is twice a prime). With a longer n_fft, the lowest M bins
    after DC are kept.
    """

    def __init__(self, settings: PrepSettings) -> None:
        n_fft = settings.n_fft or 2 * settings.tile_size
        if n_fft < 2 * settings.tile_size:
            raise UserError(
                f"n_fft {n_fft} has fewer than {settings.tile_size} bins: "
                f"set n_fft to {2 * settings.tile_size} or more"
            )
        win_length = settings.win_length or n_fft
        check_window(settings, win_length, n_fft, "n_fft")
        self.hop_length = settings.hop_length
        self.block_frames = BLOCK_FRAMES
        self.left = n_fft // 2
        self.right = n_fft - n_fft // 2
        bins = np.arange(1, settings.tile_size + 1)
        self.frequencies = np.asarray(bins * settings.sample_rate / n_fft, np.float64)
        self._window = hann(win_length, n_fft)
        self._bins = slice(1, settings.tile_size + 1)

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of a segment."""
        power = power_spectra(segment, self._window, self.hop_length)
        return np.ascontiguousarray(power[:, self._bins].T)
