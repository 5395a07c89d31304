"""The columns whose bits `ulmo lm curve` compares: all, and those of sounds that recur.

a row of tokens, repeats -> first and later occurrences -> stretches of at most TARGET columns
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Indices
from ulmo.listening.classes import Classes
from ulmo.pipelines.lm.token_row import TokenRow

TARGET = 64  # columns that are scored at once, at most, behind each past
ALL, LATER, FIRST = KINDS = ("all", "later", "first")
_TOUCH_S = 0.1  # between occurrences that are parts of one sound, as `ulmo repeats` has it
_NONE, _FIRST, _LATER = 0, 1, 2


class Target(NamedTuple):
    """Columns of a row whose bits are compared."""

    first: int
    end: int  # the column after the last


class _Occurrence(NamedTuple):
    """A sound of a class, in the order of time."""

    start_s: float  # from the begin of the row
    end_s: float
    kind: int  # the number of its class
    columns: Target


def targets_of(begin: int, end: int, most: int, marks: Indices | None) -> dict[str, list[Target]]:
    """The targets of each kind in one recording, at most `most` of each, evenly spread.

    begin, end: its columns in the row. None of the targets begins within the first TARGET columns.
    marks: those of `marks_of`; None: targets of all columns alone.
    """
    found: dict[str, list[Target]] = {}
    last = end - TARGET
    if last >= begin + TARGET:
        count = min(most, (last - begin) // TARGET)
        firsts = np.unique(np.linspace(begin + TARGET, last, count).astype(int))
        found[ALL] = [Target(first, first + TARGET) for first in firsts.tolist()]
    if marks is not None:
        for kind, mark in ((LATER, _LATER), (FIRST, _FIRST)):
            some = list(_runs(marks[:end] == mark, begin + TARGET))
            if some:
                chosen = np.linspace(0, len(some) - 1, min(most, len(some))).astype(int)
                found[kind] = [some[place] for place in np.unique(chosen).tolist()]
    return found


def marks_of(row: TokenRow, repeats: Classes) -> Indices:
    """(columns,): whether each column is of a first occurrence, of a later one, or of none.

    An occurrence is a first one if none of its class is before it in the row: what a model cannot
    know of a past that it does not have. Where two overlap, the later one counts.
    """
    marks = np.full(len(row.ids), _NONE)
    ends: dict[int, float] = {}  # of the last occurrence of each class
    later: set[int] = set()  # classes whose occurrence is a later one
    for each in _occurrences(row, repeats):
        if each.kind in ends and each.start_s > ends[each.kind] + _TOUCH_S:
            later.add(each.kind)
        ends[each.kind] = max(each.end_s, ends.get(each.kind, each.end_s))
        columns = slice(*each.columns)
        marks[columns] = np.maximum(marks[columns], _LATER if each.kind in later else _FIRST)
    return marks


def _runs(marked: NDArray[np.bool_], begin: int) -> Iterator[Target]:
    """Stretches of marked columns from `begin` on, of at most TARGET."""
    edges = begin + np.flatnonzero(np.diff(marked[begin:], prepend=False, append=False))
    for first, end in edges.reshape(-1, 2).tolist():
        for start in range(first, end, TARGET):
            yield Target(start, min(start + TARGET, end))


def _occurrences(row: TokenRow, repeats: Classes) -> list[_Occurrence]:
    """What recurs in a row, by its begin; impulses, which are shorter than a column, are not."""
    found = []
    for source, columns in zip(row.sources, row.parts, strict=True):
        # A column is in what covers its middle.
        middles = row.seconds[columns] - source.begin_s + row.column_s / 2
        middles = np.maximum.accumulate(np.nan_to_num(middles, nan=-np.inf))  # NaN: of `<gap>`
        for start_s, end_s, kind in repeats.repeats.get((source.recording, row.channel), ()):
            if end_s - start_s >= row.column_s:
                first, end = np.searchsorted(middles, [start_s, end_s]).tolist()
                place = Target(columns.start + first, columns.start + end)
                begin = source.begin_s + start_s
                found.append(_Occurrence(begin, begin + end_s - start_s, kind, place))
    return sorted(found)
