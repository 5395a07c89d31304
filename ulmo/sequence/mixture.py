"""Several guesses at each token become one, by weights that follow the recording.

    log p(x) = sum over the guesses of  weight x log guess(x),  less what makes it sum to one

as the mixing of PAQ (Mahoney 2005), over all ids at once. Each band has weights for each gate: how
near the nearest moment of the past is. After each chunk, those of a gate that was met take one step
of Newton's method on the bits of all its chunks so far, older ones with less and less weight. The
bits are convex in the weights, so that no rate of learning is to be chosen.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Indices, Mask

_FLOOR = 1e-3  # share of each guess that is spread over all ids: no guess is certain
_FADE = 0.98  # weight of a chunk's curvature, a chunk later
_FIRM = 100.0  # curvature of the weights that a recording begins with


class Mixed(NamedTuple):
    """A chunk under the mixture."""

    nats: NDArray[np.float32]  # (CHUNK, bands): -log of the probability; 0 for special tokens
    single: NDArray[np.float32]  # (guesses, CHUNK, bands): the same under each guess alone


class Mixture:
    """Mixes guesses (guesses, CHUNK, bands, CB).

    weights: the first ones, (gates, bands, guesses).
    """

    def __init__(self, weights: NDArray[np.float64]) -> None:
        self.weights = np.array(weights, np.float64)
        gates, bands, guesses = self.weights.shape
        self._curvature = np.tile(_FIRM * np.eye(guesses), (gates, bands, 1, 1))

    def mix(self, guesses: Array, ids: Ids, gates: Indices) -> Mixed:
        """The nats of a chunk's tokens (CHUNK, bands) with gates (CHUNK,); then the weights move.

        Special tokens cost nothing, and move nothing.
        """
        logs = soften(guesses)
        size = logs.shape[-1]
        counted = ids < size
        mixed = self.distribution(logs, gates)
        right = np.minimum(ids, size - 1)[..., None]
        nats = -np.take_along_axis(mixed, right, axis=-1)[..., 0]
        single = -np.take_along_axis(logs, right[None], axis=-1)[..., 0]
        self._learn(logs, np.exp(mixed), -single, counted, gates)
        return Mixed(np.where(counted, nats, 0), np.where(counted, single, 0))

    def distribution(self, logs: Array, gates: Indices) -> Array:
        """Log-probabilities (CHUNK, bands, CB) of log-guesses (guesses, CHUNK, bands, CB)."""
        weights = self.weights[gates].astype(np.float32).transpose(2, 0, 1)[..., None]
        total = weights[0] * logs[0]
        for weight, each in zip(weights[1:], logs[1:], strict=True):
            total = total + weight * each
        total = total - total.max(axis=-1, keepdims=True)
        normalized: Array = total - np.log(np.exp(total).sum(axis=-1, keepdims=True))
        return normalized

    def _learn(
        self, logs: Array, mixed: Array, right: Array, counted: Mask, gates: Indices
    ) -> None:
        """A step of Newton's method for each gate and band. right: (guesses, CHUNK, bands)."""
        guesses, _, bands, _ = logs.shape
        for band in range(bands):
            each = np.ascontiguousarray(logs[:, :, band])  # (guesses, CHUNK, CB)
            weighted = each * mixed[:, band]
            mean = weighted.sum(axis=-1)  # (guesses, CHUNK)
            steep = (right[:, :, band] - mean).astype(np.float64)
            for gate in np.unique(gates[counted[:, band]]).tolist():
                some = np.flatnonzero(counted[:, band] & (gates == gate))
                flat = weighted[:, some].reshape(guesses, -1)
                square = (flat @ each[:, some].reshape(guesses, -1).T).astype(np.float64)
                means = mean[:, some].astype(np.float64)
                curvature = self._curvature[gate, band]
                curvature *= _FADE
                curvature += square - means @ means.T + (1 - _FADE) * _FIRM * np.eye(guesses)
                self.weights[gate, band] += np.linalg.solve(curvature, steep[:, some].sum(axis=1))


def soften(guesses: Array) -> Array:
    """Logarithms of guesses of which a small share is spread over all ids."""
    logs: Array = np.log(guesses * np.float32(1 - _FLOOR) + np.float32(_FLOOR / guesses.shape[-1]))
    return logs
