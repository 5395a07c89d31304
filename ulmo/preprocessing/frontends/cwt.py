"""Continuous wavelet transform: M complex Morlet wavelets, log-spaced, at the frame rate."""

import numpy as np

from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.frontends.filterbank import FilterBank, Values

# Phase of the wavelet per standard deviation of its envelope, in radians. With 6 its mean is
# negligible, 1.5e-8 (Torrence and Compo 1998, section 3b).
OMEGA_0 = 6.0
RATE_TO_LOWEST = 490.0  # sample_rate / fmin by default, as in `cqt`
# sample_rate / fmax, by default and at least: 7.1 kHz at 16 kHz. Above fmax, every response is
# tapered to zero at Nyquist: with a sharp cut the highest wavelets would ring, and without one they
# would respond to the mirror image of a tone.
RATE_TO_HIGHEST = 2.25
# A wavelet's Gaussian response is cut where it falls 80 dB below its peak.
RESPONSE_DEVIATIONS = 4.3
ENVELOPE_DEVIATIONS = 5.5  # its envelope is 3e-7 there, the precision of float32


class Cwt(FilterBank):
    """Morlet wavelets exp(i w0 t / s - t^2 / 2 s^2), s = w0 / (2 pi f), gain 1 at the centre.

    Power is the squared modulus at the frame centres. It is sampled, not averaged over the hop;
    the highest wavelets are shorter than a hop of 10 ms. A full-scale sine at a wavelet's centre
    has power 1. PyWavelets calls this wavelet `cmorB-C`, with B = 2 and C = w0 / 2 pi, and scales
    it to norm sqrt(s) instead of gain 1.
    """

    words = "continuous wavelet transform"
    settings = ("fmin", "fmax")

    @classmethod
    def filters(cls, settings: PrepSettings) -> tuple[Values, Values, Values]:
        """See FilterBank."""
        cycles = cls._centres(settings) / settings.sample_rate
        deviations = _deviations(cycles)
        reaches = RESPONSE_DEVIATIONS / (2 * np.pi * deviations)
        return cycles, ENVELOPE_DEVIATIONS * deviations, reaches

    def __init__(self, settings: PrepSettings) -> None:
        self._cycles, *_ = self.filters(settings)
        self._deviations = _deviations(self._cycles)
        super().__init__(settings)

    def response(self, index: int, offset: Values) -> Values:
        """The envelope's transform, a Gaussian, and the taper."""
        begin = 1 / RATE_TO_HIGHEST
        above = np.clip((self._cycles[index] + offset - begin) / (0.5 - begin), 0, 1)
        gaussian = np.exp(-0.5 * (2 * np.pi * self._deviations[index] * offset) ** 2)
        return np.asarray(gaussian * np.cos(np.pi / 2 * above) ** 2)

    @staticmethod
    def _centres(settings: PrepSettings) -> Values:
        rate = settings.sample_rate
        fmin = settings.fmin or rate / RATE_TO_LOWEST
        fmax = settings.fmax or rate / RATE_TO_HIGHEST
        if fmax > rate / RATE_TO_HIGHEST:
            raise UserError(
                f"fmax {fmax:g} Hz is too near to half of sample_rate {rate}: "
                f"set fmax to {int(rate / RATE_TO_HIGHEST)}"
            )
        if fmin >= fmax:
            raise UserError(
                f"fmin {fmin:g} Hz must be below fmax {fmax:g} Hz: "
                f"set fmin to {rate / RATE_TO_LOWEST:.1f}"
            )
        return np.geomspace(fmin, fmax, settings.tile_size)


def _deviations(cycles: Values) -> Values:
    """Standard deviations of the envelopes, in samples."""
    return np.asarray(OMEGA_0 / (2 * np.pi * cycles))
