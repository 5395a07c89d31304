"""How much two tokens say that a sound came back, relative to what a recording is full of.

Scores of a bundle are log-odds relative to the sounds of its training. A recording has its own: hum
and hiss are most of it, and that they come back says nothing. So the scores are adjusted to its own
frequencies, as those of proteins of unusual composition (Yu, Wootton and Altschul 2003, "The
compositional adjustment of amino acid substitution matrices", equation 7).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Mask

# Share of the tokens of a sound that its background has replaced: the least evidence of a pair is
# log2 of it, so that one noisy token does not outweigh those that agree. 0.05 to 0.2 find the same.
_REPLACED = 0.1
_ROUNDS = 60  # of the adjustment; it is exact to 1e-6 after about 20
_PRIOR = 20.0  # tokens with the usual share of their band, added to those of each id
_LEAST_SHARE = 1e-3  # of all tokens of a band, spread over all codes: none is impossible


class Evidence(NamedTuple):
    """The tokens of a stream as rows of a table, and what a pair of rows says.

    A row is an id, or CB more where the column before has the same id in that band: what lasts is
    no news. 2 CB is a token that carries no evidence.
    """

    rows: NDArray[np.int64]  # (time, bands), 0 .. 2 CB
    table: NDArray[np.int16]  # (bands, 2 CB + 1, 2 CB + 1), symmetric, in units; 0: no evidence
    unit: float  # bits

    def cells(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int32]:
        """Evidence (..., bands) in units of pairs of rows (..., bands)."""
        bands = np.arange(self.rows.shape[1])
        pairs: NDArray[np.int32] = self.table[bands, first, second].astype(np.int32)
        return pairs


def weigh(ids: Ids, heard: Mask, scores: Array, *, longest: int) -> Evidence:
    """The evidence of ids (time, bands), of which those not `heard` (time, bands) carry none.

    scores: log-odds (bands, CB, CB) in bits. longest: columns whose sum of evidence fits 16 bits.

    Evidence is rounded to whole units, so that sums are exact in whatever order they are made.
    """
    bands, codes = scores.shape[:2]
    rows = np.where(heard & (ids >= 0) & (ids < codes), ids, 2 * codes).astype(np.int64)
    lasts = (rows[1:] == rows[:-1]) & (rows[1:] < codes)
    rows[1:] += codes * lasts
    table = np.zeros((bands, 2 * codes + 1, 2 * codes + 1))
    for band in range(bands):
        counts = np.bincount(rows[:, band], minlength=2 * codes + 1)[:-1].reshape(2, codes)
        if counts.any():
            bits = _adjusted(scores[band], counts.sum(axis=0, dtype=np.float64))
            news = np.sqrt(np.concatenate([np.ones(codes), _news(*counts.astype(np.float64))]))
            table[band, :-1, :-1] = np.tile((bits + bits.T) / 2, (2, 2)) * np.outer(news, news)
    most = max(float(np.abs(table).sum(axis=0).max()), 1.0)
    unit = 2.0 ** np.ceil(np.log2(most * longest / np.iinfo(np.int16).max))
    return Evidence(rows, np.rint(table / unit).astype(np.int16), unit)


def _news(begins: NDArray[np.float64], lasts: NDArray[np.float64]) -> NDArray[np.float64]:
    """(CB,): weight of an id that lasts, from how often each begins and lasts: how unusual it is.

    Ids of a hum last for seconds. Each of their columns would count as evidence of its own, and two
    stretches of noise that are alike by chance would be as sure as a call.
    """
    usual = lasts.sum() / (begins.sum() + lasts.sum())
    share: NDArray[np.float64] = (lasts + _PRIOR * usual) / (begins + lasts + _PRIOR)
    return 1 - share


def _adjusted(scores: Array, counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log-odds in bits (CB, CB) relative to the frequencies that the counts (CB,) show.

    The joint probabilities keep their ratios, and their sums become the frequencies q: odds R
    become x_a R(a, b) x_b with sum over b of q(b) x_a R(a, b) x_b = 1 for each a.
    """
    share = counts / counts.sum() + _LEAST_SHARE / len(counts)
    share /= share.sum()
    odds = np.exp2(scores.astype(np.float64))
    factors = np.ones(len(counts))
    for _ in range(_ROUNDS):
        factors = np.sqrt(factors / (odds @ (share * factors)))
    adjusted = odds * factors[:, None] * factors
    bits: NDArray[np.float64] = np.log2((1 - _REPLACED) * adjusted + _REPLACED)
    return bits
