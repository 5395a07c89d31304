"""How well a codebook is used, and the tokens and bits that a second of sound takes."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Counts = NDArray[np.int64]


class CodebookHealth(NamedTuple):
    """Statistics of the counts of the codes; all NaN if no token was counted."""

    usage: float  # share of the codes that were used at all
    entropy: float  # Shannon entropy of the counts, over log2(CB): 1 if all are used equally
    perplexity: float  # 2 to the entropy in bits: number of codes, used equally, of that entropy
    top1: float  # share of the most used code


def codebook_health(counts: _Counts) -> CodebookHealth:
    """Health from the counts of each code, (CB,)."""
    total = counts.sum()
    if total == 0:
        return CodebookHealth(*[math.nan] * 4)
    used = counts[counts > 0]
    bits = _bits(used)
    return CodebookHealth(
        usage=len(used) / len(counts),
        entropy=bits / np.log2(len(counts)),
        perplexity=2.0**bits,
        top1=float(used.max() / total),
    )


class Rate(NamedTuple):
    """Rates of a tokenizer on some recordings; entropies are NaN without tokens."""

    tokens: int  # tokens that the entropies are measured on
    tokens_per_second: float  # of the grid: bands times columns a second
    bits_per_second: float  # log2(CB) for each token: plain ids
    # Zero-order entropy of the ids: the rate of an ideal code of single ids (Shannon 1948).
    entropy_bits_per_second: float
    # Entropy of an id given the one before it in its band. Too low if there are fewer tokens than
    # pairs of codes (CB * CB): compare it at equal numbers of tokens.
    conditional_bits_per_second: float


def rate(
    grids: Sequence[NDArray[np.int32]], *, codebook_size: int, tokens_per_second: float
) -> Rate:
    """The rates of grids of ids (time, band), one for each recording."""
    none = np.empty(0, np.int64)
    ids = np.concatenate([none, *(grid.ravel() for grid in grids)])
    before = np.concatenate([none, *(grid[:-1].ravel() for grid in grids)])
    after = np.concatenate([none, *(grid[1:].ravel() for grid in grids)])
    pairs = before * (int(ids.max(initial=0)) + 1) + after
    conditional = max(_entropy(pairs) - _entropy(before), 0.0)
    return Rate(
        tokens=len(ids),
        tokens_per_second=tokens_per_second,
        bits_per_second=tokens_per_second * math.log2(codebook_size),
        entropy_bits_per_second=tokens_per_second * _entropy(ids),
        conditional_bits_per_second=tokens_per_second * conditional,
    )


def _entropy(symbols: NDArray[np.int64]) -> float:
    """In bits, of symbols (n,); NaN if there are none."""
    return _bits(np.unique(symbols, return_counts=True)[1]) if len(symbols) else math.nan


def _bits(counts: _Counts) -> float:
    """Shannon entropy in bits of counts above 0."""
    shares = counts / counts.sum()
    return float((shares * np.log2(1 / shares)).sum())
