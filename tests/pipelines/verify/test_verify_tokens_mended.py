"""ulmo verify --repair of tokens: what it must not remove, and what it must not call well."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from filelock import lock_descriptor

from tests.outputs import make_audio, make_tiles
from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import join, quiet, tokenize
from tests.sealed import reseal
from tests.small_tokenizers import RATE
from ulmo.cli.main import ulmo
from ulmo.formats.base import PLAIN
from ulmo.pipelines.convert import convert
from ulmo.pipelines.verify.verify import verify


def flip(path, place=-1):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def found(place):
    return {(fault.path, fault.what) for fault in verify(place).faults}


def repair(place):
    """Status and text of the command, and what is left wrong."""
    result = CliRunner().invoke(ulmo, ["verify", str(place), "--repair"])
    return result.exit_code, result.output


@pytest.fixture
def tokens(tokenizer_of, tmp_path):
    audio = make_audio(tmp_path / "audio", lengths=(3000, 2000, 3000), rate=RATE)
    tokenize(tokenizer_of(), audio, out=tmp_path / "tokens")
    return tmp_path / "tokens"


@pytest.fixture
def timeline(tokenizer_of, tmp_path):
    for number, name in enumerate(["S_20230501_000000.wav", "S_20230501_000010.wav"]):
        made = make_audio(tmp_path / str(number), lengths=(3000,), rate=RATE)
        (tmp_path / "field").mkdir(exist_ok=True)
        (made / "a.wav").rename(tmp_path / "field" / name)
    join(tokenizer_of(), tmp_path / "field", out=tmp_path / "out" / "t.tokens.npy")
    return tmp_path / "out"


@pytest.fixture
def closed(monkeypatch):
    """Files and folders that the system lets nobody read, whoever runs the tests."""
    names = set()
    real_open, real_walk = Path.open, os.scandir

    def guarded(path, *args, **options):
        if path.name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return real_open(path, *args, **options)

    def looked(path="."):
        if Path(os.fsdecode(path)).name in names:
            raise PermissionError(13, "Permission denied", str(path))
        return real_walk(path)

    monkeypatch.setattr(Path, "open", guarded)
    monkeypatch.setattr(os, "scandir", looked)
    return names


def to_parquet(path):
    convert([path], path.with_suffix(".parquet"), "parquet", options=PLAIN, done=lambda _: None)


class TestWhatStays:
    @pytest.mark.parametrize("name", ["a.tokens.json", "recordings.json"])
    def test_what_a_newer_ulmo_wrote(self, name, tokens):
        reseal(tokens / name, schema_version=99)
        before = contents(tokens)
        status, text = repair(tokens)
        assert status == 2
        assert "newer ulmo" in text
        assert text.count("\n") == 1
        assert contents(tokens) == before

    @pytest.mark.parametrize(
        "name", ["a.tokens.npy", "a.tokens.json", "recordings.parquet", "recordings.json"]
    )
    def test_what_cannot_be_read(self, name, tokens, closed):
        closed.add(name)
        status, text = repair(tokens)
        assert status == 3
        assert "unreadable" in text
        assert "removed" not in text
        assert {fault.what for fault in verify(tokens).faults} <= {"unreadable", "orphan"}
        closed.clear()
        assert found(tokens) == set()

    def test_a_subfolder_that_cannot_be_looked_into(self, tokens, closed):
        (tokens / "sub").mkdir()
        closed.add("sub")
        assert found(tokens) == {("sub", "unreadable")}
        assert repair(tokens)[0] == 3

    def test_a_folder_of_another_kind_beside_tokens(self, tokens, tmp_path):
        make_tiles(tmp_path / "apart" / "tiles")
        shutil.copytree(tmp_path / "apart" / "tiles", tokens / "tiles_out")
        before = contents(tokens)
        assert repair(tokens)[0] == 0
        assert contents(tokens) == before

    def test_a_table_of_other_people(self, tokens):
        (tokens / "more").mkdir()
        pq.write_table(pa.table({"a": [1]}), tokens / "more" / "recordings.parquet")
        assert found(tokens) == set()
        assert repair(tokens)[0] == 0
        assert (tokens / "more" / "recordings.parquet").exists()

    def test_a_good_file_that_shares_its_header(self, tokens):
        to_parquet(tokens / "a.tokens.npy")
        assert found(tokens) == set()
        good = (tokens / "a.tokens.npy").read_bytes()
        flip(tokens / "a.tokens.parquet")
        status, text = repair(tokens)
        assert status == 3
        assert found(tokens) == {("a.tokens.parquet", "missing")}
        assert "run the same ulmo-tokenize or ulmo convert again" in text
        assert (tokens / "a.tokens.npy").read_bytes() == good
        to_parquet(tokens / "a.tokens.npy")
        assert found(tokens) == set()

    def test_a_file_that_is_being_written(self, tokens):
        temporary = tokens / ".a.tokens.npy.0123.tmp"
        with temporary.open("wb") as file:
            assert lock_descriptor(file.fileno(), blocking=False)
            assert found(tokens) == set()
        assert found(tokens) == {(temporary.name, "left_over")}


class TestTables:
    @pytest.mark.parametrize("spoil", [Path.unlink, flip])
    def test_a_lost_digest_is_written_again(self, spoil, tokens):
        before = contents(tokens)
        spoil(tokens / "recordings.json")
        assert found(tokens) == {("recordings.parquet", "damaged")}
        status, text = repair(tokens)
        assert status == 0
        assert "wrote recordings.json again" in text
        assert contents(tokens) == before

    def test_a_damaged_table_is_not_removed(self, tokens, tokenizer_of):
        before = contents(tokens)
        flip(tokens / "recordings.parquet", 60)
        assert repair(tokens)[0] == 3
        assert found(tokens) == {("recordings.parquet", "damaged")}
        tokenize(tokenizer_of(), tokens.parent / "audio", out=tokens)
        assert contents(tokens) == before

    def test_a_digest_without_its_table(self, tokens):
        (tokens / "recordings.parquet").unlink()
        assert found(tokens) == {("recordings.parquet", "missing")}
        assert repair(tokens)[0] == 3

    def test_tokens_of_another_recording(self, tokens, tokenizer_of):
        before = contents(tokens)
        for ending in ("npy", "json"):
            shutil.copy(tokens / f"a.tokens.{ending}", tokens / f"c.tokens.{ending}")
        assert ("recordings.parquet", "disagrees") in found(tokens)
        results = tokenize(tokenizer_of(), tokens.parent / "audio", out=tokens)
        assert [result.reused for result in results] == [True, True, False]
        assert contents(tokens) == before

    def test_a_table_in_a_subfolder(self, tokens):
        (tokens.parent / "all").mkdir()
        tokens.rename(tokens.parent / "all" / "one")
        place = tokens.parent / "all"
        assert found(place) == set()
        for ending in ("npy", "json"):
            (place / "one" / f"a.tokens.{ending}").unlink()
        assert found(place) == {("one/a.tokens.npy", "missing")}

    def test_a_corpus_beside_tokens_is_no_orphan(self, tokens):
        convert([tokens], tokens / "x.csv", "csv", options=PLAIN, done=lambda _: None)
        assert found(tokens) == set()


class TestTimelines:
    def test_a_damaged_one_is_missed(self, timeline):
        flip(timeline / "t.tokens.npy")
        assert repair(timeline)[0] == 3
        assert found(timeline) == {("t.tokens.npy", "missing")}

    def test_one_of_other_recordings(self, timeline):
        header = timeline / "t.tokens.json"
        segments = json.loads(header.read_text())["segments"]
        segments[0]["recording"] = "other.wav"
        reseal(header, segments=segments)
        assert found(timeline) == {("t.tokens.npy.recordings.parquet", "disagrees")}

    def test_parts_of_a_killed_job_are_unfinished(self, timeline, tokens):
        parts = timeline / ".t.tokens.npy.parts"
        shutil.copytree(tokens, parts)
        flip(parts / "recordings.parquet")
        assert found(timeline) == {(parts.name, "unfinished")}
        assert repair(timeline)[0] == 3
        assert (parts / "a.tokens.npy").exists()


def test_a_pipe_for_a_vocabulary_is_told(tokens):
    convert([tokens], tokens / "c.bin", "bin", options=PLAIN, done=lambda _: None)
    (tokens / "c.vocabulary.json").unlink()
    os.mkfifo(tokens / "c.vocabulary.json")
    assert found(tokens) == {("c.vocabulary.json", "damaged")}


def test_the_to_do_of_a_flipped_byte_helps(tokens, tokenizer_of):
    before = contents(tokens)
    flip(tokens / "a.tokens.npy")
    (fault,) = verify(tokens).faults
    assert f"ulmo verify {tokens} --repair" in fault.remedy
    assert repair(tokens)[0] == 3
    tokenize(tokenizer_of(), tokens.parent / "audio", out=tokens)
    assert contents(tokens) == before


def test_a_lone_file_leaves_its_header_which_tells_that_it_is_missing(tokenizer_of, tmp_path):
    audio = make_audio(tmp_path / "audio", lengths=(3000,), rate=RATE)
    tokenize(tokenizer_of(), audio / "a.wav", listener=quiet())
    flip(audio / "a.tokens.npy")
    assert repair(audio)[0] == 3
    assert found(audio) == {("a.tokens.npy", "missing")}
    tokenize(tokenizer_of(), audio / "a.wav", listener=quiet())
    assert len(np.load(audio / "a.tokens.npy"))
