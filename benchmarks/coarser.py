"""Coarser variants of a tokenizer: fewer codes, and fewer columns, so fewer bits a second."""

import math
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans

from ulmo.arrays import Array, Ids

CODES = (512, 128, 64, 32, 16)
STEPS = (1, 2, 4)


class Variant(NamedTuple):
    """One id stands for several codes, and one column for several."""

    codes: int
    step: int  # every column, every second one...

    @property
    def name(self) -> str:
        """A key for JSON."""
        return f"{self.codes}/{self.step}"

    def bits_per_second(self, tokens_per_second: float) -> float:
        """Bits a second of a tokenizer with this number of tokens a second: log2(codes) a token."""
        return tokens_per_second / self.step * math.log2(self.codes)


def variants(codes: int) -> list[Variant]:
    """All variants of a codebook of some codes, the codebook itself first."""
    return [Variant(count, step) for step in STEPS for count in CODES if count <= codes]


def merged(codebook: Array, codes: int) -> Ids:
    """The new id (CB,) of each code of a codebook (CB, d): k-means on its vectors."""
    if codes == len(codebook):
        return np.arange(codes, dtype=np.int32)
    found = KMeans(codes, n_init=4, random_state=0).fit_predict(codebook.astype(np.float64))
    ids: Ids = found.astype(np.int32)
    return ids


def coarser(grid: Ids, ids: Ids, variant: Variant) -> Ids:
    """Ids (time, band) by the new id (CB,) of each code; special tokens become `variant.codes`."""
    kept = grid[:: variant.step]
    table = np.append(ids, np.int32(variant.codes))
    coarse: Ids = table[np.minimum(kept, len(ids))]
    return coarse
