"""An output that cannot be written is a row of its recording, and the others are done."""

import errno
import os
import sys
from pathlib import Path

import pytest

from tests.moves import at_moves
from tests.pipelines.recordings import TINY, by_path, contents, noise, rows_of, write
from tests.pipelines.test_odd_names import run
from tests.pipelines.tokenizing import hidden, join, tokenize
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.publish import output_paths
from ulmo.formats.read import read_corpus
from ulmo.jobs.spread import Spread
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.verify.verify import verify
from ulmo.storage.names import portable

NAME_MAX = 255  # bytes, of the file systems that tests run on
LENGTHS = (1, 60, 61, 120, 228, 229, 239, 240, 243, 244, 245, 251)
WIDE = "鳥"  # three bytes


def stem(length, letter="n"):
    """A stem of a number of bytes, of wide letters and a few narrow ones."""
    wide = len(letter.encode())
    return letter * (length // wide) + "n" * (length % wide)


STEMS = [stem(length, letter) for length in LENGTHS for letter in ("n", WIDE)][1:]


def fill(folder, stems=STEMS):
    for seed, each in enumerate(stems):
        write(folder / f"{each}.wav", noise(600, seed))
    return folder


def fits(name, file_format="npy"):
    """Whether all files of an output have names that a file system takes."""
    target = Path(Path(name).stem + FORMATS[file_format].suffixes[0])
    outputs = output_paths(target, file_format)
    return all(len(path.name.encode()) <= NAME_MAX for path in (*outputs.files, outputs.header))


@pytest.mark.parametrize(("file_format", "workers"), [("npy", 2), ("raven", 1), ("megatron", 1)])
def test_names_of_any_length_beside_short_ones(file_format, workers, tokenizer, tmp_path):
    folder, out = fill(tmp_path / "in"), tmp_path / "out"
    before = contents(folder)
    tokenize(tokenizer, folder, out=out, workers=workers, file_format=file_format)
    rows = by_path(out)
    assert set(rows) == {f"{each}.wav" for each in STEMS}
    for name, row in rows.items():
        status, reason = ("ok", None) if fits(name, file_format) else ("refused", "unwritable")
        assert (row["status"], row["reason"]) == (status, reason)
        assert len(row["outputs"]) == (row["reason"] is None)
    assert {row["reason"] for row in rows.values()} == {None, "unwritable"}
    assert contents(folder) == before
    assert hidden(out) == []
    assert verify(out).faults == []
    first = contents(out)
    tokenize(tokenizer, folder, out=out, file_format=file_format)
    assert contents(out) == first


def test_beside_the_recordings(tokenizer, tmp_path):
    folder = fill(tmp_path / "in")
    before = contents(folder)
    results = tokenize(tokenizer, folder, channels="each")
    for result in results:
        assert (result.outcome.reason is None) == fits(result.source.name) == bool(result.outputs)
    after = contents(folder)
    assert before.items() <= after.items()
    assert len(after) == len(before) + 2 * sum(bool(result.outputs) for result in results)


def test_a_timeline_takes_recordings_of_any_name(tokenizer, tmp_path):
    """Its parts have names of their own; a name that the timeline cannot have is told at once."""
    stems = [f"20240101_00{minute:02}00_{stem(235)}" for minute in range(2)]
    folder = fill(tmp_path / "in", stems)
    results, timeline = join(tokenizer, folder, out=tmp_path / f"{stem(200)}.npy")
    assert [result.outcome.status for result in results] == ["ok", "ok"]
    assert timeline.recordings == 2
    assert hidden(tmp_path) == []
    for length in (240, 251):
        with pytest.raises(UserError, match=r"cannot be written .*: choose another --out"):
            join(tokenizer, folder, out=tmp_path / f"{stem(length)}.npy")
    assert hidden(tmp_path) == []


def test_prep_needs_no_names(tmp_path):
    summary = prepare(fill(tmp_path / "in"), tmp_path / "out", TINY, spread=Spread(2))
    assert summary.statuses == {"ok": len(STEMS)}


def test_convert(tokenizer, tmp_path):
    """Of names that x.tokens.json fits, but not x.tokens.selections.txt."""
    stems = ["a", stem(233), stem(234), stem(243), "z"]
    tokens, out = tmp_path / "tokens", tmp_path / "labels"
    tokenize(tokenizer, fill(tmp_path / "in", stems), out=tokens)
    done = convert([tokens], out, "raven", done=lambda _: None)
    refused = {result.source.name.partition(".")[0]: result.refusal for result in done}
    assert {name: bool(why) for name, why in refused.items()} == {
        each: not fits(f"{each}.wav", "raven") for each in stems
    }
    assert refused[stem(243)].endswith("cannot be written: File name too long")
    assert hidden(out) == []


class TestLongNames:
    """In a format that repeats the name of a recording in each row."""

    @pytest.fixture
    def folder(self, tmp_path):
        """One of two recordings has a name of 1,225 letters; libsndfile writes no longer path."""
        folder = fill(tmp_path / "in", ["20240101_000000", "20240101_000100"])
        below = folder / "/".join(["d" * 200] * 6)
        below.mkdir(parents=True)
        (folder / "20240101_000100.wav").rename(below / "20240101_000100.wav")
        return folder

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_of_a_folder(self, file_format, folder, tokenizer, tmp_path):
        for _ in range(2):
            tokenize(tokenizer, folder, out=tmp_path / "out", file_format=file_format)
            reasons = [row["reason"] for row in rows_of(tmp_path / "out")]
            repeats = FORMATS[file_format].repeats_name
            assert sorted(map(str, reasons)) == ["None", "unwritable" if repeats else "None"]
            assert verify(tmp_path / "out").faults == []

    def test_of_one_file(self, folder, tokenizer, tmp_path, monkeypatch):
        monkeypatch.chdir(folder)
        (path,) = Path().glob("d*/**/*.wav")
        (result,) = tokenize(tokenizer, path, out=tmp_path / "x.csv", file_format="csv")
        assert result.outcome.detail == (
            "its name has 1225 characters, and csv, which repeats it in each row, takes 1024: "
            "choose another format, such as parquet"
        )
        assert not (tmp_path / "x.csv").exists()

    @pytest.mark.parametrize("file_format", ["csv", "parquet"])
    def test_of_a_table(self, file_format, folder, tokenizer, tmp_path):
        out = tmp_path / f"all.{file_format}"
        results = tokenize(tokenizer, folder, out=out, file_format=file_format)
        ok = [result.outcome.status for result in results].count("ok")
        assert ok == len(list(read_corpus(out))) == 2 - FORMATS[file_format].repeats_name

    def test_of_a_timeline(self, folder, tokenizer, tmp_path):
        out = tmp_path / "t.selections.txt"
        results, timeline = join(tokenizer, folder, out=out, file_format="raven")
        assert [result.outcome.reason for result in results] == [None, "unwritable"]
        assert timeline.recordings == 1


ITS_OWN = ("EACCES", "EPERM", "EISDIR", "EILSEQ", "EINVAL", "ENAMETOOLONG", "ENOTDIR", "EFBIG")
OF_ALL = ("ENOSPC", "EDQUOT", "EIO", "EROFS", "ENOMEM", "EMFILE", "ESTALE")


class TestErrors:
    """The move of one output fails, as on odd file systems."""

    @pytest.fixture
    def fail(self, monkeypatch):
        def set_up(name):
            number = getattr(errno, name)

            def failing(move, source, target):
                if target.name == "b.tokens.npy":
                    raise OSError(number, os.strerror(number), str(source), None, str(target))
                move()

            at_moves(monkeypatch, failing)

        return set_up

    @pytest.mark.parametrize("name", ITS_OWN)
    def test_of_one_output(self, name, fail, tokenizer, tmp_path):
        folder, out = fill(tmp_path / "in", "abc"), tmp_path / "out"
        fail(name)
        tokenize(tokenizer, folder, out=out)
        rows = by_path(out)
        assert [rows[f"{each}.wav"]["status"] for each in "abc"] == ["ok", "refused", "ok"]
        row = rows["b.wav"]
        assert row["reason"] == "unwritable"
        assert row["detail"].endswith(f"cannot be written: {os.strerror(getattr(errno, name))}")
        assert "b.tokens.npy" in row["detail"]
        assert (row["frames_declared"], row["frames_missing"]) == (600, 600)
        assert hidden(out) == []
        assert verify(out).faults == []

    @pytest.mark.parametrize("name", OF_ALL)
    def test_of_the_disk(self, name, fail, tokenizer, tmp_path):
        fail(name)
        with pytest.raises(OSError, match=r"b\.tokens\.npy") as raised:
            tokenize(tokenizer, fill(tmp_path / "in", "abc"), out=tmp_path / "out")
        assert raised.value.errno == getattr(errno, name)
        with pytest.raises(OSError, match=r"b\.tokens\.npy"):
            tokenize(tokenizer, tmp_path / "in")

    def test_when_converting(self, fail, tokenizer, tmp_path):
        tokens = tmp_path / "tokens"
        tokenize(tokenizer, fill(tmp_path / "in", "abc"), out=tokens)
        fail("EACCES")
        done = convert([tokens], tmp_path / "again", "npy", done=lambda _: None)
        assert [result.refusal is None for result in done] == [True, False, True]
        fail("ENOSPC")
        with pytest.raises(OSError, match="No space"):
            convert([tokens], tmp_path / "more", "npy", done=lambda _: None)


def test_a_file_in_the_place_of_a_folder(tokenizer, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a", "sub/b", "sub/deep/c", "d"):
        fill(folder / Path(name).parent, [Path(name).name])
    (out / "tokens").mkdir(parents=True)
    (out / "tokens" / "sub").touch()
    tokenize(tokenizer, folder, out=out, workers=2)
    assert {row["path"]: row["reason"] for row in rows_of(out)} == {
        **{"a.wav": None, "d.wav": None},
        **{"sub/b.wav": "unwritable", "sub/deep/c.wav": "unwritable"},
    }
    assert (out / "tokens" / "sub").read_bytes() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="how root gives up its rights is Linux's")
def test_a_folder_of_recordings_that_nobody_may_write_to(tokenizer, tmp_path):
    folder = tmp_path / "in"
    for name in ("a", "closed/b", "open/c"):
        fill(folder / Path(name).parent, [Path(name).name])
    (folder / "closed").chmod(0o555)
    try:
        status, said = run("tokenize", folder, "--tokenizer", tokenizer.bundle.place)
    finally:
        (folder / "closed").chmod(0o755)
    assert status == 3, said
    assert "closed/b.wav: refused: unwritable (" in said
    assert "Permission denied" in said
    assert sorted(portable(path.relative_to(folder)) for path in folder.rglob("*.npy")) == [
        *("a.tokens.npy", "open/c.tokens.npy")
    ]
