import numpy as np
import pytest

from ulmo.models.draws import Draws


def hidden_of(length, span, share, *, rows=400, seed=0, step=0):
    return np.asarray(Draws(seed, step).spans(rows, length, span, share))


def runs(row):
    """(first, last) of each run of hidden positions."""
    edges = np.flatnonzero(np.diff(np.pad(row.astype(int), 1)))
    return [(first, stop - 1) for first, stop in zip(edges[::2], edges[1::2], strict=True)]


@pytest.mark.parametrize(
    ("length", "span", "share"), [(56, 5, 0.5), (224, 16, 0.3), (14, 2, 0.5), (224, 28, 0.2)]
)
def test_about_a_share_is_hidden_everywhere_alike(length, span, share):
    hidden = hidden_of(length, span, share)
    assert hidden.shape == (400, length)
    assert hidden.mean() == pytest.approx(share, abs=0.03)
    assert hidden.mean(axis=0) == pytest.approx(np.full(length, share), abs=0.15)


def test_spans_are_whole_but_at_the_ends():
    for row in hidden_of(40, 6, 0.4):
        assert row.any()
        for first, last in runs(row):
            assert last - first + 1 >= 6 or first == 0 or last == 39


@pytest.mark.parametrize(("length", "span"), [(1, 1), (2, 1), (2, 5), (3, 3)])
def test_short_rows_have_a_hidden_position_each(length, span):
    hidden = hidden_of(length, span, 0.1)
    assert hidden.shape == (400, length)
    assert hidden.any(axis=1).all()


def test_without_a_share_each_row_has_its_one_span():
    lengths = [[last - first + 1 for first, last in runs(row)] for row in hidden_of(50, 7, 0.0)]
    assert all(len(row) == 1 and row[0] <= 7 for row in lengths)
    assert sum(row[0] == 7 for row in lengths) > 300
