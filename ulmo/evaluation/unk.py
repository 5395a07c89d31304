"""`<unk>`: how far a vector may be from its code."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def unk_thresholds(
    ids: NDArray[np.int32],
    distances: NDArray[np.float32],
    codebook_size: int,
    levels: Sequence[float],
) -> NDArray[np.float32]:
    """Thresholds (CB, levels) on the distance, from the vectors (n,) assigned to each code.

    At a level q (0 < q <= 1), the threshold is the smallest distance among the code's own that at
    most a share 1 - q of them exceeds: an order statistic, without interpolation, for q exactly as
    written in decimals. A code without vectors has the threshold of all vectors together.
    ValueError if there are no vectors.
    """
    if not ids.size:
        raise ValueError("there are no vectors to take thresholds from")
    order = np.lexsort((distances, ids))
    ranked = distances[order]  # by code, the nearest first
    counts = np.bincount(ids, minlength=codebook_size)
    used = counts > 0
    before = np.cumsum(counts) - counts
    nearest = np.sort(distances)
    thresholds = np.empty((codebook_size, len(levels)), np.float32)
    for column, level in enumerate(levels):
        thresholds[:, column] = nearest[_rank(np.array([len(ids)]), level)]
        thresholds[used, column] = ranked[before[used] + _rank(counts[used], level)]
    return thresholds


def _rank(counts: NDArray[np.int64], level: float) -> NDArray[np.int64]:
    """Index, among `count` values in rising order, of the first that covers the share `level`."""
    share = Fraction(str(level))
    ranks: NDArray[np.int64] = -(-counts * share.numerator // share.denominator) - 1
    return ranks
