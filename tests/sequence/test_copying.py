"""Soft copying: the search against brute force, and what is made of what it finds."""

import numpy as np
import pytest

from tests.token_models import TINY, VOCABULARY, parts_of, tokens
from ulmo.config.token_model import CHUNK
from ulmo.sequence import neighbours
from ulmo.sequence.copying import CopyTables, Past
from ulmo.sequence.neighbours import NEAREST, NONE, WINDOW, Searcher, distances_of, places_of

BANDS, CODES = TINY.bands, TINY.codebook_size


@pytest.fixture(scope="module")
def tables():
    return parts_of().tables


def recalled(tables, ids, chunk, **options):
    """What is recalled of a chunk of some ids, once those before it were added."""
    past = Past(tables, **options)
    for start in range(0, chunk * CHUNK, CHUNK):
        past.add(ids[start : start + CHUNK])
    return past, past.recall(ids[chunk * CHUNK : (chunk + 1) * CHUNK])


def brute_force(tables, ids, first, end, column):
    """Distance and end of the windows that are nearest to the one before a column, later first."""
    known = np.minimum(ids, CODES)

    def window(last):
        rows = range(last - WINDOW + 1, last + 1)
        return np.array([known[at] if at >= first else [CODES] * BANDS for at in rows])

    asked = window(column - 1) if column else np.full((WINDOW, BANDS), CODES)
    found = []
    for last in range(first, end - 1):
        pairs = zip(asked.ravel(), window(last).ravel(), strict=True)
        found.append((sum(int(tables.distance[a, b]) for a, b in pairs), -last))
    return sorted(found)[:NEAREST]


@pytest.mark.parametrize("strip", [64, 8192])
@pytest.mark.parametrize("chunk", [0, 1, 3, 14])
def test_the_nearest_windows_are_those_of_brute_force(tables, monkeypatch, strip, chunk):
    monkeypatch.setattr(neighbours, "_STRIP", strip)
    searched, nearest = [], Searcher.nearest

    def watched(*arguments):
        searched.append(nearest(*arguments))
        return searched[-1]

    monkeypatch.setattr(Searcher, "nearest", watched)
    ids = tokens(15 * CHUNK)
    recalled(tables, ids, chunk)
    for at in range(0, CHUNK, 7):
        expected = brute_force(tables, ids, 0, chunk * CHUNK, chunk * CHUNK + at)
        some = searched[0][:, at]
        some = some[some < NONE]
        distances, ends = distances_of(some), places_of(some)
        assert [*zip(distances.tolist(), (-ends).tolist(), strict=True)] == expected


def test_probabilities_sum_to_one(tables):
    ids = tokens(6 * CHUNK)
    for chunk in range(6):
        _, copies = recalled(tables, ids, chunk)
        np.testing.assert_allclose(copies.probabilities.sum(axis=2), 1, atol=1e-5)
        assert copies.probabilities.min() >= 0


def test_a_phrase_that_came_before_is_copied_from_where_it_was(tables):
    rng = np.random.default_rng(1)
    ids = rng.integers(0, CODES, (2 * CHUNK, BANDS)).astype(np.int32)
    ids[CHUNK + 10 : CHUNK + 40] = ids[20:50]
    _, copies = recalled(tables, ids, 1)
    inside = slice(10 + WINDOW, 40)
    assert (copies.places[inside] == np.arange(20 + WINDOW, 50)).all()
    assert (copies.distances[inside] == 0).all()
    right = np.take_along_axis(copies.probabilities, ids[CHUNK:].T[..., None], axis=2)[..., 0]
    others = np.concatenate([right[:, :10], right[:, 41:]], axis=1)
    assert right[:, inside].mean() > 1.5 * others.mean()


def test_an_empty_past_says_what_is_usual():
    parts = parts_of()
    copies = Past(parts.tables).recall(tokens(CHUNK))
    np.testing.assert_allclose(copies.probabilities[:, 9], parts.usual, rtol=1e-4)
    assert (copies.places == -1).all()


def test_what_is_known_grows_with_the_bands_and_never_from_later_columns(tables):
    ids = tokens(3 * CHUNK)
    _, before = recalled(tables, ids, 2)
    changed = ids.copy()
    at = 2 * CHUNK + 30
    changed[at, 0] = (changed[at, 0] + 1) % CODES
    _, after = recalled(tables, changed, 2)
    same = (before.probabilities == after.probabilities).all(axis=2)  # (bands, CHUNK)
    assert same[:, :30].all()
    assert same[0, 30]
    assert not same[:, 30:].all()


def test_a_short_past_is_the_past_cut(tables):
    ids = tokens(6 * CHUNK)
    _, short = recalled(tables, ids, 5, columns=2 * CHUNK)
    cut = ids[3 * CHUNK :]
    past = Past(tables)
    for start in (0, CHUNK):
        past.add(cut[start : start + CHUNK])
    again = past.recall(cut[2 * CHUNK : 3 * CHUNK])
    assert (short.probabilities == again.probabilities).all()
    assert (short.places == np.where(again.places < 0, -1, again.places + 3 * CHUNK)).all()


def test_special_tokens_are_far_from_all_and_are_followed_by_what_is_usual(tables):
    assert (tables.distance[CODES] == tables.distance.max()).all()
    ids = np.full((2 * CHUNK, BANDS), VOCABULARY.gap, np.int32)
    _, copies = recalled(tables, ids, 1)
    np.testing.assert_allclose(copies.probabilities.sum(axis=2), 1, atol=1e-5)


def test_distances_of_a_window_fit_whatever_the_number_of_bands():
    rng = np.random.default_rng(0)
    for bands in (1, 4, 56):
        usual = rng.dirichlet(np.ones(5), bands)
        codes = rng.normal(size=(5, 3)).astype(np.float32)
        tables = CopyTables.of(codes, np.zeros((bands, 5, 5), np.float32), usual)
        assert 0 < int(tables.distance.max()) * WINDOW * bands < 2**15
        np.testing.assert_allclose(tables.likely.sum(axis=2), 1, atol=1e-5)


@pytest.mark.parametrize("windows", [1, 8, 17, 63, 64, 100, 1100])
def test_any_number_of_windows_is_searched(windows):
    rng = np.random.default_rng(windows)
    distance = np.abs(np.subtract.outer(np.arange(9), np.arange(9))).astype(np.int16)
    held = rng.integers(0, 9, (windows + WINDOW - 1, 2)).astype(np.int16)
    asked = rng.integers(0, 9, (CHUNK + WINDOW - 1, 2))
    found = Searcher(distance).nearest(held, asked)
    theirs = np.lib.stride_tricks.sliding_window_view(held, WINDOW, axis=0)
    for column in (0, CHUNK - 1):
        ours = asked[column : column + WINDOW].T
        apart = np.abs(theirs - ours).sum(axis=(1, 2))
        order = np.lexsort((-np.arange(windows), apart))[:NEAREST]
        np.testing.assert_array_equal(places_of(found[: len(order), column]), order)
        assert (found[len(order) :, column] == NONE).all()
