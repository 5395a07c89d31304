"""A bundle in a zip file, also as an attacker may make one."""

import os
import stat
import struct
import zipfile

import pytest

from tests.bundles import ENCODER, FILES, MANIFEST, WEIGHTS, contents, refusal
from tests.commands import assert_refused, run
from ulmo.bundle.bundle import read_bundle
from ulmo.cli.main import ulmo
from ulmo.tokenizer import load_tokenizer

LONG = 1 << 23  # bytes of a file that a small bundle does not have


@pytest.fixture
def packed(folder, tmp_path):
    """A function that packs the bundle, changed."""

    def pack(change=lambda file: None, *, below="", method=zipfile.ZIP_DEFLATED, without=()):
        path = tmp_path / "bundle.zip"
        with zipfile.ZipFile(path, "w", method) as file:
            for name, content in sorted(contents(folder).items()):
                if name not in without:
                    file.writestr(below + name, content)
            change(file)
        return path

    return pack


def own_temporary(folder):
    return [path for path in folder.iterdir() if path.name.startswith("ulmo-")]


@pytest.mark.parametrize("below", ["", "tokenizer/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_it_is_the_bundle(below, method, packed, folder, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def extra(file):
        file.writestr(below + "README.md", "# A card")
        if below:
            file.mkdir(below.rstrip("/"))

    path = packed(extra, below=below, method=method)
    assert read_bundle(path) == read_bundle(folder)._replace(place=path)
    assert own_temporary(tmp_path) == []


def test_a_process_of_its_own_opens_it_again(packed, monkeypatch):
    path = packed()
    monkeypatch.chdir(path.parent)
    tokenizer = load_tokenizer(path.name, threads=1)
    assert tokenizer.ref.place == path
    assert tokenizer.ref.open().manifest == tokenizer.manifest


def test_ulmo_inspect_shows_it(packed):
    path = packed()
    assert str(path) in run(ulmo, "inspect", path).stdout
    assert_refused(run(ulmo, "inspect", packed(without=[WEIGHTS])), f"{path}/{WEIGHTS} is missing")


def put(name, content=b"", method=None):
    return lambda file: file.writestr(name, content, method)


def twice(file):
    with pytest.warns(UserWarning, match="Duplicate"):
        file.writestr(MANIFEST, "{}")


def linked(file):
    entry = zipfile.ZipInfo(WEIGHTS)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    file.writestr(entry, "/etc/passwd")


def many(file):
    for number in range(3000):
        file.writestr(f".{number:060}", "")


@pytest.mark.parametrize(
    ("change", "without", "words"),
    [
        (put("code.py"), (), "holds 'code.py', not part of a tokenizer"),
        (put("../README.md"), (), "holds '../README.md', not part"),
        (put("/etc/README.md"), (), "holds '/etc/README.md', not part"),
        (put("a/b/" + MANIFEST), (MANIFEST,), "it has no tokenizer.json"),
        (twice, (), "holds 'tokenizer.json' twice"),
        (linked, (WEIGHTS,), "is a link: pack the bundle with its links followed"),
        (many, (), "its list of files is too long"),
        (put(WEIGHTS, bytes(LONG)), (WEIGHTS,), f"has {LONG} bytes, not "),
        (put(MANIFEST, b"{}", zipfile.ZIP_LZMA), (MANIFEST,), "packed in an unusual way"),
    ],
)
def test_what_no_bundle_has_is_refused(change, without, words, packed):
    assert words in refusal(packed(change, without=without))


def test_no_more_is_unpacked_than_the_list_states(packed, folder):
    """A bomb whose list gives the length that is expected."""
    size = (folder / WEIGHTS).stat().st_size
    path = packed(lambda file: file.writestr(WEIGHTS, bytes(LONG)), without=[WEIGHTS])
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", LONG), struct.pack("<I", size)))
    assert f"{path}/{WEIGHTS} cannot be unpacked (Bad CRC-32" in refusal(path)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_refused(name, packed):
    path = packed(method=zipfile.ZIP_STORED)
    with zipfile.ZipFile(path) as file:
        place = file.getinfo(name).header_offset + 30 + len(name)
    content = bytearray(path.read_bytes())
    content[place + 20] ^= 1
    path.write_bytes(content)
    assert f"{path}/{name} cannot be unpacked" in refusal(path)


@pytest.mark.parametrize("cut", [0, 10, 1000, -10])
def test_what_is_no_whole_zip_file_is_refused(cut, packed):
    path = packed()
    path.write_bytes(path.read_bytes()[:cut])
    assert f"{path} is a file: give the folder that holds tokenizer.json, or" in refusal(path)


def test_a_file_that_lies_behind_the_end_is_refused(packed):
    """2**62 bytes: to which most file systems cannot go."""

    def moved(file):
        file.writestr(MANIFEST, "{}")
        file.getinfo(MANIFEST).header_offset = 1 << 62

    path = packed(moved, without=[MANIFEST])
    assert f"{path}/{MANIFEST} cannot be unpacked (its list of files names byte 4" in refusal(path)


def test_a_list_that_leads_before_the_begin_is_refused(packed):
    """It states that it lies further behind than it does, and so do the files before it."""
    path = packed()
    content = bytearray(path.read_bytes())
    place = len(content) - 22 + 16  # of the offset, in the last record
    (offset,) = struct.unpack_from("<I", content, place)
    struct.pack_into("<I", content, place, offset + (1 << 20))
    path.write_bytes(content)
    assert f"{path}/{MANIFEST} cannot be unpacked (its list of files names byte -" in refusal(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "x.zip")
    assert "is a file: give the folder" in refusal(tmp_path / "x.zip")


def test_errors_name_the_zip_file_and_no_temporary_one(packed, folder):
    (folder / ENCODER).write_bytes((folder / ENCODER).read_bytes()[:-1] + b"\1")
    path = packed()
    assert refusal(path).startswith(f"{path}/{ENCODER} is not the file that the settings name")
