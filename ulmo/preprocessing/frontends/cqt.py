"""Constant-Q transform: M bins, log-spaced, each with a window of as many cycles."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from ulmo.config import PrepSettings, UserError

Array = NDArray[np.float32]
Spectrum = NDArray[np.complex64]

CYCLES_TO_NYQUIST = 490.0
"""sample_rate / fmin by default: 32.7 Hz (C1) at 16 kHz."""
RESPONSE_FLOOR = 1e-4
"""A filter's frequency response is cut where it stays under -80 dB of its peak."""
HANN_BANDWIDTH = 1.5
"""Equivalent noise bandwidth of the Hann window in bins."""
MAX_CELLS = 1 << 26
"""Samples of the FFT, and cells of the folded spectra, at most: half a gigabyte."""


def quality(bins_per_octave: int) -> float:
    """Q of Brown (1991), equation 3: the bins lie one bandwidth apart."""
    return float(1 / (2 ** (1 / bins_per_octave) - 1))


def hann_response(cycles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Fourier transform of a Hann window of length 1 and area 1, at frequencies in cycles."""
    near_one = np.abs(np.abs(cycles) - 1) < 1e-9
    safe = np.where(near_one, 0.5, cycles)
    return np.where(near_one, 0.5, np.sinc(safe) / (1 - safe * safe))


def response_width() -> float:
    """Cycles beyond which |hann_response| < RESPONSE_FLOOR: it falls as 1 / (pi x^3)."""
    return float((1 / (np.pi * RESPONSE_FLOOR)) ** (1 / 3))


class Cqt:
    """Constant-Q transform of Brown (1991), as filters in the frequency domain.

    One FFT of a long block is multiplied with the response of each bin's filter (a Hann window
    of Q cycles), folded to the frame rate and inverted there: this is exactly the filter's output
    at the frame centres, and no other sample of it is ever computed. Blocks overlap by the
    longest filter, so that the circular convolution is a plain one on the frames that are kept.
    A sine of full scale at a bin's centre has power 1 (librosa's cqt times 2 / sqrt(length)).
    """

    def __init__(self, settings: PrepSettings) -> None:
        self.hop_length = hop = settings.hop_length
        self.frequencies, filter_quality = self._bins(settings)
        lengths = filter_quality * settings.sample_rate / self.frequencies
        self._check(settings, float(lengths[0]))
        margin = int(np.ceil(lengths[0] / 2 / hop))
        folds = scipy.fft.next_fast_len(max(8 * margin, 64))
        self._n_fft = folds * hop
        self._folds = folds
        self._margin = margin
        self.block_frames = folds - 2 * margin
        self.left = margin * hop
        self.right = (margin + 1) * hop
        self._filters = [
            self._filter(frequency / settings.sample_rate, length)
            for frequency, length in zip(self.frequencies, lengths, strict=True)
        ]

    @staticmethod
    def _bins(settings: PrepSettings) -> tuple[NDArray[np.float64], float]:
        """Centre frequencies that fit below Nyquist, filters' skirts included; and Q."""
        rate, bins = settings.sample_rate, settings.tile_size
        fmin = settings.fmin or rate / CYCLES_TO_NYQUIST

        def top(per_octave: int) -> float:
            skirt = 1 + 0.5 * HANN_BANDWIDTH / quality(per_octave)
            return float(fmin * 2 ** ((bins - 1) / per_octave) * skirt)

        fitting = (n for n in range(1, 4 * bins + 1) if top(n) <= rate / 2)
        fewest = next(fitting, None)
        if fewest is None or fewest > 512:
            raise UserError(
                f"no {bins} CQT bins fit between fmin {fmin:g} Hz and {rate / 2:g} Hz: "
                f"set fmin to {rate / CYCLES_TO_NYQUIST:.1f}"
            )
        per_octave = settings.bins_per_octave or fewest
        if per_octave < fewest:
            raise UserError(
                f"{bins} CQT bins from {fmin:g} Hz at {per_octave} an octave pass "
                f"{rate / 2:g} Hz: set bins_per_octave to {fewest} or more"
            )
        return fmin * 2 ** (np.arange(bins) / per_octave), quality(per_octave)

    @staticmethod
    def _check(settings: PrepSettings, longest: float) -> None:
        """Refuse a hop over the longest filter (samples unseen), and one that needs too much."""
        hop = settings.hop_length
        if hop > longest:
            raise UserError(
                f"hop_length {hop} is longer than the longest filter of {longest:.0f} samples: "
                f"set hop_length to {int(longest / 2)}, or a smaller fmin"
            )
        if max(4 * longest / hop, 64) * max(hop, settings.tile_size) > MAX_CELLS:
            raise UserError(
                f"the lowest filter lasts {longest:.3g} samples, too many at hop_length {hop}: "
                "set a larger fmin or hop_length, or a smaller tile_size"
            )

    def _filter(self, frequency: float, length: float) -> tuple[int, Array]:
        """First FFT bin, a multiple of the folds, and the response from there on.

        Twice the window's response: a real sine has half of its amplitude at +frequency.
        """
        reach = response_width() / length
        low = max(int(np.ceil((frequency - reach) * self._n_fft)), 0)
        high = min(int((frequency + reach) * self._n_fft), self._n_fft // 2)
        first = low // self._folds * self._folds
        response = 2 * hann_response(
            (np.arange(first, high + 1) / self._n_fft - frequency) * length
        )
        response[: low - first] = 0
        return first, (response / self.hop_length).astype(np.float32)

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of a segment."""
        spectrum = scipy.fft.rfft(segment)
        folded = np.zeros((len(self._filters), self._folds), np.complex64)
        for row, (first, response) in zip(folded, self._filters, strict=True):
            _fold(spectrum[first : first + len(response)] * response, row)
        frames = scipy.fft.ifft(folded, axis=-1, overwrite_x=True)
        kept = frames[:, self._margin : self._margin + self.block_frames]
        power: Array = kept.real**2 + kept.imag**2
        return power


def _fold(product: Spectrum, into: Spectrum) -> None:
    """Add up the pieces of a spectrum that alias onto each other at the frame rate."""
    whole = len(product) // len(into) * len(into)
    if whole:
        product[:whole].reshape(-1, len(into)).sum(axis=0, out=into)
    rest = len(product) - whole
    into[:rest] += product[whole:]
