"""Names, metadata and labels that would move a cursor, run in a browser or hide what they are.

Wherever they are shown, every character can be printed; in tables they are what they were.
"""

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from tests import commands
from tests.crash.jobs import ONE, PREP, make_bundle
from tests.pipelines.recordings import RATE, by_path, noise, write
from tests.preprocessing.times.test_clock import guan, info
from ulmo.cli.main import ulmo
from ulmo.formats import FORMATS
from ulmo.formats.read import read_corpus
from ulmo.storage.names import path_of

ESCAPES = "\x1b[2J\x1b]0;title\x07\x9b1m\x7f"  # clear the screen, name the window, ring
LINES = "\r\n\t\v\x85\u2028"
MARKUP = "<img src=x onerror=alert(1)>&amp;"
HIDING = "\u202egnp\u2066\u200b\ufeff"
EVIL = f"=1+cmd|{ESCAPES}{LINES}{MARKUP}{HIDING}$^_{{%s"
NAMES = [f"{EVIL}.wav", f"{EVIL}/{EVIL}.wav", f"none{EVIL}.wav"]


def run(*arguments, statuses=(0, 3)):
    """Run a command; all that it says can be printed."""
    done = commands.run(ulmo, *arguments)
    assert done.exit_code in statuses, done.output
    assert_tame(done.stdout)
    assert_tame(re.sub(r"\r\w+: [^\r\n]*", "", done.stderr))  # but for the bar of progress
    return done


def assert_tame(text):
    wild = sorted({char for char in text if not (char.isprintable() or char == "\n")})
    assert wild == []


def assert_tame_files(folder):
    """Text files: what a person reads, or a program that follows lines and tabs."""
    for path in folder.rglob("*"):
        if path.suffix in {".json", ".jsonl", ".csv", ".txt", ".md", ".toml"}:
            text = path.read_bytes().decode()
            assert_tame(text.replace("\r\n", "\n").replace("\t", " "))


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """Two recordings whose metadata are as their names, and a file that is no sound."""
    folder = tmp_path_factory.mktemp("foreign")
    for name in NAMES:
        (folder / name).parent.mkdir(exist_ok=True)
        write(folder / name, noise(RATE, 0))
    content = (folder / NAMES[0]).read_bytes()
    for name, chunk in zip(NAMES, (guan(EVIL), info(EVIL), b""), strict=True):
        (folder / name).write_bytes(content + chunk if chunk else EVIL.encode() * 3)
    return folder


@pytest.fixture(scope="module")
def tokens(audio, tmp_path_factory):
    """A folder of tokens of them; and what was said when it was made."""
    out = tmp_path_factory.mktemp("tokens") / "npy"
    bundle = make_bundle(out.with_name("bundle"))
    arguments = ["tokenize", audio, "--out-dir", out, "--tokenizer", bundle, *ONE]
    run(*arguments)
    assert json.loads(run(*arguments, "--json").stdout)["recordings"] == len(NAMES)
    return out


def test_tiles(audio, tmp_path):
    out = tmp_path / "out"
    run("prep", audio, out, *PREP)
    json.loads(run("prep", audio, out, *PREP, "--json").stdout)
    assert {path_of(path) for path in by_path(out)} == {Path(name) for name in NAMES}
    run("verify", out)
    assert_tame_files(out)


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "npy"])
def test_tokens(name, tokens, tmp_path):
    out = tmp_path / f"all{FORMATS[name].suffixes[-1]}"
    if not FORMATS[name].many:
        out = tmp_path / "labels"
    run("convert", tokens, "--format", name, "--out", out)
    run("verify", tmp_path)
    assert_tame_files(tmp_path)
    if FORMATS[name].readable:
        found = {path_of(stored.header.recording) for stored in read_corpus(out)}
        assert found == {Path(name) for name in NAMES[:2]}


def test_pictures_and_reports_of_faults(audio, tokens, tmp_path):
    assert_tame_files(tokens)
    run("show", audio / NAMES[0], *PREP[:-2], "--out", tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    copy = shutil.copytree(tokens, tmp_path / "copy")
    next((copy / "tokens").rglob("*.npy")).unlink()
    assert "_{%s" in run("verify", copy).stdout
    json.loads(run("verify", copy, "--json").stdout)


def test_labels(audio, tokens, tmp_path):
    """A report says no labels; a table that names no file says which."""
    with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "label"], [f"{EVIL}\0", f"{EVIL}\0"], [EVIL, EVIL]])
    arguments = ["eval", tokens.with_name("bundle"), "--audio", audio]
    done = run(*arguments, "--labels", tmp_path / "labels.csv", statuses=[2])
    assert "=1+cmd" in done.stderr
