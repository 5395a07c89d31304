import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.bounded import some_of
from tests.parquet import write_parquet
from tests.pipelines import recordings
from tests.pipelines.recordings import (
    TINY,
    Killed,
    contents,
    count_moves,
    counting,
    doomed,
    kill,
    named,
    noise,
    read_complete,
    run_killed,
    write,
)
from ulmo.config import JobError, UserError
from ulmo.jobs import executor
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.prep import job_rows
from ulmo.pipelines.prep import output as prep_output
from ulmo.pipelines.prep.prep import prepare
from ulmo.reports.prep import prep_summary
from ulmo.storage.ledger import Ledger

FIRST = "tiles/000000-0000.npy"
pytestmark = pytest.mark.usefixtures("small_jobs")


@contextmanager
def recorded_jobs():
    """The numbers of the jobs that are run inside the block."""
    done, run_job = [], prep_job._run_job

    def run(job, disk):
        done.append(job.index)
        return run_job(job, disk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prep_job, "_run_job", run)
        yield done


def die(_):
    os._exit(9)


def test_a_worker_that_is_killed_is_one_line(audio, tmp_path, monkeypatch):
    monkeypatch.setattr(prep_output, "run_jobs", die)
    monkeypatch.setattr(executor, "TRIES", 1)
    settings = TINY.model_copy(update={"normalization": "tile"})
    with pytest.raises(JobError, match="run the same command with fewer workers to go on"):
        prepare(audio, tmp_path / "out", settings, spread=Spread(2))
    with pytest.raises(UserError, match="cannot make the folder"):
        prepare(audio, audio / "c.wav" / "out", settings)


class TestSameBytes:
    @pytest.fixture
    def undisturbed(self, damaged, tmp_path):
        prepare(damaged, tmp_path / "undisturbed", TINY)
        return contents(tmp_path / "undisturbed")

    @pytest.mark.parametrize("killed", [0, 4, 8])
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
            patch.setattr(prep_job, "_TOGETHER", 1)
            patch.setattr(prep_job, "_run_job", run)
            with pytest.raises(Killed):
                prepare(damaged, out, TINY)
        assert not read_complete(out)
        ran = []
        monkeypatch.setattr(prep_job, "build_frontend", counting(ran, prep_job.build_frontend))
        assert not prepare(damaged, out, TINY).reused
        assert contents(out) == undisturbed
        assert len(ran) == 9 - killed  # what was done is not done again

    @pytest.mark.kills
    def test_wherever_a_write_is_killed(self, tmp_path, monkeypatch):
        """The move of each file in turn; a temporary file stays behind."""
        audio = tmp_path / "audio"
        for seed, name in enumerate(["a.wav", "aa.wav", "b.wav", "c.wav"]):
            write(audio / name, noise(1500 + 4000 * seed, seed))
        moves = count_moves(monkeypatch, prepare, audio, tmp_path / "undisturbed", TINY)
        undisturbed = contents(tmp_path / "undisturbed")
        # prep.json is written three times; the others are the rows of two jobs, and the journal
        assert moves == len(undisturbed) + 2 + 2 + 1
        for killed in some_of(range(moves)):
            out = tmp_path / f"out{killed}"
            run_killed(monkeypatch, doomed(killed), prepare, audio, out, TINY)
            assert not read_complete(out)
            prepare(audio, out, TINY)
            assert contents(out) == undisturbed

    @pytest.fixture
    def killed(self, damaged, tmp_path, monkeypatch, undisturbed):
        """An output whose jobs are done, and whose tables are not written."""
        run_killed(monkeypatch, recordings.before_tables, prepare, damaged, tmp_path / "out", TINY)
        return tmp_path / "out"

    @pytest.mark.parametrize("pattern", ["tiles/00000[1-3]*.npy", ".rows/00000[0246]-*.parquet"])
    def test_when_shards_or_rows_were_lost(self, damaged, killed, undisturbed, pattern):
        lost = list(killed.glob(pattern))
        assert len(lost) > 2
        for path in lost:
            path.unlink()
        prepare(damaged, killed, TINY)
        assert contents(killed) == undisturbed

    @pytest.mark.parametrize("change", ["cut", "other text", "other rows", "a bomb"])
    def test_when_rows_were_changed(self, damaged, killed, undisturbed, change):
        """The jobs whose rows they are, and only those, are done again."""
        path = sorted(killed.glob(".rows/*.parquet"))[1]
        table = pq.read_table(path)
        if change == "cut":
            os.truncate(path, path.stat().st_size - 50)
        elif change == "other text":
            path.write_text("rows")
        elif change == "a bomb":
            column = pa.array(["x" * (16 << 20)] * len(table))
            write_parquet(table.set_column(2, table.schema.field(2), column), path)
        else:
            reversed_names = table["recording"].combine_chunks()[::-1]
            write_parquet(table.set_column(2, table.schema.field(2), reversed_names), path)
        with recorded_jobs() as done:
            prepare(damaged, killed, TINY)
        assert done == [1]
        assert contents(killed) == undisturbed

    def test_rows_that_change_in_the_last_moment_are_one_line(
        self, damaged, killed, undisturbed, monkeypatch
    ):
        """After a job has looked which rows are there; the next one makes them again."""
        path, file_hash = sorted(killed.glob(".rows/*.parquet"))[1], job_rows.file_hash

        looks = []

        def looked_at(place):
            found = file_hash(place)
            looks.append(place)
            if looks.count(path) == 3:  # twice while it looks what there is to do
                os.truncate(path, path.stat().st_size - 50)
            return found

        with monkeypatch.context() as patch:
            patch.setattr(job_rows, "file_hash", looked_at)
            with pytest.raises(UserError, match=r"damaged: run the same ulmo-prep again"):
                prepare(damaged, killed, TINY)
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

    @pytest.mark.parametrize(("change", "together"), [("edit", 2), ("add", 2), ("add", 1)])
    def test_when_recordings_changed_after_a_kill(
        self, audio, tmp_path, monkeypatch, change, together
    ):
        """By its time alone; or by one more, so that jobs of the same recordings come later."""
        settings, out = TINY.model_copy(update={"normalization": "recording"}), tmp_path / "out"
        monkeypatch.setattr(prep_job, "_JOB_FILES", together)
        run_killed(monkeypatch, recordings.before_tables, prepare, audio, out, settings)
        if change == "edit":
            content = bytearray((audio / "d.wav").read_bytes())
            content[4201] ^= 0x40
            (audio / "d.wav").write_bytes(content)
        else:
            write(audio / "aa.wav", noise(7000, 11))
        prepare(audio, out, settings)
        prepare(audio, tmp_path / "fresh", settings)
        assert contents(out) == contents(tmp_path / "fresh")

    def test_of_a_copy_of_the_recordings(self, damaged, tmp_path, undisturbed):
        (tmp_path / "copy").mkdir()
        for path in sorted(damaged.rglob("*.*")):
            copy = tmp_path / "copy" / path.relative_to(damaged)
            copy.parent.mkdir(exist_ok=True)
            shutil.copy2(path, copy) if path.exists() else copy.symlink_to("none")
        prepare(tmp_path / "copy", tmp_path / "again", TINY)
        assert contents(tmp_path / "again") == undisturbed

    def test_of_a_copy_with_other_times(self, audio, tmp_path):
        """Only the keys differ, so the output serves both."""
        shutil.copytree(audio, tmp_path / "copy", copy_function=shutil.copyfile)
        prepare(audio, tmp_path / "out", TINY)
        prepare(tmp_path / "copy", tmp_path / "again", TINY)
        one, other = contents(tmp_path / "out"), contents(tmp_path / "again")
        differing = {name for name in one | other if one.get(name) != other.get(name)}
        assert differing == {"recordings.parquet", "prep.json"}
        summary = prepare(tmp_path / "copy", tmp_path / "out", TINY)
        assert (summary.reused, len(summary.rewritten)) == (True, summary.recordings)

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
        with pytest.raises(UserError, match=r"made of other recordings \(1 \w+: c\.wav\)"):
            prepare(audio, out, TINY)
        assert contents(out) == before

    def test_when_two_plans_were_interrupted_in_turn(self, audio, tmp_path, monkeypatch):
        """Shards of one plan must not pass for those of the other."""
        settings = TINY.model_copy(update={"normalization": "recording"})
        prepare(audio, tmp_path / "undisturbed", settings)
        added = audio / "aa.wav"
        for change, fatal in ((lambda: None, 3), (lambda: write(added, noise(7000, 11)), 0)):
            change()
            rows = f".rows/{fatal:06d}-"
            run_killed(monkeypatch, named(rows), prepare, audio, tmp_path / "out", settings)
        added.unlink()
        prepare(audio, tmp_path / "out", settings)
        assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


class TestAgain:
    def test_a_complete_output_is_left_as_it_is(self, audio, tmp_path):
        out = tmp_path / "out"
        first = prepare(audio, out, TINY)
        before = recordings.stats(out)
        again = prepare(audio, out, TINY)
        assert again == first._replace(reused=True)
        assert recordings.stats(out) == before

    def test_a_folder_with_the_name_of_a_left_over_stays(self, audio, tmp_path):
        """ulmo makes no folder of such a name."""
        out = tmp_path / "out"
        first = prepare(audio, out, TINY)
        (out / ".x.7.tmp").mkdir()
        (out / ".x.7.tmp" / "mine.txt").write_text("mine")
        assert prepare(audio, out, TINY) == first._replace(reused=True)
        assert (out / ".x.7.tmp" / "mine.txt").read_text() == "mine"

    @pytest.mark.parametrize("seconds", [1, -1, -1e8, 1e9])
    def test_a_recording_that_was_written_to_since_is_told(self, seconds, audio, tmp_path):
        """Neither its size nor its ends say so, and copies keep times: the new one may be older."""
        out = tmp_path / "out"
        assert prepare(audio, out, TINY).rewritten == ()
        assert prepare(audio, out, TINY).rewritten == ()
        other = (audio / "c.wav").stat().st_mtime_ns + int(seconds * 1e9)
        os.utime(audio / "c.wav", ns=(other, other))
        summary = prepare(audio, out, TINY)
        assert (summary.reused, summary.rewritten) == (True, ("c.wav",))
        assert "modified    1 recording since then (such as c.wav)" in prep_summary(summary)
        assert prepare(audio, out, TINY, accept_changes=True).rewritten == ()
        assert prepare(audio, out, TINY).rewritten == ()

    def test_one_that_is_dated_in_the_future_is_as_good_as_any(self, audio, tmp_path):
        os.utime(audio / "c.wav", (4e9, 4e9))
        prepare(audio, tmp_path / "out", TINY)
        summary = prepare(audio, tmp_path / "out", TINY, accept_changes=True)
        assert (summary.reused, summary.rewritten) == (True, ())

    @pytest.mark.parametrize("name", ["tiles.parquet", "recordings.parquet", "prep.json", FIRST])
    @pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo])
    def test_what_is_no_file_in_the_place_of_one(self, name, put, audio, tmp_path):
        """A pipe in the place of tables and tiles is as good as nothing."""
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        before = contents(out)
        (out / name).unlink()
        put(out / name)
        if put is os.mkfifo and name != "prep.json":
            prepare(audio, out, TINY)
            assert contents(out) == before
            return
        for _ in range(2):
            with pytest.raises(UserError, match=f"{name}.* is .*: move it elsewhere"):
                prepare(audio, out, TINY)
            assert contents(out) == {path: before[path] for path in before if path != name}

    @pytest.mark.kills
    @pytest.mark.parametrize(
        "lost", ["tiles/000001-0000.npy", "tiles.parquet", "recordings.parquet"]
    )
    def test_what_is_missing_of_a_complete_output_is_made_again(
        self, audio, tmp_path, monkeypatch, lost
    ):
        """And again after a kill at any move of that."""
        for path in sorted(audio.rglob("*.*"))[3:]:
            path.unlink()
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        before = contents(out)
        (out / lost).unlink()
        copy = shutil.copytree(out, tmp_path / "counted")
        moves = count_moves(monkeypatch, prepare, audio, copy, TINY)
        assert contents(copy) == before
        for killed in some_of(range(moves), lost):
            copy = shutil.copytree(out, tmp_path / f"out{killed}")
            run_killed(monkeypatch, doomed(killed), prepare, audio, copy, TINY)
            prepare(audio, copy, TINY)
            assert contents(copy) == before
