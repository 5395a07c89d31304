"""Regions in arrays: what is found in noise, where, and what is not."""

import numpy as np
import pytest

from ulmo.sequence.regions import Background, RegionSettings, clearness, find_regions

CELLS, COLUMN_S, SILENCE = 12, 0.04, -200.0


def noise(columns, seed=0, deviation=1.5):
    """Levels of a background that slopes down with frequency."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(-60, -80, CELLS)
    return slope + deviation * rng.standard_normal((columns, CELLS))


def found(levels, **options):
    levels = levels.astype(np.float16)
    peaks = levels.max(axis=1, initial=SILENCE) + 3
    return list(find_regions(levels, peaks, column_s=COLUMN_S, **options))


def boxes(regions):
    return [(each.first, each.end, each.low, each.high) for each in regions]


def test_noise_alone_has_no_regions():
    assert found(noise(20_000)) == []
    assert found(noise(20_000, deviation=3.0)) == []


def test_a_sound_is_one_box_with_its_level():
    levels = noise(2000)
    levels[500:520, 4:7] = -40
    (region,) = found(levels)
    assert boxes([region]) == [(500, 520, 4, 6)]
    assert region.peak_db == pytest.approx(-37, abs=0.1)
    assert region.snr_db == pytest.approx(80 - 40 - 9, abs=4)


def test_a_short_gap_joins_and_a_long_one_parts():
    levels = noise(2000)
    for first, end in ((100, 110), (113, 120), (130, 140)):
        levels[first:end, 4:7] = -40
    assert boxes(found(levels)) == [(100, 120, 4, 6), (130, 140, 4, 6)]
    apart = RegionSettings(gap_s=0.0)
    assert [box[:2] for box in boxes(found(levels, settings=apart))] == [
        (100, 110),
        (113, 120),
        (130, 140),
    ]


def test_harmonics_are_one_sound_and_two_sounds_at_a_time_are_two():
    levels = noise(2000)
    levels[100:120, 1], levels[101:120, 6], levels[100:119, 11] = -30, -35, -40
    levels[500:540, 1:3], levels[530:570, 8:10] = -40, -40
    assert boxes(found(levels)) == [(100, 120, 1, 11), (500, 540, 1, 2), (530, 570, 8, 9)]


def test_a_call_inside_a_longer_sound_is_part_of_its_region():
    levels = noise(2000)
    levels[500:560, 1:11] = -45
    levels[520:530, 5:7] = -25
    (region,) = found(levels)
    assert boxes([region]) == [(500, 560, 1, 10)]
    assert region.snr_db == pytest.approx(-25 + 60 + 20 * 6 / 11, abs=4)
    assert region.peak_db == pytest.approx(-22, abs=0.1)


def test_skirts_of_a_loud_sound_do_not_join_it_to_another():
    levels = noise(2000)
    levels[100:140, 3], levels[120:170, 7] = -10, -10
    levels[100:140, 4:6], levels[120:170, 5:7] = -38, -38  # 28 dB down
    assert boxes(found(levels)) == [(100, 140, 3, 3), (120, 170, 7, 7)]


def test_no_region_crosses_where_time_was_left_out():
    levels = noise(2000)
    levels[990:1010, 4:7] = -40
    assert boxes(found(levels, begins=(0, 1000))) == [(990, 1000, 4, 6), (1000, 1010, 4, 6)]


def test_a_background_that_rises_slowly_is_background():
    columns = 15_000  # ten minutes, 20 dB
    levels = noise(columns) + np.linspace(0, 20, columns)[:, None]
    levels[12_000:12_020, 4:7] = -30
    assert boxes(found(levels)) == [(12_000, 12_020, 4, 6)]


def test_sound_for_half_of_the_time_is_still_sound():
    levels = noise(1500)
    for first in range(0, 1500, 50):
        levels[first : first + 25, 4:7] = -40
    assert len(found(levels)) == 30


def test_silence_is_no_background_beside_sound_but_where_it_lasts():
    levels = noise(1500)
    levels[700:900] = SILENCE  # a dropout
    levels[300:320, 4:7] = -40
    assert boxes(found(levels)) == [(300, 320, 4, 6)]
    levels = np.full((1500, CELLS), SILENCE)
    levels[300:320, 4:7] = -90
    assert boxes(found(levels)) == [(300, 320, 4, 6)]
    assert found(np.full((1500, CELLS), SILENCE)) == []


@pytest.mark.parametrize("columns", [0, 1, 2, 5])
def test_few_columns(columns):
    assert found(noise(columns)) == []


def test_how_many_columns_are_looked_at_together_changes_nothing(monkeypatch):
    levels = noise(3000)
    rng = np.random.default_rng(1)
    for first in rng.integers(0, 2950, 60):
        low = rng.integers(0, CELLS - 2)
        levels[first : first + rng.integers(1, 40), low : low + 2] = -35
    expected = found(levels)
    assert len(expected) > 20
    for batch in (64, 500):
        monkeypatch.setattr("ulmo.sequence.regions._BATCH", batch)
        assert found(levels) == expected


def test_the_background_is_found_below_sound():
    levels = noise(1500, deviation=2.0)
    levels[::3] += 30  # a third of the time
    background = Background.of(levels.astype(np.float16), 1500, SILENCE)
    assert background.levels[0] == pytest.approx(np.linspace(-60, -80, CELLS), abs=1.5)
    assert background.deviations[0] == pytest.approx(2.0, abs=0.7)


def test_clearness_is_the_clearest_cell_above_its_background():
    levels = noise(4000)
    levels[500:520, 4:7] = -40
    levels[700:710] = SILENCE
    found = clearness(levels.astype(np.float16), column_s=COLUMN_S, silence_db=SILENCE)
    assert found.shape == (4000,)
    expected = -40 - np.linspace(-60, -80, CELLS)[6]
    assert found[500:520] == pytest.approx(np.full(20, expected), abs=1.0)
    assert (found[700:710] == -np.inf).all()
    assert np.median(found) < 4
    assert clearness(levels[:0], column_s=COLUMN_S, silence_db=SILENCE).shape == (0,)
