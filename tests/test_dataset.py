from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import sound_tokens
from ulmo.config import ModelSettings, PrepSettings
from ulmo.dataset import Loudness, batches, shuffled, split_by_recording
from ulmo.evaluation.silence import FLOOR_MARGIN_DB, SILENCE_DB


class Store(NamedTuple):
    """What these functions use of a TileStore."""

    recordings: np.ndarray
    valid_frames: np.ndarray = np.zeros(0, np.int32)
    scales_db: np.ndarray = np.zeros(0, np.float32)
    offsets_db: np.ndarray = np.zeros(0, np.float32)
    peaks_db: np.ndarray = np.zeros(0, np.float32)
    tiles: np.ndarray = np.zeros(0, np.float32)
    manifest = SimpleNamespace(settings=PrepSettings(floor_db=-80))
    in_decibels: bool = True
    others: tuple[int, ...] = ()

    @property
    def views(self):
        """0, but for the rows that are named as others' views."""
        return np.isin(np.arange(len(self.recordings)), self.others).astype(np.int32)

    def read(self, rows):
        return self.tiles[list(rows)]


def store_of(*counts):
    """Recordings a, b, c, ... with so many tiles."""
    names = [chr(ord("a") + i) for i, count in enumerate(counts) for _ in range(count)]
    return Store(np.array(names, dtype=str))


def with_views(store, views):
    """The same with so many rows a tile, of which the first is the tile itself."""
    repeated = store._replace(recordings=np.repeat(store.recordings, views))
    rows = np.arange(len(repeated.recordings))
    return repeated._replace(others=tuple(rows[rows % views > 0]))


def held_out(store, fraction, seed=0):
    return set(store.recordings[split_by_recording(store, fraction, seed).validation])


@given(
    counts=st.lists(st.integers(1, 9), min_size=1, max_size=20),
    fraction=st.floats(0, 0.9),
    seed=st.integers(0, 2**31 - 1),
)
def test_no_recording_is_on_both_sides_and_every_tile_is_on_one(counts, fraction, seed):
    store = store_of(*counts)
    train, validation = split_by_recording(store, fraction, seed)
    assert sorted([*train, *validation]) == list(range(len(store.recordings)))
    assert not set(store.recordings[train]) & set(store.recordings[validation])
    assert list(train) == sorted(train)
    assert list(validation) == sorted(validation)
    assert len(train) > 0


@given(
    counts=st.lists(st.integers(1, 5), min_size=2, max_size=9),
    views=st.integers(2, 4),
    seed=st.integers(0, 99),
)
def test_training_has_every_view_and_validation_the_tiles_alone(counts, views, seed):
    store = with_views(store_of(*counts), views)
    train, validation = split_by_recording(store, 0.5, seed)
    chosen = np.unique(store.recordings[validation])
    assert len(chosen) > 0
    assert (store.views[validation] == 0).all()
    assert len(validation) * views == np.isin(store.recordings, chosen).sum()
    np.testing.assert_array_equal(train, np.flatnonzero(~np.isin(store.recordings, chosen)))


@pytest.mark.parametrize(
    ("recordings", "fraction", "expected"),
    [
        *((10, 0, 0), (10, 0.001, 1), (10, 0.1, 1), (10, 0.26, 3), (10, 0.9, 9)),
        *((2, 0.9, 1), (2, 0.1, 1), (1, 0.5, 0), (1, 0.9, 0), (0, 0.5, 0)),
    ],
)
def test_share_of_the_recordings_that_is_held_out(recordings, fraction, expected):
    assert len(held_out(store_of(*[3] * recordings), fraction)) == expected


def test_the_split_depends_on_the_seed_and_the_recordings_alone():
    """Runs that are resumed, and runs to be compared, need the same one for ever."""
    store = store_of(*[2] * 12)
    splits = [held_out(store, 0.5, seed) for seed in range(10)]
    assert splits == [held_out(store, 0.5, seed) for seed in range(10)]
    assert len({frozenset(split) for split in splits}) > 5
    assert held_out(store, 0.3) == held_out(store_of(*range(1, 13)), 0.3)  # not on their tiles
    assert held_out(store, 0.3) == held_out(with_views(store, 3), 0.3)
    assert {len(held_out(store_of(1000, 1, 1, 1), 0.5, seed)) for seed in range(20)} == {2}
    assert held_out(store_of(*[1] * 10), 0.3) == {"c", "e", "g"}  # golden


@given(count=st.integers(0, 50), seed=st.integers(0, 99), epoch=st.integers(0, 99))
def test_an_epochs_order_is_a_function_of_seed_and_epoch(count, seed, epoch):
    rows = np.arange(count) * 3
    order = shuffled(rows, seed=seed, epoch=epoch)
    assert sorted(order) == list(rows)
    assert list(order) == list(shuffled(rows, seed=seed, epoch=epoch))
    if count > 20:
        assert list(order) != list(shuffled(rows, seed=seed, epoch=epoch + 1))
        assert list(order) != list(shuffled(rows, seed=seed + 1, epoch=epoch))


@given(count=st.integers(0, 50), size=st.integers(1, 20))
def test_batches_are_consecutive(count, size):
    pieces = list(batches(np.arange(count), size))
    assert [row for piece in pieces for row in piece] == list(range(count))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert all(0 < len(piece) <= size for piece in pieces)


@pytest.fixture
def loud_store():
    """Nine tiles of three recordings, each normalised in its own way; filling is loud."""
    rng = np.random.default_rng(0)
    valid = np.array([8, 8, 3, 8, 8, 1, 8, 8, 5], np.int32)
    scales = rng.uniform(5, 20, 9).astype(np.float32)
    offsets = rng.uniform(-80, -20, 9).astype(np.float32)
    levels = rng.uniform(-100, -45, (9, 8, 8)).astype(np.float32)
    levels[:, :4] += 15
    levels[[0, 5, 8], 0, 0] = (-1, -12, -30)
    levels[np.arange(8) >= valid[:, None, None] + np.zeros((1, 8, 1), int)] = 0
    tiles = (levels - offsets[:, None, None]) / scales[:, None, None]
    names = np.array(list("aabbbaccc"))
    inside = np.where(np.arange(8) < valid[:, None, None], levels, -np.inf)
    return levels, Store(names, valid, scales, offsets, inside.max(axis=(1, 2)), tiles[..., None])


@pytest.mark.parametrize("strides", [(4, 2), (3, 5)])
def test_loudness_is_that_of_loops(strides, loud_store):
    levels, store = loud_store
    model = ModelSettings(tile_size=8, frequency_stride=strides[0], time_stride=strides[1])
    loudness = Loudness(store, model)
    expected = sound_tokens(
        levels,
        list(store.recordings),
        valid_frames=store.valid_frames,
        strides=strides,
        silence_db=SILENCE_DB,
        quietest_db=-80 + FLOOR_MARGIN_DB,
    )
    assert 0.2 < expected.mean() < 0.9
    np.testing.assert_array_equal(loudness.sound(store.tiles, np.arange(9)), expected)
    some = np.array([7, 2, 5])
    np.testing.assert_array_equal(loudness.sound(store.read(some), some), expected[some])


def test_views_change_nothing_about_which_tokens_of_a_tile_are_sound(loud_store):
    """A view is 6 dB louder than the loudest tile of its recording."""
    _, store = loud_store
    louder = store.peaks_db.copy()
    louder[1] = louder[0] + 6
    rows = np.array([0])
    model = ModelSettings(tile_size=8, frequency_stride=2, time_stride=2)
    alone = Loudness(store, model).sound(store.read(rows), rows)
    viewed = store._replace(peaks_db=louder, others=(1,))
    beside = Loudness(viewed, model).sound(store.read(rows), rows)
    np.testing.assert_array_equal(beside, alone)


def test_all_tokens_of_pcen_are_sound(loud_store):
    """No level can be told from it: the columns that would say are not numbers."""
    _, store = loud_store
    unknown = np.full(9, np.nan, np.float32)
    pcen = store._replace(
        in_decibels=False, offsets_db=unknown, scales_db=unknown, peaks_db=unknown
    )
    model = ModelSettings(tile_size=8, frequency_stride=3, time_stride=5)
    sound = Loudness(pcen, model).sound(store.tiles[:4], np.arange(4))
    assert (sound.dtype, sound.shape) == (np.bool_, (4, 2, 3))
    assert sound.all()
