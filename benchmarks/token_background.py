"""Tokens for any number of hours, drawn at random as the ids of recordings follow each other."""

from collections.abc import Sequence

import numpy as np

SHORTEST, LONGEST = 100, 1000  # columns drawn of a recording before another one's turn


def chained(recordings: Sequence[np.ndarray], columns: int, seed: int = 0) -> np.ndarray:
    """Columns (columns, bands) of made-up tokens, of one recording after the other.

    In each band, an id is followed by what followed it somewhere in the recording (order 1). So the
    tokens are as various as the recordings', and columns seldom are the same for long. Recordings
    are drawn by the square root of their lengths; those of less than 60 columns are left out.
    """
    rng = np.random.default_rng(seed)
    long = [ids for ids in recordings if len(ids) >= 60]
    shares = np.sqrt([len(ids) for ids in long])
    found, count = [], 0
    while count < columns:
        ids = long[int(rng.choice(len(long), p=shares / shares.sum()))]
        length = int(rng.integers(SHORTEST, LONGEST))
        found.append(np.stack([walk(band, length, rng) for band in ids.T], axis=1))
        count += length
    return np.concatenate(found)[:columns].astype(np.int32)


def walk(ids: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    """Ids (length,), each drawn from those that follow the one before it in ids (time,)."""
    order = np.argsort(ids[:-1], kind="stable")  # places by id
    begins = np.searchsorted(ids[:-1][order], np.arange(ids.max() + 2)).tolist()
    after, places = ids[1:][order].tolist(), rng.random(length).tolist()
    drawn, current = [], int(ids[rng.integers(len(ids))])
    for place in places:
        first, end = begins[current], begins[current + 1]
        if first == end:  # it was the last of the recording alone
            first, end = 0, len(after)
        current = after[first + int(place * (end - first))]
        drawn.append(current)
    return np.array(drawn)
