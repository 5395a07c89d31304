"""ulmo-tokenize with --time-expansion: files, timelines, corpora, and what is said."""

from fractions import Fraction

import numpy as np
import pytest
import soundfile

from tests.commands import run
from tests.pipelines.recordings import by_path, rows_of
from tests.pipelines.tokenizing import join, tokenize
from tests.small_tokenizers import RATE, sound
from ulmo.cli.main import ulmo
from ulmo.config import PrepSettings, UserError
from ulmo.formats.header import read_stored
from ulmo.formats.read import read_corpus
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.inspect.inspect import inspect_bundle
from ulmo.tokenizer import load_tokenizer

FAST = 20_000
K = 10


def record(path, seconds, rate=FAST):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound(round(seconds * rate)), rate)
    return path


@pytest.fixture
def bats(tokenizer):
    return tokenizer.with_sound(K)


def test_header_and_row_are_those_of_the_sound(bats, tokenizer, tmp_path):
    (result,) = tokenize(bats, record(tmp_path / "in" / "x.wav", 0.5), out=tmp_path / "out.npy")
    header = read_stored(tmp_path / "out.json").header
    assert (header.sample_rate, header.time_expansion, header.recording_rate) == (FAST, K, FAST)
    assert header.edges_hz == tuple(bats.edges_hz)
    assert header.edges_hz[-1] == pytest.approx(10 * tokenizer.edges_hz[-1])
    assert header.end_seconds(header.columns) == pytest.approx(0.5)
    assert (result.outcome.duration_s, result.outcome.bandwidth_hz) == (0.5, FAST / 2)
    (stored,) = read_corpus(tmp_path / "out.npy")
    expected = tokenizer.encode(sound(FAST // 2), sample_rate=FAST // K)
    agree = (stored.ids == expected.ids).mean()  # the file has 16 bits
    assert agree > 0.9


def test_a_timeline_has_its_gaps_at_their_true_times(bats, tmp_path):
    folder, hop = tmp_path / "in", Fraction(80, FAST)  # 4 ms
    record(folder / "20260101_000000.wav", 0.4)
    record(folder / "20260101_000002.wav", 0.4)
    _, timeline = join(bats, folder, out=tmp_path / "all.npy")
    (stored,) = read_corpus(tmp_path / "all.npy")
    gap = bats.vocabulary.special("<gap>")
    is_gap = (stored.ids == gap).all(axis=1)
    assert np.flatnonzero(np.diff(is_gap)).tolist() == [99, 499]
    assert len(is_gap) == timeline.columns == 600
    assert float(timeline.gap_seconds) == pytest.approx(1.6)
    assert [segment.offset / FAST for segment in stored.header.segments] == [0, 2]
    assert stored.header.seconds(500) == float(500 * hop) == 2


def test_a_folder_is_of_one_expansion(bats, tokenizer, tmp_path):
    record(tmp_path / "in" / "x.wav", 0.3)
    tokenize(bats, tmp_path / "in", out=tmp_path / "out")
    tokenize(bats, tmp_path / "in", out=tmp_path / "out")
    assert '"time_expansion": 10.0' in (tmp_path / "out" / "tokenize.json").read_text()
    with pytest.raises(UserError, match=r"time_expansion there 10\.0, here left out"):
        tokenize(tokenizer, tmp_path / "in", out=tmp_path / "out")
    tokenize(tokenizer, tmp_path / "in", out=tmp_path / "plain")
    assert "time_expansion" not in (tmp_path / "plain" / "tokenize.json").read_text()
    with pytest.raises(UserError, match=r"full_scale there left out, here 100\.0"):
        tokenize(tokenizer.with_sound(None, 100), tmp_path / "in", out=tmp_path / "plain")


def test_tokens_of_two_expansions_are_never_mixed(bats, tokenizer, tmp_path):
    path = record(tmp_path / "in" / "x.wav", 0.3)
    tokenize(bats, path, out=tmp_path / "both" / "a.tokens.npy")
    tokenize(tokenizer, path, out=tmp_path / "both" / "b.tokens.npy")
    with pytest.raises(UserError, match="another grid"):
        convert([tmp_path / "both"], tmp_path / "c.tokens.bin", "bin", done=lambda _: None)


def test_workers_hear_the_same(bats, tmp_path):
    for number in range(3):
        record(tmp_path / "in" / f"{number}.wav", 0.2 + number / 10)
    tokenize(bats, tmp_path / "in", out=tmp_path / "one")
    tokenize(bats, tmp_path / "in", out=tmp_path / "two", workers=2)
    rows = rows_of(tmp_path / "two")
    assert rows == rows_of(tmp_path / "one")
    assert all(row["bandwidth_hz"] == FAST / 2 for row in rows)


def test_a_bundle_that_learned_expanded_sound_expands_by_default(make_bundle, tmp_path):
    prep = PrepSettings(
        frontend="stft", normalization="corpus", tile_size=32, sample_rate=RATE, hop_length=20
    )
    plain = make_bundle(tmp_path / "plain", prep, frequency_stride=8, time_stride=4)
    expanded = prep.with_sound(K, 100)
    bundle = make_bundle(tmp_path / "bats", expanded, frequency_stride=8, time_stride=4)
    assert '"time_expansion": 10.0' in (bundle / "tokenizer.json").read_text()
    assert "time_expansion" not in (plain / "tokenizer.json").read_text()
    bats, slow = load_tokenizer(bundle), load_tokenizer(plain)
    assert bats.manifest.fingerprint != slow.manifest.fingerprint
    found = bats.encode(100 * sound(4000), sample_rate=FAST)
    expected = slow.encode(sound(4000), sample_rate=RATE)
    assert (found.ids == expected.ids).mean() > 0.99
    assert found.sample_rate == FAST
    again = bats.encode(sound(4000), sample_rate=RATE, time_expansion=1, full_scale=1)
    np.testing.assert_array_equal(again.ids, expected.ids)
    facts, slow_facts = inspect_bundle(bundle), inspect_bundle(plain)
    assert facts.grid["tokens_per_second"] == 10 * slow_facts.grid["tokens_per_second"]
    np.testing.assert_allclose(facts.grid["edges_hz"], 10 * np.array(slow_facts.grid["edges_hz"]))


def test_the_command_says_what_is_lost_and_what_will_come(make_bundle, tmp_path):
    prep = PrepSettings(normalization="level", tile_size=32, sample_rate=RATE, hop_length=20)
    bundle = make_bundle(tmp_path / "bundle", prep, frequency_stride=8, time_stride=4)
    noise = np.random.default_rng(2).normal(0, 0.1, FAST)
    (tmp_path / "in").mkdir()
    for name, samples in {
        "bat.wav": noise,
        "anti.wav": np.stack([noise, -noise], axis=1),
        "quiet.wav": 1e-5 * noise,
        "silent.wav": 0 * noise,
        "pascal.wav": 1e4 * noise,
    }.items():
        soundfile.write(tmp_path / "in" / name, samples, FAST, subtype="FLOAT")
    options = [tmp_path / "in", "--out", tmp_path / "out", "--tokenizer", bundle]
    result = run(ulmo, "tokenize", *options)
    assert "100 tokens a second, 1.44 MB an hour; up to 1000 Hz" in result.stdout
    for line in (
        "silent      silent.wav: silence: all samples of a channel are equal",
        "unscaled    pascal.wav: far beyond full scale "
        f"(peak {1e4 * np.abs(noise).max():.2g}): if it is in micropascals, give --full-scale",
        "cancelled   anti.wav: its channels cancel when averaged: use --channels 0 or --channels",
        "below_floor  quiet.wav: it is fainter than the floor of the settings, so tokens fade to "
        "silence: amplify it, or train a tokenizer with a lower --level-least-db (ulmo-prep)",
        "above_bandwidth  3 recordings (such as bat.wav): over a third of their power lies above "
        "1000 Hz, which is not heard: use --time-expansion 10, or train a tokenizer with a higher",
    ):
        assert line in result.stdout
    rows = by_path(tmp_path / "out")
    assert rows["bat.wav"]["flags"] == ["above_bandwidth"]
    assert rows["bat.wav"]["share_above"] == pytest.approx(0.9, abs=0.02)
    options[2] = tmp_path / "expanded"
    result = run(ulmo, "tokenize", *options, "--time-expansion", "10", "--full-scale", "1e5")
    assert "1e+03 tokens" not in result.stdout
    assert "1000 tokens a second, 14.4 MB an hour; up to 10000 Hz, time expansion 10" in (
        result.stdout
    )
    assert "above_bandwidth" not in result.stdout
    assert "unscaled" not in result.stdout
    assert by_path(tmp_path / "expanded")["bat.wav"]["share_above"] == 0
    name = tmp_path / "in" / "bat.wav"
    one = run(ulmo, "tokenize", name, "--tokenizer", bundle)
    assert f"above_bandwidth  {name}: over a third of its power lies" in one.stdout
    assert "tokens a second" not in one.stdout
