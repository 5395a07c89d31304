"""Paths of objects: names, secrets, and what a store says, against what was put there."""

import os
import pickle
import random
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.stores import bare_server, open_store, web_server
from ulmo.config import UserError
from ulmo.jobs.inputs import find_recordings, find_sources, input_file, list_inputs
from ulmo.storage import remote_file, store_answers
from ulmo.storage.address import whole
from ulmo.storage.names import portable
from ulmo.storage.plain_file import open_file, signature_of
from ulmo.storage.remote_path import RemotePath, check_apart, remote_path, source_argument
from ulmo.storage.signature import ChangedError
from ulmo.storage.store_answers import StoreError, reaching
from ulmo.storage.together import together

CONTENT = random.Random(0).randbytes(1_000_000)


@pytest.fixture
def memory():
    return open_store("memory")


@pytest.mark.parametrize(
    ("address", "shown", "name"),
    [
        ("s3://b/x/a.wav", "s3://b/x/a.wav", "b/x/a.wav"),
        ("s3://b/x//a?.wav/", "s3://b/x/%/a?.wav", "b/x/%/a?.wav"),
        ("https://h/a.wav?Signature=s", "https://h/a.wav", "h/a.wav"),
        ("https://me:s@h2/a.wav#s", "https://h2/a.wav", "h2/a.wav"),
        ("s3://me:s@own/a.wav", "s3://own/a.wav", "own/a.wav"),
        ("zip://x:y@z/a.wav::https://me:s@h3/b.zip?s", "zip://x:y@z/a.wav::https://h3/b.zip", None),
        ("https://me:s@s@h4/a.wav", "https://h4/a.wav", "h4/a.wav"),
        ("https://tokens@h5/a.wav?s", "https://h5/a.wav", "h5/a.wav"),
        ("https://h6:80/x@y/12:30@z.wav", "https://h6:80/x@y/12:30@z.wav", None),
        ("zip://::memory://b.zip", "zip://::memory://b.zip", "."),
    ],
)
def test_what_is_secret_is_not_shown(address, shown, name):
    path = remote_path(address)
    assert str(path) == shown
    assert name is None or path.names == Path(name)
    assert whole(str(path)) == address or "//a?" in address
    assert whole(str(path / "b.wav")).startswith(address[:6])
    assert "s@" not in repr(path) + path.as_posix() + portable(path)
    if path.protocol == "https":
        copy = pickle.loads(pickle.dumps(path))
        assert (type(copy), str(copy), whole(str(copy))) == (RemotePath, shown, address)


def test_names_as_of_any_path():
    path = remote_path("s3://bucket/a/b.x.wav")
    assert (path.name, path.stem, path.suffix) == ("b.x.wav", "b.x", ".wav")
    assert str(path.parent / "c") == str(path.with_name("c")) == "s3://bucket/a/c"
    assert str(path.bucket) == "s3://bucket"
    below = path.relative_to(path.parent)
    assert (type(below), below) == (type(Path()), Path("b.x.wav"))
    assert str(Path() / path) == str(Path("x") / path) == str(path)
    assert path != Path("s3:/bucket/a/b.x.wav")
    assert path == remote_path("s3://bucket/a/b.x.wav")
    assert {path.resolve(), path.absolute()} == {path}


def test_it_is_no_path_of_this_computer(tmp_path, monkeypatch):
    """Not even if there is one that is called so."""
    monkeypatch.chdir(tmp_path)
    Path("s3:/b").mkdir(parents=True)
    Path("s3:/b/a.wav").write_bytes(b"mine")
    path = remote_path("s3://b/a.wav")
    for use in (os.fspath, open, os.stat, Path.read_bytes):
        with pytest.raises(UserError, match=r"s3://b/a\.wav is an address"):
            use(path)
    assert source_argument("path", "s3:/b/a.wav").read_bytes() == b"mine"
    assert source_argument("path", "./s3://b/a.wav").read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nothing://b/a.wav", "fsspec knows no nothing://"),
        ("file:///etc/passwd", "give its path"),
        ("gs://b/a.wav", "gs://b/a.wav needs gcsfs, which is not installed: pip install gcsfs"),
        ("zip://a.wav::gs://b/a.zip", "needs gcsfs"),
    ],
)
def test_what_cannot_be_reached_is_said_in_one_line(address, words, monkeypatch):
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match=words) as raised:
        remote_path(address)
    assert len(str(raised.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("package", "address", "words"),
    [
        ("fsspec", "zip://a.wav::b.zip", "this needs fsspec, .*: pip install 'ulmo.urls.'"),
        ("s3fs", "s3://b/a.wav", "needs s3fs, .*: pip install 'ulmo.s3.'"),
    ],
)
def test_without_its_extra_a_line_says_what_to_install(package, address, words):
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from ulmo.cli.main import ulmo; ulmo(['tokenize', sys.argv[2], '--out-dir', 'x'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, package, address], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert re.fullmatch(f"ulmo: .*{words}\n", done.stderr)


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        ("https://h9/a.wav?version=1", "https://h9/a.wav?version=2", "https://h9/a.wav"),
        ("https://h9/a.wav", "https://h9/a.wav?version=2", "https://h9/a.wav"),
        ("ftp://a:1@h9/x", "ftp://b:2@h9/y", "ftp://h9"),
        ("ftp://h9/x", "ftp://b:2@h9/y", "ftp://h9"),
        ("zip://a::http://h9/b.zip?1", "zip://b::http://h9/b.zip?2", "zip://::http://h9/b.zip"),
    ],
)
def test_two_addresses_that_look_the_same_are_refused(one, other, shown):
    """In one list; in a later call, the newer one is used."""
    for pair in ([one, other], [other, one]):
        with pytest.raises(UserError, match=re.escape(f"{shown} is given twice")):
            find_sources(list(map(remote_path, pair)))
    for address in (one, other, other):
        path = remote_path(address)
        check_apart([path, path, remote_path(address), Path(address)])
        if address != "ftp://h9/x":  # a login stays that of its store
            assert whole(str(path)) == address
    check_apart(map(remote_path, ["https://h9/a.wav?1", "https://h9/b.wav?2", "s3://h9/x/"]))
    check_apart(map(remote_path, ["s3://h9/x/", "s3://h9/x", "s3://h9", "s3://h9/"]))


@pytest.mark.parametrize(
    "address",
    [
        "ftp://me:pa/ss@host/a.wav",
        "s3://AKIA:pa/ss@host/a.wav",
        "https://me:pa?ss@host/a.wav",
        "zip://a::https://me:pa#ss@host/a.zip",
    ],
)
def test_a_login_that_is_cut_is_refused(address):
    with pytest.raises(UserError, match=r"^\w+://… has a login .*write %2F for /") as raised:
        remote_path(address)
    assert "pa" not in str(raised.value)
    assert "ss@" not in str(raised.value)


def test_a_time_in_a_name_is_no_login(memory):
    memory.put("12:30@site/a.wav", b"right")
    memory.put("site/a.wav", b"wrong")
    top = memory.at("12:30@site")
    assert [open_file(top / each).read() for each in find_recordings(top)] == [b"right"]


def test_memory_stays_in_its_process(memory):
    for address in ("memory://recordings/a.wav", "zip://a.wav::memory://b.zip"):
        with pytest.raises(UserError, match="in the memory of one process: set --workers 1"):
            pickle.dumps(remote_path(address))


def test_what_a_store_says(memory):
    memory.put("a/b/c.wav", b"12345")
    memory.put("a/d.wav", b"")
    top = memory.at("a")
    assert (top.is_dir(), top.is_file(), top.exists()) == (True, False, True)
    there = top / "b/c.wav"
    assert (there.is_dir(), there.is_file(), there.stat().st_size) == (False, True, 5)
    absent = top / "x"
    assert (absent.is_dir(), absent.is_file(), absent.exists()) == (False, False, False)
    with pytest.raises(FileNotFoundError):
        absent.lstat()
    with pytest.raises(IsADirectoryError):
        open_file(top)
    assert sorted(map(str, top.below())) == ["b/c.wav", "d.wav"]


def test_names_of_strangers_are_names(tmp_path):
    """Names that lead elsewhere are given, and lead nowhere: each gets its row, and no file."""
    names = ["../up.wav", "a/../../up.wav", "a//b.wav", "./c.wav", "s3:/d.wav", "e\x1b[2J.wav"]
    with zipfile.ZipFile(tmp_path / "odd.zip", "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
        archive.writestr(".hidden/e.wav", b"x")
    top = remote_path(f"zip://::{tmp_path}/odd.zip")
    found = find_recordings(top)
    assert len(found) == len(names)
    assert all(".." not in path.parts and not path.is_absolute() for path in found)
    assert {str(path) for path in found} >= {"s3:/d.wav", "e\x1b[2J.wav"}
    assert (top / "s3:/d.wav").is_file()


def reads(seed, count=40):
    """Places and lengths of reads: in order, and here and there."""
    rng = random.Random(seed)
    for _ in range(count):
        place = rng.choice([None, rng.randrange(len(CONTENT) + 10)])
        yield place, rng.choice([0, 1, 100, 70_000, 300_000, -1])


@pytest.mark.parametrize("kind", ["memory", "zip", "stored", "web", "web without ranges"])
def test_reads_are_those_of_a_file(kind, memory, tmp_path, monkeypatch):
    monkeypatch.setattr(remote_file, "_MOST_BLOCKS", 4)  # then the next part is fetched meanwhile
    (tmp_path / "a.bin").write_bytes(CONTENT)
    method = zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.write(tmp_path / "a.bin", "in/a.bin")
    memory.put("a.bin", CONTENT)
    with web_server(tmp_path, ranges=kind == "web") as (address, asked):
        path = {
            "memory": memory.at("a.bin"),
            "web": remote_path(f"{address}/a.bin"),
            "web without ranges": remote_path(f"{address}/a.bin?secret"),
        }.get(kind) or remote_path(f"zip://in/a.bin::{tmp_path}/a.zip")
        with open_file(path) as file, (tmp_path / "a.bin").open("rb") as truth:
            for place, length in reads(kind):
                if place is not None:
                    assert file.seek(place) == truth.seek(place)
                assert file.read(length) == truth.read(length)
                assert file.tell() == truth.tell()
            assert file.seek(-5, os.SEEK_END) == truth.seek(-5, os.SEEK_END)
            assert file.read() == truth.read()
            assert signature_of(file).size == len(CONTENT)
            before = len(asked())
            with open_file(path) as again:
                assert again.read() == CONTENT
            assert len(asked()) <= before + 1  # its size alone: the rest is at hand


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_files_of_an_archive_are_not_mixed_up(kind, tmp_path):
    """By threads at once, too: they share one open archive."""
    (tmp_path / "in").mkdir()
    for number in range(24):
        (tmp_path / f"in/{number:02}.wav").write_bytes(bytes([number]) * 2_000_000)
    shutil.make_archive(str(tmp_path / "all"), kind, tmp_path, "in")
    top = remote_path(f"{kind}://in::{tmp_path}/all.{kind}")
    truth = [input_file(Path(f"{number:02}.wav"), tmp_path / "in").ends for number in range(24)]
    names = [Path(f"{number:02}.wav") for number in range(24)]
    threads = together(lambda name: input_file(name, top), names)
    assert [each.ends for each in threads] == truth
    assert [each.ends for each in list_inputs(top, tmp_path / "out")] == truth


@pytest.mark.parametrize("tells", ["its size", "nothing"])
def test_what_has_no_version_is_read_anew(tells, monkeypatch):
    """It is kept for the one who has it open, and for no other."""
    made, make = [], remote_file.TemporaryFile
    monkeypatch.setattr(remote_file, "TemporaryFile", lambda: made.append(1) or make())
    with bare_server(with_size=tells == "its size") as (address, server):
        for content in (b"a" * 100_000, b"b" * 100_000):
            server.content = content
            made.clear()
            with open_file(remote_path(f"{address}/a.wav")) as file:
                assert file.read() == content
                file.seek(10)
                assert file.read() == content[10:]
                assert signature_of(file) == signature_of(file)
            assert len(made) == 1  # it is not fetched for each read
        assert not any(address in key[0] for key in remote_file._copies)
        assert not any(address in key[0][0] for key in remote_file._blocks)


@pytest.mark.parametrize("name", ["_MOST_COPY", "_KEPT_FREE"])
def test_a_download_without_an_end_is_refused(name, monkeypatch):
    monkeypatch.setattr(remote_file, "_MOST_COPY", 300_000)
    if name == "_KEPT_FREE":
        few = os.statvfs_result((4096, 4096, 100, 50, 50, 0, 0, 0, 0, 255))
        monkeypatch.setattr(remote_file, "_MOST_COPY", 1 << 40)
        monkeypatch.setattr(remote_file.os, "fstatvfs", lambda _: few)
    with bare_server(with_size=False) as (address, server):
        server.content = bytes(400_000)
        with pytest.raises(StoreError, match="no end of it comes, or there is no room"):
            open_file(remote_path(f"{address}/radio.wav"))
        found = input_file(remote_path(f"{address}/radio.wav"))
        assert found.unread is not None
        server.content = bytes(100_000)
        with open_file(remote_path(f"{address}/radio.wav")) as file:
            assert file.read() == server.content


def test_few_bytes_are_kept(memory, monkeypatch):
    monkeypatch.setattr(remote_file, "_MOST_BYTES", 1 << 18)
    for number in range(4):
        memory.put(f"{number}.bin", CONTENT)
        with open_file(memory.at(f"{number}.bin")) as file:
            assert file.read() == CONTENT
            assert sum(map(len, remote_file._blocks.values())) <= 1 << 18


@pytest.mark.parametrize("first", [10, 500_000])
@pytest.mark.parametrize("other", [CONTENT[::-1], CONTENT[:500_000]])
def test_an_object_that_changes_is_told(first, other, memory, monkeypatch):
    monkeypatch.setattr(remote_file, "_MOST_BLOCKS", 2)
    memory.put("a.bin", CONTENT)
    with open_file(memory.at("a.bin")) as file:
        before = signature_of(file)
        file.read(first)
        assert signature_of(file) == before
        memory.put("a.bin", other)
        try:
            file.seek(900_000)
            file.read(10)
        except ChangedError:
            assert len(other) < 900_000
        else:
            assert signature_of(file) != before


def test_a_web_server_that_refuses_or_is_not_there(tmp_path):
    (tmp_path / "no.wav").write_bytes(b"x")
    with web_server(tmp_path) as (address, _):
        with pytest.raises(StoreError, match=r"no\.wav cannot be reached .Permission denied"):
            open_file(remote_path(f"{address}/no.wav"))
        assert not remote_path(f"{address}/none.wav").is_file()
    with pytest.raises(StoreError, match=r"none.wav cannot be reached \(Cannot connect"):
        open_file(remote_path(f"{address}/none.wav"))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no https://me:secret@host/a?secret=1 today"),
        OSError("'https://host/x?X-Amz-Signature=secret'\nand more"),
        RuntimeError("ftp://me:secret@host"),
        RuntimeError("https://secret@host/a.wav, ftp://me:secret@secret@host/x@y"),
        RuntimeError("Max retries exceeded with url: /a?token=secret (no answer)"),
        RuntimeError(f"{'x' * 280} ftp://me:{'secret' * 20}@host"),
    ],
)
def test_errors_of_libraries_show_no_secrets(error):
    with pytest.raises(StoreError) as raised, reaching("s3://b/a"):
        raise error
    assert "secret" not in f"{raised.value} {raised.value.strerror}"
    assert len(str(raised.value).splitlines()) == 1
    assert pickle.loads(pickle.dumps(raised.value)).strerror == raised.value.strerror


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("2024-05-01T12:00:00.5Z", 1714564800.5),
        ("2024-05-01T14:00:00+02:00", 1714564800),
        ("Wed, 01 May 2024 12:00:00 GMT", 1714564800),
        ((2024, 5, 1, 12, 0, 0), 1714564800),
        (1714564800.25, 1714564800.25),
        ("yesterday", None),
        (None, None),
    ],
)
def test_times_of_stores(time, seconds):
    found = store_answers.described({"mtime": time, "size": 1, "type": "file"})
    assert found.mtime_ns == (found.version if seconds is None else int(seconds * 10**9))
