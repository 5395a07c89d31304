"""Made calls: the same each time, and pairs of takes that map time as it was made."""

from itertools import pairwise
from zlib import crc32

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from recipes.corpora import calls
from recipes.corpora.calls import Uttered, bent, paired, utter
from recipes.corpora.draw import Draw
from recipes.corpora.families import FAMILIES
from recipes.corpora.synthesis import SAMPLE_RATE, Take, Warp

# CRC-32 of the second take of call 1: raise the edition of `calls` if one changes.
GOLDEN = {
    "whistle": 3956243188,
    "howl": 3787708849,
    "cry": 488045933,
    "bark": 3745090712,
    "trill": 3779416610,
    "clicks": 2452204533,
    "ticks": 859961113,
    "knock": 144328897,
    "burst": 2120264641,
    "engine": 3205855579,
    "rotor": 3824317060,
    "rain": 3597509124,
    "sea": 685274955,
    "crackle": 2089151190,
    "buzz": 1922614917,
}
FRAME = SAMPLE_RATE // 100
RANDOM = {"rain", "engine", "sea"}
"""Families whose loudness tells little of time, or is new in each take."""


@pytest.mark.parametrize("family", FAMILIES)
def test_a_take_is_the_same_each_time(family):
    take = utter(family, 1, 1)
    again = utter(family, 1, 1)
    np.testing.assert_array_equal(take.samples, again.samples)
    assert (take.path, take.warp) == (f"{family}/001_b.flac", again.warp)
    assert crc32(take.samples.tobytes()) == GOLDEN[family]
    assert 1600 < np.abs(take.samples).max() < 32767
    seconds = len(take.samples) / SAMPLE_RATE
    assert take.warp.heard[-1] < seconds < 7
    others = utter(family, 1, 0), utter(family, 2, 1)
    assert len({other.samples.tobytes() for other in (*others, take)}) == 3


def clean(family, number, take):
    """A take without noise around it: its warp and its loudness (frames of 10 ms,) in dB."""
    call = FAMILIES[family](Draw("calls", family, number))
    draw = Draw("clean", family, number, take)
    made = Take(bent(draw, call.seconds), draw.log_uniform(0.92, 1.08), draw)
    sound = call.sound(made)
    assert len(sound) == len(made.times)
    assert np.isfinite(sound).all()
    frames = len(sound) // FRAME
    power = (sound[: FRAME * frames] ** 2).reshape(frames, FRAME).mean(axis=1)
    return made.warp, 10 * np.log10(power + 1e-4 * power.max())


def likeness(one, other, shift=0.0):
    """The correlation of two loudnesses, with the time of one mapped to that of the other."""
    (warp, level), (other_warp, other_level) = one, other
    take, others = (Uttered("", each, np.empty(0, np.int16)) for each in (warp, other_warp))
    pair = paired(take, others)
    seconds = warp.heard[0] + (np.arange(len(level)) + 0.5) * FRAME / SAMPLE_RATE
    there = np.interp(seconds, pair.a_times, pair.b_times) + shift - other_warp.heard[0]
    place = there * SAMPLE_RATE / FRAME - 0.5
    mapped = np.interp(place, np.arange(len(other_level)), other_level)
    return np.corrcoef(level, mapped)[0, 1]


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - RANDOM))
def test_pairs_of_takes_map_time_as_it_was_made(family):
    takes = [[clean(family, number, take) for take in range(2)] for number in range(6)]
    true = [likeness(*pair) for pair in takes]
    late = [likeness(*pair, shift=0.06) for pair in takes]
    assert np.mean(true) > 0.6
    assert np.mean(true) > np.mean(late) + 0.2


@pytest.mark.parametrize("family", sorted(RANDOM))
def test_textures_fill_their_time(family):
    for number in range(3):
        _, level = clean(family, number, 0)
        assert np.percentile(level, 10) > -40 + level.max()


@pytest.mark.parametrize("family", ["clicks", "ticks"])
def test_hits_are_where_the_warp_says(family):
    """The first hit of a call is at an instant that the family plants."""
    planted = {"clicks": 0.01, "ticks": 0.05}[family]
    for number in range(5):
        call = FAMILIES[family](Draw("calls", family, number))
        warp = bent(Draw("warp", number), call.seconds)
        sound = call.sound(Take(warp, 1.0, Draw("unused")))
        first = np.flatnonzero(sound)[0] / SAMPLE_RATE + warp.heard[0]
        assert first == pytest.approx(warp.heard_at([planted])[0], abs=3 / SAMPLE_RATE)


@given(st.integers(0, 10_000), st.floats(0.1, 4.0))
def test_a_bend_is_gentle_and_goes_there_and_back(seed, seconds):
    warp = bent(Draw("bend", seed), seconds)
    assert (warp.call[0], warp.call[-1]) == (0.0, pytest.approx(seconds))
    for times in warp:
        assert all(before < after for before, after in pairwise(times))
    rates = np.diff(warp.heard) / np.diff(warp.call)
    assert (rates > 0.8).all()
    assert (rates < 1.25).all()
    instants = np.linspace(0, seconds, 7)
    np.testing.assert_allclose(warp.call_at(warp.heard_at(instants)), instants, atol=1e-9)


def test_a_pair_has_the_points_of_both():
    one = Uttered("a", Warp((0.0, 1.0, 2.0), (0.5, 1.4, 2.5)), np.empty(0, np.int16))
    two = Uttered("b", Warp((0.0, 2.0), (0.1, 2.1)), np.empty(0, np.int16))
    assert paired(one, two) == ("a", "b", (0.5, 1.4, 2.5), (0.1, 1.1, 2.1))


def test_two_processes_write_what_one_does_and_a_gap_is_filled(tmp_path, monkeypatch):
    few = {family: FAMILIES[family] for family in ("knock", "burst")}
    monkeypatch.setattr(calls, "FAMILIES", few)
    monkeypatch.setattr(calls, "BATCH", 2)
    one, two = (calls.make(tmp_path / str(count), count, calls=2) for count in (1, 2))
    assert one == two
    assert len(one.labels) == 2 * 2 * calls.TAKES
    assert len(one.pairs) == 2 * 2 * 6
    before = {label.file: (tmp_path / "1" / label.file).read_bytes() for label in one.labels}
    assert before == {file: (tmp_path / "2" / file).read_bytes() for file in before}
    lost = tmp_path / "1" / one.labels[5].file
    lost.unlink()
    assert calls.make(tmp_path / "1", 1, calls=2) == one
    assert lost.read_bytes() == before[one.labels[5].file]
    found, rate = soundfile.read(lost)
    assert (found.ndim, rate) == (1, SAMPLE_RATE)
