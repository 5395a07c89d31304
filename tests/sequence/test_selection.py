"""Columns of a long stream that are compared with each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sequence.test_find_repeats import equal_scores, everything, random_stream
from ulmo.sequence import selection
from ulmo.sequence.events import Event
from ulmo.sequence.evidence import weigh
from ulmo.sequence.repeats import find_repeats
from ulmo.sequence.selection import select, worth_of


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A few columns are many."""
    monkeypatch.setattr(selection, "_MOST", 600)
    monkeypatch.setattr(selection, "_LEAST", 200)


def alike(time):
    """Columns that tell equally much."""
    return np.zeros(time, np.float32)


@settings(max_examples=50)
@given(
    st.integers(1, 4000),
    st.floats(0, 1),
    st.lists(st.integers(0, 3999), max_size=5),
    st.integers(0, 30),
    st.integers(0, 9),
)
def test_all_that_is_not_quiet_is_selected_with_its_surroundings(time, share, begins, margin, seed):
    quiet = np.random.default_rng(seed).random(time) < share
    borders = np.unique([0, *(begin for begin in begins if begin < time), time])
    found = select(quiet, borders, alike(time), margin=margin, block=50)
    columns = found.columns
    assert (np.diff(columns) > 0).all()
    if time <= 600:
        assert len(columns) == time
    near = np.flatnonzero(~quiet)[:, None] + np.arange(-margin, margin + 1)
    assert np.isin(near[(near >= 0) & (near < time)], columns).all()
    assert found.borders[-1] == len(columns)
    for first, end in zip(found.borders[:-1], found.borders[1:], strict=True):
        assert (np.diff(columns[first:end]) == 1).all()  # nothing lies between
        assert not ((borders > columns[first]) & (borders <= columns[end - 1])).any()


def test_a_sample_of_the_background_is_spread_over_the_stream():
    quiet = np.ones(10_000, bool)
    quiet[4000:4020] = False
    found = select(quiet, np.array([0, 10_000]), alike(10_000), margin=10, block=50)
    assert 500 <= len(found.columns) <= 640
    assert (np.histogram(found.columns, bins=5, range=(0, 10_000))[0] >= 50).all()


def test_without_quiet_columns_all_are_selected():
    for quiet in (None, np.zeros(5000, bool)):
        found = select(quiet, np.array([0, 70, 5000]), alike(5000), margin=3, block=50)
        assert len(found.columns) == 5000
        assert found.borders.tolist() == [0, 70, 5000]


def test_an_event_is_told_in_columns_of_the_stream():
    quiet = np.ones(5000, bool)
    quiet[[3000, 4000]] = False
    found = select(quiet, np.array([0, 5000]), alike(5000), margin=20, block=50)
    first, partner = np.searchsorted(found.columns, [2990, 3990]).tolist()
    event = found.event(Event(first, first + 15, 0.5, first, 6, partner, 40))
    assert (event.first, event.end, event.window, event.partner) == (2990, 3005, 2990, 3990)


def test_repeats_in_a_long_stream_are_those_of_the_whole(monkeypatch):
    ids = random_stream(6000, 2, 3, 16)
    sound = random_stream(20, 2, 4, 16) + 16
    quiet = np.ones(len(ids), bool)
    for place in (500, 2500, 5500):
        ids[place : place + 20] = sound
        quiet[place + 1 : place + 19] = False
    ways = {"column_s": 0.04, "quiet": quiet}
    found = find_repeats(ids, everything(ids), equal_scores(2), **ways)
    monkeypatch.setattr(selection, "_MOST", 10_000)
    whole = find_repeats(ids, everything(ids), equal_scores(2), **ways)
    ends = [(place + 1, place + 19) for place in (500, 2500, 5500)]
    assert [(each.first, each.end) for each in found] == ends
    assert [(each.first, each.end) for each in whole] == ends


@pytest.mark.parametrize("background", [True, False])
def test_of_too_many_columns_those_that_tell_most_are_compared(monkeypatch, background):
    monkeypatch.setattr(selection, "_BOUND", 900)
    worth = np.random.default_rng(3).random(5000).astype(np.float32)
    worth[[1000, 2000, 4999]] = 9
    quiet = np.zeros(5000, bool) if background else None
    if background:
        quiet[3000:4000] = True
    found = select(quiet, np.array([0, 5000]), worth, margin=10, block=50)
    loud = found.columns if quiet is None else found.columns[~quiet[found.columns]]
    assert 880 <= len(loud) <= 900
    assert np.isin([990, 1010, 1990, 2010, 4989, 4999], loud).all()
    assert found.left_out == (5000 - 900 if quiet is None else 4020 - 900)
    assert background == bool(quiet is not None and quiet[found.columns].any())


def test_what_is_usual_tells_least():
    ids = random_stream(3000, 2, 1, 4)
    ids[500:520] = random_stream(20, 2, 4, 16) + 16
    evidence = weigh(ids, everything(ids), equal_scores(2), longest=24)
    assert abs(int(worth_of(evidence, 6).argmax()) - 510) <= 10


def test_a_sound_is_found_though_most_was_left_out(monkeypatch):
    ids = random_stream(6000, 2, 3, 16)
    sound = random_stream(20, 2, 4, 16) + 16
    for place in (500, 2500, 5500):
        ids[place : place + 20] = sound
    ends = [(place, place + 20) for place in (500, 2500, 5500)]
    told = []
    ways = {"column_s": 0.04, "bounds": told.append}
    whole = find_repeats(ids, everything(ids), equal_scores(2), **ways)
    assert told == []
    monkeypatch.setattr(selection, "_BOUND", 900)
    found = find_repeats(ids, everything(ids), equal_scores(2), **ways)
    for repeats in (found, whole):
        assert np.abs(np.array([each[:2] for each in repeats]) - ends).max() <= 1
    (bounds,) = told
    assert (bounds.compared, bounds.left_out) == (900, 5100)
