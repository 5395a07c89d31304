"""ulmo verify of tokens: what it finds, what --repair does about it, and what it leaves alone."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import lock_descriptor

from tests.outputs import make_audio, make_tiles, make_tokens, write_table
from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import join, tokenize
from tests.pipelines.verifying import change_rows, flip, found, run_command
from tests.sealed import reseal, seal_tokens
from tests.small_tokenizers import RATE
from tests.storage.trees import close
from ulmo.formats.places import header_path
from ulmo.formats.read import read_corpus
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.verify import token_ledgers
from ulmo.pipelines.verify.verify import verify
from ulmo.storage.plain_file import file_hash
from ulmo.storage.tables import schema_of

A = "tokens/a.tokens.npy"


def repair(place):
    """Status and text of the command."""
    return run_command(place, "--repair")


@pytest.fixture
def again(tokenizer_of, tokens):
    """The same ulmo-tokenize again; which of the recordings it did not tokenize."""

    def again():
        results = tokenize(tokenizer_of(), tokens.parent / "audio", out=tokens)
        return [result.reused for result in results]

    return again


@pytest.fixture
def timeline(tokenizer_of, tmp_path):
    for number, name in enumerate(["S_20230501_000000.wav", "S_20230501_000010.wav"]):
        made = make_audio(tmp_path / str(number), lengths=(3000,), rate=RATE)
        (tmp_path / "field").mkdir(exist_ok=True)
        (made / "a.wav").rename(tmp_path / "field" / name)
    join(tokenizer_of(), tmp_path / "field", out=tmp_path / "out" / "t.tokens.npy")
    return tmp_path / "out"


def copy_over(folder, source):
    """The tokens of another recording in place of those of c.wav."""
    shutil.copy(source, folder / "tokens" / "c.tokens.npy")
    header = header_path(source.with_suffix(""))
    shutil.copy(header, folder / "token_headers" / "c.tokens.json")


def to_parquet(path):
    convert([path], path.with_suffix(".parquet"), "parquet", done=lambda _: None)


def rows_with(**changes):
    """A spoiler: other values in the first row of the table, and all sealed."""

    def change(rows):
        rows[0].update(changes)

    return lambda folder: change_rows(
        folder, "recordings.parquet", change, row=Tokenized, manifest="tokenize.json"
    )


TABLE, MANIFEST = "recordings.parquet", "tokenize.json"
FAULTS = {
    "ids": (lambda f: flip(f / A), (A, "damaged")),
    "no ids": (lambda f: (f / A).unlink(), (A, "missing")),
    "header": (
        lambda f: flip(f / "token_headers/a.tokens.json"),
        ("token_headers/a.tokens.json", "damaged"),
    ),
    "manifest": (lambda f: flip(f / MANIFEST), (MANIFEST, "damaged")),
    "no manifest": (lambda f: (f / MANIFEST).unlink(), (MANIFEST, "missing")),
    "unfinished": (lambda f: reseal(f / MANIFEST, complete=False), (MANIFEST, "unfinished")),
    "table": (lambda f: flip(f / TABLE), (TABLE, "damaged")),
    "no table": (lambda f: (f / TABLE).unlink(), (TABLE, "missing")),
    "journal": (lambda f: (f / ".tokenize.jsonl").touch(), (".tokenize.jsonl", "left_over")),
    "no header": (lambda f: (f / "tokens/z.tokens.csv").touch(), ("tokens/z.tokens.csv", "orphan")),
    "no row": (lambda f: make_tokens(f / "tokens/x"), ("tokens/x/x.tokens.npy", "orphan")),
    "temporary": (
        lambda f: (f / "tokens/.a.tokens.npy.12.tmp").touch(),
        ("tokens/.a.tokens.npy.12.tmp", "left_over"),
    ),
    "columns": (rows_with(columns=7), (TABLE, "disagrees")),
    "name": (rows_with(path="z.wav"), (TABLE, "disagrees")),
    "unknown": (rows_with(unknown=1), (TABLE, "disagrees")),
    "twice": (rows_with(outputs=["tokens/b.tokens.npy"]), (TABLE, "duplicate")),
    "outside": (rows_with(outputs=["../audio/a.wav"]), ("../audio/a.wav", "missing")),
    "another's tokens": (lambda f: copy_over(f, f / A), (TABLE, "disagrees")),
    "another format's": (
        lambda f: copy_over(f, make_tokens(f.parent / "x")),
        (TABLE, "disagrees"),
    ),
}


class TestTokens:
    def test_all_is_well(self, tokens):
        assert verify(tokens).faults == []

    @pytest.mark.parametrize(("spoil", "expected"), FAULTS.values(), ids=FAULTS)
    def test_what_is_wrong_is_named_and_the_same_command_helps(
        self, spoil, expected, tokens, again
    ):
        """After --repair, and after what it says to delete is deleted."""
        before = contents(tokens)
        spoil(tokens)
        there = found(tokens)
        assert expected in there
        others = {
            A,
            "token_headers/a.tokens.json",
            "tokens/c.tokens.npy",
            "token_headers/x/x.tokens.json",
        }
        assert {path for path, _ in there} <= {expected[0], *others}
        assert run_command(tokens)[0] == 3
        for fault in verify(tokens, repair=True).faults:
            if fault.remedy.startswith("delete it"):
                (tokens / fault.path).unlink(missing_ok=True)
        again()
        assert contents(tokens) == before
        assert found(tokens) == set()

    def test_a_repair_removes_what_is_damaged_and_no_more(self, tokens, again):
        flip(tokens / "tokens" / "b.tokens.npy")
        (tokens / "tokens" / ".b.tokens.npy.9.tmp").touch()
        (fault,) = (each for each in verify(tokens).faults if each.what == "damaged")
        assert f"ulmo verify {tokens} --repair" in fault.remedy
        gone = [".b.tokens.npy.9.tmp", "b.tokens.npy"]
        result = verify(tokens, repair=True)
        assert sorted(result.mended) == [f"removed tokens/{name}" for name in gone]
        assert found(tokens) == {("tokens/b.tokens.npy", "missing")}
        assert again() == [True, False, True]

    def test_a_folder_of_tokens_in_a_folder(self, tokens):
        place = tokens.parent / "all"
        place.mkdir()
        tokens.rename(place / "one")
        assert found(place) == set()
        (place / "one" / "tokens" / "a.tokens.npy").unlink()
        (place / "one" / "token_headers" / "a.tokens.json").unlink()
        assert found(place) == {(f"one/{A}", "missing")}

    def test_a_lone_file_leaves_its_header_which_tells_that_it_is_missing(
        self, tokenizer_of, tmp_path
    ):
        audio = make_audio(tmp_path / "audio", lengths=(3000,), rate=RATE)
        tokenize(tokenizer_of(), audio / "a.wav")
        flip(audio / "a.tokens.npy")
        assert repair(audio)[0] == 3
        assert found(audio) == {("a.tokens.npy", "missing")}
        tokenize(tokenizer_of(), audio / "a.wav")
        assert len(np.load(audio / "a.tokens.npy"))


class TestWhatStays:
    def test_a_subfolder_that_cannot_be_looked_into(self, tokens, monkeypatch):
        (tokens / "sub").mkdir()
        close(tokens / "sub", monkeypatch)
        assert found(tokens) == {("sub", "unreadable")}
        assert repair(tokens)[0] == 3

    def test_other_peoples_files_and_folders_of_another_kind(self, tokens, tmp_path):
        make_tiles(tmp_path / "apart" / "tiles")
        shutil.copytree(tmp_path / "apart" / "tiles", tokens / "tiles_out")
        (tokens / "notes.json").write_text("{}")
        (tokens / "notes.csv").write_text("a,b\n")
        (tokens / "more").mkdir()
        pq.write_table(pa.table({"a": [1]}), tokens / "more" / "recordings.parquet")
        convert([tokens], tokens / "x.csv", "csv", done=lambda _: None)
        before = contents(tokens)
        assert found(tokens) == set()
        assert repair(tokens)[0] == 0
        assert contents(tokens) == before

    def test_a_good_file_that_shares_its_header(self, tokens):
        path = tokens / A
        to_parquet(path)
        assert found(tokens) == set()
        good = path.read_bytes()
        flip(path.with_suffix(".parquet"))
        status, text = repair(tokens)
        assert status == 3
        assert found(tokens) == {("tokens/a.tokens.parquet", "missing")}
        assert "run the same ulmo-tokenize or ulmo convert again" in text
        assert path.read_bytes() == good
        to_parquet(path)
        assert found(tokens) == set()

    def test_a_file_that_is_being_written(self, tokens):
        temporary = tokens / "tokens" / ".a.tokens.npy.0123.tmp"
        with temporary.open("wb") as file:
            assert lock_descriptor(file.fileno(), blocking=False)
            assert found(tokens) == set()
        assert found(tokens) == {(f"tokens/{temporary.name}", "left_over")}

    def test_a_pipe_for_a_vocabulary_is_told(self, tokens):
        convert([tokens], tokens / "c.bin", "bin", done=lambda _: None)
        (tokens / "c.vocabulary.json").unlink()
        os.mkfifo(tokens / "c.vocabulary.json")
        assert found(tokens) == {("c.vocabulary.json", "damaged")}


def test_an_output_that_many_rows_have_is_read_once(tokens, monkeypatch):
    def change(rows):
        rows += [rows[0]] * 50

    change_rows(tokens, TABLE, change, Tokenized, MANIFEST)
    read, read_stored = [], token_ledgers.read_stored

    def noted(path):
        read.append(path)
        return read_stored(path)

    monkeypatch.setattr(token_ledgers, "read_stored", noted)
    (fault,) = verify(tokens).faults
    assert (fault.what, fault.detail) == ("duplicate", f"51 rows have the output {A}")
    assert len(read) == len(set(read)) == 3


class TestTimelines:
    def test_one_is_gap_between_its_segments(self, timeline):
        path = timeline / "t.tokens.npy"
        assert verify(timeline).faults == []
        first = json.loads(path.with_suffix(".json").read_text())["segments"][0]
        ids = np.load(path)
        assert len(ids) > first["columns"]
        ids[first["columns"]] = 0
        np.save(path, ids)
        seal_tokens(path)
        assert found(path) == {("t.tokens.npy", "gap")}

    def test_one_of_other_recordings(self, timeline):
        header = timeline / "t.tokens.json"
        segments = json.loads(header.read_text())["segments"]
        segments[0]["recording"] = "other.wav"
        reseal(header, segments=segments)
        assert found(timeline) == {("t.tokens.npy.recordings.parquet", "disagrees")}

    @pytest.mark.parametrize("stretches", [0, 2, 1 << 62])
    def test_one_whose_table_has_more_or_fewer_stretches(self, stretches, timeline):
        """They are counted, and not listed."""
        table = timeline / f"t.tokens.npy.{TABLE}"
        rows = pq.read_table(table).to_pylist()
        rows[-1]["stretches"] = stretches
        write_table(table, rows, schema_of(Tokenized))
        reseal(timeline / f"t.tokens.npy.{MANIFEST}", hashes={table.name: file_hash(table)})
        assert found(timeline) == {(table.name, "disagrees")}

    @pytest.mark.parametrize("name", [TABLE, MANIFEST])
    @pytest.mark.parametrize("spoil", [flip, Path.unlink])
    def test_its_ledger(self, name, spoil, timeline):
        spoil(timeline / f"t.tokens.npy.{name}")
        what = "missing" if spoil is Path.unlink else "damaged"
        assert found(timeline) == {(f"t.tokens.npy.{name}", what)}

    def test_parts_of_a_killed_job_are_unfinished(self, timeline, tokens):
        parts = timeline / ".t.tokens.npy.parts"
        shutil.copytree(tokens, parts)
        flip(parts / TABLE)
        assert found(timeline) == {(parts.name, "unfinished")}
        assert repair(timeline)[0] == 3
        assert (parts / A).exists()


@pytest.mark.parametrize("mended_by", ["rerun", "repair"])
def test_names_that_a_killed_job_tried(mended_by, tokens, again):
    before = contents(tokens)
    probe = tokens / f".ulmo-names.{'0a' * 12}.tmp"
    probe.mkdir()
    (probe / "A.tokens.npy").write_bytes(b"A.tokens.npy")
    assert found(tokens) == {(probe.name, "left_over")}
    assert len(list(read_corpus(tokens))) > 1
    if mended_by == "rerun":
        assert all(again())
    else:
        repair(tokens)
    assert not probe.exists()
    assert found(tokens) == set()
    assert contents(tokens) == before
