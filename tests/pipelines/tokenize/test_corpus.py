"""One table of many recordings: ulmo-tokenize FOLDER --out all.csv."""

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.commands import run
from tests.outputs import names
from tests.pipelines.recordings import contents, doomed, run_killed
from tests.pipelines.tokenizing import hidden, join, record, tokenize
from ulmo.cli.tokenize import tokenize as tokenize_command
from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.publish import format_of
from ulmo.formats.read import read_corpus

MANY = [name for name, kind in FORMATS.items() if kind.many]
SOUNDS = ["S_20230501_000000.wav", "a/y.wav", "a/z.wav"]


@pytest.fixture
def field(tmp_path):
    """Three recordings in folders, one of which is broken."""
    for number, name in enumerate(SOUNDS):
        record(tmp_path / "field" / name, seconds=2 + number)
    (tmp_path / "field" / "a" / "y.wav").write_bytes(b"")
    return tmp_path / "field"


@pytest.mark.parametrize("file_format", MANY)
def test_all_recordings_are_in_one_file(file_format, tokenizer, field, tmp_path):
    out = tmp_path / "new" / f"all{Path(FORMATS[file_format].suffixes[-1]).suffix}"
    results = tokenize(tokenizer, field, out=out, file_format=file_format)
    assert [result.outputs for result in results] == [[out], [], [out]]
    found = list(read_corpus(out))
    assert [header.recording for header, _ in found] == [SOUNDS[0], SOUNDS[2]]
    for header, ids in found:
        alone = tokenizer.encode(field / header.recording)
        np.testing.assert_array_equal(ids, alone.ids)
        assert header.start_utc == alone.start_utc
    assert hidden(tmp_path) == []
    assert (out.parent / "all.vocabulary.json").exists() == FORMATS[file_format].trains


def test_each_channel_is_a_stream(tokenizer, tmp_path):
    paths = [record(tmp_path / name, channels=2) for name in ("a.wav", "b.wav")]
    out = tmp_path / "all.csv"
    tokenize(tokenizer, *paths, out=out, file_format="csv", channels="each")
    streams = [(Path(header.recording).name, header.channel) for header, _ in read_corpus(out)]
    assert streams == [("a.wav", 0), ("a.wav", 1), ("b.wav", 0), ("b.wav", 1)]


def test_the_bytes_do_not_depend_on_workers_or_kills(tokenizer, field, tmp_path, monkeypatch):
    for workers in (1, 2):
        out = tmp_path / str(workers) / "all.parquet"
        tokenize(tokenizer, field, out=out, file_format="parquet", workers=workers)
    out = tmp_path / "killed" / "all.parquet"
    how = {"out": out, "file_format": "parquet"}
    run_killed(monkeypatch, doomed(4), tokenize, tokenizer, field, **how)
    results = tokenize(tokenizer, field, **how)
    assert [result.reused for result in results] == [True, False, False]
    for each in ("2", "killed"):
        assert contents(tmp_path / each) == contents(tmp_path / "1")


@pytest.mark.parametrize("damage", ["other ids", "cut", "no array"])
def test_a_part_that_was_damaged_is_made_again(damage, tokenizer, field, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole.csv", tmp_path / "all.csv"
    tokenize(tokenizer, field, out=whole, file_format="csv")
    how = {"out": out, "file_format": "csv"}
    run_killed(monkeypatch, doomed(4), tokenize, tokenizer, field, **how)
    part = next(tmp_path.glob(".all.csv.parts/tokens/**/*.npy"))
    data = part.read_bytes()
    changed = {"other ids": data[:-8] + bytes(8), "cut": data[:-4], "no array": b"x" * len(data)}
    part.write_bytes(changed[damage])
    tokenize(tokenizer, field, **how)
    assert out.read_bytes() == whole.read_bytes()


def test_if_all_are_refused_nothing_is_written(tokenizer, field, tmp_path):
    for path in field.rglob("*.wav"):
        path.write_bytes(b"")
    results = tokenize(tokenizer, field, out=tmp_path / "all.csv", file_format="csv")
    assert [result.outcome.reason for result in results] == ["empty_file"] * 3
    assert names(tmp_path) == ["field"]


def test_a_format_with_a_file_for_each_says_what_to_do(tokenizer, field, tmp_path):
    with pytest.raises(UserError, match=r"set --out to a folder, or .* all\.parquet or all\.csv"):
        tokenize(tokenizer, field, out=tmp_path / "all.npy")


@pytest.mark.parametrize("name", ["t.tokens.npy", "t.npy"])
def test_a_timeline_with_another_hash_is_made_again(name, tokenizer, field, tmp_path):
    """One that the user named, only once it is deleted."""
    field, out = field / SOUNDS[0], tmp_path / "out" / name
    join(tokenizer, field, out=out)
    before = contents(tmp_path / "out")
    content = bytearray(out.read_bytes())
    content[-2] ^= 1
    out.write_bytes(content)
    if name == "t.npy":
        with pytest.raises(UserError, match=r"cannot be written: .*: delete it, or choose"):
            join(tokenizer, field, out=out)
        assert out.read_bytes() == content
        out.unlink()
    join(tokenizer, field, out=out)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("all.csv", "csv"), ("a.tokens.parquet", "parquet"), ("x.jsonl", "jsonl")),
        *(("x.bin", "bin"), ("x.idx", "megatron"), ("x.selections.txt", "raven")),
        *(("x.labels.txt", "audacity"), ("x.txt", "npy"), ("x", "npy"), (".csv", "npy")),
    ],
)
def test_the_end_of_a_name_is_a_format(name, expected, tmp_path, monkeypatch):
    assert format_of(Path(name)) == expected
    monkeypatch.chdir(tmp_path)
    Path(name).mkdir()
    assert format_of(Path(name)) == "npy"


def test_the_command_needs_no_format(tokenizer, field, tmp_path):
    out = tmp_path / "all.csv"
    result = run(tokenize_command, field, "--out", out, "--tokenizer", tokenizer.bundle.place)
    assert result.exit_code == 3
    assert result.stdout.splitlines()[-1] == f"output      {out}"
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert {row["recording"] for row in rows} == {SOUNDS[0], SOUNDS[2]}
    assert "fingerprint" not in rows[0]
    assert {float(row["end_s"]) > float(row["start_s"]) for row in rows} == {True}
