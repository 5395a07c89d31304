"""How many tokens and bits a second of sound comes to."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids


class Rate(NamedTuple):
    """Rates of a tokenizer on some recordings; NaN where no token tells."""

    tokens: int
    """Tokens that the entropies are measured on."""
    tokens_per_second: float
    """Of the grid: bands times columns a second."""
    bits_per_second: float
    """log2(CB) for each token: ids as they are."""
    entropy_bits_per_second: float
    """The ids' zero-order entropy for each token: what an ideal code of single ids comes to
    (Shannon 1948)."""
    conditional_bits_per_second: float
    """Entropy of an id given the one before it in its band, for each token. It is too low where
    there are fewer tokens than pairs of codes (CB * CB): compare it at equal numbers of tokens."""


def rate(grids: Sequence[Ids], *, codebook_size: int, tokens_per_second: float) -> Rate:
    """The rates of grids of ids (time, band), one for each recording."""
    ids = np.concatenate([np.empty(0, np.int64), *(grid.ravel() for grid in grids)])
    before = np.concatenate([np.empty(0, np.int64), *(grid[:-1].ravel() for grid in grids)])
    after = np.concatenate([np.empty(0, np.int64), *(grid[1:].ravel() for grid in grids)])
    pairs = before * (int(ids.max(initial=0)) + 1) + after
    return Rate(
        tokens=len(ids),
        tokens_per_second=tokens_per_second,
        bits_per_second=tokens_per_second * math.log2(codebook_size),
        entropy_bits_per_second=tokens_per_second * entropy_bits(ids),
        conditional_bits_per_second=tokens_per_second
        * max(entropy_bits(pairs) - entropy_bits(before), 0.0),
    )


def entropy_bits(symbols: NDArray[np.int64]) -> float:
    """Shannon entropy in bits of the shares of some symbols (n,); NaN of none."""
    if not len(symbols):
        return float("nan")
    counts = np.unique(symbols, return_counts=True)[1]
    shares = counts / counts.sum()
    return float((shares * np.log2(1 / shares)).sum())
