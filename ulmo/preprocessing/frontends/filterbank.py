"""Many band-pass filters at once, in the frequency domain, at the frame rate."""

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array
from ulmo.config import Cost, PrepSettings, UserError
from ulmo.preprocessing.frontends.base import FLOAT, Block, FrontEnd
from ulmo.preprocessing.frontends.fft import fast_length, rfft
from ulmo.preprocessing.threads import one_thread

Values = NDArray[np.float64]

MAX_CELLS = 1 << 26  # most samples of the FFT and cells of the folded spectra: half a gigabyte
_CALL = 10_000  # operations that the calls for a filter stand for


class FilterBank(FrontEnd):
    """Power at the frame centres of M complex filters, each symmetric in time about 0.

    One FFT of a long block is multiplied by the response of each filter, folded to the frame rate
    and inverted there. The result is exactly the filter's output at the frame centres; its other
    samples are never computed. Blocks overlap by the longest filter, so the circular convolution
    equals a linear one on the frames that are kept.

    Raises UserError if all filters are shorter than the hop, or one is too long to compute.
    """

    frame_by_frame = False

    @classmethod
    def cost(cls, settings: PrepSettings) -> Cost:
        """See FrontEnd. An FFT, then each filter's response, and an inverse FFT of the folds."""
        _, half_lengths, reaches = cls.filters(settings)
        margin, folds = _block_of(settings, half_lengths)
        n_fft, bins = folds * settings.hop_length, settings.tile_size
        half = n_fft / 2 + 1
        responses = np.minimum(2 * reaches * n_fft + folds + 1, half)
        total, longest = float(responses.sum()), float(responses.max())
        return Block(
            frames=folds - 2 * margin,
            samples=n_fft + settings.hop_length,
            bytes=FLOAT * (4 * n_fft + 4 * longest + 10 * bins * folds),
            operations=n_fft * 2.5 * np.log2(n_fft)
            + 6 * total
            + bins * folds * (5 * np.log2(folds) + 10)
            + bins * _CALL,
            kept=2 * FLOAT * total + 10 * 8 * longest,
            begin=100 * total,
        ).cost(settings)

    @classmethod
    def filters(cls, settings: PrepSettings) -> tuple[Values, Values, Values]:
        """Filters (M,) by their centres in cycles a sample, and two limits of each.

        A filter is 0 beyond its half length, in samples on either side of 0, and its response
        beyond its reach, in cycles a sample on either side of its centre.
        """
        raise NotImplementedError

    def __init__(self, settings: PrepSettings) -> None:
        self.hop_length = hop_length = settings.hop_length
        cycles, half_lengths, reaches = self.filters(settings)
        self.frequencies = cycles * settings.sample_rate
        margin, folds = _block_of(settings, half_lengths)
        self._n_fft = folds * hop_length
        self._folds = folds
        self._margin = margin
        self.block_frames = folds - 2 * margin
        self.left = margin * hop_length
        self.right = (margin + 1) * hop_length
        self._responses = [
            self._sampled(*one) for one in zip(range(len(cycles)), cycles, reaches, strict=True)
        ]

    def response(self, index: int, offset: Values) -> Values:
        """Gain of a filter at offsets from its centre in cycles a sample; real, 1 at the centre."""
        raise NotImplementedError

    def _sampled(self, index: int, centre: float, reach: float) -> tuple[int, Array]:
        """First FFT bin, a multiple of the folds, and the response from there, each value repeated.

        Repeated for the real and the imaginary part: numpy multiplies pairs of float32 several
        times as fast as complex by real numbers. The response is doubled, because a real sine has
        half of its amplitude at +frequency.
        """
        low = max(int(np.ceil((centre - reach) * self._n_fft)), 0)
        high = min(int((centre + reach) * self._n_fft), self._n_fft // 2)
        first = low // self._folds * self._folds
        response = 2 * self.response(index, np.arange(first, high + 1) / self._n_fft - centre)
        response[: low - first] = 0
        return first, np.repeat((response / self.hop_length).astype(np.float32), 2)

    def power(self, segment: Array) -> Array:
        """Power (M, block_frames) of a segment."""
        with one_thread():
            spectrum = rfft(segment).view(np.float32)
        folded = np.zeros((len(self._responses), 2 * self._folds), np.float32)
        for row, (first, response) in zip(folded, self._responses, strict=True):
            _fold(spectrum[2 * first : 2 * first + len(response)] * response, row)
        frames = np.fft.ifft(folded.view(np.complex64)).astype(np.complex64, copy=False)
        kept = frames[:, self._margin : self._margin + self.block_frames]
        power: Array = kept.real**2 + kept.imag**2
        return power


def _block_of(settings: PrepSettings, half_lengths: Values) -> tuple[int, int]:
    """Frames by which blocks overlap on either side, and frames of a block with both."""
    longest = float(half_lengths.max())
    _check(settings, longest)
    margin = int(np.ceil(longest / settings.hop_length))
    return margin, fast_length(max(8 * margin, 64))


def _check(settings: PrepSettings, longest: float) -> None:
    """Refuse a hop longer than the longest filter (it would skip samples), and too large an FFT."""
    hop = settings.hop_length
    if hop > 2 * longest:
        raise UserError(
            f"hop_length {hop} is longer than the longest filter of {2 * longest:.0f} samples: "
            f"set hop_length to {int(longest)}, or a smaller fmin"
        )
    if max(8 * longest / hop, 64) * max(hop, settings.tile_size) > MAX_CELLS:
        raise UserError(
            f"the lowest filter lasts {2 * longest:.3g} samples, too many at hop_length {hop}: "
            "set a larger fmin or hop_length, or a smaller tile_size"
        )


def _fold(product: Array, into: Array) -> None:
    """Add the parts of a spectrum that alias onto each other at the frame rate."""
    whole = len(product) // len(into) * len(into)
    if whole:
        product[:whole].reshape(-1, len(into)).sum(axis=0, out=into)
    rest = len(product) - whole
    into[:rest] += product[whole:]
