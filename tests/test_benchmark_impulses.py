"""The benchmark of impulses: its scenes have what they say, and its measures count right."""

import numpy as np
import pytest

from benchmarks.click_scenes import RATE, plant
from benchmarks.impulses import (
    autocorrelated_period,
    best_peaks,
    labels_of,
    right,
    tally,
    train_for,
)
from ulmo.sequence.impulses import Train


def quiet(seconds):
    return (1e-4 * np.random.default_rng(0).standard_normal(seconds * RATE)).astype(np.float32)


def scene_of(**settings):
    return plant(quiet(30), 40, np.random.default_rng(1), **{"trains": 3, **settings})


def test_pairs_are_one_to_one():
    assert tally(np.array([1.0, 1.001, 2.0]), np.array([1.0, 3.0]), 0.005) == (1, 3, 2)
    assert tally(np.array([1.004, 0.996]), np.array([1.0, 1.0]), 0.005) == (2, 2, 2)
    assert tally(np.zeros(0), np.array([1.0]), 0.005) == (0, 0, 1)


def test_f_is_of_precision_and_recall():
    some = tally(np.array([1.0, 2.0]), np.array([1.0, 3.0, 4.0, 5.0]), 0.01)
    assert (some.precision, some.recall) == (0.5, 0.25)
    assert some.f == pytest.approx(2 * 0.5 * 0.25 / 0.75)


def test_clicks_are_where_the_scene_says():
    scene = scene_of(knocks_per_minute=0)
    sound = np.abs(scene.samples)
    heard = np.concatenate([train.times for train in scene.trains])
    for moment in heard:
        place = round(moment * RATE)
        assert sound[place : place + 96].max() > 50 * 1e-4
    far = np.ones(len(sound), bool)
    for moment in heard:
        far[round(moment * RATE) : round(moment * RATE) + 96] = False
    assert sound[far].max() < 10 * 1e-4


def test_a_scene_follows_from_its_seed_and_leaves_the_noise():
    noise = quiet(30)
    before = noise.copy()
    scenes = [plant(noise, 10, np.random.default_rng(5), trains=2) for _ in range(2)]
    np.testing.assert_array_equal(noise, before)
    np.testing.assert_array_equal(scenes[0].samples, scenes[1].samples)
    assert len(scenes[0].knocks) == 2


def test_peers_find_loud_clicks():
    scene = scene_of(trains=1, knocks_per_minute=0, periods_s=(0.1, 0.2))
    train = scene.trains[0]
    found = best_peaks(scene.samples, RATE, train.times, 0.005, low_hz=500, apart_s=0.004)
    assert found.f > 0.95
    period = autocorrelated_period(scene.samples, train)
    assert min(abs(period / train.period_s - n) for n in (1, 2, 3)) < 0.1


def test_a_period_of_another_octave_is_not_right():
    assert right(1.005, 1.0, 0.01)
    assert not right(2.0, 1.0, 1 / 3)
    assert not right(0.5, 1.0, 1 / 3)
    assert not right(None, 1.0, 0.01)


def test_the_train_with_most_clicks_counts():
    planted = scene_of(trains=1).trains[0]
    few = Train(planted.times[:3], 1.0, 0.0, 0, 0.0, 1.0)
    most = Train(planted.times, 2.0, 0.0, 0, 0.0, 1.0)
    assert train_for(planted, [few, most]) is most
    assert train_for(planted, []) is None


def test_labels_of_several_people_count_once(tmp_path):
    rows = ["file,time_s,label,source", "a.wav,2,p,x", "a.wav,1,p,x", "a.wav,1.001,p,y"]
    (tmp_path / "impulses.csv").write_text("\n".join(rows), encoding="utf-8")
    np.testing.assert_array_equal(labels_of(tmp_path)["a.wav"], [1, 2])
