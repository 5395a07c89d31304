"""ulmo lm --joined: recordings of one recorder are each other's past, and no others are."""

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

import ulmo
from tests.commands import assert_refused, run
from tests.small_tokenizers import RATE, sound
from ulmo.cli.main import ulmo as command
from ulmo.config import UserError
from ulmo.formats.read import read_corpus
from ulmo.pipelines.lm.token_row import TokenRow, joined
from ulmo.vocabulary import Vocabulary

SECOND = "20260301_120100.wav"


@pytest.fixture
def score(lm, bundle, tmp_path):
    """A function that scores sources, and returns rows by the name of their recording."""

    def scored(*sources, options=()):
        out = tmp_path / "scores.parquet"
        own = ("--tokenizer", bundle, "--workers", 1, "--lm", lm, "--out", out)
        done = run(command, "lm", "score", *sources, *own, *options)
        assert done.exit_code == 0, done.output
        found = {}
        for row in pq.read_table(out).to_pylist():
            found.setdefault(row["recording"], []).append(row)
        return found

    return scored


def bits_of(rows):
    return [row["bits"] for row in rows]


def test_another_recording_is_no_past_unless_they_are_joined(score, audio, tokens):
    alone = score(tokens)
    (single,) = score(audio / SECOND).values()
    assert bits_of(single) == bits_of(alone[SECOND])
    assert all(row["copied_from_recording"] is None for rows in alone.values() for row in rows)
    together = score(tokens, options=["--joined"])
    assert list(together) == sorted(alone)  # in the order of time
    first, *others = together
    assert bits_of(together[first]) == bits_of(alone[first])  # it has no past
    for name in others:
        for row, own in zip(together[name], alone[name], strict=True):
            assert row["start_s"] == pytest.approx(own["start_s"])
            assert row["start_utc"] == own["start_utc"]
        assert bits_of(together[name]) != bits_of(alone[name])
    copied = {row["copied_from_recording"] for row in together[SECOND]}
    assert copied == {None, first}


def test_recordings_and_their_tokens_are_joined_alike(score, audio, tokens):
    stored, heard = score(tokens, options=["--joined"]), score(audio, options=["--joined"])
    assert stored == heard


def test_what_is_joined_is_scored_as_one_row_with_a_gap(score, lm, tokens):
    model, gap = ulmo.load_token_model(lm), Vocabulary(8).gap
    ids = [stored.ids for stored in read_corpus(tokens)]
    parts = [part for each in ids for part in (np.full((1, 2), gap), each)][1:]
    bits = model.score(np.concatenate(parts)).column_bits
    found = score(tokens, options=["--joined"])
    rows = [row for each in found.values() for row in each]
    assert bits_of(rows) == bits[np.isfinite(bits)].tolist()
    assert [row["column"] for row in rows] == np.flatnonzero(np.isfinite(bits)).tolist()


def test_the_order_is_that_of_time_and_not_of_names(score, audio, tmp_path):
    folder = tmp_path / "late"
    folder.mkdir()
    shutil.copy(audio / SECOND, folder / "b_20260301_110000.wav")
    shutil.copy(audio / "20260301_120000.wav", folder / "a_20260301_120000.wav")
    rows = score(folder, options=["--joined"])
    assert list(rows) == ["b_20260301_110000.wav", "a_20260301_120000.wav"]


def test_recordings_without_a_time_and_those_that_overlap_are_refused(lm, bundle, tmp_path):
    own = ("--tokenizer", bundle, "--lm", lm, "--out", tmp_path / "x.csv", "--workers", 1)
    names = {"untimed": ("a.wav", "20260301_120000.wav")}
    names["twice"] = ("a_20260301_120000.wav", "b_20260301_120003.wav")
    words = {"untimed": "a.wav has none", "twice": "begins 3.0 s before a_20260301_120000.wav ends"}
    for folder, each in names.items():
        (tmp_path / folder).mkdir()
        for name in each:
            soundfile.write(tmp_path / folder / name, sound(6 * RATE), RATE)
        refused = run(command, "lm", "score", tmp_path / folder, *own, "--joined")
        assert_refused(refused, words[folder])
    assert not (tmp_path / "x.csv").exists()


def test_channels_are_rows_of_their_own(lm, bundle, tokens):
    model = ulmo.load_token_model(lm)
    rows = [TokenRow.of_stored(model, stored) for stored in read_corpus(tokens)]
    rows += [row._replace(channel=1) for row in rows[:2]]
    one, other = joined(model, rows)
    assert (len(one.sources), len(other.sources)) == (5, 2)
    assert len(one.ids) == sum(len(row.ids) for row in rows[:5]) + 4


def test_recordings_of_another_time_expansion_are_refused(lm, tokens):
    model = ulmo.load_token_model(lm)
    first, second, *_ = (TokenRow.of_stored(model, stored) for stored in read_corpus(tokens))
    slow = second._replace(column_s=10 * second.column_s)
    with pytest.raises(UserError, match="has another time expansion than 20260301_"):
        joined(model, [first, slow])


def test_a_timeline_says_itself_what_is_past(score, audio, bundle, tmp_path):
    """Its times count from each recording's begin, as in the table of single recordings."""
    out = tmp_path / "all.tokens.npy"
    own = ("--tokenizer", bundle, "--workers", 1, "--timeline", "--gaps", "one", "--out", out)
    done = run(command, "tokenize", audio, *own)
    assert done.exit_code == 0, done.output
    line, together = score(out), score(audio, options=["--joined"])
    for name, rows in together.items():
        found = line[name][: len(rows) - 1]  # the last column may be shared with what follows
        assert [row["start_s"] for row in found] == [
            pytest.approx(row["start_s"], abs=0.05) for row in rows[: len(found)]
        ]
        assert bits_of(found) == bits_of(rows)[: len(found)]


def test_workers_change_no_byte(lm, bundle, tokens, tmp_path):
    tables = []
    for workers in (1, 2):
        tables.append(tmp_path / f"{workers}.csv")
        own = ("--tokenizer", bundle, "--workers", workers, "--lm", lm, "--out", tables[-1])
        done = run(command, "lm", "score", tokens, *own)
        assert done.exit_code == 0, done.output
    assert tables[0].read_bytes() == tables[1].read_bytes()
