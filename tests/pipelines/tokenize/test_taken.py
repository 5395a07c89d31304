"""An output replaces nothing that is not ulmo's, and spoils no earlier output."""

import pytest

from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import join, record, tokenize
from ulmo import UserError, read_tokens
from ulmo.formats import publish
from ulmo.pipelines.convert.convert import convert

FOREIGN = b'{"annotations": 1}'
WORDS = "choose another --out"


def reasons(results):
    return {one.source.name: one.outcome.reason for one in results}


def test_a_foreign_header_of_one_of_many_is_a_row(tokenizer, tmp_path):
    wavs = [record(tmp_path / name) for name in ("a.wav", "b.wav")]
    (tmp_path / "a.tokens.json").write_bytes(FOREIGN)
    results = tokenize(tokenizer, *wavs)
    assert reasons(results) == {"a.wav": "unwritable", "b.wav": None}
    detail = results[0].outcome.detail
    assert "a.tokens.json cannot be written" in detail
    assert WORDS in detail
    assert (tmp_path / "a.tokens.json").read_bytes() == FOREIGN
    assert not (tmp_path / "a.tokens.npy").exists()


@pytest.mark.parametrize("name", ["x.json", "x.csv"])
def test_nothing_foreign_is_replaced_by_one_file(name, tokenizer, tmp_path):
    wav, out = record(tmp_path / "in" / "a.wav"), tmp_path / "x.csv"
    (tmp_path / name).write_bytes(FOREIGN)
    before = contents(tmp_path)
    (result,) = tokenize(tokenizer, wav, out=out, file_format="csv")
    assert (result.outcome.reason, result.outputs) == ("unwritable", [])
    assert f"{name} cannot be written" in result.outcome.detail
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["x.json", "x.csv"])
def test_nothing_foreign_is_replaced_by_a_table_or_a_timeline(name, tokenizer, tmp_path):
    for hour in (1, 2):
        record(tmp_path / "in" / f"20260101_0{hour}0000.wav")
    tokenize(tokenizer, tmp_path / "in", out=tmp_path / "out")
    (tmp_path / name).write_bytes(FOREIGN)
    how = {"out": tmp_path / "x.csv", "file_format": "csv"}
    for make in (
        lambda: tokenize(tokenizer, tmp_path / "in", **how),
        lambda: join(tokenizer, tmp_path / "in", gaps="one", **how),
        lambda: convert([tmp_path / "out"], how["out"], "csv", done=lambda _: None),
    ):
        with pytest.raises(UserError, match=f"{name} cannot be written: .*{WORDS}"):
            make()
        assert (tmp_path / name).read_bytes() == FOREIGN


def test_a_timeline_of_refused_recordings_removes_nothing_foreign(tokenizer, tmp_path):
    """It has nothing to write, and removes an older timeline of its name."""
    (tmp_path / "20260101_010000.wav").touch()
    (tmp_path / "x.csv").write_bytes(FOREIGN)
    how = {"gaps": "one", "out": tmp_path / "x.csv", "file_format": "csv"}
    join(tokenizer, tmp_path / "20260101_010000.wav", **how)
    assert (tmp_path / "x.csv").read_bytes() == FOREIGN


def test_tokens_of_another_time_expansion_do_not_take_the_header_of_others(tokenizer, tmp_path):
    wav = record(tmp_path / "a.wav")
    tokenize(tokenizer, wav)
    before = contents(tmp_path)
    (result,) = tokenize(tokenizer.with_sound(2), wav, file_format="csv")
    assert result.outcome.reason == "unwritable"
    assert "it also describes" in result.outcome.detail
    assert contents(tmp_path) == before
    assert len(read_tokens(tmp_path / "a.tokens.npy").ids)


def test_a_refused_recording_keeps_the_header_that_other_formats_need(tokenizer, tmp_path):
    wav = record(tmp_path / "a.wav")
    tokenize(tokenizer, wav)
    tokenize(tokenizer, wav, file_format="csv")
    wav.write_bytes(b"")
    tokenize(tokenizer, wav, file_format="csv")
    assert not (tmp_path / "a.tokens.csv").exists()
    assert len(read_tokens(tmp_path / "a.tokens.npy").ids)


def test_an_output_that_another_job_has_been_writing_for_long_is_a_row(
    tokenizer, tmp_path, monkeypatch
):
    wavs = [record(tmp_path / name) for name in ("a.wav", "b.wav")]
    monkeypatch.setattr(publish, "_WAIT_SECONDS", 0.05)
    with publish.one_writer(tmp_path / "a.tokens.json"):
        results = tokenize(tokenizer, *wavs)
        with pytest.raises(UserError, match="is being written by another job"):
            tokenize(tokenizer, *wavs, out=tmp_path / "a.tokens.csv", file_format="csv")
    assert reasons(results) == {"a.wav": "unwritable", "b.wav": None}
    detail = results[0].outcome.detail
    assert "a.tokens.json cannot be written: it is being written by another job (proc" in detail
    assert reasons(tokenize(tokenizer, *wavs)) == {"a.wav": None, "b.wav": None}
