"""Mel spectrogram: M triangular bands on Slaney's mel scale."""

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends.stft import BLOCK_FRAMES, check_window, hann, power_spectra

Array = NDArray[np.float32]
Frequencies = NDArray[np.float64]

LINEAR_STEP = 200 / 3
"""Hertz a mel below 1 kHz."""
LOG_START = 1000.0
LOG_STEP = np.log(6.4) / 27
"""Natural logarithm of frequency a mel above 1 kHz."""
MAX_N_FFT = 1 << 20


def hz_to_mel(frequency: Frequencies) -> Frequencies:
    """Hertz to mel: linear to 1 kHz, logarithmic above (Slaney, Auditory Toolbox, 1998)."""
    above = np.maximum(frequency, LOG_START)
    return np.where(
        frequency < LOG_START,
        frequency / LINEAR_STEP,
        LOG_START / LINEAR_STEP + np.log(above / LOG_START) / LOG_STEP,
    )


def mel_to_hz(mel: Frequencies) -> Frequencies:
    """Inverse of `hz_to_mel`."""
    start = LOG_START / LINEAR_STEP
    return np.where(
        mel < start,
        mel * LINEAR_STEP,
        LOG_START * np.exp((np.maximum(mel, start) - start) * LOG_STEP),
    )


def band_edges(bands: int, fmin: float, fmax: float) -> Frequencies:
    """Edges in hertz, (bands + 2,): band k rises from edge k, peaks at k + 1, ends at k + 2."""
    low, high = hz_to_mel(np.array([fmin, fmax]))
    return mel_to_hz(np.linspace(low, high, bands + 2))


def triangles(edges: Frequencies, sample_rate: float, n_fft: int) -> NDArray[np.float64]:
    """Weights (bands, n_fft // 2 + 1) of triangles that peak at 1."""
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    low, centre, high = (edges[i : len(edges) - 2 + i, None] for i in range(3))
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling))


class Mel:
    """M mel bands of an STFT's power.

    The triangles peak at 1 (librosa's norm=None). A band that is wider than the window's main
    lobe adds up all of it: a tone of full scale then has power 1.5 n_fft / win_length (8.4 dB at
    the defaults), and less in narrower bands.
    The window is as long as the STFT's by default (2M samples); n_fft, filled up with zeros, is
    the least power of two whose bins lie no further apart than half the narrowest triangle:
    every band is then fed by two bins or more, and none is empty.
    """

    def __init__(self, settings: PrepSettings) -> None:
        rate = settings.sample_rate
        fmin, fmax = settings.fmin or 0.0, settings.fmax or rate / 2
        if fmax > rate / 2:
            raise UserError(
                f"fmax {fmax:g} Hz is over half of sample_rate {rate}: set fmax to {rate / 2:g}"
            )
        if fmin >= fmax:
            raise UserError(f"fmin {fmin:g} Hz must be below fmax {fmax:g} Hz")
        edges = band_edges(settings.tile_size, fmin, fmax)
        win_length, n_fft = self._lengths(settings, float(np.diff(edges).min()))
        weights = triangles(edges, rate, n_fft)
        empty = int((weights.max(axis=1) <= 0).sum())
        if empty:
            raise UserError(
                f"n_fft {n_fft} leaves {empty} of {settings.tile_size} mel bands empty: "
                "leave n_fft out, or set a larger one"
            )
        self.hop_length = settings.hop_length
        self.block_frames = BLOCK_FRAMES
        self.left = n_fft // 2
        self.right = n_fft - n_fft // 2
        self.frequencies = edges[1:-1]
        self._window = hann(win_length, n_fft)
        self._weights = scipy.sparse.csr_array(weights.astype(np.float32))

    @staticmethod
    def _lengths(settings: PrepSettings, narrowest: float) -> tuple[int, int]:
        win_length = settings.win_length or settings.n_fft or 2 * settings.tile_size
        n_fft = settings.n_fft
        if n_fft is None:
            least = max(win_length, settings.sample_rate / narrowest)
            n_fft = 1 << int(np.ceil(np.log2(least)))
        if n_fft > MAX_N_FFT:
            raise UserError(
                f"{settings.tile_size} mel bands from {settings.fmin or 0:g} Hz are too narrow: "
                "set a larger fmax - fmin or a smaller tile_size"
            )
        check_window(settings, win_length, n_fft, "win_length")
        return win_length, n_fft

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of a segment."""
        power = power_spectra(segment, self._window, self.hop_length)
        banded: Array = self._weights @ np.ascontiguousarray(power.T)
        return banded
