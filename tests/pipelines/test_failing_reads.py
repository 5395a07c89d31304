"""One read of a recording fails, and the disk is well again: the next run of a command mends it."""

from pathlib import Path

import pytest

from tests.commands import run
from tests.failing_reads import LOG, failing_read, timed_recordings
from tests.pipelines.recordings import TINY, by_path, contents
from tests.pipelines.tokenizing import join, tokenize
from tests.preprocessing.reading.sounds import written
from ulmo.cli.main import ulmo
from ulmo.jobs.spread import Spread
from ulmo.pipelines.prep import statistics
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.verify.recordings import verify_recordings
from ulmo.preprocessing.reading.audio import RefusedError

POINTS = 8
FRAMES = 30_000
KINDS = {"aiff": "a.aiff", "flac": "a.flac", "ogg, vorbis": "a.ogg", "mp3": "a.mp3"}


@pytest.fixture(scope="module")
def timed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timed")
    for name, content in timed_recordings(FRAMES).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audio")
    files = {name: written(kind, 12_000, 8000) for kind, name in KINDS.items()}
    for name, content in (timed_recordings(FRAMES) | files).items():
        (folder / name).write_bytes(content)
    return folder


def points(reads):
    """The numbers of some reads, spread over all."""
    return range(1, reads.count + 1, max(reads.count // POINTS, 1))


def runs(command, folder, out):
    """A whole run, and one for some of its reads, which fail: each with its output."""
    with failing_read(folder) as reads:
        command(out / "whole")
    for at in points(reads):
        with failing_read(folder, at) as failing:
            command(out / f"{at}")
        assert failing.count >= at
        yield out / f"{at}"


def check_rows(whole, out):
    """Rows are those of the whole run; at most one recording is refused instead."""
    expected, found = by_path(whole), by_path(out)
    assert expected.keys() == found.keys()
    refused = [name for name in found if found[name]["status"] == "refused"]
    assert [found[name]["reason"] for name in refused] in ([], ["unreadable"])
    for name in found.keys() - set(refused):
        assert {**found[name], "key": ""} == {**expected[name], "key": ""}
    return refused


def check_mended(command, folder, out):
    """Whichever read fails, the run after it leaves what a whole one does; who was refused."""
    refused = set()
    for made in runs(command, folder, out):
        refused.update(check_rows(out / "whole", made))
        command(made)
        assert contents(made) == contents(out / "whole"), made.name
    return refused


def test_tokens(folder, tokenizer, tmp_path):
    def command(out):
        return tokenize(tokenizer, folder, out=out)

    assert len(check_mended(command, folder, tmp_path)) > 2
    (folder / "a.flac").touch()
    assert all(result.reused for result in command(tmp_path / "whole")[:3])


def test_timelines(timed, tokenizer, tmp_path):
    def command(out):
        join(tokenizer, timed, out=out / "t.npy")

    for made in runs(command, timed, tmp_path):
        command(made)
        assert contents(made) == contents(tmp_path / "whole"), made.name


@pytest.mark.parametrize("mode", ["recording", "corpus"])
def test_tiles(folder, mode, tmp_path):
    """Of all recordings, constants are learned: from that one too, once it can be read."""
    settings = TINY.model_copy(update={"normalization": mode})
    refused = check_mended(lambda out: prepare(folder, out, settings), folder, tmp_path)
    assert len(refused) > 2


def test_constants_that_lack_a_recording_are_learned_again(timed, tmp_path, monkeypatch):
    """Even if it can be read by the time that it becomes tiles, so that its row says nothing."""
    opened = statistics.open_recording

    def denied(path, **options):
        if path.name == "harp.x.wav":
            raise RefusedError("unreadable", "Stale file handle")
        return opened(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(statistics, "open_recording", denied)
        assert prepare(timed, tmp_path / "out", TINY).statuses == {"ok": 5}
    for out in ("out", "fresh"):
        assert not prepare(timed, tmp_path / out, TINY).reused
    assert prepare(timed, tmp_path / "out", TINY).reused
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_verify_audio(folder):
    with failing_read(folder) as reads:
        assert verify_recordings(folder, spread=Spread(1)).faults == []
    for at in points(reads):
        with failing_read(folder, at):
            faults = verify_recordings(folder, spread=Spread(1)).faults
        assert [fault.what for fault in faults] in ([], ["unreadable"])


def test_encode(timed, tokenizer):
    path = timed / "5678.230101140000.wav"
    with failing_read(timed) as reads:
        whole = tokenizer.encode(path)
    for at in points(reads):
        with failing_read(timed, at), pytest.raises(RefusedError, match=r"140000\.wav: unread"):
            tokenizer.encode(path)
    assert (tokenizer.encode(path).ids == whole.ids).all()


def test_the_commands_say_so(timed, tmp_path):
    """A log that may not be read, as any that lies there and cannot be: not the same as none."""
    log = (timed / "5678.230101140000.wav").with_suffix(LOG)
    content = log.read_bytes()
    log.unlink()
    log.mkdir()
    for place, command in {
        "tokens": ("tokenize", timed, "--out-dir", tmp_path / "tokens"),
        "tiles": ("prep", timed, tmp_path / "tiles", "--sample-rate", 4000, "--frontend", "stft"),
        "": ("verify", "--audio", timed),
    }.items():
        result = run(ulmo, *command)
        assert result.exit_code == 3
        said = result.stderr + result.stdout
        assert "5678.230101140000.wav" in said
        assert "its log cannot be read: Is a directory" in said
        if place:
            row = by_path(tmp_path / place).pop(Path(log.name).name.replace(LOG, ".wav"))
            assert (row["status"], row["reason"]) == ("refused", "unreadable")
    log.rmdir()
    log.write_bytes(content)
    again = run(ulmo, "tokenize", timed, "--out-dir", tmp_path / "tokens")
    assert again.exit_code == 0
    row = by_path(tmp_path / "tokens")["5678.230101140000.wav"]
    assert (row["start_source"], row["stretches"]) == ("log", 2)
