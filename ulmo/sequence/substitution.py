"""Substitution scores: log-odds in bits that one id stands for the same sound as another.

As the matrices by which proteins are compared (Henikoff and Henikoff 1992, "Amino acid substitution
matrices from protein blocks", equation 1), learned from pairs of ids at the same moment in two
copies of a sound.
"""

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Array, Ids, Mask

_CHANCE = 0.01  # share of pairs that are taken to be by chance: no score is below log2 of it
# Weight of the pairs expected from the codes' distances, in pairs for each code of a band.
_PRIOR = 16.0


def count_pairs(first: Ids, second: Ids, kept: Mask, codes: int) -> NDArray[np.int64]:
    """(bands, codes, codes): how often id i of `first` meets id j of `second`, or j meets i.

    `first`, `second` (..., bands) are ids of the same moments in two copies; those not `kept`
    (..., bands) do not count. Each pair counts twice, once in each order.
    """
    bands = first.shape[-1]
    counts = np.empty((bands, codes, codes), np.int64)
    for band in range(bands):
        some = kept[..., band]
        places = first[..., band][some].astype(np.int64) * codes + second[..., band][some]
        met = np.bincount(places, minlength=codes * codes).reshape(codes, codes)
        counts[band] = met + met.T
    return counts


def substitution_scores(counts: NDArray[np.int64], codebook: Array, spread: float) -> Array:
    """Scores (bands, CB, CB) float32 in bits from the counts of pairs (bands, CB, CB).

        s(a, b) = log2 of p(a, b) / (p(a) p(b))

    Pairs that were seen seldom are estimated from the distances of the codes (CB, EMB): a sound
    whose code is c has id a in another copy in proportion to exp(-|a - c|^2 / (2 spread)), where
    `spread` is the mean squared distance of vectors from their codes. Scores are symmetric. Codes
    that no band has seen score as their neighbours do.
    """
    alike = _likeness(codebook, spread)
    scores = np.empty(counts.shape, np.float32)
    for band, counted in enumerate(counts):
        seen = counted.sum(axis=1) + 1.0 / len(codebook)  # no code is impossible
        expected = (alike * (seen / seen.sum())[:, None]).T @ alike  # sums to 1
        joint = counted + _PRIOR * len(codebook) * expected
        joint /= joint.sum()
        own = joint.sum(axis=1)
        chance = np.outer(own, own)
        scores[band] = np.log2((1 - _CHANCE) * joint / chance + _CHANCE)
    return scores


def _likeness(codebook: Array, spread: float) -> NDArray[np.float64]:
    """(CB, CB), rows sum to 1: how often a sound of a code has each id in another copy."""
    codes = codebook.astype(np.float64)
    norms = np.square(codes).sum(axis=1)
    squares = np.maximum(norms[:, None] + norms - 2 * codes @ codes.T, 0)
    np.fill_diagonal(squares, 0)
    alike = np.exp(-squares / (2 * spread)) if spread > 0 else (squares == 0).astype(np.float64)
    rows: NDArray[np.float64] = alike / alike.sum(axis=1, keepdims=True)
    return rows
