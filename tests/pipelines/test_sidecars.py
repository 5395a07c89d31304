"""The log beside a recording decides about its row: what it is belongs to what tells a row done."""

import errno
import os
import shutil
from pathlib import Path

import google_crc32c
import pytest

from tests.commands import run
from tests.gaps import soundtrap_log
from tests.pipelines.recordings import TINY, by_path, contents, named, noise, run_killed, write
from tests.pipelines.tokenizing import join, tokenize
from ulmo.cli.main import ulmo
from ulmo.config import UserError
from ulmo.jobs.inputs import input_file
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.verify.recordings import verify_recordings
from ulmo.preprocessing.times.clock import Clock
from ulmo.storage import plain_file, sidecar
from ulmo.storage.sidecar import MAX_SIDECAR_BYTES, Stamp, read_sidecar

ALONE = TINY.model_copy(update={"normalization": "recording"})  # no recording decides on others
NAMES = ("5678.230101130000.wav", "5678.230101140000.wav", "5678.230101150000.wav")
VICTIM = NAMES[1]
START = ("SamplingStartTimeUTC", "2023-01-01T13:00:00")
GAP = ("Info", "Sampling Gap 2000000 us at sample 2000 (0.5 s)")
GOOD = soundtrap_log(START, GAP, ("CumulativeSamplingGap", "2000000 us"))
OTHER = soundtrap_log(START)
CUT = GOOD[: GOOD.index(b"<WavFileHandler Info")]
CHANGES = {
    "arrives": (None, GOOD),
    "goes": (GOOD, None),
    "is completed": (CUT, GOOD),
    "is cut": (GOOD, CUT),
    "is replaced": (OTHER, GOOD),
    "can be read": (Path.mkdir, GOOD),
    "cannot be read": (GOOD, Path.mkdir),
}
FILES = [change for change in CHANGES if "read" not in change and change != "is cut"]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "audio"
    for seed, name in enumerate(NAMES):
        write(folder / name, noise(6000, seed))
    return folder


def put(folder, log):
    """Let the log of the recording in the middle be this one."""
    path = folder / Path(VICTIM).with_suffix(".log.xml")
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    if callable(log):
        log(path)
    elif log is not None:
        path.write_bytes(log)


def arriving(monkeypatch, folder, *logs):
    """Each time that the recording's time is looked for, another log is there just before."""
    timing, left = Clock.timing, list(logs)

    def late(clock, path):
        if path.name == VICTIM and left:
            put(folder, left.pop(0))
        return timing(clock, path)

    monkeypatch.setattr(Clock, "timing", late)


class TestTokens:
    @pytest.mark.parametrize("change", CHANGES)
    def test_one_whose_log_changes_is_done_again(self, change, folder, tokenizer, tmp_path):
        """If it cannot be read now, what it was made of before stays."""
        before = []
        for log, reused in zip(CHANGES[change], ([False] * 3, [True, False, True]), strict=True):
            put(folder, log)
            results = tokenize(tokenizer, folder, out=tmp_path / "out")
            assert [result.reused for result in results] == reused
            before.append(contents(tmp_path / "out"))
        again = tokenize(tokenizer, folder, out=tmp_path / "out")
        assert all(result.reused for result in again if result.outcome.status != "refused")
        if change == "cannot be read":
            assert [result.kept for result in again] == [False, True, False]
            assert before[0] == before[1] == contents(tmp_path / "out")
            return
        tokenize(tokenizer, folder, out=tmp_path / "fresh")
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("change", FILES)
    def test_and_so_is_a_timeline(self, change, folder, tokenizer, tmp_path):
        out, fresh = tmp_path / "out" / "t.npy", tmp_path / "fresh" / "t.npy"
        for log in CHANGES[change]:
            put(folder, log)
            if log is CUT:
                with pytest.raises(UserError, match=r"140000\.wav: time was or may have been left"):
                    join(tokenizer, folder, out=out)
            else:
                join(tokenizer, folder, out=out)
        results, _ = join(tokenizer, folder, out=out)
        assert all(result.reused for result in results)
        join(tokenizer, folder, out=fresh)
        assert contents(out.parent) == contents(fresh.parent)

    @pytest.mark.parametrize("change", FILES)
    def test_killed_before_it_changes(self, change, folder, tokenizer, tmp_path, monkeypatch):
        out = tmp_path / "out"
        before, after = CHANGES[change]
        put(folder, before)
        run_killed(monkeypatch, named("150000"), tokenize, tokenizer, folder, out=out)
        put(folder, after)
        for place in (out, tmp_path / "fresh"):
            tokenize(tokenizer, folder, out=place)
        assert contents(out) == contents(tmp_path / "fresh")

    def test_one_that_arrives_between_the_two_looks(self, folder, tokenizer, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            arriving(patch, folder, GOOD)
            tokenize(tokenizer, folder, out=tmp_path / "out")
        row = by_path(tmp_path / "out")[VICTIM]
        assert (row["start_source"], row["stretches"]) == ("log", 2)
        for out in ("out", "fresh"):
            tokenize(tokenizer, folder, out=tmp_path / out)
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")

    def test_one_that_never_rests_is_refused(self, folder, tokenizer, tmp_path, monkeypatch):
        with monkeypatch.context() as patch:
            arriving(patch, folder, GOOD, OTHER)
            tokenize(tokenizer, folder, out=tmp_path / "out")
        rows = by_path(tmp_path / "out")
        assert [row["reason"] for row in rows.values()] == [None, "changed", None]
        assert tokenize(tokenizer, folder, out=tmp_path / "out")[1].outcome.status == "ok"

    def test_a_timeline_whose_log_is_cut_after_its_survey(
        self, folder, tokenizer, tmp_path, monkeypatch
    ):
        put(folder, GOOD)
        arriving(monkeypatch, folder, GOOD, CUT)
        with pytest.raises(UserError, match=r"140000\.wav: time was or may have been left out"):
            join(tokenizer, folder, out=tmp_path / "t.npy")
        assert not (tmp_path / "t.npy").exists()


class TestTiles:
    @pytest.mark.parametrize("change", CHANGES)
    def test_one_whose_log_changes_has_changed(self, change, folder, tmp_path):
        before, after = CHANGES[change]
        put(folder, before)
        prepare(folder, tmp_path / "out", ALONE)
        put(folder, after)
        done = contents(tmp_path / "out")
        if before is not Path.mkdir:  # what was refused may change
            kind = "unreadable" if after is Path.mkdir else "changed"
            with pytest.raises(UserError, match=rf"\(1 {kind}: 5678\.230101140000\.wav"):
                prepare(folder, tmp_path / "out", ALONE)
            assert contents(tmp_path / "out") == done
        if after is Path.mkdir:  # its tiles may be all there is of it
            with pytest.raises(UserError, match="its log cannot be read"):
                prepare(folder, tmp_path / "out", ALONE, accept_changes=True)
            assert contents(tmp_path / "out") == done
            return
        prepare(folder, tmp_path / "out", ALONE, accept_changes=True)
        assert prepare(folder, tmp_path / "out", ALONE).reused
        prepare(folder, tmp_path / "fresh", ALONE)
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("change", FILES)
    @pytest.mark.usefixtures("small_jobs")
    def test_killed_before_it_changes(self, change, folder, tmp_path, monkeypatch):
        """The constants of all recordings are learned again, too."""
        before, after = CHANGES[change]
        put(folder, before)
        out = tmp_path / "out"
        run_killed(monkeypatch, named(".rows/000001-"), prepare, folder, out, TINY)
        put(folder, after)
        prepare(folder, out, TINY)
        prepare(folder, tmp_path / "fresh", TINY)
        assert contents(out) == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("logs", [(GOOD,), (GOOD, OTHER)])
    def test_one_that_arrives_once_it_is_planned(self, logs, folder, tmp_path, monkeypatch):
        """It is read once more, and refused if another arrives: the next job has the last one."""
        with monkeypatch.context() as patch:
            arriving(patch, folder, *logs)
            prepare(folder, tmp_path / "out", ALONE)
        row = by_path(tmp_path / "out")[VICTIM]
        assert row["reason"] == (None if len(logs) == 1 else "changed")
        assert (row["start_source"], row["stretches"]) == ("log", 2 if len(logs) == 1 else 0)
        for out in ("out", "fresh"):
            prepare(folder, tmp_path / out, ALONE)
        assert contents(tmp_path / "out") == contents(tmp_path / "fresh")

    def test_a_log_that_is_only_newer_is_told(self, folder, tmp_path):
        put(folder, GOOD)
        out = tmp_path / "out"
        prepare(folder, out, ALONE)
        assert prepare(folder, out, ALONE).rewritten == ()
        later = (out / "prep.json").stat().st_mtime_ns + 1
        os.utime((folder / VICTIM).with_suffix(".log.xml"), ns=(later, later))
        assert prepare(folder, out, ALONE).rewritten == (VICTIM,)
        assert not prepare(folder, out, ALONE, accept_changes=True).reused

    def test_a_copy_of_recordings_and_logs_has_the_same_tables(self, folder, tmp_path):
        put(folder, GOOD)
        shutil.copytree(folder, tmp_path / "copy")
        for place in ("audio", "copy"):
            prepare(tmp_path / place, tmp_path / f"{place}-out", ALONE)
        assert contents(tmp_path / "audio-out") == contents(tmp_path / "copy-out")


class TestCutLog:
    def test_the_sound_is_read_and_the_row_says_so(self, folder, tokenizer, tmp_path):
        for place, log in (("cut", CUT), ("none", None)):
            put(folder, log)
            tokenize(tokenizer, folder, out=tmp_path / place)
            prepare(folder, tmp_path / f"{place}-tiles", ALONE)
        for out in (tmp_path / "cut", tmp_path / "cut-tiles"):
            row = by_path(out)[VICTIM]
            assert (row["status"], row["stretches"]) == ("ok", 1)
            assert "time_not_linear" in row["flags"]
            assert row["detail"].startswith("its log was not read to its end (it is cut or")
        name = Path("tokens") / Path(VICTIM).with_suffix(".tokens.npy")
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "none" / name).read_bytes()
        put(folder, CUT)
        with pytest.warns(UserWarning, match="may have been left out in it"):
            tokenizer.encode(folder / VICTIM)

    def test_a_refused_recording_beside_one_is_a_row_and_the_job_goes_on(
        self, folder, tokenizer, tmp_path
    ):
        """A flag is about sound that was read."""
        put(folder, CUT)
        write(folder / VICTIM, noise(0, 0))
        tokenize(tokenizer, folder, out=tmp_path / "out")
        prepare(folder, tmp_path / "tiles", ALONE)
        for out in (tmp_path / "out", tmp_path / "tiles"):
            rows = by_path(out)
            assert [row["status"] for row in rows.values()] == ["ok", "refused", "ok"]
            assert (rows[VICTIM]["reason"], rows[VICTIM]["flags"]) == ("no_samples", [])
            assert "its log was not read to its end" in rows[VICTIM]["detail"]

    def test_verify_audio_names_the_log(self, folder):
        put(folder, GOOD)
        assert verify_recordings(folder, spread=Spread(1)).faults == []
        shutil.copy(folder / VICTIM, (folder / VICTIM).with_suffix(".wave"))
        put(folder, CUT)
        (fault,) = verify_recordings(folder, spread=Spread(1)).faults
        assert fault[:3] == ("5678.230101140000.log.xml", "unreadable", "it is cut or damaged")
        result = run(ulmo, "verify", "--audio", folder)
        assert result.exit_code == 3
        assert "copy it again; ulmo-prep and ulmo-tokenize flag the recording" in result.stdout


class TestSidecar:
    def test_without_a_log_a_recording_is_known_as_ever(self, folder):
        """So that outputs of recordings without logs keep their keys."""
        content, status = (folder / VICTIM).read_bytes(), (folder / VICTIM).stat()
        ends = google_crc32c.value(content[:4096] + content[-4096:])
        assert input_file(Path(VICTIM), folder) == (
            *(Path(VICTIM), status.st_size, status.st_mtime_ns, ends, None, ""),
        )
        assert input_file(Path(VICTIM), folder).times == (status.st_mtime_ns,)

    def test_with_one_it_is_known_by_both(self, folder):
        path = Path(VICTIM)
        known = {}
        for change in (None, b"", GOOD, OTHER, Path.mkdir):
            put(folder, change)
            file = input_file(path, folder)
            known[file.ends, *file.times] = change
            assert len(file.times) == (1 if change in (None, Path.mkdir) else 2)
            assert bool(file.size) == (change is not Path.mkdir)
        assert len(known) == 5

    def test_what_is_read_is_bounded_and_whole(self, tmp_path, monkeypatch):
        path = tmp_path / "x.log.xml"
        path.write_bytes(bytes(range(256)) * (MAX_SIDECAR_BYTES // 256))
        whole = read_sidecar(tmp_path / "x.flac")
        assert (len(whole.content), whole.fault) == (MAX_SIDECAR_BYTES, "")
        status = path.stat()
        checksum = google_crc32c.value(whole.content)
        assert whole.stamp == Stamp(status.st_size, status.st_mtime_ns, checksum)
        with path.open("ab") as file:
            file.write(b"x")
        longer = read_sidecar(tmp_path / "x.flac")
        assert (longer.content, longer.fault) == (whole.content, "it is longer than 1 MiB")

    def test_a_disk_that_gives_less_than_is_asked_for(self, tmp_path, monkeypatch):
        (tmp_path / "x.log.xml").write_bytes(GOOD)
        read = plain_file._Unbuffered._read
        monkeypatch.setattr(
            plain_file._Unbuffered, "_read", lambda file, size: read(file, min(size, 7))
        )
        assert read_sidecar(tmp_path / "x.wav").content == GOOD

    def test_a_name_too_long_for_a_log_has_none(self, tmp_path):
        name = "x" * 251 + ".wav"
        write(tmp_path / name, noise(600, 0))
        assert read_sidecar(tmp_path / name) is None
        assert read_sidecar(tmp_path / name / "x.wav") is None

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
    def test_an_error_of_the_process_is_none_of_a_log(self, number, tmp_path, monkeypatch):
        (tmp_path / "x.log.xml").write_bytes(GOOD)

        def fail(_):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(sidecar, "open_file", fail)
        with pytest.raises(OSError, match=os.strerror(number)):
            read_sidecar(tmp_path / "x.wav")
