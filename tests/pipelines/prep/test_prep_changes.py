"""A complete output whose recordings changed, are gone, or were joined by others."""

import errno
import os
import shutil
from contextlib import suppress

import pytest

from tests.bounded import some_of
from tests.commands import TINY as TINY_FLAGS
from tests.commands import assert_refused
from tests.commands import run as run_command
from tests.failing_reads import bad_sector
from tests.pipelines.recordings import (
    TINY,
    Killed,
    by_path,
    contents,
    count_moves,
    doomed,
    kill,
    named,
    noise,
    read_complete,
    run_killed,
    write,
)
from ulmo.cli.prep import prep
from ulmo.config import AugmentSettings, UserError
from ulmo.pipelines.prep import job as prep_job
from ulmo.pipelines.prep import output as prep_output
from ulmo.pipelines.prep.prep import prepare
from ulmo.preprocessing.store import TileStore

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

    def test_those_of_an_output_that_is_being_changed_too(self, audio, tmp_path, monkeypatch):
        """A job with changes is killed, and then a drive goes away: before the old tiles do."""
        out, names = tmp_path / "out", (".rows/000000-", ".rows/000001-", ".rows/000002-")
        for place in names:
            with monkeypatch.context():
                shutil.rmtree(out, ignore_errors=True)
                prepare(audio, out, ALONE)
                before = contents(out)
                write(audio / "a.wav", noise(4200, 20 + names.index(place)))
                run_killed(
                    monkeypatch, named(place), prepare, audio, out, ALONE, accept_changes=True
                )
                self.lost(audio)
                with pytest.raises(UserError, match=self.WORDS):
                    prepare(audio, out, ALONE, accept_changes=True)
                assert before.items() <= contents(out).items()
                (audio / "b" / "a.wav").unlink()
                (audio / "b" / "away").rename(audio / "b" / "a.wav")
        prepare(audio, out, ALONE, accept_changes=True)
        prepare(audio, tmp_path / "fresh", ALONE)
        assert contents(out) == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("settings", [ALONE, TINY], ids=["alone", "corpus"])
    @pytest.mark.parametrize("name", ["0.wav", "d.wav"])
    def test_a_read_that_fails_after_a_job_was_killed(
        self, name, settings, audio, tmp_path, monkeypatch
    ):
        """Its tiles stay in the output, which was never complete, though others were added."""
        out = tmp_path / "out"
        write(audio / "a.wav", noise(60_000, 30))
        run_killed(monkeypatch, named(".rows/000002-"), prepare, audio, out, settings)
        before = {path: content for path, content in contents(out).items() if "tiles/" in path}
        assert len(before) > 1
        write(audio / name, noise(4200, 21))
        (audio / "new.wav").symlink_to("drive")
        with bad_sector(60_000):
            if name == "0.wav" or settings == TINY:  # what is done again
                with pytest.raises(UserError, match=r"1 unreadable: a\.wav \(Input/output error"):
                    prepare(audio, out, settings)
                assert before.items() <= contents(out).items()
            else:
                prepare(audio, out, settings)
        prepare(audio, out, settings)
        prepare(audio, tmp_path / "fresh", settings)
        assert contents(out) == contents(tmp_path / "fresh")

    def test_those_of_a_job_that_was_killed_twice(self, audio, tmp_path, monkeypatch):
        """The second time before it came to their recording, as others were added."""
        out = tmp_path / "out"
        run_killed(monkeypatch, named(".rows/000002-"), prepare, audio, out, ALONE)
        write(audio / "0.wav", noise(2500, 21))
        run_killed(monkeypatch, named(".rows/000000-"), prepare, audio, out, ALONE)
        self.lost(audio)
        with pytest.raises(UserError, match=self.WORDS):
            prepare(audio, out, ALONE)

    @pytest.mark.parametrize("settings", [ALONE, TINY], ids=["alone", "corpus"])
    @pytest.mark.parametrize("accept_changes", [False, True])
    def test_a_read_that_fails_in_the_middle(self, settings, accept_changes, audio, tmp_path):
        """Of a recording that has not changed, in a job with one that has, or in one that moves."""
        out, victim = tmp_path / "out", audio / "long.wav"
        write(victim, noise(60_000, 30))
        prepare(audio, out, settings)
        before = contents(out)
        if accept_changes:
            write(audio / "d.wav", noise(4200, 20))
        write(audio / "0.wav", noise(2500, 21))
        words = r"cannot be read now \(1 unreadable: long\.wav \(Input/output error"
        with (
            bad_sector(60_000),
            pytest.raises(UserError, match=words) as refused,
        ):
            prepare(audio, out, settings, accept_changes=accept_changes)
        assert "\n" not in str(refused.value)
        assert before.items() <= contents(out).items()
        assert len(TileStore(out).read(range(3))) == 3
        prepare(audio, out, settings, accept_changes=accept_changes)
        prepare(audio, tmp_path / "fresh", settings)
        assert contents(out) == contents(tmp_path / "fresh")

    def test_a_read_that_fails_of_one_without_tiles(self, audio, tmp_path):
        """It is refused alone, and the next run makes them."""
        out = tmp_path / "out"
        prepare(audio, out, ALONE)
        write(audio / "long.wav", noise(60_000, 30))
        with bad_sector(60_000):
            prepare(audio, out, ALONE)
        row = by_path(out)["long.wav"]
        assert (row["reason"], row["tiles"]) == ("unreadable", 0)
        assert not prepare(audio, out, ALONE).reused
        prepare(audio, tmp_path / "fresh", ALONE)
        assert contents(out) == contents(tmp_path / "fresh")

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


def test_killed_among_the_changes_it_goes_on_with_the_option(audio, tmp_path, monkeypatch, done):
    """Without it the output stays as it was, whole."""
    out = tmp_path / "out"
    prepare(audio, out, ALONE)
    before = contents(out)
    change(audio)
    run_killed(monkeypatch, named(".rows/000003-"), prepare, audio, out, ALONE, accept_changes=True)
    with pytest.raises(UserError, match="add --accept-changes"):
        prepare(audio, out, ALONE)
    assert before.items() <= contents(out).items()
    done.clear()
    prepare(audio, out, ALONE, accept_changes=True)
    again = len(done)
    done.clear()
    prepare(audio, tmp_path / "fresh", ALONE)
    assert contents(out) == contents(tmp_path / "fresh")
    assert again < len(done) - 1  # what was done is not done again


@pytest.mark.kills
@pytest.mark.parametrize("settings", [ALONE, TINY], ids=["alone", "corpus"])
def test_wherever_a_write_is_killed(settings, audio, tmp_path, monkeypatch):
    """The old output stays whole until all of the new one is made; then no recording is read."""
    made, copy, kinds = tmp_path / "made", tmp_path / "copy", set()
    prepare(audio, made, settings)
    before = contents(made)
    change(audio)
    prepare(audio, tmp_path / "fresh", settings)
    fresh = contents(tmp_path / "fresh")
    shutil.copytree(made, copy)
    moves = count_moves(monkeypatch, prepare, audio, copy, settings, accept_changes=True)
    assert contents(copy) == fresh
    for number in some_of(range(moves), settings.normalization):
        out = shutil.copytree(made, tmp_path / f"{number}")
        run_killed(monkeypatch, doomed(number), prepare, audio, out, settings, accept_changes=True)
        kinds.add(read_complete(out))
        if read_complete(out):
            assert before.items() <= contents(out).items()
            prepare(audio, out, settings, accept_changes=True)
        else:
            (audio / "c.wav").rename(audio / "away")
            with pytest.raises(UserError, match=r"1 gone: c\.wav"):
                prepare(audio, out, settings)
            (audio / "away").rename(audio / "c.wav")
            assert prepare(audio, out, settings).tiles == TileStore(out).manifest.tiles
        assert contents(out) == fresh
    assert kinds == {False, True}


@pytest.mark.parametrize("lost", ["tiles", "recordings.parquet", "tiles.parquet"])
def test_what_is_to_replace_an_output_is_not_whole(lost, audio, tmp_path, monkeypatch):
    """Somebody removed a part of it: the output stays as it was, and one line says what to do."""
    out, how = tmp_path / "out", {"accept_changes": True}
    prepare(audio, out, ALONE)
    before = contents(out)
    change(audio)
    with monkeypatch.context() as patch:
        patch.setattr(prep_output, "replace_output", kill)
        with pytest.raises(Killed):
            prepare(audio, out, ALONE, **how)
    if lost == "tiles":
        shutil.rmtree(out / ".again" / lost)
    else:
        (out / ".again" / lost).unlink()
    with suppress(UserError):
        prepare(audio, out, ALONE, **how)
        before = contents(out)
    assert before.items() <= contents(out).items()
    shutil.rmtree(out / ".again", ignore_errors=True)
    prepare(audio, out, ALONE, **how)
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
