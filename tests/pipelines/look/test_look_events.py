"""Classes of repeats as a page has them, against what is known of them."""

from ulmo.listening.listen import When
from ulmo.listening.occurrences import SOUND, Occurrence, classes_of
from ulmo.listening.repeats import Repeats
from ulmo.pipelines.look.events import class_values


def occurrence(start, group, match, bits=50.0, false_per_hour=0.1):
    when = When(start, start + 0.4, start, None)
    return Occurrence(0, when, 100.0, 2000.0, SOUND, group, bits, false_per_hour, match)


def values_of(repeats):
    return class_values(Repeats(classes_of(repeats, 0.04), repeats, [], [], 0.01), 0.0, 60.0)


def test_what_is_in_no_class_is_told_with_its_best_match():
    repeats = [
        occurrence(1.0, group=0, match=1),
        occurrence(5.0, group=0, match=0),
        occurrence(12.8, group=1, match=0, false_per_hour=0.000123456),
    ]
    known, alone = values_of(repeats)
    assert (known["number"], known["matches"]) == (
        1,
        [[5.0, 5.4, 100.0, 2000.0], [1.0, 1.4, 100.0, 2000.0]],
    )
    assert (alone["number"], alone["kind"], alone["period"]) == (None, SOUND, None)
    assert alone["boxes"] == [[12.8, 13.2, 100.0, 2000.0]]
    assert alone["matches"] == [[1.0, 1.4, 100.0, 2000.0]]
    assert alone["false_per_hour"] == [0.000123]


def test_parts_that_touch_are_one_and_their_match_is_elsewhere():
    repeats = [
        occurrence(1.0, group=0, match=1, bits=90.0),  # most like the next part
        occurrence(1.4, group=0, match=2, bits=40.0),
        occurrence(8.0, group=0, match=1),
    ]
    (found,) = values_of(repeats)
    assert [box[:2] for box in found["boxes"]] == [[1.0, 1.8], [8.0, 8.4]]
    assert [match[:1] for match in found["matches"]] == [[8.0], [1.4]]
    assert (found["bits"], found["intervals"]) == ([90.0, 50.0], [7.0])


def test_parts_of_one_sound_alone_are_no_class_and_match_nothing_else():
    (found,) = values_of([occurrence(1.0, group=0, match=1), occurrence(1.4, group=0, match=0)])
    assert (found["number"], found["matches"]) == (None, [None])
    assert [box[:2] for box in found["boxes"]] == [[1.0, 1.8]]
