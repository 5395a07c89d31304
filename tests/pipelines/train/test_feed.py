"""Batches of tiles: their views, and pairs of front ends."""

import json

import numpy as np
import pytest

from tests.conftest import SAMPLES
from ulmo.config import AugmentSettings, ModelSettings, PrepSettings, TrainSettings, UserError
from ulmo.dataset import Loudness
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.train.feed import Feed
from ulmo.preprocessing.store import TileStore

PREP = {"tile_size": 32, "sample_rate": 8000, "hop_length": 64}
AUGMENT = AugmentSettings(views=3, hop_factors=(0.8, 1.0), window_factors=(1.0,))
MODEL = ModelSettings(tile_size=32, frequency_stride=8, time_stride=4)


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("viewed") / "tiles"
    prepare(SAMPLES, folder, PrepSettings(frontend="stft", **PREP), augment=AUGMENT)
    return TileStore(folder)


@pytest.fixture(scope="module")
def other_frontends(tmp_path_factory):
    folders = {}
    for frontend, more in {"mel": {}, "dwt": {"wavelet": "db2"}}.items():
        folders[frontend] = tmp_path_factory.mktemp(frontend) / "tiles"
        prepare(SAMPLES, folders[frontend], PrepSettings(frontend=frontend, **PREP, **more))
    return folders


def feed_of(store, wants=(), **options):
    if "beside" in options:
        folders = tuple(map(str, options["beside"]))
        options |= {"objective": "abx_choice", "beside": folders}
    settings = TrainSettings(seed=5, **options)
    return Feed(Loudness(store, MODEL), settings, wants=frozenset(wants))


def key(store, row):
    return store.recordings[row], store.table["tile"][int(row)].as_py()


def find(store, tile):
    """The row that holds a tile."""
    (row,) = [row for row in range(len(store)) if np.array_equal(store.read([row])[0], tile)]
    return row


def test_without_wishes_a_batch_is_the_rows(viewed):
    feed, rows = feed_of(viewed, silence_weight=0.25), np.array([4, 0, 7])
    batch = feed.batch(rows, 0)
    np.testing.assert_array_equal(batch.tiles, viewed.read(rows))
    np.testing.assert_array_equal(batch.valid_frames, viewed.valid_frames[rows])
    assert set(np.unique(batch.token_weights)) <= {0.25, 1.0}
    assert (batch.other, batch.pair) == (None, None)
    np.testing.assert_array_equal(feed.rows(rows), rows)


def test_the_other_is_another_view_of_the_same_tile(viewed):
    feed = feed_of(viewed, ["views"])
    rows = feed.rows(np.arange(len(viewed)))
    assert (viewed.views[rows] == 0).all()
    assert len(rows) * 3 == len(viewed)
    chosen = rows[[0, len(rows) // 2, -1]]
    seen = set()
    for number in range(6):
        batch = feed.batch(chosen, number)
        for place, row in enumerate(chosen):
            first = find(viewed, np.asarray(batch.tiles[place]))
            second = find(viewed, np.asarray(batch.other.tiles[place]))
            assert key(viewed, first) == key(viewed, second) == key(viewed, row)
            assert first != second
            seen |= {(place, viewed.views[first]), (place, viewed.views[second])}
    assert len(seen) == 9


def test_what_is_drawn_is_ruled_by_the_number(viewed):
    rows = np.flatnonzero(viewed.views == 0)[:8]
    first, again, later = (
        np.asarray(feed_of(viewed, ["views"]).batch(rows, number).tiles) for number in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, later)


def test_batches_made_ahead_are_those_made_one_by_one(viewed):
    feed = feed_of(viewed, ["views"])
    rows = np.array_split(np.flatnonzero(viewed.views == 0)[:10], 3)
    made = list(feed.batches(rows, first=7))
    assert len(made) == 3
    for number, (batch, some) in enumerate(zip(made, rows, strict=True), 7):
        alone = feed.batch(some, number)
        np.testing.assert_array_equal(batch.tiles, alone.tiles)
        np.testing.assert_array_equal(batch.other.tiles, alone.other.tiles)
    assert list(feed.batches([], first=0)) == []


def test_no_more_than_one_batch_is_made_ahead_and_its_error_is_raised(viewed, monkeypatch):
    feed, made = feed_of(viewed), []

    def make(rows, number, **_):
        made.append(number)
        if number == 3:
            raise UserError("no such tile")
        return number

    monkeypatch.setattr(feed, "batch", make)
    rows = [np.array([0])] * 9
    coming = feed.batches(rows, first=0)
    assert next(coming) == 0
    coming.close()
    assert made == [0, 1]
    with pytest.raises(UserError, match="no such tile"):
        list(feed.batches(rows, first=0))


def test_the_edges_of_columns_follow_from_hop_and_rate(viewed):
    feed = feed_of(viewed)
    for row in (0, 1, 2, 5):
        told = viewed.table["augmentation"][row].as_py()
        pace = 1.0
        if told is not None:
            view = json.loads(told)
            pace = (view["hop_length"] / view["sample_rate"]) / (64 / 8000)
        edges = np.asarray(feed.batch(np.array([row]), 0).edges[0])
        np.testing.assert_allclose(edges, pace * np.arange(0, 33, 4), rtol=1e-6)
    ends = np.asarray(feed.batch(np.arange(len(viewed)), 0).edges)[:, -1]
    np.testing.assert_allclose(ends[viewed.views == 0], 32, rtol=1e-6)
    assert ends.min() < 0.9 * 32
    assert ends.max() > 1.05 * 32


def test_a_crop_and_its_other_view_show_the_same_moments(viewed):
    feed = feed_of(viewed, ["views"], crop_frames=12, objective="simclr")
    rows = feed.rows(np.arange(len(viewed)))
    whole = feed_of(viewed, ["views"], objective="simclr")
    firsts = set()
    for number in range(4):
        batch, uncut = feed.batch(rows, number), whole.batch(rows, number)
        assert batch.tiles.shape[2] == batch.other.tiles.shape[2] == 12
        assert batch.token_weights.shape[1:] == (3, 4)
        for side, full in ((batch, uncut), (batch.other, uncut.other)):
            for crop, tile, valid, most in zip(
                *(np.asarray(part) for part in (side.tiles, full.tiles, side.valid_frames)),
                np.asarray(full.valid_frames),
                strict=True,
            ):
                places = [f for f in range(21) if np.array_equal(tile[:, f : f + 12], crop)]
                assert places
                assert any(valid == min(max(most - first, 0), 12) for first in places)
                assert valid == min(most, 12)
                firsts |= set(places)
        begun = np.asarray(batch.edges)[:, :1]
        np.testing.assert_allclose(begun, 0, atol=1e-6)
        ends = np.asarray(batch.edges)[:, -1], np.asarray(batch.other.edges)[:, -1]
        starts = np.asarray(batch.other.edges)[:, 0]
        middles = ends[0] / 2, (ends[1] + starts) / 2
        free = np.asarray(uncut.valid_frames) == 32
        # But for views whose tile ends before: of a smaller pace, or with fewer valid frames. The
        # other view begins up to half a column, 2 frames, earlier or later.
        shift = np.abs(middles[0] - middles[1])[free]
        assert 0.2 < np.median(shift) < 1.9
        assert shift.max() > 0.8
    assert len(firsts) > 10


def test_a_crop_is_no_longer_than_a_tile(viewed):
    rows = np.arange(4)
    one, two = (feed_of(viewed, crop_frames=frames).batch(rows, 0) for frames in (32, 99))
    np.testing.assert_array_equal(one.tiles, viewed.read(rows))
    np.testing.assert_array_equal(two.tiles, one.tiles)


def test_a_pair_is_one_tile_through_two_front_ends(tiny_tiles, other_frontends):
    store = TileStore(tiny_tiles)
    stores = [store, *(TileStore(folder) for folder in other_frontends.values())]
    feed = feed_of(store, ["frontends"], beside=list(other_frontends.values()))
    assert feed.frontends == ["stft", "mel", "dwt"]
    rows = np.array([0, 9, 3])
    drawn = set()
    for number in range(12):
        first, second = feed.batch(rows, number).pair
        for side in (first, second):
            for place, row in enumerate(rows):
                through = stores[int(side.frontend[place])]
                found = find(through, np.asarray(side.tiles[place]))
                assert key(through, found) == key(store, row)
                assert int(side.valid_frames[place]) == through.valid_frames[found]
        pairs = zip(np.asarray(first.frontend), np.asarray(second.frontend), strict=True)
        drawn |= {(int(one), int(other)) for one, other in pairs}
    assert drawn == {(i, j) for i in range(3) for j in range(3) if i != j}


def test_tiles_that_do_not_fit_are_refused(tiny_tiles, other_frontends, tmp_path):
    store, mel = TileStore(tiny_tiles), other_frontends["mel"]
    with pytest.raises(UserError, match="prepare the tiles with --views 3"):
        feed_of(store, ["views"])
    with pytest.raises(UserError, match="name tiles of the same recordings"):
        feed_of(store, ["frontends"])
    with pytest.raises(UserError, match="mel is there twice"):
        feed_of(store, ["frontends"], beside=[mel, mel])
    settings = PrepSettings(frontend="mel", tile_size=32, sample_rate=8000, hop_length=32)
    prepare(SAMPLES, tmp_path / "hop", settings)
    with pytest.raises(UserError, match="another hop_length"):
        feed_of(store, ["frontends"], beside=[tmp_path / "hop"])
    prepare(SAMPLES / "speech", tmp_path / "few", PrepSettings(frontend="mel", **PREP))
    with pytest.raises(UserError, match="has no tile 0 of "):
        feed_of(store, ["frontends"], beside=[tmp_path / "few"])
