"""Mel spectrogram: M triangular bands on Slaney's mel scale."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import Cost, PrepSettings, UserError
from ulmo.preprocessing.frontends.base import FLOAT
from ulmo.preprocessing.frontends.stft import Windowed, check_window, spectra_block
from ulmo.preprocessing.threads import one_thread

Values = NDArray[np.float64]

LINEAR_STEP = 200 / 3  # hertz per mel, below 1 kHz
# Natural logarithm of frequency per mel, above 1 kHz.
LOG_START = 1000.0
LOG_STEP = np.log(6.4) / 27
# A longer FFT, relative to the window, is replaced by a shorter one: see `interpolated`.
MAX_N_FFT = 1 << 17
OVERSAMPLING = 2.75
# Kaiser window of the interpolation: weights fall under 1e-10 within some 15 bins.
TAPER_BETA = 20.0
NEGLIGIBLE = 1e-10  # smallest weight that is kept, relative to the largest of its band: -100 dB
# Bands multiplied at once: more would include more zeros, fewer would leave the CPU idle.
ROWS = 16
SKIRT = 40  # bins that a group reaches beyond its bands
ZERO, INFINITE = np.float32(0), np.float32(np.inf)


def hz_to_mel(frequency: Values) -> Values:
    """Hertz to mel: linear to 1 kHz, logarithmic above (Slaney, Auditory Toolbox, 1998)."""
    above = np.maximum(frequency, LOG_START)
    return np.where(
        frequency < LOG_START,
        frequency / LINEAR_STEP,
        LOG_START / LINEAR_STEP + np.log(above / LOG_START) / LOG_STEP,
    )


def mel_to_hz(mel: Values) -> Values:
    """Inverse of `hz_to_mel`."""
    start = LOG_START / LINEAR_STEP
    return np.where(
        mel < start,
        mel * LINEAR_STEP,
        LOG_START * np.exp((np.maximum(mel, start) - start) * LOG_STEP),
    )


def band_edges(bands: int, fmin: float, fmax: float) -> Values:
    """Edges in hertz, (bands + 2,): band k rises from edge k, peaks at k + 1, ends at k + 2."""
    low, high = hz_to_mel(np.array([fmin, fmax]))
    return mel_to_hz(np.linspace(low, high, bands + 2))


def triangles(edges: Values, sample_rate: float, n_fft: int) -> Values:
    """Weights (bands, n_fft // 2 + 1) of triangles that peak at 1."""
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    low, centre, high = (edges[i : len(edges) - 2 + i, None] for i in range(3))
    rising = (bins - low) / (centre - low)
    falling = (high - bins) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling))


def interpolated(weights: Values, n_fft: int, win_length: int, length: int) -> Values:
    """Convert weights on the bins of an FFT of n_fft to weights on the bins of a shorter FFT.

    Both lengths are even. The power spectrum of w samples, however many zeros are appended, follows
    from their autocorrelation at lags up to w - 1. So a weighted sum over the bins of one FFT is a
    sum over the lags, and that is a sum over the bins of any other FFT of at least 2w - 1 samples:
    the same number, not an approximation. Lags beyond w - 1, where the autocorrelation is 0, may
    have any weight: theirs fall off along the integral of a Kaiser window, which keeps the new
    weights near the bins of the old ones.
    """
    gain = _gain(win_length - 1, length)
    on_lags = np.fft.fft(weights, n_fft).real
    near = np.arange(length // 2 + 1)
    far = length - near  # the lag that aliases to `near` in the shorter FFT
    folded = gain[near] * on_lags[:, near] + gain[far] * on_lags[:, far]
    found = np.fft.irfft(folded, length)[:, : len(near)]
    found[:, 1:-1] *= 2  # a bin stands for its mirror image too
    return found


@lru_cache(maxsize=1)  # that of all groups of bands
def _gain(last: int, length: int) -> Values:
    """Weights (length + 1,) of the lags: 1 up to `last`, and falling to 0 behind it."""
    edge = np.cumsum(np.kaiser(length - 2 * last + 1, TAPER_BETA))
    gain = np.concatenate([np.ones(last), 1 - edge / edge[-1], np.zeros(last)])
    gain[last] = 1
    gain.flags.writeable = False
    return gain


class MelPlan(NamedTuple):
    """Band edges and lengths that follow from the settings."""

    edges: Values  # (M + 2,), hertz
    win_length: int
    n_fft: int

    @property
    def length(self) -> int:
        """Length of the FFT that is computed: see `interpolated`."""
        return min(_fast_length(OVERSAMPLING * self.win_length), self.n_fft)


def mel_plan(settings: PrepSettings) -> MelPlan:
    """Compute them; UserError for settings that cannot be met."""
    rate = settings.sample_rate
    fmin, fmax = settings.fmin or 0.0, settings.fmax or rate / 2
    if fmax > rate / 2:
        raise UserError(
            f"fmax {fmax:g} Hz is over half of sample_rate {rate}: set fmax to {rate / 2:g}"
        )
    if fmin >= fmax:
        raise UserError(f"fmin {fmin:g} Hz must be below fmax {fmax:g} Hz")
    edges = band_edges(settings.tile_size, fmin, fmax)
    win_length = settings.win_length or settings.n_fft or 2 * settings.tile_size
    n_fft = settings.n_fft
    if n_fft is None:
        least = max(win_length, rate / float(np.diff(edges).min()))
        n_fft = 1 << int(np.ceil(np.log2(least)))
    if n_fft > MAX_N_FFT:
        raise UserError(
            f"{settings.tile_size} mel bands from {fmin:g} Hz are too narrow: "
            "set a larger fmax - fmin or a smaller tile_size"
        )
    check_window(settings, win_length, n_fft, "win_length")
    return MelPlan(edges, win_length, n_fft)


class Mel(Windowed):
    """M mel bands of an STFT's power.

    The triangles peak at 1 (librosa's norm=None). A band wider than the window's main lobe sums all
    of it: a full-scale tone then has power 1.5 n_fft / win_length (8.4 dB at the defaults), and
    less in narrower bands.
    By default the window is as long as the STFT's (2M samples). n_fft, padded with zeros, is the
    smallest power of two whose bins are at most half the narrowest triangle apart: every band then
    has at least two bins. If that is much longer than the window, a shorter FFT gives the same
    bands (see `interpolated`).
    """

    words = "mel filter bank"
    settings = ("n_fft", "win_length", "fmin", "fmax")

    @classmethod
    def cost(cls, settings: PrepSettings) -> Cost:
        """See FrontEnd. Weights are of all bins that a group of bands reaches, with their skirts.

        To be built, each band takes two FFTs of n_fft in float64, ROWS of them at once.
        """
        plan = mel_plan(settings)
        length = plan.length
        block = spectra_block(settings, plan.win_length, length)
        groups = -(-settings.tile_size // ROWS)
        bins = plan.edges[-1] / settings.sample_rate * length
        weights = ROWS * min(3 * bins + groups * SKIRT, groups * (length // 2 + 1))
        return block._replace(
            operations=block.operations + block.frames * weights,
            kept=block.kept + FLOAT * weights + 10 * 8 * ROWS * plan.n_fft,
            begin=block.begin + settings.tile_size * plan.n_fft * (10 * np.log2(plan.n_fft) + 50),
        ).cost(settings)

    def __init__(self, settings: PrepSettings) -> None:
        plan = mel_plan(settings)
        n_fft, win_length, rate = plan.n_fft, plan.win_length, settings.sample_rate
        length = plan.length
        super().__init__(win_length, n_fft, length, settings.hop_length)
        self.frequencies = plan.edges[1:-1]
        self._groups: list[tuple[slice, Array]] = []  # bins, weights (bands, bins) of ROWS bands
        empty = 0
        for start in range(0, settings.tile_size, ROWS):
            weights = triangles(plan.edges[start : start + ROWS + 2], rate, n_fft)
            empty += int((weights.max(axis=1) <= 0).sum())
            if length < n_fft:
                weights = interpolated(weights, n_fft, win_length, length)
            self._groups.append(_trimmed(weights))
        if empty:
            raise UserError(
                f"n_fft {n_fft} leaves {empty} of {settings.tile_size} mel bands empty: "
                "leave n_fft out, or set a larger one"
            )

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of a segment."""
        with one_thread():
            bins = self.spectra(segment)
            bands = np.empty((len(self.frequencies), bins.shape[1]), np.float32)
            for number, (reached, weights) in enumerate(self._groups):
                out = bands[number * ROWS : (number + 1) * ROWS]
                np.matmul(weights, bins[reached], out=out)
        return np.clip(bands, ZERO, INFINITE, out=bands)  # interpolation may round below 0


def _fast_length(least: float) -> int:
    """The smallest 8, 9, 10 or 12 times a power of two that is at least `least`."""
    power = 1
    while 16 * power < least:
        power *= 2
    return min(factor * power for factor in (8, 9, 10, 12, 16) if factor * power >= least)


def _trimmed(weights: Values) -> tuple[slice, Array]:
    """The bins with weights that matter, and their weights."""
    heavy = np.abs(weights) > NEGLIGIBLE * np.abs(weights).max()
    bins = np.flatnonzero(heavy.any(axis=0))
    reached = slice(int(bins[0]), int(bins[-1]) + 1) if len(bins) else slice(0, 1)
    return reached, weights[:, reached].astype(np.float32)
