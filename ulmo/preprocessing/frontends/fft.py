"""Fourier transforms of float32, by OpenCV: half the time of SciPy's (docs/benchmarks.md).

OpenCV packs the spectrum of n real samples into n numbers: Re 0, Re 1, Im 1, Re 2, Im 2, ..., and
at the end Re n/2 where n is even. Equal rows give equal bits, wherever they lie in memory.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array

Spectrum = NDArray[np.complex64]


def power_spectra(frames: Array) -> Array:
    """Squared moduli (length // 2 + 1, n) of the spectra of frames (n, length).

    Overwrites the frames.
    """
    packed = cv2.dft(frames, frames, cv2.DFT_ROWS)
    squares = cv2.transpose(np.multiply(packed, packed, out=packed))
    length = len(squares)
    end = length - 1 + length % 2  # of the pairs
    power = np.empty((length // 2 + 1, squares.shape[1]), np.float32)
    power[0], power[-1] = squares[0], squares[-1]
    np.add(squares[1:end:2], squares[2:end:2], out=power[1 : 1 + end // 2])
    return power


def rfft(samples: Array) -> Spectrum:
    """Spectrum (n // 2 + 1,) of real samples (n,)."""
    packed = cv2.dft(samples[None], flags=cv2.DFT_ROWS)[0]
    end = len(packed) - 1 + len(packed) % 2
    spectrum = np.empty(len(packed) // 2 + 1, np.complex64)
    spectrum[0], spectrum[-1] = packed[0], packed[-1]
    spectrum[1 : 1 + end // 2] = packed[1:end].view(np.complex64)
    return spectrum


def fast_length(least: int) -> int:
    """The smallest product of twos, threes and fives that is at least `least`."""
    return int(cv2.getOptimalDFTSize(least))
