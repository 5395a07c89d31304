"""ulmo verify of tiles: what it finds, and what --repair does about it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.outputs import PREP, make_audio
from tests.pipelines.recordings import contents
from tests.pipelines.verifying import SHARD, change_rows, deny, flip, found, run_command
from tests.sealed import reseal
from ulmo.config import UserError
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing import store
from ulmo.preprocessing.store import write_shard


@pytest.fixture
def audio(tiles):
    return tiles.parent / "audio"


def cut(path):
    """A shard of the first three of its five tiles, as ulmo would write it."""
    write_shard(path, np.load(path)[:3])


FAULTS = [
    (SHARD, flip, "damaged"),
    (SHARD, lambda path: flip(path, 3), "damaged"),
    (SHARD, Path.unlink, "missing"),
    (SHARD, cut, "disagrees"),
    ("tiles.parquet", flip, "damaged"),
    ("recordings.parquet", Path.unlink, "missing"),
    ("recordings.parquet", flip, "damaged"),
    ("prep.json", flip, "damaged"),
    ("prep.json", Path.unlink, "missing"),
    ("prep.json", lambda path: reseal(path, complete=False), "unfinished"),
    ("prep.json", lambda path: reseal(path, fingerprint="0" * 64), "disagrees"),
    ("tiles/x.npy", Path.touch, "orphan"),
    (".prep.json.7.tmp", Path.touch, "left_over"),
    (".rows", Path.mkdir, "left_over"),
    (".prep.jsonl", Path.touch, "left_over"),
]


class TestTiles:
    def test_all_is_well(self, tiles):
        status, output = run_command(tiles)
        assert status == 0
        assert output == f"{tiles}: tiles: 2 recordings, 5 tiles, 1 shard\n  all is well\n"

    @pytest.mark.parametrize(("name", "spoil", "what"), FAULTS)
    def test_what_is_wrong_is_named(self, name, spoil, what, tiles):
        spoil(tiles / name)
        assert found(tiles) == {(name, what)}
        status, output = run_command(tiles)
        assert status == 3
        assert "  to do " in output

    def test_several_faults_are_all_named(self, tiles):
        reseal(tiles / "prep.json", tiles=6, recordings=3)
        tables = {("tiles.parquet", "disagrees"), ("recordings.parquet", "disagrees")}
        assert found(tiles) == tables
        flip(tiles / "tiles.parquet")
        flip(tiles / SHARD, 3)  # its header, which can be checked without a table
        assert {("tiles.parquet", "damaged"), (SHARD, "damaged")} <= found(tiles)

    @pytest.mark.parametrize(
        ("name", "change", "what"),
        [
            ("tiles.parquet", lambda rows: rows.append(rows[0]), "duplicate"),
            ("tiles.parquet", lambda rows: rows.pop(1), "gap"),
            ("tiles.parquet", lambda rows: rows[1].update(start_sample=7, start_s=0.007), "gap"),
            ("tiles.parquet", lambda rows: rows[1].update(tile=0), "duplicate"),
            ("tiles.parquet", lambda rows: rows[0].update(valid_frames=0), "unreadable"),
            ("tiles.parquet", lambda rows: rows[0].update(recording="z.wav"), "missing"),
            ("recordings.parquet", lambda rows: rows.append(rows[0]), "duplicate"),
            ("recordings.parquet", lambda rows: rows[0].update(tiles=7), "disagrees"),
            ("recordings.parquet", lambda rows: rows.pop(), "missing"),
        ],
    )
    def test_rows_that_contradict_each_other(self, name, change, what, tiles):
        change_rows(tiles, name, change)
        assert what in {fault.what for fault in verify(tiles).faults}

    @pytest.mark.parametrize("spoil", [lambda path: flip(path, 300), cut])
    def test_a_repair_gives_the_bytes_of_the_undisturbed_output(self, spoil, tiles, audio):
        before = contents(tiles)
        spoil(tiles / SHARD)
        (tiles / "tiles" / "000009-0000.npy").touch()
        result = verify(tiles, repair=True)
        assert result.mended == ["removed tiles/000009-0000.npy", f"removed {SHARD}"]
        assert {fault.what for fault in result.faults} == {"missing"}
        assert not prepare(audio, tiles, PREP).reused
        assert (verify(tiles).faults, contents(tiles)) == ([], before)

    def test_damaged_tables_are_made_again_by_the_same_command(self, tiles, audio):
        before = contents(tiles)
        for name in ("tiles", "recordings"):
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

    def test_so_many_lost_shards_that_the_table_is_not_read(self, tmp_path, monkeypatch):
        """All is prepared beside the output, and is the same."""
        audio = make_audio(tmp_path / "audio", lengths=(300, 200, 400))
        out = tmp_path / "out"
        prepare(audio, out, PREP)
        before = contents(out)
        monkeypatch.setattr(store, "MOST_LOST", 0)
        for path in out.rglob("*.npy"):
            path.unlink()
        assert [fault.what for fault in verify(out).faults] == ["unreadable"]
        assert not prepare(audio, out, PREP).reused
        assert contents(out) == before

    def test_json(self, tiles):
        flip(tiles / SHARD)
        status, output = run_command(tiles, "--json")
        values = json.loads(output)
        assert (status, values["kind"], values["schema_version"]) == (3, "tiles", 1)
        assert (values["command"], values["exit_status"]) == ("verify", 3)
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
    @pytest.mark.parametrize("change", ["other", "gone"])
    def test_other_recordings(self, name, change, tiles, audio, tmp_path):
        (tiles / name).unlink()
        other = tmp_path / "other"
        if change == "other":
            make_audio(other, lengths=(400, 300, 200))
        else:
            shutil.copytree(audio, other)
            (other / "b.wav").unlink()
        before = contents(tiles)
        with pytest.raises(UserError, match="made of other recordings"):
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

    def test_what_has_no_name_of_ulmos_stays(self, tiles, audio):
        foreign = ["mine.npy", "notes.txt", ".again", "000009-0000.npy/x", ".x.ab.tmp/x"]
        for name in foreign:
            path = tiles / "tiles" / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("mine")
        for _ in range(2):
            result = verify(tiles, repair=True)
            assert result.mended == []
            assert {(fault.path, fault.what) for fault in result.faults} == {
                (f"tiles/{name.removesuffix('/x')}", "orphan") for name in foreign
            }
            assert {fault.remedy for fault in result.faults} == {
                "move it elsewhere: it is not ulmo's"
            }
            (audio / "b.wav").unlink(missing_ok=True)
            prepare(audio, tiles, PREP, accept_changes=True)
        assert all((tiles / "tiles" / name).read_text() == "mine" for name in foreign)

    def test_an_orphan_is_no_reason_to_prepare(self, tiles):
        times = {path: path.stat().st_mtime_ns for path in tiles.rglob("*.*")}
        (tiles / "tiles" / "000009-0000.npy").touch()
        result = verify(tiles, repair=True)
        assert (result.faults, result.mended) == ([], ["removed tiles/000009-0000.npy"])
        assert {path: path.stat().st_mtime_ns for path in tiles.rglob("*.*")} == times

    def test_a_table_stays_until_another_is_made(self, tiles):
        flip(tiles / "recordings.parquet")
        before = contents(tiles)
        result = verify(tiles, repair=True)
        assert (result.mended, contents(tiles)) == ([], before)
        assert [fault.what for fault in result.faults] == ["damaged"]

    def test_a_whole_shard_stays_where_the_table_is_wrong(self, tiles):
        change_rows(tiles, "tiles.parquet", lambda rows: rows.append(rows[0]))
        result = verify(tiles, repair=True)
        assert (tiles / SHARD).exists()
        assert {fault.path for fault in result.faults} >= {"tiles.parquet"}

    @pytest.mark.parametrize("name", ["prep.json", "tiles.parquet", "recordings.parquet"])
    def test_a_table_that_cannot_be_read_is_not_made_again(self, name, tiles, audio, monkeypatch):
        deny(monkeypatch, tiles / name)
        with pytest.raises(UserError, match=r"cannot be read .*let yourself read it"):
            prepare(audio, tiles, PREP)
