"""`<unk>`: a vector that lies further from its code than the vectors of training did.

The bundle stores, for each code, a threshold at each level of UNK_QUANTILES: the squared distance
within which so large a share of the code's own training vectors lie (ulmo.evaluation.unk). The
ids come first, and what is beyond the threshold of its nearest code is then `<unk>`.
"""

import numpy as np
from numpy.typing import NDArray

from ulmo.config import UserError

UNK_QUANTILES = (0.9, 0.95, 0.99, 0.999)
"""Levels at which a bundle stores thresholds; no other may be chosen."""


def level_of(quantile: float) -> int:
    """Index of a stored level; UserError names those that there are."""
    if quantile not in UNK_QUANTILES:
        stored = ", ".join(map(str, UNK_QUANTILES))
        raise UserError(f"unk_quantile must be one of {stored}, not {quantile:g}")
    return UNK_QUANTILES.index(quantile)


def mark_unknown(
    ids: NDArray[np.int32],
    distances: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    unk: int,
) -> NDArray[np.int32]:
    """Ids with `unk` where the distance is over the threshold (CB,) of the code; any one shape."""
    return np.where(distances > thresholds[ids], np.int32(unk), ids)


def check_thresholds(thresholds: NDArray[np.float32]) -> None:
    """ValueError unless thresholds (CB, levels) are at least 0 and never fall from level to level.

    That they are finite is for who reads them to see: a comparison with NaN is not true.
    """
    if not (thresholds[:, 0] >= 0).all():
        raise ValueError("a threshold of <unk> is negative")
    if not (thresholds[:, 1:] >= thresholds[:, :-1]).all():
        raise ValueError("the thresholds of <unk> fall from one level to the next")
