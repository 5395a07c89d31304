"""A file of an output cannot be read for a moment: that never means that it is not there.

The drive of some recordings is away meanwhile, so what the output has of them is all there is.
"""

import errno
import os
import shutil
from contextlib import suppress
from functools import partial

import pytest

from tests.bounded import some_of
from tests.failing_reads import failing_open
from tests.pipelines.recordings import TINY, Killed, contents, kill, noise, write
from tests.pipelines.tokenizing import Drive, join, quiet, record, tokenize
from ulmo.config import UserError
from ulmo.pipelines.prep.prep import prepare
from ulmo.storage.ledger import Ledger

ALONE = TINY.model_copy(update={"normalization": "recording"})  # no recording decides on others
THIRD, FOURTH = "20240101_000020.wav", "20240101_000030.wav"


def together(tokenizer, links, out):
    return tokenize(tokenizer, links, out=out / "all.csv", file_format="csv", listener=quiet())


MAKERS = {
    "npy": lambda tokenizer, links, out: tokenize(tokenizer, links, out=out / "o"),
    "parquet": lambda *job: tokenize(*job[:2], out=job[2] / "o", file_format="parquet"),
    "table": together,
    "timeline": lambda *job: join(*job[:2], out=job[2] / "all.csv", file_format="csv"),
    "tiles": lambda _, links, out: prepare(links, out / "o", ALONE, accept_changes=True),
}


def contents_after_failures(out, run, *, lasting=False, seed=""):
    """What two runs make of a folder, with the path of the open that fails in the first.

    The first is what they make if none fails, so its path is None. `seed` is that of some_of.
    """
    saved = out.with_name("saved")
    shutil.copytree(out, saved)

    def two_runs(at):
        shutil.rmtree(out)
        shutil.copytree(saved, out)
        with failing_open(out, at, lasting=lasting) as opened, suppress(UserError, OSError):
            run()
        with suppress(UserError, OSError):
            run()
        return contents(out), opened

    expected, opened = two_runs(0)
    assert opened
    yield expected, None
    for at in some_of(range(1, len(opened) + 1), seed):
        found, paths = two_runs(at)
        yield found, paths[at - 1]


@pytest.mark.kills
@pytest.mark.parametrize(("killed", "lasting"), [(False, False), (True, True)])
@pytest.mark.parametrize("kind", MAKERS)
def test_an_open_that_fails_costs_nothing(kind, killed, lasting, tokenizer, tmp_path, monkeypatch):
    """Each open in turn: the next run makes what it makes where none failed."""
    drive, out = Drive(tmp_path), tmp_path / "out"
    write(drive.links / THIRD, noise(3000, 6))
    run = partial(MAKERS[kind], tokenizer, drive.links, out)
    out.mkdir()
    if killed:
        if kind == "tiles":  # the job that is killed makes an output that replaces another
            drive.links.rename(tmp_path / "kept")
            write(drive.links / THIRD, noise(3000, 6))
            run()
            shutil.rmtree(drive.links)
            (tmp_path / "kept").rename(drive.links)
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "finish", lambda *_, **__: kill())
            with pytest.raises(Killed):
                run()
    else:
        run()
        if kind not in ("table", "timeline"):
            write(drive.links / FOURTH, noise(3000, 7))
    drive.leave()
    (expected, _), *others = contents_after_failures(out, run, lasting=lasting, seed=kind)
    for found, path in others:
        assert found == expected, path


@pytest.mark.kills
@pytest.mark.parametrize(("name", "file_format"), [("x.flac", "npy"), ("x.wav", "csv")])
def test_a_header_that_cannot_be_read_is_there(name, file_format, tokenizer, tmp_path):
    """Tokens beside a recording: of another of its name, and in another format."""
    out = tmp_path / "out"
    for number, each in enumerate(("x.wav", "x.flac")):
        record(out / each, seconds=1 + number)
    tokenize(tokenizer, out / "x.wav")
    run = partial(tokenize, tokenizer, out / name, file_format=file_format, listener=quiet())
    (expected, _), *others = contents_after_failures(out, run)
    for found, path in others:
        assert found == expected, path


@pytest.mark.parametrize("last", [1, 2, 1000])
def test_a_manifest_that_cannot_be_looked_at_is_there(last, tokenizer, tmp_path, monkeypatch):
    """So tokens of other settings are not replaced: not even if several looks fail."""
    out, looked, calls = tmp_path / "out", os.lstat, []
    record(tmp_path / "audio" / "x.wav")
    tokenize(tokenizer, tmp_path / "audio", out=out)
    before = contents(out)

    def fail(path, **how):
        if str(path).endswith("tokenize.json"):
            calls.append(path)
            if len(calls) <= last:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return looked(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(os, "lstat", fail)
        with pytest.raises(UserError, match=r"cannot be read|with other settings"):
            tokenize(tokenizer, tmp_path / "audio", out=out, channels="each")
    assert calls
    assert contents(out) == before
