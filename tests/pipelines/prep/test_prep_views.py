import json
from types import MappingProxyType

import numpy as np
import pytest

from tests.pipelines.recordings import (
    NON_UTF8,
    RATE,
    SIZE,
    TINY,
    Killed,
    by_path,
    contents,
    noise,
    read_complete,
    rows_of,
    write,
)
from tests.pipelines.training import MODEL, Silent
from ulmo.config import AugmentSettings, ClockSettings
from ulmo.dataset import split_by_recording
from ulmo.jobs.spread import Spread
from ulmo.pipelines.evaluate.evaluate import evaluate
from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.prep import writer as prep_writer
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.train.train import train
from ulmo.preprocessing.store import TileStore

HOP = 16
SETTINGS = TINY.model_copy(update={"hop_length": HOP})
"""Windows of 64 samples: half of them is still longer than 1.25 hops."""
AUGMENT = AugmentSettings(views=3)


def tiles_by_key(out):
    """Bytes of each tile and its row, by recording, channel, number and view."""
    store = TileStore(out)
    keys = ("recording", "channel", "tile", "view")
    places = ("shard", "row")
    return {
        tuple(row[key] for key in keys): (
            store.read([index]).tobytes(),
            {name: value for name, value in row.items() if name not in places},
        )
        for index, row in enumerate(rows_of(out, "tiles"))
    }


@pytest.fixture
def viewed(audio, tmp_path):
    """Three views of the tiles of eight recordings."""
    prepare(audio, tmp_path / "viewed", SETTINGS, augment=AUGMENT)
    return tmp_path / "viewed"


class TestRows:
    def test_every_tile_has_all_views(self, viewed):
        rows = rows_of(viewed, "tiles")
        seen = {}
        for row in rows:
            tile = (row["recording"], row["channel"], row["tile"])
            seen.setdefault(tile, []).append(row["view"])
        assert all(sorted(views) == [0, 1, 2] for views in seen.values())
        assert len(rows) == 3 * len(seen)
        for name in by_path(viewed):
            numbers = sorted(number for recording, _, number in seen if recording == name)
            assert numbers == list(range(len(numbers)))
            assert len(numbers) > 2

    def test_the_tiles_themselves_are_those_of_a_plain_job(self, audio, viewed, tmp_path):
        prepare(audio, tmp_path / "plain", SETTINGS)
        views = tiles_by_key(viewed)
        plain = tiles_by_key(tmp_path / "plain")
        assert plain == {key: value for key, value in views.items() if key[3] == 0}
        assert {row["augmentation"] for _, row in plain.values()} == {None}
        constants = [TileStore(out).manifest.normalization for out in (viewed, tmp_path / "plain")]
        assert constants[0] == constants[1]

    def test_views_differ_and_say_how(self, viewed):
        every = tiles_by_key(viewed)
        drawn = set()
        for (recording, channel, tile, view), (values, row) in every.items():
            if not view:
                continue
            told = json.loads(row["augmentation"])
            assert told.keys() >= {"sample_rate", "hop_length", "win_length", "gain_db", "noise_db"}
            assert told["hop_length"] in (13, 16, 20)
            drawn.add((recording, view, told["sample_rate"], told["gain_db"]))
            others = [every[recording, channel, tile, other][0] for other in range(3)]
            assert others.count(values) == 1
        assert len(drawn) == 2 * 8  # one set of parameters for a view of a recording
        assert len({gain for *_, gain in drawn}) == 2 * 8

    def test_a_view_begins_within_a_hop_of_its_tile(self, viewed):
        """Also in samples at the settings' rate, rounded to one."""
        every = tiles_by_key(viewed)
        for (*tile, view), (_, row) in every.items():
            hop = HOP / RATE
            if view:
                told = json.loads(row["augmentation"])
                hop = told["hop_length"] / told["sample_rate"]
            _, plain = every[*tile, 0]
            assert -hop < row["start_s"] - plain["start_s"] <= 0
            assert row["start_sample"] == round(row["start_s"] * RATE)
            assert 0 < row["valid_frames"] <= SIZE

    @pytest.mark.parametrize("mode", ["recording", "tile"])
    def test_views_are_normalised_as_their_tiles(self, audio, tmp_path, mode):
        """By the recording's own constants; or each tile, and so each view, by itself."""
        settings = SETTINGS.model_copy(update={"normalization": mode})
        prepare(audio, tmp_path / "out", settings, augment=AUGMENT)
        constants = {}
        for row in rows_of(tmp_path / "out", "tiles"):
            pair = (row["norm_offset_db"], row["norm_scale_db"])
            constants.setdefault((row["recording"], row["tile"]), set()).add(pair)
        expected = 1 if mode == "recording" else 3
        assert {len(pairs) for pairs in constants.values()} == {expected}

    def test_masks_do_not_change_the_peak(self, audio, tmp_path):
        """In a quiet recording of a loud corpus their value, the mean, is louder than a cell."""
        write(audio / "quiet.wav", 1e-3 * noise(4000, 5))
        peaks = []
        for share in (0.5, 0.0):
            augment = AUGMENT.model_copy(update={"time_mask": share, "frequency_mask": share})
            out = tmp_path / str(share)
            prepare(audio, out, SETTINGS, augment=augment)
            peaks.append([row["peak_level_db"] for row in rows_of(out, "tiles")])
        assert peaks[0] == peaks[1]

    def test_each_channel_has_views_of_its_own(self, audio, tmp_path):
        settings = SETTINGS.model_copy(update={"channels": "each"})
        prepare(audio, tmp_path / "out", settings, augment=AUGMENT)
        every = tiles_by_key(tmp_path / "out")
        stereo = {key[1:]: row for key, (_, row) in every.items() if key[0] == "stereo.wav"}
        numbers = {number for _, number, _ in stereo}
        assert set(stereo) == {(c, n, v) for c in (0, 1) for n in numbers for v in range(3)}
        drawn = [json.loads(stereo[channel, 0, 1]["augmentation"]) for channel in (0, 1)]
        assert drawn[0]["gain_db"] != drawn[1]["gain_db"]


class TestSeed:
    def test_a_view_does_not_depend_on_how_many_others_there_are(self, audio, viewed, tmp_path):
        augment = AUGMENT.model_copy(update={"views": 2})
        prepare(audio, tmp_path / "two", SETTINGS, augment=augment)
        three = tiles_by_key(viewed)
        assert tiles_by_key(tmp_path / "two") == {k: v for k, v in three.items() if k[3] < 2}

    def test_a_view_does_not_depend_on_other_recordings(self, audio, tmp_path):
        settings = SETTINGS.model_copy(update={"normalization": "recording"})
        outs = []
        for index in range(2):
            outs.append(tmp_path / f"out{index}")
            prepare(audio, outs[-1], settings, augment=AUGMENT)
            for name in ("a.wav", "c.wav", NON_UTF8):
                (audio / name).unlink(missing_ok=True)
        every, fewer = map(tiles_by_key, outs)
        left = {key[0] for key in fewer}
        assert len(left) == 5
        assert fewer == {key: value for key, value in every.items() if key[0] in left}

    def test_another_seed_gives_other_views_of_the_same_tiles(self, audio, viewed, tmp_path):
        augment = AUGMENT.model_copy(update={"view_seed": 1})
        prepare(audio, tmp_path / "other", SETTINGS, augment=augment)
        one, other = tiles_by_key(viewed), tiles_by_key(tmp_path / "other")
        assert one.keys() == other.keys()
        for key, (values, _) in one.items():
            assert (values == other[key][0]) == (key[3] == 0)


class TestSameBytes:
    """Of tiles with views and times, and constants that all workers learn from."""

    HOW = MappingProxyType({"augment": AUGMENT, "clock": ClockSettings(timezone="+02:00")})

    @pytest.fixture(autouse=True)
    def dated(self, damaged):
        write(damaged / "S_20230501_020304.wav", noise(3000, 12))

    @pytest.fixture
    def undisturbed(self, damaged, tmp_path, small_jobs):
        prepare(damaged, tmp_path / "undisturbed", SETTINGS, **self.HOW)
        return contents(tmp_path / "undisturbed")

    def test_with_one_worker_or_two(self, damaged, tmp_path, monkeypatch):
        monkeypatch.setattr(prep_job, "_JOB_FILES", 2)
        outs = [tmp_path / f"out{workers}" for workers in (1, 2)]
        for workers, out in enumerate(outs, 1):
            prepare(damaged, out, SETTINGS, **self.HOW, spread=Spread(workers))
        assert contents(outs[0]) == contents(outs[1])
        assert len(list((outs[0] / "tiles").iterdir())) > 3

    @pytest.mark.parametrize("killed", [1, 10, 40])
    def test_when_killed_at_a_shard(self, damaged, tmp_path, monkeypatch, undisturbed, killed):
        """In the midst of a recording's views, too."""
        out = tmp_path / "out"
        shards = []
        write_shard = prep_writer.write_shard

        def fail_once(path, tiles):
            shards.append(path)
            if len(shards) == killed + 1:
                raise Killed
            write_shard(path, tiles)

        with monkeypatch.context() as patch:
            patch.setattr(prep_writer, "write_shard", fail_once)
            with pytest.raises(Killed):
                prepare(damaged, out, SETTINGS, **self.HOW)
        assert not read_complete(out)
        doomed = int(shards[killed].stem.split("-")[0])
        assert not list(out.glob(f".rows/{doomed:06d}-*.parquet"))
        assert not prepare(damaged, out, SETTINGS, **self.HOW).reused
        assert contents(out) == undisturbed


class TestDamage:
    def test_what_cannot_be_read_has_no_views_and_the_rest_has_all(self, damaged, tmp_path):
        summary = prepare(damaged, tmp_path / "out", SETTINGS, augment=AUGMENT)
        plain = prepare(damaged, tmp_path / "plain", SETTINGS)
        assert (
            summary.statuses
            == plain.statuses
            == {"ok": 9, "repaired": 2, "partial": 1, "refused": 5}
        )
        assert summary.refused == plain.refused
        rows, expected = by_path(tmp_path / "out"), by_path(tmp_path / "plain")
        for name, row in rows.items():
            due = {**expected[name], "tiles": 3 * expected[name]["tiles"], "key": row["key"]}
            assert row == due
        store = TileStore(tmp_path / "out")
        assert np.isfinite(store.read(range(len(store)))).all()

    def test_a_recording_of_hardly_any_samples_stops_no_job(self, audio, tmp_path):
        write(audio / "one.wav", noise(1, 0), rate=8000)
        prepare(audio, tmp_path / "plain", SETTINGS)
        assert by_path(tmp_path / "plain")["one.wav"]["tiles"] == 1
        augment = AUGMENT.model_copy(update={"views": 8})
        assert prepare(audio, tmp_path / "out", SETTINGS, augment=augment).recordings == 9
        rows = [row for row in rows_of(tmp_path / "out", "tiles") if row["recording"] == "one.wav"]
        assert rows[0]["view"] == 0
        assert {row["tile"] for row in rows} == {0}


def test_a_run_trains_on_every_view_and_is_measured_on_the_tiles(audio, tmp_path, no_pictures):
    """Of PCEN, so that both are seen to go through: no loss in dB can be told."""
    tiles, run = tmp_path / "tiles", tmp_path / "run"
    settings = SETTINGS.model_copy(update={"normalization": "pcen"})
    prepare(audio, tiles, settings, augment=AUGMENT.model_copy(update={"views": 2}))
    values = {"epochs": 1, "batch_size": 8, "validation_fraction": 0.4, "seed": 1}
    summary = train(tiles, run, MODEL, values, Silent())
    store = TileStore(tiles)
    split = split_by_recording(store, 0.4, 1)
    assert set(store.views[split.train]) == {0, 1}
    assert summary.steps == -(-len(split.train) // 8)
    assert summary.validation.tiles == len(split.validation)
    assert np.isnan(summary.validation.reconstruction_db)
    assert summary.ties == 0
    done = evaluate(run, tiles)
    assert (done.tiles.part, done.tiles.total.tiles) == ("validation", len(split.validation))
    assert done.tiles.total.reconstruction == pytest.approx(
        summary.validation.reconstruction, rel=1e-4
    )
    every = evaluate(run, tiles, part="all").tiles.total.tiles
    assert every == (store.views == 0).sum()
    assert evaluate(run, tiles, part="train").tiles.total.tiles == every - len(split.validation)
