"""`<unk>`: vectors that lie farther from their code than most of the code's training vectors.

For each code, a bundle stores a threshold at each level of UNK_QUANTILES: the squared distance
within which that share of the code's training vectors lie (ulmo.evaluation.unk). Ids are found
first; then those beyond the threshold of their code become `<unk>`.
"""

import numpy as np
from numpy.typing import NDArray

from ulmo.config.arguments import one_of

UNK_QUANTILES = (0.9, 0.95, 0.99, 0.999)  # levels at which a bundle stores thresholds


def level_of(quantile: float) -> int:
    """Index of a stored level; UserError, which names them, for any other."""
    return UNK_QUANTILES.index(one_of("unk_quantile", quantile, UNK_QUANTILES))


def mark_unknown(
    ids: NDArray[np.int32],
    distances: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    unk: int,
) -> NDArray[np.int32]:
    """Ids, with `unk` where the distance exceeds the code's threshold (CB,); ids of any shape."""
    return np.where(distances > thresholds[ids], np.int32(unk), ids)


def check_thresholds(thresholds: NDArray[np.float32]) -> None:
    """Raise ValueError if a threshold (CB, levels) is negative or falls from level to level.

    The caller checks that they are finite.
    """
    if not (thresholds[:, 0] >= 0).all():
        raise ValueError("a threshold of <unk> is negative")
    if not (thresholds[:, 1:] >= thresholds[:, :-1]).all():
        raise ValueError("the thresholds of <unk> fall from one level to the next")
