import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.small import SMALL, batch_of, edges_of, encoded_of, noise, side_of
from ulmo.models import build_vqvae
from ulmo.models.draws import Draws
from ulmo.models.objectives.moments import (
    SharedMoments,
    columns_at,
    columns_of,
    drawn,
    far_apart,
    mean_of,
    middles_of,
    shared_moments,
    values_at,
)

STRIDE = SMALL.time_stride
MODEL = build_vqvae(SMALL)


def moments(*, pace=1.0, other_pace=1.0, valid=None, other_valid=None, weights=None, step=0, **how):
    """SharedMoments of 3 tiles of noise and another view of them, as arrays."""
    tiles = noise(3, 32, 32, 1)
    batch = batch_of(tiles, valid=valid, weights=weights)._replace(edges=edges_of(3, 32, pace=pace))
    other = side_of(tiles, valid=other_valid, pace=other_pace)
    latents = MODEL.encode(other.tiles)
    found = shared_moments(
        encoded_of(MODEL, batch),
        other,
        latents,
        how.get("count", 48),
        Draws(how.get("seed", 0), step),
    )
    return SharedMoments(*(np.asarray(part) for part in found))


@pytest.mark.parametrize("paces", [(1, 1), (1, 1.1), (0.8, 1.25), (1.375, 0.72), (0.5, 1)])
def test_a_moment_lies_in_the_middle_of_one_column_and_within_the_other(paces):
    first, other = paces
    found = moments(pace=first, other_pace=other)
    assert len(found.time)
    for time, column, other_column in zip(
        found.time, found.column, found.other_column, strict=True
    ):
        begin, end = (column * STRIDE * first, (column + 1) * STRIDE * first)
        assert time == pytest.approx((begin + end) / 2, rel=1e-6)
        begin, end = (other_column * STRIDE * other, (other_column + 1) * STRIDE * other)
        assert begin - 1e-4 <= time <= end + 1e-4


def test_a_sound_is_found_where_another_pace_has_put_it():
    """Of tiles whose frames are numbered by their time, columns show nearly the same number."""
    pace = np.array([1.0, 0.9], np.float32), np.array([1.25, 0.8], np.float32)
    clocks = [np.arange(32)[None] * one[:, None] for one in pace]
    edges = [STRIDE * np.arange(17) * one[:, None] for one in pace]
    times = middles_of(tf.constant(edges[0]))
    found = np.asarray(columns_at(times, tf.constant(edges[1])))
    for tile, column in np.ndindex(2, 16):
        if found[tile, column] < 16:
            here = clocks[0][tile, column * STRIDE : (column + 1) * STRIDE].mean()
            other = found[tile, column]
            there = clocks[1][tile, other * STRIDE : (other + 1) * STRIDE].mean()
            assert abs(here - there) <= STRIDE * pace[1][tile] / 2 + 0.5


def test_only_what_both_views_show_is_drawn_and_nothing_twice():
    found = moments(valid=[32, 11, 0], other_valid=[9, 32, 32])
    drawn_there = sorted(zip(found.tile.tolist(), found.column.tolist(), strict=True))
    assert drawn_there == [(0, column) for column in range(5)] + [(1, c) for c in range(6)]
    np.testing.assert_array_equal(found.column, found.other_column)


def test_a_view_that_runs_twice_as_long_is_compared_as_far_as_the_tile_goes():
    assert moments(other_pace=0.5).time.max() == 15
    assert moments(other_pace=2).other_column.max() == 7


def test_so_many_are_drawn_anew_at_each_step():
    first, again, other = (moments(count=10, step=step) for step in (0, 0, 1))
    assert len(first.time) == 10
    np.testing.assert_array_equal(first.column, again.column)
    assert not np.array_equal(first.column, other.column)
    assert not np.array_equal(first.column, moments(count=10, seed=1).column)


def test_silence_is_drawn_as_rarely_as_it_weighs():
    weights = np.ones((3, 16, 2))
    weights[:, ::2] = 0.01
    columns = np.concatenate(
        [moments(count=5, weights=weights, step=step).column for step in range(12)]
    )
    assert 0 < np.mean(columns % 2 == 0) < 0.05


def test_draws_follow_the_weights():
    weights = tf.constant([1.0, 0.0, 3.0])
    places = [int(drawn(weights, 1, Draws(0, step))[0]) for step in range(120)]
    assert np.bincount(places, minlength=3) / 120 == pytest.approx([0.25, 0, 0.75], abs=0.1)
    assert sorted(drawn(weights, 9, Draws(0, 0)).numpy()) == [0, 2]


def test_of_nothing_none_are_drawn():
    assert len(moments(valid=[0, 0, 0]).time) == 0
    assert float(mean_of(tf.zeros(0))) == 0
    assert float(mean_of(tf.constant([1.0, 4.0]))) == 2.5


def test_columns_are_joined_over_their_bands():
    latents = noise(2, 3, 4, 5)
    joined = columns_of(tf.constant(latents), tf.constant([[1], [0]]), tf.constant([[2], [1]]))
    assert joined.shape == (2, 1, 20)
    np.testing.assert_array_equal(joined[0, 0], latents[1, 2].ravel())
    np.testing.assert_array_equal(joined[1, 0], latents[0, 1].ravel())


def test_there_is_no_value_before_the_first_and_past_the_last_column():
    values = tf.constant([[1.0, 2.0], [3.0, 4.0]])
    found = values_at(values, tf.constant([[1, 2, 0], [-1, 0, 9]]))
    np.testing.assert_array_equal(found, [[2, 0, 1], [0, 3, 0]])


def test_a_column_covers_its_beginning_and_none_covers_what_has_no_duration():
    edges = tf.constant([[1.0, 2.0, 2.0, 4.0]])
    times = tf.constant([[0.9, 1.0, 1.9, 2.0, 3.9, 4.0]])
    np.testing.assert_array_equal(columns_at(times, edges), [[-1, 0, 0, 2, 2, 3]])


def test_moments_are_apart_in_other_tiles_or_some_frames_away():
    found = moments(count=20)
    apart = np.asarray(far_apart(SharedMoments(*map(tf.constant, found)), 6.0))
    for one, two in np.ndindex(20, 20):
        near = abs(found.time[one] - found.time[two]) < 6
        assert apart[one, two] == (found.tile[one] != found.tile[two] or not near)
    assert not apart.diagonal().any()
    assert apart.any()
