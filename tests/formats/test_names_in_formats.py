"""What a writer accepts, its reader accepts: recordings and files of any name."""

import csv
import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.formats.streams import header_of, random_ids, save, written
from ulmo.formats import FORMATS
from ulmo.formats.cells import csv_cell, path_cell
from ulmo.formats.read import read_corpus, read_tokens
from ulmo.storage.names import path_of, portable

READABLE = {name: kind for name, kind in FORMATS.items() if kind.readable}
ODD = [
    *(
        b"cr\rx.wav",
        b"\r.wav",
        b"\r\nx.wav",
        b"lf\nx.wav",
        b"tab\tx.wav",
        b'"quo""tes".wav',
        b"'.wav",
    ),
    *(
        b"a,b;c|d.wav",
        b"=1+1.wav",
        b"+x.wav",
        b"-x.wav",
        b"@x.wav",
        b"\t=x.wav",
        b" =x.wav",
        b"''x",
    ),
    *(
        b" x.wav ",
        rb"\x41.wav",
        rb"\\x.wav",
        b"caf\xe9\\x41.wav",
        b"\xff" * 250,
        b"\x01\x1b[2J\x7f",
    ),
    *("\u2028.wav".encode(), "\x85.wav".encode(), "\ufeffx.wav".encode(), "\uff1dx".encode()),
    *("\ud800.wav".encode("utf-8", "surrogatepass"), b"\xc3", b"\\", b"\x1c=x", b"NaT", b"%s{0}"),
]
NAMES = st.one_of(
    st.binary(min_size=1, max_size=40),
    st.lists(st.sampled_from([*b"=+-@\t\r\n,;|'\"\\x \x85\xc3\xa9\xff.a1"]), min_size=1).map(bytes),
).map(lambda name: name.replace(b"\0", b"").replace(b"/", b"_").strip(b".") or b"x")


def named(name, columns=3):
    """A recording of a name, given as bytes: its header and ids."""
    ids = random_ids(columns)
    return header_of(ids, recording=portable(Path("a", os.fsdecode(name)).relative_to("a"))), ids


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_that_repeats_a_name_in_each_row_says_so(name):
    def size(recording):
        ids = random_ids(1000)
        return sum(map(len, written(name, [(header_of(ids, recording=recording), ids)])))

    repeats = (size("n" * 1000) - size("n")) // 999
    assert FORMATS[name].repeats_name == (repeats > 10)


def is_formula(cell):
    return cell[:1] in ("\t", "\r", "\n") or cell.strip()[:1] in tuple("=+-@")


def assert_read(path, recordings):
    found = list(read_corpus(path))
    assert [one.header for one in found] == [header for header, _ in recordings]
    for one, (_, ids) in zip(found, recordings, strict=True):
        np.testing.assert_array_equal(one.ids, ids)


@settings(max_examples=100)
@given(name=NAMES)
def test_a_name_and_its_text_are_one(name):
    path = Path(os.fsdecode(name))
    text = portable(path)
    text.encode()
    assert path_of(text) == path
    assert portable(path_of(text)) == text


@pytest.mark.parametrize("name", READABLE)
def test_odd_names_come_back_from_every_format(name, tmp_path):
    recordings = [named(each) for each in ODD]
    for number, one in enumerate(
        [recordings] if READABLE[name].many else [[r] for r in recordings]
    ):
        path = save(tmp_path / f"{number}{READABLE[name].suffixes[-1]}", name, one)
        assert_read(path, one)


@pytest.mark.parametrize("name", READABLE)
@settings(max_examples=8)
@given(names=st.lists(NAMES, min_size=1, max_size=3))
def test_any_names_come_back_from_every_format(name, names, tmp_path_factory):
    recordings = [named(each) for each in names[: None if READABLE[name].many else 1]]
    folder = tmp_path_factory.getbasetemp() / "names"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    assert_read(save(folder / f"x{READABLE[name].suffixes[-1]}", name, recordings), recordings)


@pytest.mark.parametrize("name", READABLE)
def test_files_of_any_name_are_read(name, tmp_path):
    for odd in (b"caf\xe9", b"cr\r", b"=x", b"nl\n\t", b"\xff\\x41", b" ", b"'"):
        folder = tmp_path / os.fsdecode(odd)
        folder.mkdir()
        one = named(b"x.wav")
        path = save(folder / f"{os.fsdecode(odd)}{READABLE[name].suffixes[-1]}", name, [one])
        assert_read(path, [one])
        np.testing.assert_array_equal(read_tokens(path).ids, one[1])


@settings(max_examples=80)
@given(name=NAMES)
@example(name=b"\t=x")
@example(name=b"a;=1+1;.wav")
def test_no_cell_of_csv_is_a_formula_and_an_apostrophe_less_is_the_name(name):
    header, ids = named(name)
    content = written("csv", [(header, ids)])[0].decode()
    _, *rows = csv.reader(io.StringIO(content, newline=""), strict=True)
    assert len(rows) == ids.size
    for row in rows:
        assert not is_formula(row[0])
        assert row[0].removeprefix("'") == header.recording


@settings(max_examples=80)
@given(name=NAMES)
def test_no_cell_of_raven_is_a_formula_and_its_path_leads_to_the_file(name):
    header, ids = named(name)
    lines = written("raven", [(header, ids)])[0].decode().split("\n")[1:-1]
    for line in lines:
        cells = line.split("\t")
        assert not any(map(is_formula, cells))
        if header.recording.isprintable():
            assert Path(cells[-3]) == Path(cells[-2]) == Path(header.recording)


CELLS = {  # in CSV, and as a path
    "a.wav": ("a.wav", "a.wav"),
    "=x": ("'=x", "./=x"),
    " @x": ("' @x", "./ @x"),
    "\uff1dx": ("'\uff1dx", "./\uff1dx"),
    "'x": ("''x", "'x"),
    "a;b": ('"a;b"', "a;b"),
    "\tb": ('"\'\tb"', "?b"),
}


@pytest.mark.parametrize("text", CELLS)
def test_cells(text):
    assert (csv_cell(text), path_cell(text)) == CELLS[text]
