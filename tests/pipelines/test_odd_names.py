"""Names and places of recordings that are odd: each is visited once, and has an id of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipelines.faults import PCM, wav
from tests.pipelines.recordings import TINY, by_path, contents, rows_of
from tests.pipelines.tokenizing import tokenize
from tests.storage.trees import close, make
from ulmo.pipelines.prep.prep import prepare
from ulmo.storage.names import portable

ODD = [
    *(b"with spaces.wav", b"'quotes' and \"more\".wav", b"[brackets] (and) {braces}.wav"),
    *(b"new\nline.wav", b"tab\t.wav", b"-dash.wav", b"$HOME.wav", b"%s%n.wav"),
    *(b"*.wav", b"a\\b.wav"),
    *("ünïcödé.wav".encode(), "u\u0308.wav".encode(), "鳥の声.wav".encode(), "🐋.wav".encode()),
    *(
        b"caf\xe9.wav",
        rb"caf\xe9.wav",
        rb"\x.wav",
        b"\xff\\xfe.wav",
        b"\\xff\xfe.wav",
        b"y.wav.wav",
    ),
    *(b"a/x.wav", b"b/x.wav", b"a/a/x.wav", b"x.wav", b"x.WAV", b"x.wav.d/x.wav"),
]
LONG = b"n" * 240 + b".wav"


def fill(folder, *names):
    """A recording of each name."""
    for path in make(folder, *names):
        path.write_bytes(wav(PCM[:800]))
    return folder


@pytest.fixture
def odd(tmp_path):
    return fill(tmp_path / "odd", *map(os.fsdecode, [*ODD, LONG]))


def test_every_name_has_a_row_and_an_id_of_its_own(odd, tmp_path):
    summary = prepare(odd, tmp_path / "out", TINY)
    assert summary.statuses == {"ok": len(ODD) + 1}
    rows = rows_of(tmp_path / "out")
    assert len({row["path"] for row in rows}) == len(ODD) + 1
    names = (os.fsdecode(name) for name in [*ODD, LONG])
    assert {row["path"] for row in rows} == {portable(Path(name)) for name in names}
    prepare(odd, tmp_path / "again", TINY)
    assert contents(tmp_path / "again") == contents(tmp_path / "out")


def test_every_name_is_tokenized_to_a_file_of_its_own(odd, tmp_path, tokenizer):
    (odd / os.fsdecode(LONG)).unlink()
    results = tokenize(tokenizer, odd, out=tmp_path / "out")
    outputs = [output for result in results for output in result.outputs]
    assert len(outputs) == len(set(outputs)) == len(ODD)
    assert all(output.is_file() for output in outputs)
    assert len(by_path(tmp_path / "out")) == len(ODD)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"a\\b.wav", "a\\b.wav"),
        (b"caf\xe9.wav", r"caf\xe9.wav"),
        (rb"caf\xe9.wav", r"caf\\xe9.wav"),
        (b"\xff\\xfe.wav", r"\xff\\xfe.wav"),
        (b"\\xff\xfe.wav", r"\\xff\xfe.wav"),
    ],
)
def test_no_two_names_are_one_text(name, text):
    assert portable(Path(os.fsdecode(name))) == text


def test_loops_pipes_and_dead_links_are_rows_and_nobody_waits(tmp_path):
    folder = fill(tmp_path / "audio", "deep/x.wav")
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "twice.wav").symlink_to(folder / "deep" / "x.wav")
    (folder / "nowhere.wav").symlink_to(folder / "none")
    os.mkfifo(folder / "pipe.wav")
    prepare(folder, tmp_path / "out", TINY)
    found = {row["path"]: (row["status"], row["reason"]) for row in rows_of(tmp_path / "out")}
    assert found == {
        "deep/x.wav": ("ok", None),
        "loop.wav": ("refused", "unreadable"),
        "nowhere.wav": ("refused", "unreadable"),
        "pipe.wav": ("refused", "unreadable"),
        "twice.wav": ("ok", None),
    }


@pytest.mark.parametrize("command", ["prep", "tokenize"])
def test_a_folder_that_cannot_be_looked_into_is_a_row(command, tmp_path, monkeypatch, tokenizer):
    folder, out = tmp_path / "audio", tmp_path / "out"
    fill(folder, "in/x.wav", "in.wav", "y.wav")
    close(folder / "in", monkeypatch)
    if command == "prep":
        prepare(folder, out, TINY)
    else:
        tokenize(tokenizer, folder, out=out)
    found = {row["path"]: (row["status"], row["reason"]) for row in rows_of(out)}
    assert found == {"in": ("refused", "unreadable"), "in.wav": ("ok", None), "y.wav": ("ok", None)}


WITHOUT_PRIVILEGE = """
import ctypes, os, struct, sys
if os.getuid() == 0:  # capset(2), version 3: root keeps no right but an owner's
    assert ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24)) == 0
from ulmo.cli.main import ulmo
sys.argv[0] = "ulmo"
ulmo()
"""


def run(*arguments):
    """A command, as one who may not read everything; its status and what it says."""
    command = [sys.executable, "-c", WITHOUT_PRIVILEGE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="how root gives up its rights is Linux's")
def test_without_permission_a_file_and_a_folder_are_refused_and_told(tmp_path):
    """Whoever runs the tests, root too."""
    folder = tmp_path / "audio"
    fill(folder, "open.wav", "closed.wav", "in/x.wav", "in/y.wav")
    options = ["--sample-rate", "4000", "--hop-length", "64", "-M", "32", "--frontend", "stft"]
    (folder / "closed.wav").chmod(0)
    (folder / "in").chmod(0)
    try:
        status, said = run("prep", folder, tmp_path / "out", *options, "--workers", "1")
        mistake = run("prep", folder / "in", tmp_path / "other")
    finally:
        (folder / "in").chmod(0o755)
    assert status == 3, said
    assert "in: unreadable (Permission denied)" in said
    assert mistake[0] == 2
    assert f"'{folder / 'in'}' is not readable" in mistake[1]
    assert {name: row["reason"] for name, row in by_path(tmp_path / "out").items()} == {
        "open.wav": None,
        "closed.wav": "unreadable",
        "in": "unreadable",
    }
