"""Classes of occurrences: numbers, periods, impulses that are only the onsets of longer repeats."""

import numpy as np
import pytest

from ulmo.listening.listen import When
from ulmo.listening.occurrences import (
    BACKGROUND,
    IMPULSES,
    SOUND,
    Occurrence,
    Sounds,
    classes_of,
    without_onsets,
)
from ulmo.sequence.periods import Period


def occurrence(start, seconds=0.5, kind=SOUND, group=0, channel=0, **values):
    when = When(start, start + seconds, start, None)
    return Occurrence(channel, when, 100.0, 2000.0, kind, group, **values)


def impulse(start, group=0, **values):
    return occurrence(start, 0.005, IMPULSES, group, **values)


def test_classes_are_numbered_by_their_first_occurrences():
    found = classes_of(
        [
            occurrence(5.0, group=7),
            occurrence(1.0, kind=BACKGROUND, group=-1),
            occurrence(6.0, group=7),
            occurrence(3.0, group=9),
            occurrence(0.5, group=9, channel=1),
            occurrence(4.0, group=2),
            impulse(2.0),
            impulse(2.5),
        ],
        0.04,
    )
    assert [(each.number, each.kind, len(each.occurrences)) for each in found] == [
        (1, IMPULSES, 2),
        (2, SOUND, 2),
        (3, SOUND, 2),
        (None, BACKGROUND, 1),
        (None, SOUND, 1),
    ]
    assert [one.when.start_s for one in found[1].occurrences] == [3.0, 0.5]


def test_parts_that_touch_have_one_begin():
    members = [occurrence(start, 0.4) for start in (1.0, 1.4, 5.0, 9.0, 9.44, 9.8)]
    (times,) = Sounds(1, SOUND, members, None).times
    assert times.tolist() == [1.0, 5.0, 9.0]


def test_parts_of_one_sound_are_no_class():
    parts = [occurrence(start, 0.4) for start in (1.0, 1.4, 1.85)]
    (found,) = classes_of(parts, 0.04)
    assert (found.number, found.kind) == (None, SOUND)
    assert found.joined == [parts]
    again = occurrence(5.0, 0.4)
    (found,) = classes_of([*parts, again], 0.04)
    assert found.number == 1
    assert found.joined == [parts, [again]]


def test_the_period_of_a_class_of_trains_is_the_middle_one():
    periods = [Period(seconds, 0.01, 9) for seconds in (0.25, 0.26, 0.24)]
    members = [impulse(float(place), period=each) for place, each in enumerate(periods)]
    (found,) = classes_of(members, 0.04)
    assert found.period.seconds == 0.25
    (found,) = classes_of([each._replace(period=None) for each in members], 0.04)
    assert found.period is None


@pytest.mark.parametrize(
    ("times", "stays"),
    [
        (np.arange(1.02, 60, 7.0), False),  # each is where a call begins
        (np.arange(1.48, 60, 7.0), False),  # or ends
        (np.concatenate([start + np.arange(0.05, 0.5, 0.05) for start in range(1, 60, 7)]), True),
        (np.arange(4.0, 60, 7.0), True),  # between calls
        (np.arange(1.0, 60, 0.5), True),  # in calls and between them
    ],
)
def test_impulses_that_are_only_onsets_of_repeats_are_left_out(times, stays):
    calls = [occurrence(float(start)) for start in range(1, 60, 7)]
    impulses = [impulse(float(time), group=3) for time in times]
    others = [impulse(70.0 + place, group=4) for place in range(5)]
    assert without_onsets([*impulses, *others], calls) == [*(impulses if stays else []), *others]
    short = [occurrence(float(start), 0.1) for start in range(1, 60, 7)]
    assert without_onsets(impulses, short) == impulses
    assert without_onsets(impulses, []) == impulses
