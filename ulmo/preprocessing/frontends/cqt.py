"""Constant-Q transform: M log-spaced bins, whose windows hold equally many cycles."""

import numpy as np

from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends.filterbank import FilterBank, Values

CYCLES_TO_NYQUIST = 490.0  # sample_rate / fmin by default: 32.7 Hz (C1) at 16 kHz
# A filter's frequency response is cut where it stays 80 dB below its peak.
RESPONSE_FLOOR = 1e-4
HANN_BANDWIDTH = 1.5  # equivalent noise bandwidth of the Hann window, in bins


def quality(bins_per_octave: int) -> float:
    """Q of Brown (1991), equation 3: the bins lie one bandwidth apart."""
    return float(1 / (2 ** (1 / bins_per_octave) - 1))


class Cqt(FilterBank):
    """Constant-Q transform of Brown (1991): filters of a Hann window of Q cycles.

    A sine of full scale at a bin's centre has power 1 (librosa's cqt times 2 / sqrt(length)).
    """

    words = "constant-Q transform"
    settings = ("fmin", "bins_per_octave")

    @classmethod
    def filters(cls, settings: PrepSettings) -> tuple[Values, Values, Values]:
        """See FilterBank."""
        frequencies, cycles = cls._bins(settings)
        rate = settings.sample_rate
        lengths = cycles * rate / frequencies
        # Cycles beyond which the response stays under RESPONSE_FLOOR: it falls as 1 / (pi x^3).
        width = (1 / (np.pi * RESPONSE_FLOOR)) ** (1 / 3)
        return frequencies / rate, lengths / 2, width / lengths

    def __init__(self, settings: PrepSettings) -> None:
        self._lengths = 2 * self.filters(settings)[1]
        super().__init__(settings)

    def response(self, index: int, offset: Values) -> Values:
        """Fourier transform of a Hann window of area 1."""
        cycles = offset * self._lengths[index]
        near_one = np.abs(np.abs(cycles) - 1) < 1e-9
        safe = np.where(near_one, 0.5, cycles)
        return np.where(near_one, 0.5, np.sinc(safe) / (1 - safe * safe))

    @staticmethod
    def _bins(settings: PrepSettings) -> tuple[Values, float]:
        """Centre frequencies, whose filters end below Nyquist, and Q."""
        rate, bins = settings.sample_rate, settings.tile_size
        fmin = settings.fmin or rate / CYCLES_TO_NYQUIST

        def octaves(per_octave: int) -> float:
            """From fmin to the upper skirt of the highest filter."""
            skirt = 1 + 0.5 * HANN_BANDWIDTH / quality(per_octave)
            return float((bins - 1) / per_octave + np.log2(skirt))

        room = np.log2(rate / 2 / fmin)
        fitting = (n for n in range(1, 4 * bins + 1) if octaves(n) <= room)
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
