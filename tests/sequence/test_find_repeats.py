"""Repeats: the search against brute force, planted copies, decoys, and streams without a repeat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import oracles
from ulmo.sequence import repeats
from ulmo.sequence.alignment import align, path_scores
from ulmo.sequence.best import NONE
from ulmo.sequence.events import Event, chained
from ulmo.sequence.evidence import weigh
from ulmo.sequence.repeats import BACKGROUND, find_repeats
from ulmo.sequence.search import find_matches

CODES = 32


def equal_scores(bands):
    """Bits of evidence of ids that are equal, and a little of their neighbours."""
    apart = np.abs(np.arange(CODES)[:, None] - np.arange(CODES))
    odds = np.where(apart == 0, 12.0, np.where(apart == 1, 3.0, 0.3))
    odds /= odds.mean(axis=1, keepdims=True)
    odds = (odds + odds.T) / 2
    return np.tile(np.log2(odds).astype(np.float32), (bands, 1, 1))


def random_stream(time, bands, seed, codes=CODES):
    return np.random.default_rng(seed).integers(0, codes, (time, bands)).astype(np.int32)


def everything(ids):
    return np.ones(ids.shape, bool)


def planted(time=3000, bands=2, length=20, places=(400, 1500, 2600), seed=0):
    """Noise of half of the codes, and one sound of the other half at some places."""
    ids = random_stream(time, bands, seed, CODES // 2)
    sound = random_stream(length, bands, seed + 1, CODES // 2) + CODES // 2
    for place in places:
        ids[place : place + length] = sound
    return ids


@pytest.mark.parametrize("bands", [1, 2, 4])
def test_the_search_finds_what_brute_force_finds(bands):
    ids = random_stream(90, bands, 3, codes=5)
    heard = np.random.default_rng(1).random(ids.shape) < 0.8
    evidence = weigh(ids, heard, equal_scores(bands), longest=12)
    whole = [np.ones(91 - length, bool) for length in (3, 6, 12)]
    whole[1][[7, 40]] = False
    found = find_matches(evidence, whole, (3, 6, 12), apart=10)
    for matches, inside in zip(found, whole, strict=True):
        expected = oracles.best_window(
            evidence.rows, evidence.table, matches.length, apart=10, inside=inside
        )
        units = matches.units.astype(int) - matches.usual
        for window, (best, usual) in enumerate(expected):
            if not inside[window]:
                assert matches.units[window, 0] == NONE
                continue
            assert matches.units[window, 0] == best
            assert matches.usual[window, 0] == usual
            place = matches.places(evidence, window, inside)[0]
            assert place == best_place(evidence, window, matches, inside)
        assert (np.diff(units, axis=1) <= 0).all()


def best_place(evidence, window, matches, inside):
    totals = oracles.window_totals(evidence.rows, evidence.table, window, matches.length)
    apart = max(10, matches.length)
    kept = [p for p in range(len(totals)) if inside[p] and abs(p - window) >= apart]
    return max(kept, key=lambda place: (totals[place], -place))


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 9))
def test_neither_blocks_nor_threads_change_anything(threads, columns, seed):
    ids = random_stream(700, 2, seed, codes=6)
    evidence = weigh(ids, everything(ids), equal_scores(2), longest=8)
    whole = [np.ones(701 - length, bool) for length in (4, 8)]
    expected = find_matches(evidence, whole, (4, 8), apart=9)
    found = find_matches(
        *(evidence, whole, (4, 8)), apart=9, threads=threads, columns_at_once=256 * columns
    )
    for one, other in zip(expected, found, strict=True):
        for field, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(field, same)


def test_ids_that_fill_a_recording_carry_no_evidence():
    ids = np.zeros((1000, 1), np.int32)
    ids[::50] = 7
    evidence = weigh(ids, everything(ids), equal_scores(1), longest=4)
    bits = evidence.table[0] * evidence.unit
    assert abs(bits[0, 0]) < 0.2
    assert bits[7, 7] > 2
    assert not evidence.table[0, 2 * CODES].any()
    assert not evidence.table[0, :, 2 * CODES].any()


def test_an_id_that_lasts_is_less_evidence_the_more_it_does():
    ids = random_stream(4000, 2, 2)
    ids[:, 0] = np.repeat(ids[::10, 0], 10)  # lasts for ten columns, and the other band never
    evidence = weigh(ids, everything(ids), equal_scores(2), longest=4)
    begins, lasts = (np.diagonal(evidence.table[0])[n * CODES : (n + 1) * CODES] for n in (0, 1))
    assert np.mean(lasts / begins) == pytest.approx(1 / 10, rel=0.3)
    assert evidence.rows[9, 0] == ids[9, 0] + CODES
    changes = np.diagonal(evidence.table[1])[:CODES]
    assert np.mean(np.diagonal(evidence.table[1])[CODES:-1] / changes) > 0.9


def test_edges_leave_out_quiet_columns():
    ids = planted(length=20)
    quiet = np.ones(len(ids), bool)
    for place in (400, 1500, 2600):
        quiet[place + 3 : place + 17] = False
    found = find_repeats(ids, everything(ids), equal_scores(2), column_s=0.04, quiet=quiet)
    assert [(each.first, each.end) for each in found] == [
        (place + 3, place + 17) for place in (400, 1500, 2600)
    ]


@pytest.mark.parametrize("column_s", [0.02, 0.04])
@pytest.mark.parametrize("bands", [2, 4])
def test_planted_copies_are_found_and_are_one_class(column_s, bands):
    length = round(0.8 / column_s)
    ids = planted(bands=bands, length=length)
    found = find_repeats(ids, everything(ids), equal_scores(bands), column_s=column_s)
    assert len(found) == 3
    for repeat, place in zip(found, (400, 1500, 2600), strict=True):
        assert abs(repeat.first - place) <= 2
        assert abs(repeat.end - place - length) <= 2
        assert repeat.false_per_hour <= 1
        assert (repeat.low_band, repeat.high_band) == (0, bands - 1)
    assert {repeat.group for repeat in found} == {0}
    assert all(found[repeat.match] != repeat for repeat in found)


@settings(max_examples=15)
@given(st.integers(50, 1200), st.integers(1400, 2800), st.integers(0, 99))
def test_a_planted_copy_is_found_wherever_it_is(first, second, seed):
    ids = planted(places=(first, second), seed=seed)
    found = find_repeats(ids, everything(ids), equal_scores(2), column_s=0.04)
    starts = [repeat.first for repeat in found]
    for place in (first, second):
        assert min(abs(start - place) for start in starts) <= 8


def test_the_bands_of_the_evidence_are_told():
    ids = planted(bands=4)
    ids[:, [0, 3]] = random_stream(len(ids), 2, 9)
    found = find_repeats(ids, everything(ids), equal_scores(4), column_s=0.04)
    assert len(found) == 3
    assert {(repeat.low_band, repeat.high_band) for repeat in found} == {(1, 2)}


def test_two_sounds_are_two_classes():
    ids = planted()
    other = random_stream(20, 2, 77, CODES // 2) + CODES // 2
    for place in (800, 2000, 2300):
        ids[place : place + 20] = other
    found = find_repeats(ids, everything(ids), equal_scores(2), column_s=0.04)
    assert [repeat.group for repeat in found] == [0, 1, 0, 1, 1, 0]
    assert all(found[repeat.match].group == repeat.group for repeat in found)


def test_no_event_crosses_the_beginning_of_a_recording():
    ids = planted()
    found = find_repeats(
        ids, everything(ids), equal_scores(2), column_s=0.04, begins=(0, 1510, 2605)
    )
    for repeat in found:
        assert not any(repeat.first < begin < repeat.end for begin in (1510, 2605))


def test_chance_is_found_as_seldom_as_is_asked():
    """13 minutes of noise: 22 alarms at 100 an hour, up to 3 times as many if nothing is alike.

    Independent columns are harsher than sound: what lengths find hardly overlaps.
    """
    ids = random_stream(20_000, 2, 5)
    found = find_repeats(
        *(ids, everything(ids), equal_scores(2)),
        column_s=0.04,
        false_per_hour=100,
        quiet=np.ones(len(ids), bool),
        seed=1,
    )
    assert 7 <= len(found) <= 66, len(found)


def test_the_same_input_gives_the_same_rows():
    ids = planted()
    one, other = (
        find_repeats(ids, everything(ids), equal_scores(2), column_s=0.04, seed=4) for _ in range(2)
    )
    assert one == other


def test_latents_divide_what_ids_do_not():
    ids = planted()
    latents = np.random.default_rng(0).normal(0, 1, (len(ids), 6)).astype(np.float32)
    sounds = np.random.default_rng(1).normal(0, 4, (2, 20, 6)).astype(np.float32)
    ids[900:920] = ids[400:420]
    for place, sound in ((400, 0), (900, 1), (1500, 0), (2600, 1)):
        latents[place : place + 20] += sounds[sound]
    found = find_repeats(ids, everything(ids), equal_scores(2), column_s=0.04, latents=latents)
    assert [repeat.group for repeat in found] == [0, 1, 0, 1]
    assert [repeat.match for repeat in found] == [2, 3, 0, 1]


def test_what_repeats_all_the_time_is_background():
    loop = random_stream(50, 2, 1)
    ids = np.tile(loop, (60, 1))  # 2 s, for two minutes
    found = find_repeats(ids, everything(ids), equal_scores(2), column_s=0.04)
    assert [repeat.group for repeat in found] == [BACKGROUND]
    assert found[0].end - found[0].first > 0.9 * len(ids)
    assert found[0].match == 0


@pytest.mark.parametrize("time", [0, 1, 5, 13, 30])
@pytest.mark.parametrize("kind", ["silent", "gap", "one id"])
def test_nothing_is_found_in_nothing(time, kind):
    ids = np.full((time, 2), CODES + 5 if kind == "gap" else 3, np.int32)
    heard = np.full(ids.shape, kind != "silent")
    assert find_repeats(ids, heard, equal_scores(2), column_s=0.04) == []


@pytest.mark.parametrize("kind", ["silent", "gap", "one id"])
def test_nothing_is_found_in_much_of_nothing(kind):
    test_nothing_is_found_in_nothing(2000, kind)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_alignment_is_the_best_of_all_paths(rows, columns, seed):
    cells = np.random.default_rng(seed).integers(-4, 5, (1, rows, columns)).astype(np.float32)
    found = align(cells)
    assert found.score[0] == oracles.best_path(cells[0])


@given(st.integers(1, 6), st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 99))
def test_pairs_that_lie_side_by_side_score_as_each_alone(rows, widths, seed):
    rng = np.random.default_rng(seed)
    pairs = [rng.integers(-4, 5, (rows, width)).astype(np.float32) for width in widths]
    between = np.full((rows, 1), -np.inf, np.float32)
    row = np.concatenate([part for pair in pairs for part in (pair, between)], axis=1)
    starts = np.cumsum([0, *(width + 1 for width in widths[:-1])])
    found = np.maximum.reduceat(path_scores(row), starts)
    assert found.tolist() == [align(pair[None]).score[0] for pair in pairs]


def test_events_that_make_no_class_join_the_one_they_are_like(monkeypatch):
    ids = planted(places=(400, 1000, 1500, 2600))
    other = random_stream(20, 2, 77, CODES // 2) + CODES // 2
    for place in (800, 2000, 2300):
        ids[place : place + 20] = other
    told = []
    ways = {"column_s": 0.04, "bounds": told.append}
    whole = find_repeats(ids, everything(ids), equal_scores(2), **ways)
    assert told == []
    monkeypatch.setattr(repeats, "_MOST", 5)
    found = find_repeats(ids, everything(ids), equal_scores(2), **ways)
    assert [each.group for each in found] == [each.group for each in whole]
    assert all(found[each.match].group == each.group for each in found)
    assert [(bounds.events, bounds.most) for bounds in told] == [(7, 5)]
    told.clear()
    monkeypatch.setattr(repeats, "_BACKGROUND_S", 0.0)  # all are background, which has no class
    assert {each.group for each in find_repeats(ids, everything(ids), equal_scores(2), **ways)} == {
        repeats.BACKGROUND
    }
    assert told == []


def test_a_row_without_evidence_has_the_band_that_has_most():
    """A limit as wide as this lets through rows in which no band has evidence."""
    ids = random_stream(400, 3, 0)
    found = find_repeats(
        *(ids, everything(ids), equal_scores(3) - 2), column_s=0.04, begins=(0,), false_per_hour=1e6
    )
    assert found
    assert all(0 <= repeat.low_band <= repeat.high_band < 3 for repeat in found)


def test_windows_without_evidence_have_edges():
    """With a wide limit, windows are found whose best match is no better than what is usual."""
    ids = random_stream(800, 2, 5)
    found = find_repeats(
        *(ids, everything(ids), equal_scores(2)),
        column_s=0.04,
        false_per_hour=1e6,
        quiet=np.ones(len(ids), bool),
    )
    assert found
    assert all(0 <= each.first < each.end <= len(ids) for each in found)


def test_parts_of_one_sound_are_one_event():
    """Parts that follow each other as what they match does; others stay as they are."""
    one, more = Event(100, 110, 0.5, 101, 6, 501, 40), Event(110, 118, 0.1, 111, 6, 512, 60)
    borders = np.array([0, 900])
    (whole,) = chained([more, one], borders, 50)
    assert whole == more._replace(first=100, end=118)
    elsewhere = more._replace(partner=700)
    later = more._replace(first=113, end=121)
    for other in (elsewhere, later):
        assert chained([one, other], borders, 50) == [one, other]
    assert chained([one, more], borders, 15) == [one, more]
    assert chained([one, more], np.array([0, 110, 900]), 50) == [one, more]


@pytest.mark.parametrize(
    ("quiet", "still"),
    [
        ("11011111", "11111111"),  # loud for a column
        ("11001111", "11111111"),
        ("111000111", "111000111"),  # for three of five
        ("110100111", "111001111"),
        ("0111", "0111"),
        ("0011", "0011"),  # at an end, the last one goes on
        ("0", "0"),
    ],
)
def test_columns_that_are_loud_now_and_then_are_background(quiet, still):
    given = np.array([digit == "1" for digit in quiet])
    found = repeats._still(given, 2)
    assert "".join(str(int(column)) for column in found) == still
    np.testing.assert_array_equal(repeats._still(given, 0), given)


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(12, 15, 1.0)], [(10, 20)]),  # a part of the sound of columns 10 to 20
        ([(12, 14, 1.0)], [(12, 14)]),  # the sound is five times as long
        ([(12, 15, 1.0), (16, 19, 0.5)], [(12, 15), (16, 19)]),  # which has two parts
        ([(12, 15, 2.0), (16, 19, 9.0)], [(12, 15), (16, 19)]),
        ([(12, 15, 2.0), (16, 19, 1.0)], [(10, 20)]),  # one of which is hardly sure
        ([(26, 29, 1.0)], [(25, 30)]),  # a recording begins at column 30
        ([(30, 33, 1.0)], [(30, 35)]),
        ([(8, 12, 1.0)], [(8, 12)]),  # with background before it
    ],
)
def test_an_event_is_as_long_as_its_sound(spans, expected):
    quiet = np.ones(40, np.bool_)
    quiet[10:20] = quiet[25:35] = False
    events = [Event(first, end, rate, first, 3, 0, 1) for first, end, rate in spans]
    found = repeats._whole(events, quiet, np.array([0, 30, 40]))
    assert [(event.first, event.end) for event in found] == expected
