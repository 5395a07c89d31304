"""Several guesses at each token become one, by weights that follow the recording.

    log p(x) = sum over the guesses of  weight x log guess(x),  less what makes it sum to one

as the mixing of PAQ (Mahoney 2005), over all ids at once. Each band has weights for each gate: how
near the nearest moment of the past is. After each chunk, those of a gate that was met take one step
of Newton's method on the bits of all its chunks so far, older ones with less and less weight. The
bits are convex in the weights, so that no rate of learning is to be chosen.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Indices, Mask

_FLOOR = 1e-3  # share of each guess that is spread over all ids: no guess is certain
_FADE = 0.98  # weight of a chunk's curvature, a chunk later
_FIRM = 100.0  # curvature of the weights that a recording begins with


class Mixed(NamedTuple):
    """A chunk under the mixture."""

    nats: Array  # (CHUNK, bands): -log of the probability; 0 for special tokens
    single: Array  # (guesses, CHUNK, bands): the same under each guess alone


class Mixture:
    """Mixes guesses, each softened: of each band (guesses, CHUNK, CB).

    weights: the first ones, (gates, bands, guesses).
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.weights = np.array(weights, np.float64)
        gates, bands, guesses = self.weights.shape
        self._first = _FIRM * np.eye(guesses)
        self._curvature = np.tile(self._first, (gates, bands, 1, 1))

    def mix(self, guesses: Iterable[Array], ids: Ids, gates: Indices) -> Mixed:
        """The nats of a chunk's tokens (CHUNK, bands) with gates (CHUNK,); then the weights move.

        guesses: of each band; they are taken one by one. Special tokens cost nothing, and move
        nothing.
        """
        counts, bands, number = self.weights.shape
        columns = np.arange(len(ids))
        nats = np.zeros(ids.shape, np.float32)
        single = np.zeros((number, *ids.shape), np.float32)
        squares = np.zeros((counts, bands, number, number))
        means = np.zeros((bands, number, len(ids)))
        counted = np.empty((bands, len(ids)), np.bool_)
        for band, logs in enumerate(guesses):
            size = logs.shape[-1]
            right = np.minimum(ids[:, band], size - 1)
            counted[band] = ids[:, band] < size
            total = self._total(band, logs, gates)
            likely = np.exp(total)
            sums = likely.sum(axis=-1, keepdims=True)
            likely /= sums
            nats[:, band] = np.log(sums[:, 0]) - total[columns, right]
            single[..., band] = -logs[:, columns, right]
            means[band] = np.vecdot(logs, likely)
            _add_squares(squares[:, band], logs, likely, np.where(counted[band], gates, -1))
        off = ~counted.T
        nats[off], single[:, off] = 0, 0
        of_gate = (gates == np.arange(counts)[:, None])[:, None] & counted  # (gates, bands, CHUNK)
        self._learn(squares, means, -single.transpose(2, 0, 1) - means, of_gate)
        return Mixed(nats, single)

    def distribution(self, band: int, logs: Array, gates: Indices) -> Array:
        """Log-probabilities (CHUNK, CB) of the guesses (guesses, CHUNK, CB) at a band."""
        total = self._total(band, logs, gates)
        normalized: Array = total - np.log(np.exp(total).sum(axis=-1, keepdims=True))
        return normalized

    def _total(self, band: int, logs: Array, gates: Indices) -> Array:
        """(CHUNK, CB): weighted sums of the guesses, less the largest of each column."""
        weights = self.weights[gates, band].astype(np.float32)
        total: Array = np.einsum("gcx,cg->cx", logs, weights)
        total -= total.max(axis=-1, keepdims=True)
        return total

    def _learn(
        self,
        squares: NDArray[np.float64],
        means: NDArray[np.float64],
        steep: NDArray[np.float64],
        of_gate: Mask,
    ) -> None:
        """A step of Newton's method for each gate and band that is met.

        squares: (gates, bands, guesses, guesses), sums over the columns of means of products.
        means: (bands, guesses, CHUNK) of the guesses under the mixture; steep: what the tokens'
        guesses are above them. of_gate: (gates, bands, CHUNK), which columns count.
        """
        some = of_gate.astype(np.float64)[..., None, :]
        squares = squares - (means * some) @ means.transpose(0, 2, 1)
        slopes = (steep * some).sum(axis=-1)  # (gates, bands, guesses)
        met = of_gate.any(axis=-1)
        curvature = _FADE * self._curvature[met] + squares[met] + (1 - _FADE) * self._first
        self._curvature[met] = curvature
        self.weights[met] += np.linalg.solve(curvature, slopes[met][..., None])[..., 0]


def _add_squares(squares: NDArray[np.float64], logs: Array, likely: Array, gates: Indices) -> None:
    """Add to (gates, guesses, guesses) the means of products of logs of the columns of each gate.

    logs: (guesses, CHUNK, CB). likely: (CHUNK, CB), what they are weighed by. gates: (CHUNK,); -1:
    a column that does not count.
    """
    order = np.argsort(gates, kind="stable")
    borders = np.searchsorted(gates[order], np.arange(len(squares) + 1)).tolist()
    if borders[0] or len(likely) not in np.diff(borders):  # columns of a gate side by side
        logs, likely = np.take(logs, order, axis=1), likely[order]
    weighted = logs * likely
    for square, first, end in zip(squares, borders, borders[1:], strict=False):
        if first < end:
            left, right = (each[:, first:end].reshape(len(logs), -1) for each in (weighted, logs))
            square += left @ right.T


def soften(guesses: Array, *, out: Array | None = None) -> Array:
    """Logarithms of guesses of which a small share is spread over all ids.

    out: where to; it may be the guesses.
    """
    logs = np.multiply(guesses, np.float32(1 - _FLOOR), out=out)
    logs += np.float32(_FLOOR / guesses.shape[-1])
    return np.log(logs, out=logs)
