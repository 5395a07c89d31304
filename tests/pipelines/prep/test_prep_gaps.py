"""Tiles of recordings in which time was left out: each at its true time, none across a gap."""

from datetime import timedelta

import numpy as np
import pytest
import soundfile

from tests.gaps import BLOCK, NOON, write_triggered
from tests.pipelines.recordings import contents, rows_of
from tests.pipelines.verifying import change_rows
from tests.pipelines.verifying import found as faults_in
from ulmo.config import AugmentSettings, PrepSettings
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing import preprocess
from ulmo.preprocessing.normalize import Moments
from ulmo.preprocessing.store import open_shard

RATE, HOP, SIZE = 1000, 10, 32
SETTINGS = PrepSettings(
    frontend="stft", tile_size=SIZE, sample_rate=RATE, hop_length=HOP, normalization="tile"
)


def noise(samples, seed):
    return (np.random.default_rng(seed).normal(0, 0.1, samples)).astype(np.float32)


@pytest.fixture
def audio(tmp_path):
    """A triggered recording, three stretches behind a gap, and one that nothing triggered."""
    folder = tmp_path / "audio"
    parts = [3, noise(700, 0), 50, noise(330, 1), 1, noise(41, 2)]
    placed = write_triggered(folder / "20230501_120000T.WAV", *parts, rate=RATE)
    soundfile.write(folder / "20230501_130000T.WAV", np.zeros(0), RATE, subtype="PCM_16")
    return folder, placed


def tiles_of(out):
    shards = {path.name: open_shard(path, SIZE) for path in (out / "tiles").iterdir()}
    return [(row, shards[row["shard"]][row["row"]]) for row in rows_of(out, "tiles")]


@pytest.mark.parametrize("overlap", [0, 8])
def test_each_tile_is_at_its_true_time(overlap, audio, tmp_path):
    folder, placed = audio
    settings = SETTINGS.model_copy(update={"overlap": overlap})
    prepare(folder, tmp_path / "out", settings)
    expected = [
        (place + number * (SIZE - overlap) * HOP, tile)
        for samples, place in placed
        for number, tile in enumerate(preprocess(samples, sample_rate=RATE, settings=settings))
    ]
    assert [place for _, place in placed] == [*(3 * BLOCK, 700 + 53 * BLOCK, 1030 + 54 * BLOCK)]
    found = tiles_of(tmp_path / "out")
    assert [row["tile"] for row, _ in found] == list(range(len(expected)))
    for (row, tile), (start, alone) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(tile, alone)
        assert (row["start_sample"], row["start_s"]) == (start, start / RATE)
        assert row["start_utc"] - NOON.utc == timedelta(milliseconds=start)
    first, second = rows_of(tmp_path / "out")
    assert (first["stretches"], first["frames"]) == (3, 1071 + 3 * BLOCK)
    assert (second["status"], second["reason"], second["tiles"]) == ("ok", None, 0)
    assert faults_in(tmp_path / "out") == set()


def test_a_recording_is_normalised_by_all_its_stretches(audio, tmp_path):
    settings = SETTINGS.model_copy(update={"normalization": "recording"})
    prepare(audio[0], tmp_path / "out", settings)
    offsets = {row["norm_offset_db"] for row in rows_of(tmp_path / "out", "tiles")}
    assert len(offsets) == 1
    values = [tile[:, : row["valid_frames"]] for row, tile in tiles_of(tmp_path / "out")]
    moments = Moments.of(np.concatenate(values, axis=1)).normalization()
    assert (moments.offset, moments.scale) == pytest.approx((0, 1), abs=1e-5)


def test_views_are_of_the_same_moments(audio, tmp_path):
    settings = SETTINGS.model_copy(update={"normalization": "recording"})
    still = {"rate_spread": 0.0, "hop_factors": (1.0,), "window_factors": (1.0,)}
    plain = {"gain_spread_db": 0.0, "noise_db": -160.0, "time_mask": 0.0, "frequency_mask": 0.0}
    prepare(
        audio[0], tmp_path / "out", settings, augment=AugmentSettings(views=2, **still, **plain)
    )
    rows = rows_of(tmp_path / "out", "tiles")
    seen = {0: [], 1: []}
    for row in rows:
        seen[row["view"]].append((row["tile"], row["start_sample"], row["valid_frames"]))
    assert seen[0] == seen[1]
    assert faults_in(tmp_path / "out") == set()


def test_workers_change_no_byte(audio, tmp_path):
    for workers in (1, 2):
        prepare(audio[0], tmp_path / str(workers), SETTINGS, spread=Spread(workers))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_a_gap_that_no_recording_has_is_a_fault(audio, tmp_path):
    out = tmp_path / "out"
    prepare(audio[0], out, SETTINGS)

    def shift(rows):
        rows[1]["start_sample"] += 1

    change_rows(out, "tiles.parquet", shift)
    assert ("tiles.parquet", "gap") in faults_in(out)
