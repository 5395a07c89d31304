"""ulmo verify of tiles: what it finds, and what --repair does about it."""

import json
import shutil

import numpy as np
import pytest

from tests.outputs import PREP, make_audio
from tests.pipelines.recordings import contents
from tests.pipelines.verifying import SHARD, change_rows, deny, flip, found, run_command
from tests.sealed import reseal
from ulmo.config import NewerError, UserError
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import write_shard


@pytest.fixture
def audio(tiles):
    return tiles.parent / "audio"


def spoil_all(folder):
    """A table, and the header of a shard."""
    flip(folder / "tiles.parquet")
    flip(folder / SHARD, 3)


def cut_shard(folder):
    """A shard of the first three of its five tiles, as ulmo would write it."""
    write_shard(folder / SHARD, np.load(folder / SHARD)[:3])


class TestTiles:
    def test_all_is_well(self, tiles):
        status, output = run_command(tiles)
        assert status == 0
        assert output == f"{tiles}: tiles: 2 recordings, 5 tiles, 1 shards\n  all is well\n"

    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (lambda f: flip(f / SHARD), {(SHARD, "damaged")}),
            (lambda f: flip(f / SHARD, 3), {(SHARD, "damaged")}),
            (lambda f: (f / SHARD).unlink(), {(SHARD, "missing")}),
            (lambda f: flip(f / "tiles.parquet"), {("tiles.parquet", "damaged")}),
            (lambda f: (f / "recordings.parquet").unlink(), {("recordings.parquet", "missing")}),
            (lambda f: flip(f / "recordings.parquet"), {("recordings.parquet", "damaged")}),
            (lambda f: spoil_all(f), {("tiles.parquet", "damaged"), (SHARD, "damaged")}),
            (lambda f: cut_shard(f), {(SHARD, "disagrees")}),
            (lambda f: flip(f / "prep.json"), {("prep.json", "damaged")}),
            (lambda f: (f / "prep.json").unlink(), {("prep.json", "missing")}),
            (lambda f: reseal(f / "prep.json", complete=False), {("prep.json", "unfinished")}),
            (lambda f: (f / "tiles" / "x.npy").touch(), {("tiles/x.npy", "orphan")}),
            (lambda f: (f / ".prep.json.7.tmp").touch(), {(".prep.json.7.tmp", "left_over")}),
            (lambda f: (f / ".rows").mkdir(), {(".rows", "left_over")}),
            (lambda f: (f / ".prep.jsonl").touch(), {(".prep.jsonl", "left_over")}),
            (
                lambda f: reseal(f / "prep.json", tiles=6, recordings=3),
                {("tiles.parquet", "disagrees"), ("recordings.parquet", "disagrees")},
            ),
            (
                lambda f: reseal(f / "prep.json", fingerprint="0" * 64),
                {("prep.json", "disagrees")},
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, spoil, expected, tiles):
        spoil(tiles)
        assert found(tiles) == expected
        status, output = run_command(tiles)
        assert status == 3
        assert "  to do " in output

    @pytest.mark.parametrize(
        ("name", "change", "what"),
        [
            ("tiles.parquet", lambda rows: rows.append(rows[0]), "duplicate"),
            ("tiles.parquet", lambda rows: rows.pop(1), "gap"),
            ("tiles.parquet", lambda rows: rows[1].update(start_sample=7), "gap"),
            ("tiles.parquet", lambda rows: rows[1].update(tile=0), "duplicate"),
            ("tiles.parquet", lambda rows: rows[0].update(valid_frames=0), "disagrees"),
            ("tiles.parquet", lambda rows: rows[0].update(recording="z.wav"), "missing"),
            ("recordings.parquet", lambda rows: rows.append(rows[0]), "duplicate"),
            ("recordings.parquet", lambda rows: rows[0].update(tiles=7), "disagrees"),
            ("recordings.parquet", lambda rows: rows.pop(), "missing"),
        ],
    )
    def test_rows_that_contradict_each_other(self, name, change, what, tiles):
        change_rows(tiles, name, change)
        assert what in {fault.what for fault in verify(tiles).faults}

    def test_a_repair_gives_the_bytes_of_the_undisturbed_output(self, tiles, audio):
        before = contents(tiles)
        flip(tiles / SHARD, 300)
        (tiles / "tiles" / "x.npy").touch()
        result = verify(tiles, repair=True)
        assert result.mended == ["removed tiles/x.npy", f"removed {SHARD}"]
        assert {fault.what for fault in result.faults} == {"missing"}
        assert not prepare(audio, tiles, PREP).reused
        assert (verify(tiles).faults, contents(tiles)) == ([], before)

    @pytest.mark.parametrize("names", [["tiles"], ["recordings"], ["tiles", "recordings"]])
    def test_a_damaged_table_is_made_again_by_the_same_command(self, names, tiles, audio):
        before = contents(tiles)
        for name in names:
            flip(tiles / f"{name}.parquet")
        assert {fault.remedy for fault in verify(tiles).faults} == {"run the same ulmo-prep again"}
        assert not prepare(audio, tiles, PREP).reused
        assert contents(tiles) == before

    def test_only_the_lost_shards_are_prepared(self, tmp_path, monkeypatch):
        from ulmo.pipelines.prep import job as prep_job

        monkeypatch.setattr(prep_job, "_JOB_FILES", 1)
        audio = make_audio(tmp_path / "audio", lengths=(300, 200, 400))
        out = tmp_path / "out"
        prepare(audio, out, PREP)
        before = contents(out)
        times = {path: path.stat().st_mtime_ns for path in out.rglob("*.npy")}
        lost = out / "tiles" / "000001-0000.npy"
        lost.unlink()
        assert not prepare(audio, out, PREP).reused
        assert contents(out) == before
        changed = {path for path, time in times.items() if path.stat().st_mtime_ns != time}
        assert changed == {lost}

    def test_recordings_that_are_others_now_are_not_mixed_in(self, tiles, audio):
        """Told by their length and ends; else by the tiles, once they are made."""
        path = audio / "a.wav"
        content = path.read_bytes()
        (tiles / SHARD).unlink()
        path.write_bytes(content + bytes(2))
        with pytest.raises(UserError, match="was made of other recordings"):
            prepare(audio, tiles, PREP)
        path.write_bytes(content)
        change_rows(tiles, "tiles.parquet", lambda rows: rows[0].update(crc32c=7))
        with pytest.raises(UserError, match="are not what they were: choose a new folder"):
            prepare(audio, tiles, PREP)
        assert not (tiles / SHARD).exists()

    def test_without_prep_json_nothing_can_be_done(self, tiles, audio):
        flip(tiles / "prep.json")
        result = verify(tiles, repair=True)
        assert [fault.path for fault in result.faults] == ["prep.json"]
        assert "new folder" in result.faults[0].remedy
        with pytest.raises(UserError, match="delete the folder and prepare the tiles again"):
            prepare(audio, tiles, PREP)

    def test_json(self, tiles):
        flip(tiles / SHARD)
        status, output = run_command(tiles, "--json")
        values = json.loads(output)
        assert (status, values["kind"], values["schema_version"]) == (3, "tiles", 1)
        assert values["counts"] == {"recordings": 2, "tiles": 5, "shards": 1}
        (fault,) = values["faults"]
        assert (fault["path"], fault["what"]) == (SHARD, "damaged")
        assert "first tile 4" in fault["detail"]

    def test_many_faults_are_counted(self, tiles):
        for number in range(30):
            (tiles / "tiles" / f"{number}.npy").touch()
        assert "  and 10 more: 10 orphan; all of them with --json\n" in run_command(tiles)[1]


class TestNothingIsLost:
    """What --repair leaves alone, and what it refuses before anything is touched."""

    @pytest.mark.parametrize("name", ["tiles.parquet", "recordings.parquet", SHARD])
    @pytest.mark.parametrize("change", ["other", "gone", "none", "nowhere"])
    def test_other_recordings(self, name, change, tiles, audio, tmp_path):
        (tiles / name).unlink()
        other = tmp_path / "other"
        match change:
            case "other":
                make_audio(other, lengths=(400, 300, 200))
            case "gone":
                shutil.copytree(audio, other)
                (other / "b.wav").unlink()
            case "none":
                other.mkdir()
        before = contents(tiles)
        with pytest.raises(UserError, match=r"made of other recordings|no recordings|not a folder"):
            prepare(other, tiles, PREP)
        assert contents(tiles) == before

    def test_more_recordings(self, tiles, audio):
        """Nothing says whether those that were there are still there."""
        (tiles / "recordings.parquet").unlink()
        shutil.copy(audio / "a.wav", audio / "c.wav")
        before = contents(tiles)
        with pytest.raises(UserError, match="has lost the table of them"):
            prepare(audio, tiles, PREP)
        assert contents(tiles) == before

    @pytest.mark.parametrize("name", ["tiles.parquet", "recordings.parquet", SHARD])
    def test_a_recording_edited_in_its_middle(self, name, tmp_path):
        audio = make_audio(tmp_path / "audio", lengths=(30_000,))
        tiles = tmp_path / "tiles"
        prepare(audio, tiles, PREP)
        path = audio / "a.wav"
        flip(path, path.stat().st_size // 2)
        (tiles / name).unlink()
        before = contents(tiles)
        with pytest.raises(UserError, match="are not what they were"):
            prepare(audio, tiles, PREP)
        assert contents(tiles) == before

    def test_an_orphan_is_no_reason_to_prepare(self, tiles):
        times = {path: path.stat().st_mtime_ns for path in tiles.rglob("*.*")}
        (tiles / "tiles" / "x.npy").touch()
        result = verify(tiles, repair=True)
        assert (result.faults, result.mended) == ([], ["removed tiles/x.npy"])
        assert {path: path.stat().st_mtime_ns for path in tiles.rglob("*.*")} == times

    def test_a_table_stays_until_another_is_made(self, tiles):
        flip(tiles / "recordings.parquet")
        before = contents(tiles)
        result = verify(tiles, repair=True)
        assert (result.mended, contents(tiles)) == ([], before)
        assert [fault.what for fault in result.faults] == ["damaged"]

    def test_a_shard_with_fewer_tiles_is_made_again(self, tiles, audio):
        before = contents(tiles)
        cut_shard(tiles)
        verify(tiles, repair=True)
        prepare(audio, tiles, PREP)
        assert (verify(tiles).faults, contents(tiles)) == ([], before)

    def test_a_whole_shard_stays_where_the_table_is_wrong(self, tiles):
        change_rows(tiles, "tiles.parquet", lambda rows: rows.append(rows[0]))
        result = verify(tiles, repair=True)
        assert (tiles / SHARD).exists()
        assert {fault.path for fault in result.faults} >= {"tiles.parquet"}

    @pytest.mark.parametrize("name", ["prep.json", "tiles.parquet", "recordings.parquet", SHARD])
    def test_what_cannot_be_read(self, name, tiles, audio, monkeypatch):
        before = contents(tiles)
        deny(monkeypatch, tiles / name)
        result = verify(tiles, repair=True)
        assert [(fault.path, fault.what) for fault in result.faults] == [(name, "unreadable")]
        if name != SHARD:
            with pytest.raises(UserError, match=r"cannot be read .*let yourself read it"):
                prepare(audio, tiles, PREP)
        monkeypatch.undo()
        assert (result.mended, contents(tiles)) == ([], before)

    def test_what_a_newer_ulmo_wrote(self, tiles):
        path = tiles / "prep.json"
        reseal(path, schema_version=4)
        before = contents(tiles)
        with pytest.raises(NewerError, match="upgrade ulmo"):
            verify(tiles, repair=True)
        status, output = run_command(tiles, "--repair")
        assert (status, output.count("\n"), contents(tiles)) == (2, 1, before)
