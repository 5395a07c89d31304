import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ulmo.evaluation.agreement import Agreement, agreement


def test_known_grids():
    ids = np.array([[1, 2], [3, 4], [5, 6], [7, 8]])
    changed = np.array([[1, 9], [5, 6], [3, 9]])
    columns = np.array([0, 2, 1, 3])
    sound = np.array([[True, True], [False, False], [True, False], [True, True]])
    found = agreement(ids, changed, columns, sound)
    assert found == Agreement(tokens=6, equal=4, sound_tokens=3, sound_equal=2)
    assert (found.share, found.sound_share) == (4 / 6, 2 / 3)


def test_columns_behind_the_end_are_left_out():
    ids = np.arange(10).reshape(5, 2)
    found = agreement(ids, ids[:3], np.arange(5), np.ones((5, 2), bool))
    assert found == Agreement(6, 6, 6, 6)
    none = agreement(ids, ids[:0], np.arange(5), np.ones((5, 2), bool))
    assert none == Agreement()
    assert math.isnan(none.share)
    assert math.isnan(none.sound_share)


@given(
    columns=st.lists(st.integers(0, 9), max_size=12),
    length=st.integers(0, 8),
    bands=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_counts_are_those_of_loops_and_add_up(columns, length, bands, seed):
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, 3, (len(columns), bands))
    changed = rng.integers(0, 3, (length, bands))
    sound = rng.random(ids.shape) < 0.5
    counts = [0, 0, 0, 0]
    for n, band in np.ndindex(ids.shape):
        if columns[n] < length:
            equal = ids[n, band] == changed[columns[n], band]
            for place, counted in enumerate((1, equal, sound[n, band], equal and sound[n, band])):
                counts[place] += int(counted)
    at = np.array(columns, np.int64)
    assert agreement(ids, changed, at, sound) == tuple(counts)
    half = len(columns) // 2
    first = agreement(ids[:half], changed, at[:half], sound[:half])
    assert first + agreement(ids[half:], changed, at[half:], sound[half:]) == tuple(counts)
