"""Habits of a recording: which ids it has after which, counted as its chunks end."""

import numpy as np

from ulmo.arrays import Array, Ids
from ulmo.config.token_model import CHUNK

_PRIOR = 8.0  # tokens that the usual frequencies count as
_BACKOFF = 4.0  # tokens that the frequencies without a context count as


class Habits:
    """Frequencies of ids in the recording so far, given a neighbour of each.

    usual: (bands, CB), the probability of each id in other recordings. columns: how many of the
    last columns count, a multiple of CHUNK; None: all.

    Three guesses for each token: its frequency in its band, that after the id before it in its
    band, and that above the id of the band below, or, in the lowest band, after that of the band
    above in the column before. Memory: 4 bytes for each pair of ids, two tables a band.
    """

    GUESSES = 3

    def __init__(self, usual: Array, *, columns: int | None = None) -> None:
        self._usual = np.asarray(usual, np.float32)
        bands, size = usual.shape
        self._alone = np.zeros((bands, size + 1), np.float32)
        self._pairs = np.zeros((2, bands, size + 1, size + 1), np.float32)
        self._totals = np.zeros((2, bands, size + 1), np.float32)
        self._size = size
        self._most = columns
        self._kept: list[tuple[Ids, Ids]] = []  # chunks that count, if not all do
        self._last = np.full(bands, size, np.int32)

    def add(self, ids: Ids) -> None:
        """Count a chunk (CHUNK, bands) that has ended."""
        known = np.minimum(ids, self._size)
        contexts = self._contexts(known)
        self._count(known, contexts, np.float32(1))
        self._last = known[-1]
        if self._most is not None:
            self._kept.append((known, contexts))
            if len(self._kept) > self._most // CHUNK:
                self._count(*self._kept.pop(0), np.float32(-1))

    def guess(self, ids: Ids) -> Array:
        """(GUESSES, CHUNK, bands, CB): probabilities of the tokens of the chunk that follows.

        Those of a token depend on the past, the columns before it and the lower bands of its own.
        """
        known = np.minimum(ids, self._size)
        contexts = self._contexts(known)
        counts = self._alone[:, :-1]
        total = counts.sum(axis=1, keepdims=True)
        alone = (counts + _PRIOR * self._usual) / (total + _PRIOR)
        guesses = np.empty((self.GUESSES, *ids.shape, self._size), np.float32)
        guesses[0] = alone
        bands = np.arange(ids.shape[1])
        for number, context in enumerate(contexts):
            rows = self._pairs[number, bands, context][..., :-1]  # (CHUNK, bands, CB)
            sums = self._totals[number, bands, context][..., None]
            guesses[1 + number] = (rows + _BACKOFF * alone) / (sums + _BACKOFF)
        return guesses

    def _contexts(self, known: Ids) -> Ids:
        """(2, CHUNK, bands): the neighbours of each token."""
        before = np.concatenate([self._last[None], known[:-1]])
        below = np.concatenate([before[:, -1:], known[:, :-1]], axis=1)
        if known.shape[1] > 1:
            below[:, 0] = before[:, 1]
        return np.stack([before, below])

    def _count(self, known: Ids, contexts: Ids, weight: np.float32) -> None:
        is_code = known < self._size
        bands = np.broadcast_to(np.arange(known.shape[1]), known.shape)[is_code]
        ids = known[is_code]
        np.add.at(self._alone, (bands, ids), weight)
        for number, context in enumerate(contexts):
            np.add.at(self._pairs[number], (bands, context[is_code], ids), weight)
            np.add.at(self._totals[number], (bands, context[is_code]), weight)
