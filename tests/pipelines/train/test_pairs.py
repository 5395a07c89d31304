"""Recordings that say the same: their file, and the moments that tiles share."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from ulmo.config import AugmentSettings, ModelSettings, PrepSettings, TrainSettings, UserError
from ulmo.dataset import Loudness
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.train.crops import Crops
from ulmo.pipelines.train.feed import Feed
from ulmo.pipelines.train.pairs import Partners, read_pairs
from ulmo.preprocessing.store import TileStore

RATE, HOP = 8000, 64
PREP = PrepSettings(frontend="stft", tile_size=32, sample_rate=RATE, hop_length=HOP)
MODEL = ModelSettings(tile_size=32, frequency_stride=8, time_stride=4)
NAMES = ["slow.wav", "fast.wav", "other.wav"]
# At 1.25 times the speed after 0.3 s; in `slow`, the last tenth of a second has no counterpart.
SLOW, FAST = [0.0, 0.3, 0.8], [0.0, 0.3, 0.7]


def tones(times, values):
    """A second of a tone whose pitch at each time is that of the map, so that it tells the time."""
    clock = np.interp(np.arange(RATE) / RATE, times, values)
    return 0.5 * np.sin(2 * np.pi * np.cumsum(400 + 3000 * clock) / RATE)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "audio").mkdir()
    clocks = [([0, 1], [0, 1]), (FAST, SLOW), ([0, 1], [1, 0])]
    for name, clock in zip(NAMES, clocks, strict=True):
        soundfile.write(folder / "audio" / name, tones(*clock), RATE)
    augment = AugmentSettings(views=2, hop_factors=(1.0,), window_factors=(1.0,), rate_spread=0)
    prepare(folder / "audio", folder / "tiles", PREP, augment=augment)
    return TileStore(folder / "tiles")


def written(folder, *rows, head="a,b,a_times,b_times"):
    path = folder / "pairs.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def line(a="slow.wav", b="fast.wav", a_times=SLOW, b_times=FAST):
    return ",".join([a, b, " ".join(map(str, a_times)), " ".join(map(str, b_times))])


def pitch(column):
    """The loudest bin of frames of a tile."""
    return column[..., 0].mean(axis=1).argmax()


def test_each_recording_of_a_pair_is_a_partner_of_the_other(tmp_path):
    pairs = read_pairs(written(tmp_path, line(), line("other.wav", "gone.wav")), NAMES)
    assert pairs.recordings == ("slow.wav", "fast.wav")
    assert pairs.members.tolist() == [[0, 1]]
    fast, slow = (pairs.partner(member) for member in (0, 1))
    assert (fast.recording, slow.recording) == ("fast.wav", "slow.wav")
    np.testing.assert_array_equal([fast.own, fast.times], [SLOW, FAST])
    np.testing.assert_array_equal([slow.own, slow.times], [FAST, SLOW])
    assert (pairs.left_out, pairs.example) == (1, "gone.wav")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([line(b="slow.wav")], "line 2: slow.wav is paired with itself"),
        ([line(), line(a_times=[0, 1])], "line 3: there are 2 a_times and 3 b_times"),
        ([line(a_times=[0, 1, 1])], "line 2: times must be seconds from 0 to 1e+09 that rise, not"),
        ([line(a_times=[-1, 0, 1])], "that rise, not -1 0 1"),
        ([line(a_times=["x", 0, 1])], "that rise, not x 0 1"),
        ([line(b_times=[0, 1, "inf"])], "that rise, not 0 1 inf"),
        ([line(b_times=[0, 0.3, 1e308])], "that rise, not 0 0.3 1e+308"),
        ([line(b_times=[0, "nan", 1])], "that rise, not 0 nan 1"),
        (
            [line(), line(a_times=[0, 0.05], b_times=[0, 5.1])],
            "line 3: 0 to 0.05 s of a are 0 to 5.1 s of b: between two times, one may last at most "
            "100 times as long as the other",
        ),
        ([line(a_times=[0, 1], b_times=[0, 1e-300])], "line 2: 0 to 1 s of a are 0 to 1e-300 s"),
        ([line(a_times=[0], b_times=[0])], "line 2: there are 1 times: give 2 to 10000"),
        (["slow.wav,fast.wav"], "line 2 has too few columns"),
        ([line(a="x.wav")], "names no pair of recordings that have tiles"),
        ([], "names no pair of recordings that have tiles"),
    ],
)
def test_what_is_no_pair_is_refused_with_its_line(rows, message, tmp_path):
    with pytest.raises(UserError) as refused:
        read_pairs(written(tmp_path, *rows), NAMES)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_without_the_columns_is_refused(tmp_path):
    with pytest.raises(UserError, match="has no column 'a_times': it has a, b"):
        read_pairs(written(tmp_path, "slow.wav,fast.wav", head="a,b"), NAMES)


def test_the_moments_of_a_crop_are_found_in_its_partner(store, tmp_path):
    """Columns that share a moment show the same pitch; the map is no straight line."""
    pairs = read_pairs(written(tmp_path, line()), NAMES)
    partners, crops = Partners(store, pairs), Crops(store, 16, 4)
    rng = np.random.default_rng(0)
    apart = []
    for row in np.flatnonzero(store.recordings == "slow.wav"):
        for share in np.linspace(0, 0.99, 9):
            crop = crops.at(int(row), share)
            found = partners.find(crop, crops, rng)
            if found is None:
                assert crops.span(crop)[0] >= SLOW[-1]
                continue
            other, edges = found
            assert store.recordings[other.row] == "fast.wav"
            (mine, its), _ = crops.read([crop, other])
            own = crops.edges(crop)
            for column, (begin, end) in enumerate(pairwise(edges)):
                here = np.searchsorted(own, (begin + end) / 2, side="right") - 1
                if end - begin < 0.02 or not 0 <= here < 4:
                    continue
                pitches = [
                    pitch(part[:, 4 * place : 4 * place + 4])
                    for part, place in ((mine, here), (its, column))
                ]
                apart.append(abs(int(pitches[0]) - int(pitches[1])))
    assert len(apart) > 40
    assert max(apart) <= 2
    assert np.mean(apart) < 0.5


def test_partners_are_on_the_same_side_of_the_split(store, tmp_path):
    pairs = read_pairs(written(tmp_path, line(), line(b="other.wav")), NAMES)
    kept = np.flatnonzero(store.recordings != "fast.wav")
    partners, crops = Partners(store, pairs, kept), Crops(store, 16, 4)
    rows = {name: int(np.flatnonzero(store.recordings == name)[0]) for name in NAMES}
    for _ in range(9):
        found = partners.find(crops.at(rows["slow.wav"], 0), crops, np.random.default_rng())
        assert found is not None
        assert store.recordings[found[0].row] == "other.wav"
    assert partners.find(crops.at(rows["fast.wav"], 0), crops, np.random.default_rng(0)) is None


@pytest.mark.parametrize(
    "times",
    [
        ([0, 1e9], [0, 1e9]),
        ([0, 0.5, 1e9], [1e5, 1e5 + 0.4, 9e8]),
        ([0, 1e-320], [0, 1e-320]),
        ([0.2, 0.2 + 1e-9], [0.3, 0.3 + 9e-8]),
    ],
)
def test_times_that_no_recording_has_do_no_harm(store, tmp_path, times):
    settings = TrainSettings(objective="simclr", pair_share=1.0, crop_frames=16)
    pairs = read_pairs(written(tmp_path, line(a_times=times[0], b_times=times[1])), NAMES)
    feed = Feed(Loudness(store, MODEL), settings, wants=frozenset({"views"}), pairs=pairs)
    rows = feed.rows(np.arange(len(store)))
    for number in range(5):
        edges = np.asarray(feed.batch(rows, number).other.edges)
        assert np.isfinite(edges).all()
        assert (np.diff(edges, axis=1) >= 0).all()


def test_many_pairs_take_little_memory(tmp_path):
    """Each took a kilobyte, and each field of each row was kept."""
    row = line(a_times=[0, 1], b_times=[0, 1]) + "," * 20
    head = "a,b,a_times,b_times," + ",".join(map(str, range(20)))
    path = written(tmp_path, *[row] * 20_000, head=head)
    tracemalloc.start()
    pairs = read_pairs(path, NAMES)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pairs.members) == 20_000
    assert peak < 3e6


def test_as_many_times_as_a_pair_may_have_with_all_their_digits(tmp_path):
    times = [1e-3 * place + 123_456.78901234567 for place in range(10_000)]
    row = line(a_times=times, b_times=times)
    assert len(row) > 2 * (1 << 17)  # which is what csv allows of each field
    assert read_pairs(written(tmp_path, row), NAMES).partner(0).own.tolist() == times


def test_the_times_of_all_pairs_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("ulmo.pipelines.train.pairs._MOST_TIMES", 5)
    with pytest.raises(UserError, match="its pairs have more than 5 a_times"):
        read_pairs(written(tmp_path, line(), line(b="gone.wav")), NAMES)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_so_many_tiles_are_compared_with_their_pair(store, tmp_path, share):
    settings = TrainSettings(objective="simclr", pair_share=share, crop_frames=16)
    pairs = read_pairs(written(tmp_path, line()), NAMES)
    feed = Feed(Loudness(store, MODEL), settings, wants=frozenset({"views"}), pairs=pairs)
    rows = feed.rows(np.flatnonzero(store.recordings == "slow.wav"))
    rows = rows[[0, 1]]
    batch = feed.batch(rows, 3)
    widths = np.diff(np.asarray(batch.other.edges), axis=1)
    assert (np.abs(widths - 4).max() > 0.1) == bool(share)
    again = feed.batch(rows, 3)
    np.testing.assert_array_equal(batch.other.tiles, again.other.tiles)
    np.testing.assert_array_equal(batch.other.edges, again.other.edges)
