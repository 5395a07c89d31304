import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.oracles import crc32c
from tests.pipelines.recordings import (
    HOP,
    NON_UTF8,
    RATE,
    SIZE,
    TINY,
    by_path,
    contents,
    levels_of,
    noise,
    rows_of,
    true_levels,
    undone_levels,
    write,
)
from tests.preprocessing.signals import count_tiles
from ulmo.config import AugmentSettings, ClockSettings
from ulmo.jobs.inputs import list_inputs
from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.prep.job import plan_jobs
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.reading.audio import BLOCK_FRAMES
from ulmo.preprocessing.store import TilesManifest, TileStore
from ulmo.storage.names import portable


class TestOutput:
    def test_corpus_constants_are_those_of_every_channel_that_is_prepared(self, tmp_path):
        """A dead first channel must not decide for the others."""
        sound = noise(9000, 3)
        write(tmp_path / "audio" / "x.wav", np.hstack([np.zeros_like(sound), sound]))
        scales = {}
        for channels in ("each", "0", "1"):
            settings = TINY.model_copy(update={"channels": channels})
            prepare(tmp_path / "audio", tmp_path / channels, settings)
            constants = TileStore(tmp_path / channels).manifest.normalization
            scales[channels] = (constants.offset, constants.scale)
        assert scales["0"] == (-100, 1)
        silent, loud = -100, scales["1"][0]
        assert scales["each"][0] == pytest.approx((silent + loud) / 2)
        assert scales["each"][1] > abs(loud - silent) / 2

    def test_layout(self, audio, tmp_path):
        out = tmp_path / "out"
        summary = prepare(audio, out, TINY)
        names = {*("prep.json", "recordings.parquet", "tiles.parquet"), "tiles/000000-0000.npy"}
        assert set(contents(out)) == names
        assert {path.name for path in out.iterdir() if path.is_dir()} == {"tiles"}
        manifest = json.loads((out / "prep.json").read_text())
        assert manifest["complete"] is True
        assert manifest["settings"] == TINY.model_dump()
        assert manifest["recordings"] == summary.recordings == 8
        assert manifest["tiles"] == summary.tiles == len(TileStore(out))
        assert summary.statuses == {"ok": 8}
        assert summary.refused == []
        assert summary.reused is False
        assert summary.out_dir == out
        seconds = sum(row["duration_s"] for row in rows_of(out))
        assert summary.hours == pytest.approx(seconds / 3600)

    def test_a_row_for_each_recording(self, audio, tmp_path):
        prepare(audio, tmp_path / "out", TINY)
        rows = by_path(tmp_path / "out")
        names = ["a.wav", "b/a.wav", "b/b.WAV", r"caf\xe9.wav", "c.wav", "d.wav", "e.flac"]
        assert list(rows) == sorted([*names, "stereo.wav"])
        frames = [1500, 2400, 3300, 6000, 4200, 5100, 3000]
        assert [rows[name]["frames"] for name in names] == frames
        for name, count in zip(names, frames, strict=True):
            row = rows[name]
            assert row["tiles"] == count_tiles(-(-count // HOP), SIZE)
            assert row["duration_s"] == count / RATE
            assert (row["sample_rate"], row["channels"]) == (RATE, 1)
            assert (row["reason"], row["detail"]) == (None, None)
            assert row["frames_missing"] == 0
            assert row["bandwidth_hz"] == RATE / 2
        stereo = rows["stereo.wav"]
        assert (stereo["sample_rate"], stereo["channels"], stereo["frames"]) == (8000, 2, 9000)
        assert stereo["duration_s"] == 9000 / 8000
        assert stereo["bandwidth_hz"] == RATE / 2
        samples, _ = soundfile.read(audio / "stereo.wav")
        assert stereo["peak_db"] == pytest.approx(20 * np.log10(np.abs(samples).max()))

    @pytest.mark.parametrize(("rate", "bandwidth"), [(2000, 1000), (RATE, 2000), (44100, 2000)])
    def test_the_bandwidth_is_what_both_rates_can_show(self, tmp_path, rate, bandwidth):
        write(tmp_path / "audio" / "x.wav", noise(3000, 0), rate=rate)
        prepare(tmp_path / "audio", tmp_path / "out", TINY)
        assert [row["bandwidth_hz"] for row in rows_of(tmp_path / "out")] == [bandwidth]

    def test_a_row_for_each_tile(self, audio, tmp_path):
        prepare(audio, tmp_path / "out", TINY)
        rows = rows_of(tmp_path / "out", "tiles")
        counted = Counter(row["recording"] for row in rows)
        assert counted == {row["path"]: row["tiles"] for row in rows_of(tmp_path / "out")}
        assert [row["row"] for row in rows] == list(range(len(rows)))
        a, *_, d1, d2, d3 = [row for row in rows if row["recording"] in ("a.wav", "d.wav")]
        assert (a["start_sample"], a["start_s"], a["valid_frames"]) == (0, 0, 24)
        assert [d["start_sample"] for d in (d1, d2, d3)] == [0, SIZE * HOP, 2 * SIZE * HOP]
        assert [d["start_s"] for d in (d1, d2, d3)] == [0, 0.512, 1.024]
        assert [d["valid_frames"] for d in (d1, d2, d3)] == [32, 32, 80 - 64]
        assert all(row["channel"] is None and row["start_utc"] is None for row in rows)

    @pytest.mark.parametrize("mode", ["corpus", "recording", "tile"])
    @pytest.mark.parametrize("overlap", [0, 7])
    def test_undone_the_tiles_are_the_front_ends_levels(self, audio, tmp_path, mode, overlap):
        settings = TINY.model_copy(update={"normalization": mode, "overlap": overlap})
        prepare(audio, tmp_path / "out", settings)
        for name in ("a.wav", "stereo.wav", NON_UTF8):
            expected = true_levels(audio / name)
            found = undone_levels(tmp_path / "out", portable(Path(name)), overlap=overlap)
            np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_checksums_and_shards(self, audio, tmp_path, small_jobs):
        prepare(audio, tmp_path / "out", TINY)
        shards = {
            path.name: np.load(path, allow_pickle=False)
            for path in sorted((tmp_path / "out" / "tiles").iterdir())
        }
        rows = rows_of(tmp_path / "out", "tiles")
        assert [(row["shard"], row["row"]) for row in rows] == [
            (name, row) for name, shard in shards.items() for row in range(len(shard))
        ]
        assert max(len(shard) for shard in shards.values()) == 3
        assert len({name.split("-")[0] for name in shards}) == 4
        for shard in shards.values():
            assert shard.dtype == np.float32
            assert shard.shape[1:] == (SIZE, SIZE, 1)
            assert np.isfinite(shard).all()
        for row in rows[:3]:
            assert row["crc32c"] == crc32c(shards[row["shard"]][row["row"]].tobytes())

    def test_the_fingerprint_is_over_settings_constants_and_every_checksum(
        self, audio, tmp_path, small_jobs
    ):
        prepare(audio, tmp_path / "out", TINY)
        manifest = json.loads((tmp_path / "out" / "prep.json").read_text())
        named = {name: manifest[name] for name in ("settings", "augment", "clock", "normalization")}
        head = json.dumps(named, sort_keys=True, separators=(",", ":")).encode()
        checksums = [row["crc32c"] for row in rows_of(tmp_path / "out", "tiles")]
        content = head + np.array(checksums, "<u4").tobytes()
        assert manifest["fingerprint"] == sha256(content).hexdigest()

    def test_the_corpus_constants_are_those_of_four_stretches_of_each_recording(self, tmp_path):
        """A recording that is no longer than a tile is measured as a whole."""
        stretches = []
        for seed, samples in enumerate((1500, 2048, 8000)):
            whole = noise(samples, seed).astype(np.float32)
            write(tmp_path / "audio" / f"{seed}.wav", whole, subtype="FLOAT")
            starts = [0] if samples <= 2048 else [0, 5952 // 3, 2 * 5952 // 3, 5952]
            stretches += [whole[start : start + 2048, 0] for start in starts]
        prepare(tmp_path / "audio", tmp_path / "out", TINY)
        every = np.concatenate([levels_of(samples).ravel() for samples in stretches])
        constants = TileStore(tmp_path / "out").manifest.normalization
        assert constants.offset == pytest.approx(every.mean(dtype=np.float64))
        assert constants.scale == pytest.approx(every.std(dtype=np.float64))

    def test_each_channel_by_itself(self, audio, tmp_path):
        prepare(audio, tmp_path / "out", TINY.model_copy(update={"channels": "each"}))
        rows = rows_of(tmp_path / "out", "tiles")
        assert {row["channel"] for row in rows if row["recording"] == "a.wav"} == {0}
        stereo = [row for row in rows if row["recording"] == "stereo.wav"]
        assert [row["channel"] for row in stereo] == [0] * 3 + [1] * 3
        assert by_path(tmp_path / "out")["stereo.wav"]["tiles"] == 6
        for channel in (0, 1):
            found = undone_levels(tmp_path / "out", "stereo.wav", channel)
            expected = true_levels(audio / "stereo.wav", channel=channel)
            np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_one_channel(self, audio, tmp_path):
        summary = prepare(audio, tmp_path / "out", TINY.model_copy(update={"channels": "1"}))
        assert summary.statuses == {"ok": 1, "refused": 7}
        assert {reason for _, reason, _ in summary.refused} == {"no_channel"}
        found = undone_levels(tmp_path / "out", "stereo.wav", 1)
        np.testing.assert_allclose(found, true_levels(audio / "stereo.wav", channel=1), atol=1e-3)


class TestPlan:
    def plan(self, audio, augment=None, clock=None, **changes):
        manifest = TilesManifest(
            settings=TINY.model_copy(update=changes),
            augment=augment or AugmentSettings(),
            clock=clock or ClockSettings(),
            plan="p",
        )
        return list(plan_jobs(audio, audio / "out", manifest, list_inputs(audio, audio / "out")))

    def test_jobs_are_consecutive_and_bounded(self, audio, monkeypatch):
        names = [file.path for file in list_inputs(audio, audio / "out")]
        for files, size, jobs in ((64, 1 << 30, 1), (3, 1 << 30, 3), (64, 1, 8), (1, 1, 8)):
            monkeypatch.setattr(prep_job, "_JOB_FILES", files)
            monkeypatch.setattr(prep_job, "_JOB_BYTES", size)
            planned = self.plan(audio)
            assert [path for job in planned for path in (file.path for file in job.files)] == names
            assert [job.index for job in planned] == list(range(jobs))
            assert max(len(job.files) for job in planned) <= files

    def test_a_jobs_plan_tells_what_decides_over_its_shards(self, audio, small_jobs):
        first, *rest = self.plan(audio)
        assert self.plan(audio) == [first, *rest]
        others = [
            {"overlap": 1},
            {"augment": AugmentSettings(views=3)},
            {"augment": AugmentSettings(views=3, noise_db=-41.0)},
            {"clock": ClockSettings(timezone="+02:00")},
            {"clock": ClockSettings(timestamp_pattern="%Y%j")},
        ]
        assert len({first.plan, *(self.plan(audio, **how)[0].plan for how in others)}) == 6
        os.utime(audio / "a.wav", ns=(0, 0))
        changed, *same = self.plan(audio)
        assert (changed.plan, changed.rows_path != first.rows_path) == (first.plan, True)
        assert [a == b for a, b in zip(changed.keys, first.keys, strict=True)].count(False) == 1
        assert same == rest

    def test_progress_adds_up_to_the_bytes_of_all_files(self, audio, tmp_path, small_jobs):
        told = []

        def begin(total):
            told.append(total)
            return told.append

        prepare(audio, tmp_path / "out", TINY, progress=begin)
        total, *steps = told
        assert total == sum(steps) == sum(p.stat().st_size for p in audio.rglob("*") if p.is_file())
        assert min(steps) > 0

    def test_a_long_recording_is_told_of_block_by_block(self, tmp_path):
        write(tmp_path / "audio/long.wav", noise(5 * BLOCK_FRAMES, 1))
        steps = []
        prepare(tmp_path / "audio", tmp_path / "out", TINY, progress=lambda total: steps.append)
        assert len(steps) >= 5


EAST = ClockSettings(timezone="+02:00")


@pytest.fixture
def dated(audio):
    """Recordings of which some names tell a time, and one that is refused."""
    write(audio / "site" / "SITE_20230101_120000.wav", noise(5000, 1))
    write(audio / "20230101T120000.5Z.wav", noise(2500, 2))
    write(audio / "R230101.wav", noise(2500, 3))
    (audio / "20230101_130000.wav").write_bytes(b"")
    return audio


def utc(*parts):
    return datetime(2023, 1, 1, *parts, tzinfo=UTC)


def test_a_start_for_each_recording_and_each_tile(dated, tmp_path):
    out = tmp_path / "out"
    prepare(dated, out, TINY, clock=EAST)
    starts = {
        path: (row["start_utc"], row["start_source"])
        for path, row in by_path(out).items()
        if row["start_utc"] or row["start_source"]
    }
    assert starts == {
        "20230101T120000.5Z.wav": (utc(12, 0, 0, 500000), "name"),
        "20230101_130000.wav": (utc(11), "name"),
        "site/SITE_20230101_120000.wav": (utc(10), "name"),
    }
    tiles = rows_of(out, "tiles")
    assert sum(row["recording"] == "site/SITE_20230101_120000.wav" for row in tiles) == 3
    for row in tiles:
        start, _ = starts.get(row["recording"], (None, None))
        later = timedelta(microseconds=round(Fraction(row["start_sample"], RATE) * 10**6))
        assert row["start_utc"] == (None if start is None else start + later)


def test_a_view_begins_when_it_begins(audio, tmp_path):
    write(audio / "20230101_120000.wav", noise(9000, 1))
    settings = TINY.model_copy(update={"hop_length": 16})
    prepare(audio, tmp_path / "out", settings, augment=AugmentSettings(views=3))
    rows = [r for r in rows_of(tmp_path / "out", "tiles") if r["recording"][0] == "2"]
    assert {row["view"] for row in rows} == {0, 1, 2}
    assert max(row["start_s"] for row in rows) > 1
    for row in rows:
        assert row["start_utc"] == utc(12) + timedelta(seconds=row["start_s"])


def test_a_pattern(dated, tmp_path):
    clock = ClockSettings(timestamp_pattern="R%y%m%d", timezone="Europe/Berlin")
    prepare(dated, tmp_path / "out", TINY, clock=clock)
    row = by_path(tmp_path / "out")["R230101.wav"]
    assert row["start_utc"] == utc(0) - timedelta(hours=1)
    assert row["start_source"] == "pattern"
    manifest = json.loads((tmp_path / "out" / "prep.json").read_text())
    assert manifest["clock"] == {"timestamp_pattern": "R%y%m%d", "timezone": "Europe/Berlin"}
