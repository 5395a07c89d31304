import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.oracles import crc32c, wav_bytes
from ulmo.config import JobError, PrepSettings, UserError
from ulmo.pipelines import prep, prep_job
from ulmo.pipelines.prep import list_inputs, plan_jobs, prepare
from ulmo.pipelines.prep_job import portable
from ulmo.preprocessing import store as tile_store
from ulmo.preprocessing.audio import read_mono
from ulmo.preprocessing.frontends import build_frontend, stream_power
from ulmo.preprocessing.normalize import to_db
from ulmo.preprocessing.store import Manifest, TileStore
from ulmo.preprocessing.tiles import Tile, count_tiles, join_tiles

RATE, SIZE, HOP = 4000, 32, 64
TINY = PrepSettings(frontend="stft", tile_size=SIZE, sample_rate=RATE, hop_length=HOP)
NON_UTF8 = os.fsdecode(b"caf\xe9.wav")


def noise(samples, seed, channels=1):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.05 * (1 + seed % 3), (samples, channels)).clip(-0.9, 0.9)


def write(path, samples, rate=RATE, subtype="PCM_16"):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(os.fsencode(path), samples, rate, subtype=subtype, format="WAV")


@pytest.fixture
def audio(tmp_path):
    """Eight sound recordings: of 1 to 3 tiles, two of them of one name, one stereo at 8 kHz."""
    folder = tmp_path / "audio"
    for seed, name in enumerate(["a.wav", "b/a.wav", "b/b.WAV", "c.wav", "d.wav", NON_UTF8]):
        write(folder / name, noise(1500 + 900 * seed, seed))
    write(folder / "stereo.wav", noise(9000, 7, channels=2), rate=8000)
    soundfile.write(folder / "e.flac", noise(3000, 8), RATE)
    return folder


@pytest.fixture
def damaged(audio):
    """The same, among files of which each has another fault."""
    nan = noise(2000, 9).astype("<f4")
    nan[100:110] = np.nan
    pcm = (noise(2000, 10) * 32768).astype("<i2").tobytes()
    files = {
        "x/empty.wav": b"",
        "x/text.wav": b"this is no sound\n" * 20,
        "x/truncated.wav": wav_bytes(pcm, sample_rate=RATE)[:-1000],
        "x/crashed.wav": wav_bytes(pcm, sample_rate=RATE, data_size=0),
        "x/zeros.wav": wav_bytes(bytes(4000), sample_rate=RATE),
        "x/nan.wav": wav_bytes(nan.tobytes(), sample_rate=RATE, bits=32, tag=3),
        "x/header.wav": wav_bytes(b"", sample_rate=RATE),
        "x/short.wav": wav_bytes(bytes(2), sample_rate=192_000),
    }
    (audio / "x").mkdir()
    for name, content in files.items():
        (audio / name).write_bytes(content)
    (audio / "x" / "nowhere.wav").symlink_to(audio / "none")
    (audio / "notes.txt").write_text("no recording")
    return audio


@pytest.fixture
def small_jobs(monkeypatch):
    """Jobs of two recordings, shards of three tiles: so that there are several of each."""
    monkeypatch.setattr(prep, "JOB_FILES", 2)
    monkeypatch.setattr(tile_store, "SHARD_TILES", 3)


def contents(folder):
    """Every file below a folder, and its bytes."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def rows_of(out, table="recordings"):
    return pq.read_table(out / f"{table}.parquet").to_pylist()


def by_path(out):
    return {row["path"]: row for row in rows_of(out)}


def levels_of(samples):
    """Decibels (M, frames) of samples (n,), put together by hand."""
    power = np.concatenate(list(stream_power(build_frontend(TINY), [samples])), axis=1)
    return to_db(power, TINY.floor_db)


def true_levels(path, channel=None):
    """Decibels (M, frames) of a recording."""
    return levels_of(np.concatenate(list(read_mono(path, sample_rate=RATE, channel=channel))))


def undone_levels(out, recording, channel=None, overlap=0):
    """Decibels (M, frames) that the stored tiles of a recording stand for."""
    store = TileStore(out)
    tiles = []
    for index, row in enumerate(rows_of(out, "tiles")):
        if (row["recording"], row["channel"]) == (recording, channel):
            values = row["norm_offset_db"] + row["norm_scale_db"] * store.read([index])[0, ..., 0]
            tiles.append(Tile(values, row["start_sample"] // HOP, row["valid_frames"]))
            loudest = values[:, : row["valid_frames"]].max()
            assert row["peak_level_db"] == pytest.approx(loudest, abs=1e-4)
    return join_tiles(tiles, overlap=overlap)


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


class TestDamage:
    def test_each_file_has_its_status_and_the_rest_is_done(self, damaged, tmp_path):
        summary = prepare(damaged, tmp_path / "out", TINY)
        rows = by_path(tmp_path / "out")
        assert len(rows) == summary.recordings == 17
        found = {
            name: (
                *(row[key] for key in ("status", "reason", "frames", "frames_missing", "tiles")),
            )
            for name, row in rows.items()
            if name.startswith("x/")
        }
        assert found == {
            "x/crashed.wav": ("repaired", "header_sizes", 2000, 0, 1),
            "x/empty.wav": ("refused", "empty_file", 0, 0, 0),
            "x/header.wav": ("refused", "no_samples", 0, 0, 0),
            "x/nan.wav": ("repaired", "non_finite", 2000, 0, 1),
            "x/nowhere.wav": ("refused", "unreadable", 0, 0, 0),
            "x/short.wav": ("refused", "too_short", 0, 0, 0),
            "x/text.wav": ("refused", "not_audio", 0, 0, 0),
            "x/truncated.wav": ("partial", "truncated", 1500, 500, 1),
            "x/zeros.wav": ("ok", None, 2000, 0, 1),
        }
        assert rows["x/zeros.wav"]["peak_db"] is None
        assert all(row["detail"] for row in rows.values() if row["status"] != "ok")
        assert summary.statuses == {"ok": 9, "repaired": 2, "partial": 1, "refused": 5}
        assert [path for path, _, _ in summary.refused] == [
            *("x/empty.wav", "x/header.wav", "x/nowhere.wav", "x/short.wav", "x/text.wav")
        ]
        store = TileStore(tmp_path / "out")
        assert len(store) == sum(row["tiles"] for row in rows.values())
        assert np.isfinite(store.read(range(len(store)))).all()

    @pytest.mark.parametrize("mode", ["recording", "tile"])
    def test_silence_is_finite_and_0(self, damaged, tmp_path, mode):
        prepare(damaged, tmp_path / "out", TINY.model_copy(update={"normalization": mode}))
        store = TileStore(tmp_path / "out")
        (index,) = np.flatnonzero(store.recordings == "x/zeros.wav")
        assert (store.read([index]) == 0).all()

    def test_a_truncated_flac_gives_what_can_be_decoded(self, tmp_path):
        (tmp_path / "audio").mkdir()
        path = tmp_path / "audio" / "x.flac"
        soundfile.write(path, noise(40_000, 1), RATE)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        for mode in ("corpus", "recording"):
            settings = TINY.model_copy(update={"normalization": mode})
            prepare(tmp_path / "audio", tmp_path / mode, settings)
            (row,) = rows_of(tmp_path / mode)
            assert (row["status"], row["reason"]) == ("partial", "decode_error")
            assert 15_000 < row["frames"] < 20_000
            assert row["frames_missing"] == 40_000 - row["frames"]
            assert row["tiles"] == count_tiles(-(-row["frames"] // HOP), SIZE)

    def test_a_flac_that_cannot_be_decoded_is_refused(self, tmp_path):
        (tmp_path / "audio").mkdir()
        path = tmp_path / "audio" / "x.flac"
        soundfile.write(path, noise(40_000, 1), RATE)
        path.write_bytes(path.read_bytes()[:3000])
        summary = prepare(tmp_path / "audio", tmp_path / "out", TINY)
        assert [refused[:2] for refused in summary.refused] == [("x.flac", "decode_error")]

    def test_nothing_but_damage(self, tmp_path):
        (tmp_path / "audio").mkdir()
        (tmp_path / "audio" / "x.wav").touch()
        summary = prepare(tmp_path / "audio", tmp_path / "out", TINY)
        assert (summary.tiles, summary.statuses) == (0, {"refused": 1})
        assert len(TileStore(tmp_path / "out")) == 0
        assert prepare(tmp_path / "audio", tmp_path / "out", TINY).reused

    def test_a_full_disk_is_an_error_and_no_damaged_recording(
        self, audio, tmp_path, monkeypatch, small_jobs
    ):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(prep_job, "write_shard", full)
        with pytest.raises(OSError, match="No space left"):
            prepare(audio, tmp_path / "out", TINY)


class Killed(BaseException):
    """What no handler catches, as a kill."""


def die(_):
    os._exit(9)


def test_a_worker_that_is_killed_is_one_line(audio, tmp_path, monkeypatch, small_jobs):
    monkeypatch.setattr(prep, "run_job", die)
    settings = TINY.model_copy(update={"normalization": "tile"})
    with pytest.raises(JobError, match="run the same command with fewer --workers to go on"):
        prepare(audio, tmp_path / "out", settings, workers=2)
    with pytest.raises(UserError, match="cannot make the folder"):
        prepare(audio, audio / "c.wav" / "out", settings)


class TestSameBytes:
    @pytest.fixture
    def undisturbed(self, damaged, tmp_path, small_jobs):
        prepare(damaged, tmp_path / "undisturbed", TINY)
        return contents(tmp_path / "undisturbed")

    def test_with_one_worker_or_two(self, damaged, tmp_path, monkeypatch):
        monkeypatch.setattr(prep, "JOB_FILES", 2)
        outs = []
        for workers in (1, 2):
            outs.append(tmp_path / f"out{workers}")
            prepare(damaged, outs[-1], TINY, workers=workers)
        assert contents(outs[0]) == contents(outs[1])
        assert len(list((outs[0] / "tiles").iterdir())) > 3

    @pytest.mark.parametrize("killed", range(0, 9, 2))
    def test_when_a_job_is_killed(self, damaged, tmp_path, monkeypatch, undisturbed, killed):
        out = tmp_path / "out"
        jobs = []

        def run(job):
            jobs.append(job.index)
            if len(jobs) == killed + 1:
                raise Killed
            prep_job.run_job(job)

        with monkeypatch.context() as patch:
            patch.setattr(prep, "run_job", run)
            with pytest.raises(Killed):
                prepare(damaged, out, TINY)
        assert not read_complete(out)
        ran = []
        monkeypatch.setattr(prep_job, "build_frontend", counting(ran, prep_job.build_frontend))
        assert not prepare(damaged, out, TINY).reused
        assert contents(out) == undisturbed
        assert len(ran) == 9 - killed  # what was done is not done again

    def test_wherever_a_write_is_killed(self, damaged, tmp_path, monkeypatch, undisturbed):
        """The move of each file in turn fails; a temporary file stays behind."""
        replace = Path.replace
        total = len(undisturbed) + 9 + 2  # the jobs' records; prep.json is written three times
        for killed in range(total):
            out = tmp_path / f"out{killed}"
            moves = []

            def fail_once(path, target, moves=moves, killed=killed):
                moves.append(target)
                if len(moves) == killed + 1:
                    (path.parent / f".{target.name}.0.tmp").touch()
                    raise Killed
                return replace(path, target)

            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", fail_once)
                with pytest.raises(Killed):
                    prepare(damaged, out, TINY)
            assert not read_complete(out)
            prepare(damaged, out, TINY)
            assert contents(out) == undisturbed
        assert len(moves) == total

    @pytest.mark.parametrize("pattern", ["tiles/00000[1-3]*.npy", ".finished/*[0246].json"])
    def test_when_shards_or_records_were_lost(
        self, damaged, tmp_path, monkeypatch, undisturbed, pattern
    ):
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            patch.setattr(prep, "_finish", kill)
            with pytest.raises(Killed):
                prepare(damaged, out, TINY)
        lost = list(out.glob(pattern))
        assert len(lost) > 2
        for path in lost:
            path.unlink()
        prepare(damaged, out, TINY)
        assert contents(out) == undisturbed

    def test_when_a_record_is_damaged(self, damaged, tmp_path, monkeypatch, undisturbed):
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            patch.setattr(prep, "_finish", kill)
            with pytest.raises(Killed):
                prepare(damaged, out, TINY)
        for index, content in enumerate([b"", b"{", b"[]", b'{"other": 1}', b"\xff"]):
            (out / ".finished" / f"{index:06d}.json").write_bytes(content)
        prepare(damaged, out, TINY)
        assert contents(out) == undisturbed

    def test_when_killed_between_the_last_write_and_the_tidying(
        self, damaged, tmp_path, monkeypatch, undisturbed
    ):
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            patch.setattr(prep, "_tidy", kill)
            with pytest.raises(Killed):
                prepare(damaged, out, TINY)
        assert (out / ".finished").is_dir()
        assert prepare(damaged, out, TINY).reused
        assert contents(out) == undisturbed

    @pytest.mark.parametrize("mode", ["corpus", "recording"])
    def test_when_a_recording_is_added(self, audio, tmp_path, small_jobs, monkeypatch, mode):
        settings = TINY.model_copy(update={"normalization": mode})
        out = tmp_path / "out"
        prepare(audio, out, settings)
        before = contents(out)
        write(audio / "added.wav", noise(7000, 11))
        summary = prepare(audio, out, settings)
        assert (summary.reused, summary.recordings) == (False, 9)
        prepare(audio, tmp_path / "fresh", settings)
        assert contents(out) == contents(tmp_path / "fresh") != before

    @pytest.mark.parametrize("change", ["gone", "edited", "elsewhere"])
    def test_other_recordings_are_refused_and_nothing_is_touched(self, audio, tmp_path, change):
        """Two recorders give files of one name and size: what is in them tells them apart."""
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        before = contents(out)
        victim = audio / "c.wav"
        other = bytearray(victim.read_bytes())
        other[-2] ^= 1
        if change == "elsewhere":
            shutil.copytree(audio, tmp_path / "site")
            audio, victim = tmp_path / "site", tmp_path / "site" / victim.relative_to(audio)
        if change == "gone":
            victim.unlink()
        else:
            victim.write_bytes(other)
        with pytest.raises(UserError, match=r"made of other recordings \(c\.wav is gone"):
            prepare(audio, out, TINY)
        assert contents(out) == before

    def test_when_a_recording_is_added_after_a_kill(self, audio, tmp_path, monkeypatch, small_jobs):
        settings = TINY.model_copy(update={"normalization": "recording"})
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            patch.setattr(prep, "_finish", kill)
            with pytest.raises(Killed):
                prepare(audio, out, settings)
        write(audio / "aa.wav", noise(7000, 11))
        prepare(audio, out, settings)
        prepare(audio, tmp_path / "fresh", settings)
        assert contents(out) == contents(tmp_path / "fresh")

    def test_when_two_plans_were_interrupted_in_turn(
        self, audio, tmp_path, monkeypatch, small_jobs
    ):
        """Shards of one plan must not pass for those of the other."""
        settings = TINY.model_copy(update={"normalization": "recording"})
        prepare(audio, tmp_path / "undisturbed", settings)
        added = audio / "aa.wav"
        publish = prep_job.publish
        for change, fatal in ((lambda: None, 3), (lambda: write(added, noise(7000, 11)), 0)):
            change()
            done = []

            def fail_once(path, done=done, fatal=fatal):
                done.append(path)
                if len(done) == fatal + 1:
                    raise Killed
                return publish(path)

            with monkeypatch.context() as patch:
                patch.setattr(prep_job, "publish", fail_once)  # of the jobs' records
                with pytest.raises(Killed):
                    prepare(audio, tmp_path / "out", settings)
        added.unlink()
        prepare(audio, tmp_path / "out", settings)
        assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def kill(*_):
    raise Killed


def counting(calls, function):
    """The function, and a list that grows with each call."""

    def counted(*args):
        calls.append(args)
        return function(*args)

    return counted


def read_complete(out):
    path = out / "prep.json"
    return path.exists() and json.loads(path.read_text())["complete"]


class TestAgain:
    def test_a_complete_output_is_left_as_it_is(self, audio, tmp_path):
        out = tmp_path / "out"
        first = prepare(audio, out, TINY)
        before = {path: path.stat().st_mtime_ns for path in (out, *out.rglob("*"))}
        again = prepare(audio, out, TINY)
        assert again == first._replace(reused=True)
        assert {path: path.stat().st_mtime_ns for path in (out, *out.rglob("*"))} == before

    @pytest.mark.parametrize(
        "lost", ["tiles/000001-0000.npy", "tiles.parquet", "recordings.parquet"]
    )
    def test_what_is_missing_of_a_complete_output_is_made_again(
        self, audio, tmp_path, small_jobs, lost
    ):
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        before = contents(out)
        (out / lost).unlink()
        assert not prepare(audio, out, TINY).reused
        assert contents(out) == before

    @pytest.mark.parametrize("complete", [True, False])
    def test_other_settings_are_refused_and_nothing_is_touched(
        self, audio, tmp_path, monkeypatch, complete
    ):
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            if not complete:
                patch.setattr(prep, "_finish", lambda *_: None)
                patch.setattr(prep, "_summary", lambda *_, **__: None)
            prepare(audio, out, TINY)
        before = contents(out)
        other = TINY.model_copy(update={"floor_db": -90.0, "overlap": 3})
        with pytest.raises(UserError, match=r"floor_db -100\.0 there, -90\.0 here, overlap 0"):
            prepare(audio, out, other)
        assert contents(out) == before

    @pytest.mark.parametrize("name", ["thesis.txt", "tiles/x.npy", ".hidden"])
    def test_a_folder_of_others_is_refused_and_not_touched(self, audio, tmp_path, name):
        out = tmp_path / "out"
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text("mine")
        with pytest.raises(UserError, match="holds other things"):
            prepare(audio, out, TINY)
        assert contents(out) == {name: b"mine"}

    def test_a_file_in_its_place_is_refused(self, audio, tmp_path):
        (tmp_path / "out").write_text("mine")
        with pytest.raises(UserError, match="choose a new folder"):
            prepare(audio, tmp_path / "out", TINY)

    def test_an_empty_folder_is_taken(self, audio, tmp_path):
        (tmp_path / "out").mkdir()
        assert prepare(audio, tmp_path / "out", TINY).recordings == 8

    def test_a_manifest_that_is_not_ours_is_refused(self, audio, tmp_path):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "prep.json").write_text("{}")
        with pytest.raises(UserError, match="damaged"):
            prepare(audio, tmp_path / "out", TINY)

    def test_impossible_settings_leave_no_folder(self, audio, tmp_path):
        with pytest.raises(UserError, match="hop_length"):
            prepare(audio, tmp_path / "out", TINY.model_copy(update={"hop_length": 65}))
        assert not (tmp_path / "out").exists()

    def test_no_recordings(self, tmp_path):
        (tmp_path / "audio").mkdir()
        with pytest.raises(UserError, match="no recordings"):
            prepare(tmp_path / "audio", tmp_path / "out", TINY)
        with pytest.raises(UserError, match="not a folder"):
            prepare(tmp_path / "none", tmp_path / "out", TINY)
        assert not (tmp_path / "out").exists()

    def test_the_output_may_lie_among_the_recordings(self, audio):
        prepare(audio, audio / "out", TINY)
        write(audio / "out" / "stray.wav", noise(100, 0))
        assert prepare(audio, audio / "out", TINY).reused


class TestPlan:
    def plan(self, audio, **changes):
        manifest = Manifest(settings=TINY.model_copy(update=changes), plan="p")
        return plan_jobs(audio, audio / "out", manifest, list_inputs(audio, audio / "out"))

    def test_jobs_are_consecutive_and_bounded(self, audio, monkeypatch):
        names = [file.path for file in list_inputs(audio, audio / "out")]
        for files, size, jobs in ((64, 1 << 30, 1), (3, 1 << 30, 3), (64, 1, 8), (1, 1, 8)):
            monkeypatch.setattr(prep, "JOB_FILES", files)
            monkeypatch.setattr(prep, "JOB_BYTES", size)
            planned = self.plan(audio)
            assert [path for job in planned for path in job.paths] == names
            assert [job.index for job in planned] == list(range(jobs))
            assert max(len(job.paths) for job in planned) <= files

    def test_a_jobs_key_tells_what_decides_over_its_shards(self, audio, small_jobs):
        first, *rest = self.plan(audio)
        assert self.plan(audio) == [first, *rest]
        assert self.plan(audio, overlap=1)[0].key != first.key
        os.utime(audio / "a.wav", ns=(0, 0))
        changed, *same = self.plan(audio)
        assert changed.key != first.key
        assert same == rest

    def test_progress_adds_up_to_the_bytes_of_all_files(self, audio, tmp_path, small_jobs):
        told = []

        def begin(total):
            told.append(total)
            return told.append

        prepare(audio, tmp_path / "out", TINY, progress=begin)
        total, *steps = told
        assert total == sum(steps) == sum(p.stat().st_size for p in audio.rglob("*") if p.is_file())
        assert len(steps) == 4

    @pytest.mark.parametrize(
        ("name", "text"),
        [(b"a/b.wav", "a/b.wav"), ("ä.wav".encode(), "ä.wav"), (b"caf\xe9.wav", r"caf\xe9.wav")],
    )
    def test_portable_names(self, name, text):
        assert portable(Path(os.fsdecode(name))) == text
