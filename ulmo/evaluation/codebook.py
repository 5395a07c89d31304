"""How well a codebook is used."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class CodebookHealth(NamedTuple):
    """Statistics of how often each code was used; all NaN where no token was counted."""

    usage: float
    """Share of the codes that were used at all."""
    entropy: float
    """Shannon entropy of the use, over log2(codes): 1 where all are used alike."""
    perplexity: float
    """2 to the entropy in bits: the number of codes that would do if all were used alike."""
    top1: float
    """Share of the commonest code."""


def codebook_health(counts: NDArray[np.int64]) -> CodebookHealth:
    """Health from the counts of each code, (CB,)."""
    total = counts.sum()
    if total == 0:
        return CodebookHealth(*[float("nan")] * 4)
    share = counts[counts > 0] / total
    bits = float((share * np.log2(1 / share)).sum())
    return CodebookHealth(
        usage=len(share) / len(counts),
        entropy=bits / np.log2(len(counts)),
        perplexity=2.0**bits,
        top1=float(share.max()),
    )
