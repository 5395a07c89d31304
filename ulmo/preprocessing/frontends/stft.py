"""Short-time Fourier transform: M linear bands up to Nyquist."""

from math import log2

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ulmo.arrays import Array
from ulmo.config import Cost, PrepSettings, UserError
from ulmo.preprocessing.frontends.base import FLOAT, Block, FrontEnd
from ulmo.preprocessing.frontends.fft import power_spectra
from ulmo.preprocessing.threads import one_thread

# Most frames and samples of a block: few enough to stay in the cache.
BLOCK_FRAMES = 256
BLOCK_CELLS = 1 << 19


class Windowed(FrontEnd):
    """A front end that has Hann windows of win_length, centred in n_fft samples.

    They are scaled so that a full-scale sine at a bin has power 1: its |X| is sum(window) / 2.
    `n_fft` places the windows (as in librosa); `length` is that of the FFT: n_fft, or any other
    that is at least win_length.
    """

    frame_by_frame = True

    def __init__(self, win_length: int, n_fft: int, length: int, hop_length: int) -> None:
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(win_length) / win_length)
        self._window = (window * (2 / window.sum())).astype(np.float32)
        self._length = length
        self.hop_length = hop_length
        self.left = n_fft // 2 - (n_fft - win_length) // 2
        self.right = win_length - self.left
        self.block_frames = _block_frames(length)

    def spectra(self, segment: Array) -> Array:
        """Squared moduli (length // 2 + 1, block_frames) of the windows' spectra.

        They are 0 behind the last sample that is not, as after the end of a recording, or where a
        live one has not come yet: nothing is computed there.
        """
        samples = len(self._window)
        last = len(segment) - 1 - int((segment[::-1] != 0).argmax())
        count = min(last // self.hop_length + 1, self.block_frames)
        strides = (self.hop_length * segment.itemsize, segment.itemsize)
        frames = as_strided(segment, (count, samples), strides, writeable=False)
        padded = np.empty((count, self._length), np.float32)
        np.multiply(frames, self._window, out=padded[:, :samples])
        padded[:, samples:] = 0
        spectra = power_spectra(padded)
        if count < self.block_frames:
            spectra = np.pad(spectra, ((0, 0), (0, self.block_frames - count)))
        return spectra


def _block_frames(length: int) -> int:
    return min(BLOCK_FRAMES, max(1, BLOCK_CELLS // length))


def spectra_block(settings: PrepSettings, win_length: int, length: int) -> Block:
    """What `Windowed` takes, with FFTs of `length`: 5/2 n log2 n operations each."""
    frames = _block_frames(length)
    return Block(
        frames=frames,
        samples=win_length + frames * settings.hop_length,
        bytes=5 * FLOAT * frames * (length + 2),
        operations=frames * length * (2.5 * log2(length) + 8),
        kept=FLOAT * win_length,
        begin=20 * win_length,
    )


def check_window(settings: PrepSettings, win_length: int, n_fft: int, remedy: str) -> None:
    """Refuse a window longer than its FFT, or shorter than the hop (which would skip samples).

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


class Stft(Windowed):
    """M bins of a short-time Fourier transform, the DC bin dropped.

    n_fft is 2M by default: exactly M bins without DC and, for M = 224, a fast length (448;
    2(M - 1) = 446 is twice a prime). With a longer n_fft, the M lowest bins above DC are kept.
    """

    words = "short-time Fourier transform"
    settings = ("n_fft", "win_length")

    @staticmethod
    def _lengths(settings: PrepSettings) -> tuple[int, int]:
        """Window and FFT length."""
        n_fft = settings.n_fft or 2 * settings.tile_size
        if n_fft < 2 * settings.tile_size:
            raise UserError(
                f"n_fft {n_fft} has fewer than {settings.tile_size} bins: "
                f"set n_fft to {2 * settings.tile_size} or more"
            )
        win_length = settings.win_length or n_fft
        check_window(settings, win_length, n_fft, "n_fft")
        return win_length, n_fft

    @classmethod
    def cost(cls, settings: PrepSettings) -> Cost:
        """See FrontEnd."""
        return spectra_block(settings, *cls._lengths(settings)).cost(settings)

    def __init__(self, settings: PrepSettings) -> None:
        win_length, n_fft = self._lengths(settings)
        super().__init__(win_length, n_fft, n_fft, settings.hop_length)
        bins = np.arange(1, settings.tile_size + 1)
        self.frequencies = np.asarray(bins * settings.sample_rate / n_fft, np.float64)

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of a segment."""
        with one_thread():
            return self.spectra(segment)[1 : 1 + len(self.frequencies)]
