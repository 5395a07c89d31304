"""Columns of a long stream that are compared with each other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sequence.test_find_repeats import equal_scores, everything, random_stream
from ulmo.sequence import selection
from ulmo.sequence.events import Event
from ulmo.sequence.repeats import find_repeats
from ulmo.sequence.selection import select


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A few columns are many."""
    monkeypatch.setattr(selection, "_MOST", 600)
    monkeypatch.setattr(selection, "_LEAST", 200)


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
    found = select(quiet, borders, margin=margin, block=50)
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
    found = select(quiet, np.array([0, 10_000]), margin=10, block=50)
    assert 500 <= len(found.columns) <= 640
    assert (np.histogram(found.columns, bins=5, range=(0, 10_000))[0] >= 50).all()


def test_without_quiet_columns_all_are_selected():
    for quiet in (None, np.zeros(5000, bool)):
        found = select(quiet, np.array([0, 70, 5000]), margin=3, block=50)
        assert len(found.columns) == 5000
        assert found.borders.tolist() == [0, 70, 5000]


def test_an_event_is_told_in_columns_of_the_stream():
    quiet = np.ones(5000, bool)
    quiet[[3000, 4000]] = False
    found = select(quiet, np.array([0, 5000]), margin=20, block=50)
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
