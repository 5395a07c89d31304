"""The far past: what seeds find, against a slow search; and that scores stay what they are."""

import numpy as np
import pytest

from tests.sequence.test_scoring import equal, scored
from tests.token_models import TINY, parts_of, tokens
from ulmo.config.token_model import CHUNK
from ulmo.sequence import copying, seeds
from ulmo.sequence.copying import Past
from ulmo.sequence.neighbours import NEAREST, NONE, WINDOW, distances_of, places_of
from ulmo.sequence.seeds import Followed, Seeds

BANDS, CODES = TINY.bands, TINY.codebook_size
FAR = 4 * CHUNK + 17  # windows of the far past


@pytest.fixture(scope="module")
def parts():
    return parts_of()


def held_of(ids):
    """Ids as a `Past` holds them."""
    before = np.full((WINDOW - 1, BANDS), CODES, np.int16)
    return np.concatenate([before, np.minimum(ids, CODES).astype(np.int16)])


def filled(held, parts=(FAR,)):
    """Seeds of the first FAR windows, added in parts."""
    found, start = Seeds(BANDS), 0
    for end in parts:
        found.add(held[start : end + WINDOW - 1])
        start = end
    return found


def slow_nearest(held, borders, asked, distance, column, followed):
    """Keys of each column by loops, and what the last one has."""
    last: dict[tuple[int, int, int], list[int]] = {}
    for first, end in zip((0, *borders), borders, strict=False):
        new = {}
        for window in range(first, end):
            for band in range(BANDS):
                word = band, *held[window + WINDOW - 3 : window + WINDOW, band].tolist()
                new[word] = window  # once in a part
        for word, window in new.items():
            last.setdefault(word, []).insert(0, window)
    columns = []
    for at in range(CHUNK):
        there = asked[at : at + WINDOW]
        places = set()
        for band in range(BANDS):
            places |= set(last.get((band, *there[-3:, band].tolist()), [])[: seeds._OCCURRENCES])
        for place in followed[1]:
            if place + at + column - followed[0] < FAR:
                places.add(place + at + column - followed[0])
        ranked = sorted(
            (int(distance[held[place : place + WINDOW], there].sum()), -place) for place in places
        )[:NEAREST]
        columns.append(ranked)
        if at % seeds._STEP == seeds._STEP - 1:
            followed = column + at, [-place for _, place in ranked]
    return columns, followed


@pytest.mark.parametrize("borders", [(FAR,), (CHUNK, 2 * CHUNK, FAR)])
def test_seeds_find_what_a_slow_search_finds(parts, borders):
    ids = tokens(8 * CHUNK, seed=3)
    held, distance = held_of(ids), parts.tables.distance
    index, known, slow = filled(held, borders), Followed(), (-1, [])
    for chunk in (6, 7):  # the second follows what the first has found
        column = chunk * CHUNK
        asked = held[column - 1 : column + CHUNK + WINDOW - 2].astype(np.int64)
        keys, known = index.nearest(held, asked, distance, column, known)
        expected, slow = slow_nearest(held, borders, asked, distance, column, slow)
        for at in range(CHUNK):
            some = keys[:, at][keys[:, at] < NONE]
            pairs = zip(distances_of(some).tolist(), (-places_of(some)).tolist(), strict=True)
            assert [*pairs] == expected[at]


def test_a_phrase_of_the_far_past_is_copied_from_where_it_was(parts, monkeypatch):
    monkeypatch.setattr(copying, "EXACT", 2 * CHUNK)
    rng = np.random.default_rng(1)
    ids = rng.integers(0, CODES, (8 * CHUNK, BANDS)).astype(np.int32)
    ids[7 * CHUNK + 10 : 7 * CHUNK + 40] = ids[20:50]
    past = Past(parts.tables)
    for start in range(0, 7 * CHUNK, CHUNK):
        past.add(ids[start : start + CHUNK])
    copies = past.recall(ids[7 * CHUNK :])
    inside = slice(10 + WINDOW, 40)
    assert (copies.places[inside] == np.arange(20 + WINDOW, 50)).all()
    assert (copies.distances[inside] == 0).all()


def test_random_splits_and_a_changed_future_change_no_bit(parts, monkeypatch):
    monkeypatch.setattr(copying, "EXACT", CHUNK)
    ids = tokens(8 * CHUNK + 9, seed=2)
    whole = scored(parts, ids)
    monkeypatch.setattr(copying, "EXACT", 10**6)
    assert not equal(scored(parts, ids), whole)  # there is a far past
    monkeypatch.setattr(copying, "EXACT", CHUNK)
    rng = np.random.default_rng(0)
    for _ in range(5):
        cuts = np.sort(rng.integers(0, len(ids) + 1, 9))
        assert equal(scored(parts, ids, cuts), whole)
    for column in (*rng.integers(2 * CHUNK, len(ids), 6), 7 * CHUNK + 15, 7 * CHUNK + 16):
        changed = ids.copy()
        changed[column] = (changed[column] + 3) % CODES
        assert equal(scored(parts, changed).at(slice(column))[:2], whole.at(slice(column))[:2])
