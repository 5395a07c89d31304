"""Recordings and outputs in stores: the rows, refusals and bytes of a run on local files."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from tests.bounded import ALL
from tests.commands import TINY as TINY_OPTIONS
from tests.commands import assert_refused, run
from tests.pipelines.recordings import RATE, TINY, contents, noise, rows_of, write
from tests.pipelines.tokenizing import quiet, tokenize
from tests.stores import BUCKET, expired, open_store, s3_server, s3_without_rights, web_server
from ulmo.cli.main import ulmo
from ulmo.config import JobError, UserError
from ulmo.jobs.spread import HERE, Spread
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.tokenize.job import TokenizeOptions
from ulmo.pipelines.tokenize.store import tokenize_to_store
from ulmo.storage import lease, remote_output
from ulmo.storage.lock import LockError
from ulmo.storage.remote_path import remote_path

ROOT = Path(__file__).parents[2]
# Before which of its notes of a put a command is killed, one after the other.
KILLS = [(number,) for number in range(1, 10)] if ALL else [(4, 3)]


@pytest.fixture(scope="module")
def s3():
    with s3_server():
        yield open_store("s3")


@pytest.fixture(params=["memory", "s3"])
def store(request):
    return request.getfixturevalue("s3") if request.param == "s3" else open_store("memory")


@pytest.fixture(autouse=True)
def staging(tmp_path, monkeypatch):
    monkeypatch.setenv(remote_output.STAGING, str(tmp_path / "staging"))
    return tmp_path / "staging"


@pytest.fixture
def field(tmp_path):
    """Recordings, whole and in trouble, in folders."""
    folder = tmp_path / "field"
    for number in range(3):
        write(folder / "a" / f"{number}.wav", noise(RATE * 2, number))
    (folder / "text.wav").write_text("this is no sound")
    (folder / "empty.wav").write_bytes(b"")
    whole = (folder / "a" / "0.wav").read_bytes()
    (folder / "cut.wav").write_bytes(whole[: len(whole) // 2])
    (folder / "a" / "1.log.xml").write_text("<a/>")
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "b.wav").write_bytes(whole)
    (folder / "notes.txt").write_text("mine")
    return folder


def to_store(tokenizer, *sources, out, listener=None, **how):
    listens = listener or quiet()
    return tokenize_to_store(
        tokenizer, sources, TokenizeOptions(), out=out, listener=listens, **{"spread": HERE, **how}
    )


def test_recordings_from_a_store(store, field, tokenizer, tmp_path):
    audio = store.put_folder(field, f"audio {tmp_path.name}")
    for name, source in (("here", field), ("there", audio)):
        tokenize(tokenizer, source, out=tmp_path / name / "tokens")
        prepare(source, tmp_path / name / "tiles", TINY)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    reasons = {row["path"]: row["reason"] for row in rows_of(tmp_path / "there" / "tokens")}
    assert reasons["text.wav"] == "not_audio"
    assert (reasons["cut.wav"], reasons["empty.wav"]) == ("truncated", "empty_file")
    assert len(reasons) == 6


def test_outputs_in_a_store(store, field, tokenizer, tmp_path, staging):
    name = tmp_path.name
    tokenize(tokenizer, field, out=tmp_path / "tokens")
    prepare(field, tmp_path / "tiles", TINY)
    tokens, tiles = store.at(f"{name}/tokens"), store.at(f"{name}/tiles")
    results = to_store(tokenizer, field, out=tokens)
    assert {each.is_file() for result in results for each in result.outputs} == {True}
    assert prepare(field, tiles, TINY).out_dir == tiles
    assert store.contents(f"{name}/tokens") == contents(tmp_path / "tokens")
    assert store.contents(f"{name}/tiles") == contents(tmp_path / "tiles")
    assert contents(staging) == {}
    assert prepare(field, tiles, TINY).reused
    again = to_store(tokenizer, field, out=tokens)
    assert {each.reused for each in again if each.outputs} == {True}
    write(field / "b.wav", noise(RATE, 5))
    (field / "cut.wav").unlink()
    prepare(field, tiles, TINY, accept_changes=True)
    prepare(field, tmp_path / "fresh", TINY)
    assert store.contents(f"{name}/tiles") == contents(tmp_path / "fresh")
    with pytest.raises(UserError, match=r"tiles was made with other settings .*choose another"):
        prepare(field, tiles, TINY.model_copy(update={"tile_size": 48}))
    assert store.contents(f"{name}/tiles") == contents(tmp_path / "fresh")
    assert contents(staging) == {}


def test_the_record_comes_last(field, tokenizer, monkeypatch):
    """At every moment, what a complete record there names is there."""
    store, put = open_store("memory"), []

    def putting(self, here, there, **_):
        for each, name in zip(here, there, strict=True):
            put.append(Path(name).name)
            self.pipe_file(name, Path(each).read_bytes())

    monkeypatch.setattr(type(store.system), "put", putting)
    prepare(field, store.at("tiles"), TINY)
    assert put[-3:] == ["tiles.parquet", "recordings.parquet", "prep.json"]
    assert put.count("prep.json") == 1
    to_store(tokenizer, field, out=store.at("tokens"))
    assert put[-2:] == ["recordings.parquet", "tokenize.json"]


def test_what_a_record_names_is_there_while_an_output_changes(field, monkeypatch):
    """A complete record is that of all objects there: before, or after."""
    store, whole, put = open_store("memory"), [], []
    out = store.at("tiles")
    prepare(field, out, TINY)
    before = store.contents("tiles")

    def putting(self, here, there, **_):
        for each, name in zip(here, there, strict=True):
            self.pipe_file(name, Path(each).read_bytes())
            put.append(Path(name).name)
            found = store.contents("tiles")
            if json.loads(found["prep.json"])["complete"]:
                whole.append(found)

    monkeypatch.setattr(type(store.system), "put", putting)
    (field / "a" / "0.wav").unlink()
    write(field / "b.wav", noise(RATE * 3, 7))
    prepare(field, out, TINY, accept_changes=True)
    after = store.contents("tiles")
    assert after != before
    assert len(put) >= 4
    assert [found.items() >= after.items() for found in whole] == [True]


@pytest.mark.parametrize("name", ["none", "none/a.wav"])
def test_what_is_not_there(store, name, tokenizer, tmp_path):
    with pytest.raises(UserError, match=f"{name} does not exist"):
        prepare(store.at(name), tmp_path / "out", TINY)
    with pytest.raises(UserError, match=f"{name} is neither a file nor a folder"):
        tokenize(tokenizer, store.at(name), out=tmp_path / "out")
    store.put("other/notes.txt", b"mine")
    with pytest.raises(UserError, match=r"no recordings below \w+://recordings/other"):
        prepare(store.at("other"), tmp_path / "out", TINY)
    with pytest.raises(UserError, match="other exists and holds other things"):
        prepare(Path("data_samples"), store.at("other"), TINY)
    assert store.contents("other") == {"notes.txt": b"mine"}


def test_without_rights(s3, field, tmp_path):
    s3.put("rights/a.wav", b"1")
    with s3_without_rights():
        for words in (
            ("tokenize", s3.at("rights"), "--out-dir", tmp_path / "out"),
            ("tokenize", s3.at("rights/a.wav"), "--out-dir", tmp_path / "out"),
            ("prep", field, s3.at("rights of others"), *TINY_OPTIONS),
        ):
            assert_refused(run(ulmo, *words), "cannot be reached (Permission denied)")
    assert s3.at("rights/a.wav").is_file()


def test_one_object_that_may_not_be_read(field, tokenizer, tmp_path, monkeypatch):
    """It gets the row of a file that may not be read, and the job goes on."""
    store = open_store("memory")
    audio = store.put_folder(field, "audio")
    look = type(store.system).info

    def info(self, name, **options):
        if name.endswith("a/1.wav"):
            raise PermissionError("Access Denied")
        return look(self, name, **options)

    monkeypatch.setattr(type(store.system), "info", info)
    tokenize(tokenizer, audio, out=tmp_path / "out")
    rows = {row["path"]: row for row in rows_of(tmp_path / "out")}
    denied = rows["a/1.wav"]
    assert (denied["reason"], denied["detail"]) == ("unreadable", os.strerror(errno.EACCES))
    assert rows["a/2.wav"]["status"] == "ok"


def test_a_file_from_a_web_server(field, tokenizer, tmp_path):
    """Rows and lines have no secrets; a file that may not be read is refused in one line."""
    shutil.copy(field / "a" / "0.wav", field / "no.wav")
    here = tokenize(tokenizer, field / "a" / "0.wav", out=tmp_path / "here")
    for ranges in (True, False):
        with web_server(field, ranges=ranges) as (address, asked):
            source = remote_path(f"{address.replace('//', '//me:secret@')}/a/0.wav?secret")
            out = tmp_path / f"there {ranges}"
            (there,) = tokenize(tokenizer, source, out=out)
            assert contents(out / "tokens") == contents(tmp_path / "here" / "tokens")
            assert there.outcome.ends_crc32c == here[0].outcome.ends_crc32c
            assert there.outcome.path == f"127.0.0.1:{source.bucket.name.split(':')[1]}/a/0.wav"
            assert b"secret" not in b"".join(contents(out).values())
            assert not any("log.xml" in each for each in asked())
            refused = run(ulmo, "tokenize", f"{address}/no.wav", "--out-dir", tmp_path / "no")
            assert_refused(refused, "/no.wav cannot be reached (Permission denied)")


def test_an_archive_in_a_store(s3, field, tokenizer, tmp_path):
    shutil.make_archive(str(tmp_path / "all"), "zip", field)
    s3.put("all.zip", (tmp_path / "all.zip").read_bytes())
    tokenize(tokenizer, field, out=tmp_path / "here")
    tokenize(tokenizer, remote_path(f"zip://::s3://{BUCKET}/all.zip"), out=tmp_path / "there")
    assert contents(tmp_path / "there" / "tokens") == contents(tmp_path / "here" / "tokens")


def test_worker_processes(s3, field, tokenizer, tmp_path):
    audio = s3.put_folder(field, "for workers")
    tokenize(tokenizer, field, out=tmp_path / "here")
    to_store(tokenizer, audio, out=s3.at("by workers"), spread=Spread(2))
    assert s3.contents("by workers") == contents(tmp_path / "here")
    memory = open_store("memory")
    memory.put_folder(field, "audio")
    with pytest.raises(UserError, match="in the memory of one process: set --workers 1"):
        tokenize(tokenizer, memory.at("audio"), out=tmp_path / "memory", workers=2)


# Each request that puts something counts; the process is killed before one of them.
KILLED = """
import os, signal, sys
from ulmo.storage import lease, remote_output
from ulmo.cli.main import ulmo
left = [int(sys.argv.pop(1))]
remote_output._BATCH = 1
def counted(function):
    def call(*arguments, **options):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
for kind, name in ((remote_output._Mirror, "_note"), (lease.Lease, "_put")):
    setattr(kind, name, counted(getattr(kind, name)))
ulmo()
"""


def kill(number, *words):
    """The status of a command that is killed before it notes a put for the n-th time."""
    command = [sys.executable, "-c", KILLED, str(number), *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr
    return done.returncode


@pytest.mark.kills
@pytest.mark.parametrize("kills", KILLS)
def test_killed_and_run_again(kills, s3, field, tmp_path, staging):
    run(ulmo, "prep", field, tmp_path / "here", *TINY_OPTIONS)
    expected = contents(tmp_path / "here")
    name = f"killed {kills}"
    for number in kills:
        assert kill(number, "prep", field, s3.at(name), *TINY_OPTIONS) == -9
        there = s3.contents(name)
        is_complete = json.loads(there.get("prep.json", b"{}")).get("complete")
        assert not is_complete or there.items() >= expected.items()
    assert run(ulmo, "prep", field, s3.at(name), *TINY_OPTIONS).exit_code == 3
    assert s3.contents(name) == expected
    assert contents(staging) == {}


class StoppedError(Exception):
    """What ends a job."""


def test_another_host_goes_on_from_the_store(field, tokenizer, tmp_path, monkeypatch):
    """With a staging folder of its own: what the journal there names is not done again."""
    store = open_store("memory")
    out, done = store.at("out"), []
    monkeypatch.setattr(remote_output, "_EVERY_SECONDS", 0.01)

    def stop(result):
        done.append(result)
        if len(done) < 3:
            return
        limit = time.monotonic() + 30
        while store.contents("out").get(".tokenize.jsonl", b"").count(b'"path"') < 2:
            assert time.monotonic() < limit
            Event().wait(0.02)
        raise StoppedError

    with pytest.raises(StoppedError):
        to_store(tokenizer, field, out=out, listener=quiet()._replace(done=stop))
    assert "tokenize.json" in store.contents("out")
    monkeypatch.setenv(remote_output.STAGING, str(tmp_path / "other"))
    told = []
    to_store(tokenizer, field, out=out, listener=quiet(told))
    assert sum(result.reused for result in told) >= 1
    tokenize(tokenizer, field, out=tmp_path / "here")
    assert store.contents("out") == contents(tmp_path / "here")


def test_two_commands_on_one_output(s3, field, tmp_path):
    out = s3.at("two")
    with lease.Lease(out, "1" * 32).held(lambda: False):
        refused = run(ulmo, "prep", field, out, *TINY_OPTIONS)
        assert_refused(refused, f"{out} is being written by another job (process {os.getpid()} on")
        assert len(refused.stderr.splitlines()) == 1
    assert s3.contents("two") == {}


def test_one_job_holds_a_lease(store, field, tmp_path, monkeypatch):
    out = store.at(f"two {tmp_path.name}")
    with lease.Lease(out, "1" * 32).held(lambda: False):
        with pytest.raises(LockError, match=r"another job .*; if that job is gone, run the same"):
            prepare(field, out, TINY)
        with pytest.raises(FileExistsError):  # it was there when the other one had not seen it
            lease.Lease(out, "2" * 32)._put(mode="create")
        monkeypatch.setattr(
            lease.Lease,
            "_read",
            lambda self, read=lease.Lease._read: read(self) if self._renewed else None,
        )
        with (
            pytest.raises(LockError, match="is being written by another job"),
            lease.Lease(out, "2" * 32).held(lambda: False),
        ):
            pytest.fail("two hold it")
        monkeypatch.undo()
        monkeypatch.setenv(remote_output.STAGING, str(tmp_path / "staging"))
    assert store.contents(f"two {tmp_path.name}") == {}
    expired(out)
    monkeypatch.setattr(lease, "_SETTLE_SECONDS", 0.0)
    prepare(field, out, TINY)
    assert lease.LEASE not in store.contents(f"two {tmp_path.name}")


def test_a_job_that_lost_its_lease_puts_nothing_more(field, monkeypatch):
    store = open_store("memory")
    out = store.at("lost")
    monkeypatch.setattr(lease, "_RENEW_SECONDS", 0.01)

    def taken(_):
        other = lease.Lease(out, "2" * 32)
        other._put()
        Event().wait(0.2)
        return lambda *_: None

    with pytest.raises(JobError, match="lost is written by another job by now"):
        prepare(field, out, TINY, progress=taken)
    assert store.contents("lost").keys() == {lease.LEASE}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tokenize {audio}", "nothing is written beside recordings at an address: set --out-dir"),
        ("tokenize {audio} --out s3://b/x.csv", "at an address, ulmo writes folders alone"),
        ("prep {audio} memory://x", "memory://x would be gone with this command"),
        ("tokenize {audio} --out-dir https://h/x", "nothing can be put there: choose a store"),
        ("prep {audio} zip://x::{audio}.zip", "nothing can be put there: choose a store"),
        ("regions {audio} --out {audio}/x.csv", "is an address, and ulmo works with files here"),
        ("show {audio}/a/0.wav", "is an address, and ulmo works with files here"),
    ],
)
def test_what_is_not_supported_is_one_line(line, words, field):
    store = open_store("memory")
    audio = store.put_folder(field, "audio")
    result = run(ulmo, *line.format(audio=audio).split())
    assert_refused(result, words)
    assert len(result.stderr.splitlines()) == 1
