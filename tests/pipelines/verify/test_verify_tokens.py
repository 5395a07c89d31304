"""ulmo verify of tokens: what it finds, and what --repair does about it."""

import json
import shutil

import numpy as np
import pytest

from tests.outputs import make_audio, make_tokens
from tests.pipelines.recordings import contents
from tests.pipelines.tokenizing import join, tokenize
from tests.pipelines.verifying import flip, found, run_command
from tests.sealed import seal_tokens
from tests.small_tokenizers import RATE
from ulmo.pipelines.verify.verify import verify


class TestTokens:
    @pytest.fixture
    def tokens(self, tokenizer_of, tmp_path):
        audio = make_audio(tmp_path / "audio", lengths=(3000, 2000), rate=RATE)
        tokenize(tokenizer_of(), audio, out=tmp_path / "tokens")
        return tmp_path / "tokens"

    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (lambda f: flip(f / "a.tokens.npy"), {("a.tokens.npy", "damaged")}),
            (lambda f: (f / "a.tokens.npy").unlink(), {("a.tokens.npy", "missing")}),
            (lambda f: flip(f / "a.tokens.json"), {("a.tokens.json", "damaged")}),
            (lambda f: flip(f / "recordings.json"), {("recordings.parquet", "damaged")}),
            (lambda f: flip(f / "recordings.parquet"), {("recordings.parquet", "damaged")}),
            (lambda f: (f / ".tokenize.jsonl").touch(), {(".tokenize.jsonl", "unfinished")}),
            (lambda f: (f / "z.tokens.csv").touch(), {("z.tokens.csv", "orphan")}),
            (
                lambda f: make_tokens(f / "more"),
                {("more/x.tokens.json", "orphan")},
            ),
            (
                lambda f: (f / ".a.tokens.npy.12.tmp").touch(),
                {(".a.tokens.npy.12.tmp", "left_over")},
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, spoil, expected, tokens):
        assert verify(tokens).faults == []
        spoil(tokens)
        assert expected <= found(tokens)
        assert {path for path, _ in found(tokens)} <= {path for path, _ in expected} | {
            "a.tokens.npy"
        }
        assert run_command(tokens)[0] == 3

    def test_a_repair_and_the_same_command_give_the_same_bytes(self, tokens, tokenizer_of):
        before = contents(tokens)
        flip(tokens / "b.tokens.npy")
        (tokens / ".b.tokens.npy.9.tmp").touch()
        result = verify(tokens, repair=True)
        assert set(result.mended) == {
            *("removed b.tokens.json", "removed b.tokens.npy", "removed .b.tokens.npy.9.tmp")
        }
        assert found(tokens) == {("b.tokens.npy", "missing")}
        results = tokenize(tokenizer_of(), tokens.parent / "audio", out=tokens)
        assert [result.reused for result in results] == [True, False]
        assert contents(tokens) == before
        assert verify(tokens).faults == []

    def test_a_row_that_disagrees_with_its_file(self, tokens):
        make_tokens(tokens / "x")
        shutil.copy(tokens / "x" / "x.tokens.npy", tokens / "a.tokens.npy")
        shutil.copy(tokens / "x" / "x.tokens.json", tokens / "a.tokens.json")
        shutil.rmtree(tokens / "x")
        assert ("recordings.parquet", "disagrees") in found(tokens)

    @pytest.mark.parametrize(
        "name", ["npy", "parquet", "jsonl", "csv", "megatron", "bin", "raven", "audacity"]
    )
    def test_files_of_every_format(self, name, tmp_path):
        path = make_tokens(tmp_path, name)
        assert verify(path).faults == []
        assert verify(tmp_path).faults == []
        flip(path)
        assert found(tmp_path) == found(path) == {(path.name, "damaged")}

    def test_a_timeline_is_gap_between_its_segments(self, tokenizer_of, tmp_path):
        for number, name in enumerate(["S_20230501_000000.wav", "S_20230501_000010.wav"]):
            made = make_audio(tmp_path / str(number), lengths=(3000,), rate=RATE)
            (tmp_path / "field").mkdir(exist_ok=True)
            (made / "a.wav").rename(tmp_path / "field" / name)
        join(tokenizer_of(), tmp_path / "field", out=tmp_path / "out" / "t.tokens.npy")
        path = tmp_path / "out" / "t.tokens.npy"
        assert verify(tmp_path / "out").faults == []
        header = json.loads(path.with_suffix(".json").read_text())
        first = header["segments"][0]
        ids = np.load(path)
        assert len(ids) > first["columns"]
        ids[first["columns"]] = 0
        np.save(path, ids)
        seal_tokens(path)
        assert found(path) == {("t.tokens.npy", "gap")}

    def test_other_peoples_files_are_let_be(self, tokens):
        (tokens / "notes.json").write_text("{}")
        (tokens / "notes.csv").write_text("a,b\n")
        assert verify(tokens, repair=True).faults == []
        assert (tokens / "notes.csv").exists()
