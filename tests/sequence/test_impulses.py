"""Trains of impulses: planted times, noise, what is no train, and the same result in any blocks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ulmo.config import UserError
from ulmo.sequence.impulses import Train, find_impulses

RATE = 16000
LOUD = 0.3


def noise(seconds, rate=RATE, seed=0):
    rng = np.random.default_rng(seed)
    return (0.003 * rng.standard_normal(round(seconds * rate))).astype(np.float32)


def with_clicks(samples, times, rate=RATE, loud=LOUD, hertz=None):
    """Samples with a click that dies away within a few milliseconds at each time."""
    hertz = hertz or 0.2 * rate
    samples = samples.copy()
    at = np.arange(round(0.004 * rate)) / rate
    click = loud * np.exp(-at / 0.0008) * np.sin(2 * np.pi * hertz * (at + 0.5 / rate))
    for moment in times:
        place = round(moment * rate)
        end = min(place + len(click), len(samples))
        samples[place:end] += click[: end - place].astype(np.float32)
    return samples


def found_of(trains, times, within=0.002):
    """How many of the times are found once each, and how many impulses are nothing planted."""
    found = np.sort(np.concatenate([train.times for train in trains] or [np.zeros(0)]))
    hit = np.array([np.abs(found - moment).min(initial=1) < within for moment in times])
    strange = np.array([np.abs(np.asarray(times) - moment).min() >= within for moment in found])
    return int(hit.sum()), int(strange.sum())


def same(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.times, other.times)
        assert one[1:] == other[1:]


@settings(max_examples=10, deadline=None)
@given(
    period=st.floats(np.log(0.005), np.log(10)).map(lambda log: float(np.exp(log))),
    rate=st.sampled_from([8000, 16000, 44100]),
    seed=st.integers(0, 9),
)
def test_a_steady_train_is_found_whole_at_any_period(period, rate, seed):
    times = 0.5 + period * np.arange(16)
    samples = with_clicks(noise(times[-1] + 1, rate, seed), times, rate)
    trains = find_impulses(samples, rate)
    hits, strange = found_of(trains, times)
    assert hits >= 15
    assert strange <= 1
    assert len(trains) == 1
    assert trains[0].period_s == pytest.approx(period, rel=0.01)
    assert trains[0].jitter_s < max(0.02 * period, 2 / rate)
    assert trains[0].missed == 0


@settings(max_examples=8, deadline=None)
@given(
    period=st.floats(np.log(0.02), np.log(2)).map(lambda log: float(np.exp(log))),
    jitter=st.floats(0, 0.05),
    seed=st.integers(0, 99),
)
def test_jitter_and_missed_clicks_change_neither_period_nor_octave(period, jitter, seed):
    rng = np.random.default_rng(seed)
    whole = 0.5 + period * (np.arange(40) + jitter * rng.standard_normal(40))
    heard = rng.random(40) >= 0.15
    heard[[0, -1]] = True
    samples = with_clicks(noise(whole[-1] + 1, seed=seed), whole[heard])
    trains = find_impulses(samples, RATE)
    longest = max(trains, key=lambda train: len(train.times))
    assert longest.period_s == pytest.approx(period, rel=0.02)
    hits, strange = found_of(trains, whole[heard])
    assert hits >= 0.85 * heard.sum()
    assert strange <= 2


@pytest.mark.parametrize(
    ("rate", "hertz", "period"),
    [(2500, 250, 0.05), (192000, 45000, 0.03), (384000, 40000, 0.1), (500000, 130000, 0.02)],
)
def test_low_and_ultrasonic_rates(rate, hertz, period):
    times = 0.3 + period * np.arange(20)
    samples = with_clicks(noise(times[-1] + 0.5, rate), times, rate, hertz=hertz)
    trains = find_impulses(samples, rate)
    assert found_of(trains, times, within=0.003)[0] >= 18
    assert trains[0].period_s == pytest.approx(period, rel=0.01)
    assert trains[0].low_hz <= hertz <= trains[0].high_hz


def test_two_trains_at_once_are_told_apart():
    slow = 1 + 0.37 * np.arange(40)
    fast = 3 + 0.112 * np.arange(60)
    samples = with_clicks(noise(17), slow, hertz=5500)
    samples = with_clicks(samples, fast, hertz=1200)
    trains = find_impulses(samples, RATE)
    periods = sorted(train.period_s for train in trains)
    assert periods == pytest.approx([0.112, 0.37], rel=0.01)
    assert found_of(trains, np.concatenate([slow, fast]))[0] >= 95


@pytest.mark.parametrize(("short", "long"), [(0.43, 0.61), (0.38, 0.53), (0.24, 0.43)])
def test_a_clock_that_says_tick_and_tock_is_found_whole(short, long):
    """Its period is that of both together, or half of it where they are about equal."""
    times = 0.2 + np.cumsum(np.tile([short, long], 5)) - short
    trains = find_impulses(with_clicks(noise(times[-1] + 0.5), times), RATE)
    hits, strange = found_of(trains, times)
    assert hits >= 9
    assert strange == 0
    whole = short + long
    assert trains[0].period_s == pytest.approx(whole if long > 1.7 * short else whole / 2, rel=0.02)


def test_trains_of_two_sounds_that_are_as_bright_are_not_joined():
    """One after the other, with one period, which the second begins anew."""
    rng = np.random.default_rng(5)
    samples = noise(20)
    first, second = 0.5 + 0.3 * np.arange(30), 9.95 + 0.3 * np.arange(30)
    for times in (first, second):
        click = LOUD * rng.standard_normal(96) * np.exp(-np.arange(96) / 20)
        for moment in times:
            place = round(moment * RATE)
            samples[place : place + len(click)] += click.astype(np.float32)
    trains = find_impulses(samples, RATE)
    assert [len(train.times) for train in trains] == [30, 30]


def test_impulses_of_two_kinds_have_their_own_bands():
    samples = with_clicks(noise(10), 1 + 0.2 * np.arange(40), hertz=6000)
    low, high = find_impulses(samples, RATE)[0][4:]
    assert 1000 < low < 6000 < high <= RATE / 2


def test_one_off_knocks_are_no_train():
    rng = np.random.default_rng(3)
    samples = noise(120)
    for moment in rng.uniform(1, 118, 12):
        length = rng.integers(100, 1200)
        place = round(moment * RATE)
        pole = rng.uniform(-0.9, 0.9)
        knock = np.convolve(rng.standard_normal(length), pole ** np.arange(60))[:length]
        knock *= 0.2 * np.exp(-np.arange(length) / (0.2 * length)) / np.abs(knock).max()
        samples[place : place + length] += knock.astype(np.float32)
    assert find_impulses(samples, RATE) == []


def test_knocks_do_not_disturb_a_train():
    rng = np.random.default_rng(4)
    times = 10 + 1.3 * np.arange(30)
    samples = with_clicks(noise(60), times)
    for moment in rng.uniform(1, 58, 6):
        place = round(moment * RATE)
        samples[place : place + 400] += (0.1 * rng.standard_normal(400)).astype(np.float32)
    trains = find_impulses(samples, RATE)
    assert found_of(trains, times)[0] >= 29
    assert trains[0].period_s == pytest.approx(1.3, rel=0.01)


def test_noise_alone_has_at_most_as_many_trains_as_asked():
    """In 5 minutes of four colours at 12 an hour: 1 is expected, and 4 come once in 50 times."""
    found = 0
    for seed, smooth in enumerate((1, 3, 9, 27)):
        sound = np.convolve(noise(75, seed=seed), np.ones(smooth), "same").astype(np.float32)
        found += len(find_impulses(sound, RATE, false_per_hour=12))
    assert found <= 3


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(1, np.float32),
        np.zeros(30 * RATE, np.float32),
        np.full(20 * RATE, 0.5, np.float32),
        np.sin(np.arange(20 * RATE) * 0.3).astype(np.float32),
    ],
    ids=["nothing", "one sample", "silence", "constant", "tone"],
)
def test_what_has_no_impulses_has_no_train(samples):
    assert find_impulses(samples, RATE) == []


def test_a_single_click_is_no_train():
    assert find_impulses(with_clicks(noise(30), [12.0]), RATE) == []
    assert find_impulses(with_clicks(np.zeros(30 * RATE, np.float32), [12.0]), RATE) == []


def test_a_train_in_digital_silence():
    times = 1 + 0.25 * np.arange(20)
    trains = find_impulses(with_clicks(np.zeros(10 * RATE, np.float32), times), RATE)
    assert found_of(trains, times)[0] >= 19


def test_a_train_goes_on_where_two_minutes_end():
    times = 60 + 1.7 * np.arange(80)
    trains = find_impulses(with_clicks(noise(240), times), RATE)
    assert len(trains) == 1
    assert found_of(trains, times)[0] >= 79
    assert trains[0].period_s == pytest.approx(1.7, rel=0.001)


@pytest.mark.parametrize("period", [0.01, 0.05])
def test_clicks_that_never_stop_are_not_taken_for_noise(period):
    times = 1 + period * np.arange(round(12 / period))
    trains = find_impulses(with_clicks(noise(14), times), RATE)
    assert found_of(trains, times)[0] >= 0.95 * len(times)
    assert trains[0].period_s == pytest.approx(period, rel=0.001)


def test_uneven_intervals_have_no_period():
    rng = np.random.default_rng(6)
    gaps = np.exp(rng.uniform(np.log(0.02), np.log(0.2), 60))
    for train in find_impulses(with_clicks(noise(12), 1 + np.cumsum(gaps)), RATE):
        assert train.period_s is None or train.jitter_s <= 0.35 * train.period_s


def test_the_same_from_a_memory_map_of_integers_of_floats_and_twice(tmp_path):
    samples = with_clicks(noise(130), 1 + 0.31 * np.arange(400))
    np.save(tmp_path / "sound.npy", samples)
    mapped = np.load(tmp_path / "sound.npy", mmap_mode="r")
    whole = find_impulses(samples, RATE)
    assert whole
    same(whole, find_impulses(samples, RATE))
    same(whole, find_impulses(mapped, RATE))


def test_what_comes_later_does_not_change_what_was_found():
    samples = with_clicks(noise(260), 20 + 0.3 * np.arange(60))
    first = find_impulses(samples[: 200 * RATE], RATE)
    whole = find_impulses(samples, RATE)
    same([train for train in first if train.times[-1] < 60], whole[:1])


def test_times_rise_and_are_finite():
    rng = np.random.default_rng(8)
    samples = with_clicks(noise(30), np.sort(rng.uniform(1, 29, 200)))
    for train in find_impulses(samples, RATE):
        assert isinstance(train, Train)
        assert (np.diff(train.times) > 0).all()
        assert np.isfinite([*train.times, train.missed, train.low_hz, train.high_hz]).all()


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_a_rate_of_false_trains_must_be_positive(wrong):
    with pytest.raises(UserError, match="false_per_hour"):
        find_impulses(noise(1), RATE, false_per_hour=wrong)
