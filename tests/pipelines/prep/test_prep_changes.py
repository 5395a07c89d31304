"""A complete output whose recordings changed, are gone, or were joined by others."""

import errno
import os

import pytest

from tests.commands import TINY as TINY_FLAGS
from tests.commands import assert_refused
from tests.commands import run as run_command
from tests.pipelines.recordings import TINY, contents, named, noise, run_killed, write
from ulmo.cli.prep import prep
from ulmo.config import AugmentSettings, UserError
from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.prep.prep import prepare

pytestmark = pytest.mark.usefixtures("small_jobs")
ALONE = TINY.model_copy(update={"normalization": "recording"})  # no recording decides on others


def change(audio):
    """One recording in the middle is another now, one at the end is gone, two are new."""
    write(audio / "c.wav", noise(4200, 20))
    (audio / "stereo.wav").unlink()
    for number in (1, 2):
        write(audio / f"new{number}.wav", noise(2500, 20 + number))


@pytest.fixture
def done(monkeypatch):
    """The numbers of the jobs that are run."""
    jobs, run_job = [], prep_job._run_job

    def run(job, disk):
        jobs.append(job.index)
        return run_job(job, disk)

    monkeypatch.setattr(prep_job, "_run_job", run)
    return jobs


def test_one_line_says_what_changed_and_nothing_is_touched(audio, tmp_path):
    out = tmp_path / "out"
    prepare(audio, out, TINY)
    before = contents(out)
    change(audio)
    with pytest.raises(UserError) as refused:
        prepare(audio, out, TINY)
    assert str(refused.value).endswith(
        "was made of other recordings (1 changed: c.wav; 1 gone: stereo.wav; 2 added: new1.wav, "
        "new2.wav): add --accept-changes to prepare what changed, or choose a new folder"
    )
    assert contents(out) == before


def test_many_are_counted_and_the_first_are_named(audio, tmp_path):
    prepare(audio, tmp_path / "out", TINY)
    for name in ("a.wav", "b/a.wav", "c.wav", "d.wav"):
        (audio / name).unlink()
    with pytest.raises(UserError, match=r"\(4 gone: a\.wav, b/a\.wav, c\.wav and others\)"):
        prepare(audio, tmp_path / "out", TINY)


@pytest.mark.parametrize(("settings", "views"), [(TINY, 1), (ALONE, 2)])
def test_accepted_changes_give_the_bytes_of_a_fresh_output(settings, views, audio, tmp_path):
    augment = AugmentSettings(views=views, hop_factors=(1.0,), window_factors=(1.0,))
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    prepare(audio, out, settings, augment=augment)
    change(audio)
    summary = prepare(audio, out, settings, augment=augment, accept_changes=True)
    assert not summary.reused
    assert summary == prepare(audio, fresh, settings, augment=augment)._replace(out_dir=out)
    assert contents(out) == contents(fresh)
    assert prepare(audio, out, settings, augment=augment).reused


def test_what_does_not_depend_on_a_change_is_kept(audio, tmp_path, done):
    """Jobs are of two recordings; c.wav is in the second or third."""
    out = tmp_path / "out"
    prepare(audio, out, ALONE)
    everything = len(done)
    write(audio / "c.wav", noise(4200, 20))
    done.clear()
    prepare(audio, out, ALONE, accept_changes=True)
    assert len(done) == 1 < everything
    prepare(audio, tmp_path / "fresh", ALONE)
    assert contents(out) == contents(tmp_path / "fresh")


def test_one_edited_in_its_middle_counts_as_changed(audio, tmp_path, done):
    """Neither its size nor its ends say so, but its time does."""
    out, victim = tmp_path / "out", audio / "edited.wav"
    write(victim, noise(20_000, 30))
    prepare(audio, out, ALONE)
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 64
    victim.write_bytes(content)
    os.utime(victim, ns=(0, 0))  # a copy may be older than what it replaces
    assert prepare(audio, out, ALONE).rewritten == ("edited.wav",)
    done.clear()
    prepare(audio, out, ALONE, accept_changes=True)
    assert len(done) == 1
    prepare(audio, tmp_path / "fresh", ALONE)
    assert contents(out) == contents(tmp_path / "fresh")
    done.clear()
    assert prepare(audio, out, ALONE, accept_changes=True).reused
    assert not done


class TestUnread:
    """Recordings that cannot be read now: their tiles may be all there is of them."""

    WORDS = r"has tiles of .* cannot be read now \(1 unreadable: b/a\.wav \(No such file"

    def lost(self, audio):
        """The drive of one recording is away."""
        (audio / "b" / "a.wav").rename(audio / "b" / "away")
        (audio / "b" / "a.wav").symlink_to("drive")

    @pytest.mark.parametrize("accept_changes", [False, True])
    def test_tiles_stay(self, accept_changes, audio, tmp_path):
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        before = contents(out)
        self.lost(audio)
        write(audio / "new.wav", noise(2500, 21))
        with pytest.raises(UserError, match=self.WORDS) as refused:
            prepare(audio, out, TINY, accept_changes=accept_changes)
        assert "\n" not in str(refused.value)
        assert contents(out) == before
        (audio / "b" / "a.wav").unlink()
        prepare(audio, out, TINY, accept_changes=True)
        prepare(audio, tmp_path / "fresh", TINY)
        assert contents(out) == contents(tmp_path / "fresh")

    def test_those_of_a_job_that_was_killed_too(self, audio, tmp_path, monkeypatch):
        out = tmp_path / "out"
        run_killed(monkeypatch, named(".rows/000002-"), prepare, audio, out, ALONE)
        before = contents(out)
        self.lost(audio)
        with pytest.raises(UserError, match=self.WORDS):
            prepare(audio, out, ALONE)
        assert contents(out) == before

    def test_without_the_table_any_of_them_may_have_tiles(self, audio, tmp_path):
        out = tmp_path / "out"
        prepare(audio, out, TINY)
        (out / "recordings.parquet").unlink()
        self.lost(audio)
        with pytest.raises(UserError, match=self.WORDS):
            prepare(audio, out, TINY, accept_changes=True)

    def test_one_without_tiles_is_refused_alone(self, audio, tmp_path):
        self.lost(audio)
        prepare(audio, tmp_path / "out", TINY)
        write(audio / "new.wav", noise(2500, 21))
        assert prepare(audio, tmp_path / "out", TINY).statuses["refused"] == 1

    def test_a_folder_that_cannot_be_looked_into(self, audio, tmp_path, monkeypatch):
        out, scandir = tmp_path / "out", os.scandir
        prepare(audio, out, TINY)

        def closed(path):
            if path == audio / "b":
                raise PermissionError(errno.EACCES, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", closed)
        with pytest.raises(UserError, match=r"\(1 unreadable: b \("):
            prepare(audio, out, TINY, accept_changes=True)


def test_killed_among_the_changes_it_goes_on_without_the_option(audio, tmp_path, monkeypatch):
    out = tmp_path / "out"
    prepare(audio, out, ALONE)
    change(audio)
    run_killed(monkeypatch, named(".rows/000002-"), prepare, audio, out, ALONE, accept_changes=True)
    prepare(audio, out, ALONE)
    prepare(audio, tmp_path / "fresh", ALONE)
    assert contents(out) == contents(tmp_path / "fresh")


def test_the_table_of_recordings_may_be_lost(audio, tmp_path):
    out = tmp_path / "out"
    prepare(audio, out, TINY)
    change(audio)
    (out / "recordings.parquet").unlink()
    with pytest.raises(UserError, match="has lost the table of them"):
        prepare(audio, out, TINY)
    prepare(audio, out, TINY, accept_changes=True)
    prepare(audio, tmp_path / "fresh", TINY)
    assert contents(out) == contents(tmp_path / "fresh")


def test_the_command_takes_the_option(audio, tmp_path):
    settings = (*TINY_FLAGS, "--workers", "1")
    out = tmp_path / "out"
    assert run_command(prep, audio, out, *settings).exit_code == 0
    change(audio)
    line = "add --accept-changes to prepare what changed"
    assert_refused(run_command(prep, audio, out, *settings), "1 changed: c.wav", line)
    assert run_command(prep, audio, out, *settings, "--accept-changes").exit_code == 0
