"""The measures of found repeats, on lists whose figures are known."""

import math

import pytest

from benchmarks.planted import Event
from benchmarks.repeat_measures import Found, judge

EVENTS = [
    Event("a", True, 1.0, 1.5),
    Event("a", True, 5.0, 5.5),
    Event("b", True, 9.0, 9.5),
    Event("b", True, 13.0, 13.5),
    Event("single", False, 20.0, 20.5),
]


def found(start, match, group=0):
    return Found(start, start + 0.5, match + 0.25, group)


def test_a_list_without_a_mistake():
    rows = [found(1, 5, 0), found(5, 1, 0), found(9, 13, 1), found(13, 9, 1)]
    assert judge(rows, EVENTS) == (1, 1, 1, 0, 0, 1)


def test_false_alarms_cost_those_that_come_after_them():
    rows = [found(20, 1), found(1, 5), found(1.1, 5), found(30, 5), found(5, 1)]
    figures = judge(rows, EVENTS)
    assert figures.precision == pytest.approx((1 / 2 + 2 / 4) / 4)
    assert figures.recall == 0.5


def test_wrong_matches_classes_and_edges():
    rows = [found(1.1, 9, 0), found(5.1, 1, 0), found(9.1, 13, 0), found(13.1, 9, 0)]
    figures = judge(rows, EVENTS)
    assert (figures.precision, figures.link, figures.v) == (1, 0.75, 0)
    assert figures.start_s == pytest.approx(0.1)


def test_events_that_are_not_found_are_classes_of_their_own():
    none = judge([], EVENTS)
    assert (none.precision, none.link, none.recall) == (0, 0, 0)
    assert math.isnan(none.v)
    assert judge([found(1, 5, 0), found(5, 1, 0)], EVENTS).v == pytest.approx(0.8)
