import os
import shutil

import pytest

from tests.pipelines.recordings import (
    TINY,
    Killed,
    contents,
    counting,
    doomed,
    kill,
    kill_at_move,
    kill_before_manifests,
    noise,
    read_complete,
    write,
)
from ulmo.config import JobError, UserError
from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.prep import output as prep_output
from ulmo.pipelines.prep.prep import prepare
from ulmo.reports.prep import prep_summary
from ulmo.storage.ledger import Ledger


def die(_):
    os._exit(9)


def test_a_worker_that_is_killed_is_one_line(audio, tmp_path, monkeypatch, small_jobs):
    monkeypatch.setattr(prep_output, "run_jobs", die)
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

    @pytest.mark.parametrize("killed", range(0, 9, 2))
    def test_when_a_job_is_killed(self, damaged, tmp_path, monkeypatch, undisturbed, killed):
        out = tmp_path / "out"
        jobs = []
        run_job = prep_job._run_job

        def run(job, disk):
            if len(jobs) == killed:
                raise Killed
            jobs.append(job.index)
            return run_job(job, disk)

        with monkeypatch.context() as patch:
            patch.setattr(prep_output, "_TOGETHER", 1)
            patch.setattr(prep_job, "_run_job", run)
            with pytest.raises(Killed):
                prepare(damaged, out, TINY)
        assert not read_complete(out)
        ran = []
        monkeypatch.setattr(prep_job, "build_frontend", counting(ran, prep_job.build_frontend))
        assert not prepare(damaged, out, TINY).reused
        assert contents(out) == undisturbed
        assert len(ran) == 9 - killed  # what was done is not done again

    @pytest.mark.parametrize("added", [False, True], ids=["new", "added to"])
    def test_wherever_a_write_is_killed(self, tmp_path, monkeypatch, small_jobs, added):
        """The move of each file in turn; a temporary file stays behind."""
        audio, out = tmp_path / "audio", tmp_path / "out"
        for seed, name in enumerate(["a.wav", "b.wav", "c.wav"]):
            write(audio / name, noise(1500 + 4000 * seed, seed))
        if added:
            prepare(audio, out, TINY)
        write(audio / "aa.wav", noise(1500, 4))
        with monkeypatch.context() as patch:
            moves = kill_at_move(patch, lambda _: False)
            prepare(audio, tmp_path / "undisturbed", TINY)
        undisturbed = contents(tmp_path / "undisturbed")
        # prep.json is written three times; the others are the rows of two jobs, and the journal
        assert len(moves) == len(undisturbed) + 2 + 2 + 1
        for killed in range(len(moves)):
            copy = tmp_path / f"out{killed}"
            if added:
                shutil.copytree(out, copy)
            with monkeypatch.context() as patch:
                kill_at_move(patch, doomed(killed))
                with pytest.raises(Killed):
                    prepare(audio, copy, TINY)
            assert not read_complete(copy) or (added and not killed)
            prepare(audio, copy, TINY)
            assert contents(copy) == undisturbed

    @pytest.fixture
    def killed(self, damaged, tmp_path, monkeypatch, undisturbed):
        """An output whose jobs are done, and whose tables are not written."""
        with monkeypatch.context() as patch:
            kill_before_manifests(patch)
            with pytest.raises(Killed):
                prepare(damaged, tmp_path / "out", TINY)
        return tmp_path / "out"

    @pytest.mark.parametrize("pattern", ["tiles/00000[1-3]*.npy", ".rows/00000[0246]-*.parquet"])
    def test_when_shards_or_rows_were_lost(self, damaged, killed, undisturbed, pattern):
        lost = list(killed.glob(pattern))
        assert len(lost) > 2
        for path in lost:
            path.unlink()
        prepare(damaged, killed, TINY)
        assert contents(killed) == undisturbed

    def test_when_the_journal_is_damaged(self, damaged, killed, undisturbed):
        journal = killed / ".prep.jsonl"
        lines = journal.read_bytes().splitlines()
        assert len(lines) == 9
        lines[:6] = [b"", b"{", b"[]", b'{"other": 1}', b"\xff", lines[5][:-9]]
        journal.write_bytes(b"\n".join(lines))
        prepare(damaged, killed, TINY)
        assert contents(killed) == undisturbed

    def test_when_killed_between_the_last_write_and_the_tidying(
        self, damaged, tmp_path, monkeypatch, undisturbed
    ):
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "tidy", kill)
            with pytest.raises(Killed):
                prepare(damaged, out, TINY)
        assert (out / ".rows").is_dir()
        assert (out / ".prep.jsonl").exists()
        assert prepare(damaged, out, TINY).reused
        assert contents(out) == undisturbed

    def test_when_a_recording_was_changed_in_its_middle_after_a_kill(
        self, audio, tmp_path, monkeypatch, small_jobs
    ):
        """Neither its size nor its ends say so: its time does."""
        settings = TINY.model_copy(update={"normalization": "recording"})
        with monkeypatch.context() as patch:
            kill_before_manifests(patch)
            with pytest.raises(Killed):
                prepare(audio, tmp_path / "out", settings)
        content = bytearray((audio / "d.wav").read_bytes())
        content[4201] ^= 0x40
        (audio / "d.wav").write_bytes(content)
        prepare(audio, tmp_path / "out", settings)
        prepare(audio, tmp_path / "fresh", settings)
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")

    def test_of_a_copy_of_the_recordings(self, damaged, tmp_path, undisturbed):
        (tmp_path / "copy").mkdir()
        for path in sorted(damaged.rglob("*.*")):
            copy = tmp_path / "copy" / path.relative_to(damaged)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy) if path.exists() else copy.symlink_to("none")
        prepare(tmp_path / "copy", tmp_path / "again", TINY)
        assert contents(tmp_path / "again") == undisturbed

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

    @pytest.mark.parametrize("damage", ["flip", "gone"])
    @pytest.mark.parametrize("table", ["tiles.parquet", "recordings.parquet"])
    def test_others_are_refused_without_a_table_too(self, audio, tmp_path, damage, table):
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        if damage == "gone":
            (out / table).unlink()
        else:
            (out / table).write_bytes(b"x")
        before = contents(out)
        for name in ("c.wav", "d.wav"):
            (audio / name).unlink()
        with pytest.raises(UserError, match="made of other recordings"):
            prepare(audio, out, TINY)
        assert contents(out) == before

    def test_when_a_recording_is_added_after_a_kill(self, audio, tmp_path, monkeypatch, small_jobs):
        settings = TINY.model_copy(update={"normalization": "recording"})
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            kill_before_manifests(patch)
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
        for change, fatal in ((lambda: None, 3), (lambda: write(added, noise(7000, 11)), 0)):
            change()
            rows = f".rows/{fatal:06d}-"
            with monkeypatch.context() as patch:
                kill_at_move(patch, lambda target, rows=rows: rows in str(target))
                with pytest.raises(Killed):
                    prepare(audio, tmp_path / "out", settings)
        added.unlink()
        prepare(audio, tmp_path / "out", settings)
        assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")

    def test_jobs_of_one_place_do_not_pass_for_those_of_another(
        self, tmp_path, monkeypatch, small_jobs
    ):
        """The same recordings are one job each time, but later in the order."""
        settings = TINY.model_copy(update={"normalization": "recording"})
        audio, out = tmp_path / "audio", tmp_path / "out"
        monkeypatch.setattr(prep_job, "_JOB_FILES", 1)
        for seed, name in enumerate(["b.wav", "c.wav", "d.wav"]):
            write(audio / name, noise(2500, seed))
        with monkeypatch.context() as patch:
            kill_before_manifests(patch)
            with pytest.raises(Killed):
                prepare(audio, out, settings)
        write(audio / "a.wav", noise(2500, 9))
        prepare(audio, out, settings)
        prepare(audio, tmp_path / "fresh", settings)
        assert contents(out) == contents(tmp_path / "fresh")


class TestAgain:
    def test_a_complete_output_is_left_as_it_is(self, audio, tmp_path):
        out = tmp_path / "out"
        first = prepare(audio, out, TINY)
        before = {path: path.stat().st_mtime_ns for path in (out, *out.rglob("*"))}
        again = prepare(audio, out, TINY)
        assert again == first._replace(reused=True)
        assert {path: path.stat().st_mtime_ns for path in (out, *out.rglob("*"))} == before

    def test_a_folder_with_the_name_of_a_left_over_is_removed(self, audio, tmp_path):
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        before = contents(out)
        (out / ".x.7.tmp").mkdir()
        prepare(audio, out, TINY)
        assert contents(out) == before
        assert not (out / ".x.7.tmp").exists()

    def test_a_recording_that_was_written_to_since_is_told(self, audio, tmp_path):
        """Neither its size nor its ends say so: it may have been copied, or edited."""
        out = tmp_path / "out"
        assert prepare(audio, out, TINY).rewritten == ()
        assert prepare(audio, out, TINY).rewritten == ()
        later = (out / "prep.json").stat().st_mtime_ns + 1
        os.utime(audio / "c.wav", ns=(later, later))
        summary = prepare(audio, out, TINY)
        assert (summary.reused, summary.rewritten) == (True, ("c.wav",))
        assert "modified    1 recordings since then (such as c.wav)" in prep_summary(summary)

    @pytest.mark.parametrize(
        "lost", ["tiles/000001-0000.npy", "tiles.parquet", "recordings.parquet"]
    )
    def test_what_is_missing_of_a_complete_output_is_made_again(
        self, audio, tmp_path, small_jobs, monkeypatch, lost
    ):
        """And again after a kill at any move of that."""
        for path in sorted(audio.rglob("*.*"))[3:]:
            path.unlink()
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        before = contents(out)
        (out / lost).unlink()
        with monkeypatch.context() as patch:
            moves = kill_at_move(patch, lambda _: False)
            assert not prepare(audio, shutil.copytree(out, tmp_path / "counted"), TINY).reused
        for killed in range(len(moves)):
            copy = shutil.copytree(out, tmp_path / f"out{killed}")
            with monkeypatch.context() as patch:
                kill_at_move(patch, doomed(killed))
                with pytest.raises(Killed):
                    prepare(audio, copy, TINY)
            prepare(audio, copy, TINY)
            assert contents(copy) == before

    @pytest.mark.parametrize("complete", [True, False])
    def test_other_settings_are_refused_and_nothing_is_touched(
        self, audio, tmp_path, monkeypatch, complete
    ):
        out = tmp_path / "out"
        with monkeypatch.context() as patch:
            if complete:
                prepare(audio, out, TINY)
            else:
                kill_before_manifests(patch)
                with pytest.raises(Killed):
                    prepare(audio, out, TINY)
        before = contents(out)
        other = TINY.model_copy(update={"floor_db": -90.0, "overlap": 3})
        with pytest.raises(
            UserError, match=r"floor_db there -100\.0, here -90\.0, overlap there 0"
        ):
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
