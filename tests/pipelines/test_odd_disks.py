"""Disks that do not move files at once, and clocks that jump."""

import os
import shutil
import time
from contextlib import suppress

import pytest

from tests.bounded import some_of
from tests.moves import at_moves
from tests.pipelines.recordings import (
    RATE,
    TINY,
    contents,
    count_moves,
    doomed,
    leave_both,
    leave_half,
    noise,
    run_killed,
    write,
)
from tests.pipelines.tokenizing import hidden, join, tokenize
from ulmo.config import UserError
from ulmo.formats.read import read_corpus
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import TileStore

DAY = 86400


@pytest.fixture
def audio(tmp_path):
    for number in range(2):
        write(tmp_path / "audio" / f"R_20230501_00000{2 * number}.wav", noise(RATE, number))
    return tmp_path / "audio"


@pytest.fixture(params=["tiles", "csv", "timeline"])
def job(request, audio, tokenizer):
    """A function that writes an output into a folder."""
    if request.param == "tiles":
        return lambda out: prepare(audio, out / "x", TINY)
    if request.param == "timeline":
        return lambda out: join(tokenizer, audio, out=out / "t.tokens.npy")
    return lambda out: tokenize(tokenizer, audio, out=out / "x", file_format=request.param)


def read(out):
    """Everything that passes for whole, by its name."""
    found = {}
    for path in sorted(out.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(out).parts):
            continue
        if path.suffix in (".npy", ".csv") and ".tokens." in path.name:
            try:
                found[path.name] = [(each.header, each.ids.tobytes()) for each in read_corpus(path)]
            except UserError:
                continue
        if path.name == "prep.json":
            try:
                store = TileStore(path.parent)
                found["tiles"] = store.read(range(len(store))).tobytes()
            except (UserError, ValueError):
                continue
    return found


def go_on(job, out):
    """Run a job again; delete what it says is damaged, where it does not dare to do it itself."""
    with suppress(UserError):
        return job(out)
    with pytest.raises(UserError, match="delete"):
        job(out)
    shutil.rmtree(out)
    return job(out)


@pytest.mark.kills
@pytest.mark.parametrize("leave", [leave_half, leave_both])
def test_moves_that_are_copies(job, leave, tmp_path, monkeypatch):
    """Killed within any of them: what passes for whole is right, and the same command goes on."""
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    moves = count_moves(monkeypatch, job, fresh)
    whole, expected = read(fresh), contents(fresh)
    for number in some_of(range(moves), leave.__name__):
        again = out / str(number)
        run_killed(monkeypatch, doomed(number), job, again, leave=leave)
        found = read(again)
        assert found == {name: whole[name] for name in found}
        go_on(job, again)
        assert contents(again) == expected
        assert hidden(again) == []


def test_a_move_whose_answer_is_lost(job, tmp_path, monkeypatch):
    """As NFS: the file is moved, and the second request finds none."""

    def answer_is_lost(move, source, target):
        move()
        raise FileNotFoundError(2, "No such file or directory", os.fspath(source))

    job(tmp_path / "fresh")
    with monkeypatch.context() as patch:
        at_moves(patch, answer_is_lost)
        job(tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_clock_that_jumps_back_a_day(job, tmp_path, monkeypatch):
    """Between a kill and the next run: what is left seems to be of tomorrow."""
    moves = count_moves(monkeypatch, job, tmp_path / "fresh")
    run_killed(monkeypatch, doomed(moves // 2), job, tmp_path / "out")
    now = time.time
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() - DAY - 1)
        job(tmp_path / "out")
        before = contents(tmp_path / "out")
        job(tmp_path / "out")
    assert before == contents(tmp_path / "out") == contents(tmp_path / "fresh")
    assert hidden(tmp_path / "out") == []


@pytest.mark.parametrize("seconds", [-1_000_000_000, 1 << 33])
def test_recordings_of_any_time(job, audio, tmp_path, seconds):
    """Before 1970, and to come."""
    for path in audio.iterdir():
        os.utime(path, (seconds, seconds))
    job(tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    job(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    assert before.keys() == times.keys()
    place = tmp_path / "out" / "x"
    assert verify(place if place.exists() else place.parent).faults == []
