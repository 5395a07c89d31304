"""What ids say about a tokenizer: whether they change with the sound."""

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

_Counts = NDArray[np.int64]

# Least entropy of the ids within a band, as a share of the largest possible with this number
# of tokens and codes. The tokenizer that ships has 0.6 on mixed corpora and 0.29 on its most
# uniform field recording; a codebook of 512 of which each band uses two or three codes has below
# 0.18.
_LEAST_ENTROPY = 0.2


class Verdict(NamedTuple):
    """How ids vary over the tokens that are not silent; of silence, over all tokens."""

    kind: Literal["varied", "collapsed", "one_code", "silence"]
    tokens: int
    codes: int  # that occur among these tokens
    codebook_size: int
    top1: float  # share of the most used code
    entropy: float  # of an id given its band, over the most that is possible: 0 to 1

    @classmethod
    def of(cls, counts: _Counts, sound_counts: _Counts) -> "Verdict":
        """Judge by the counts (bands, CB) of each code in each band, of all and of sound tokens.

        Bands are judged each by itself: a tokenizer that gives each band its own code, whatever the
        sound, has collapsed.
        """
        silent = not sound_counts.any()
        judged = counts if silent else sound_counts
        by_code, tokens = judged.sum(axis=0), int(judged.sum())
        codes, entropy = int((by_code > 0).sum()), _entropy(judged)
        kind: Literal["varied", "collapsed", "one_code", "silence"] = "varied"
        if silent:
            kind = "silence"
        elif codes == 1:
            kind = "one_code"
        elif entropy < _LEAST_ENTROPY:
            kind = "collapsed"
        top1 = float(by_code.max() / tokens) if tokens else 0.0
        return cls(kind, tokens, codes, judged.shape[1], top1, entropy)

    @property
    def says_little(self) -> bool:
        """Whether all tokens are silent or equal: then none of them can change with the sound."""
        return self.kind in ("silence", "one_code")


def _entropy(counts: _Counts) -> float:
    """Entropy of an id given its band, over its maximum; 0 if no id could differ from another."""
    bits = most = 0.0
    for band in counts:
        tokens = int(band.sum())
        if tokens:
            shares = band[band > 0] / tokens
            bits -= tokens * float((shares * np.log2(shares)).sum())
            most += tokens * math.log2(min(tokens, len(band)))
    return max(bits, 0.0) / most if most else 0.0
