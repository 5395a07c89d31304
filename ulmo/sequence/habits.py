"""Habits of a recording: which ids it has after which, counted as its chunks end."""

from collections.abc import Iterator

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

    def __init__(self, usual: Array, *, columns: int | None = None) -> None:
        self._usual = np.asarray(usual, np.float32)
        bands, size = usual.shape
        self._alone = np.zeros((bands, size), np.float32)
        self._pairs = np.zeros((2, bands, size + 1, size), np.float32)
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

    def guess(self, ids: Ids) -> Iterator[tuple[Array, Array]]:
        """Of each band, probabilities of the tokens of the chunk that follows.

        (CB,), the same for all columns; and (2, CHUNK, CB), which depend on the past, the columns
        before a token and the lower bands of its own.
        """
        contexts = self._contexts(np.minimum(ids, self._size))
        for band, usual in enumerate(self._usual):
            counts = self._alone[band]
            alone = (counts + _PRIOR * usual) / (counts.sum() + _PRIOR)
            added = _BACKOFF * alone
            guesses = np.empty((2, len(ids), self._size), np.float32)
            for number, context in enumerate(contexts[..., band]):
                each = guesses[number]
                np.take(self._pairs[number, band], context, axis=0, out=each, mode="clip")
                each += added
                each /= self._totals[number, band, context][:, None] + _BACKOFF
            yield alone, guesses

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
        ids, tables = known[is_code], len(self._usual) * np.arange(2)[:, None]
        rows = (tables + bands) * (self._size + 1) + contexts[:, is_code]
        for counts, places in (
            (self._alone, bands * self._size + ids),
            (self._pairs, (rows * self._size + ids).ravel()),
            (self._totals, rows.ravel()),
        ):
            np.add.at(counts.reshape(-1), places, weight)
