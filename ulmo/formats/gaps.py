"""Columns of `<gap>`: those that lie in no segment of a stream."""

from bisect import bisect_right
from itertools import islice

import numpy as np

from ulmo.arrays import Ids, Mask
from ulmo.formats.header import TokensHeader


def misplaced(header: TokensHeader, ids: Ids, first: int = 0) -> int | None:
    """The first column of ids (n, band) that is neither of a segment nor `<gap>`; None: all are.

    first: the column in the stream that `ids` begins with.
    """
    if not header.segments:
        return None
    is_gap = (ids == header.vocabulary.gap).all(axis=1)
    (wrong,) = np.nonzero(~is_gap & _outside(header, first, len(ids)))
    return first + int(wrong[0]) if len(wrong) else None


def _outside(header: TokensHeader, first: int, count: int) -> Mask:
    """Whether each of `count` columns (n,) from `first` on lies in no segment."""
    outside = np.ones(count, np.bool_)
    index = bisect_right(header.segments, first, key=lambda segment: segment.column)
    for segment in islice(header.segments, max(index - 1, 0), None):
        if segment.column >= first + count:
            break
        end = segment.column + segment.columns - first
        outside[max(segment.column - first, 0) : max(end, 0)] = False
    return outside
