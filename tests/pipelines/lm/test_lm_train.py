"""ulmo lm: from tokens to a token model; its scores and curves, as a user meets them."""

import csv
import json
import shutil
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import tensorflow as tf

import ulmo
from tests.commands import assert_refused, run
from tests.gaps import write_triggered
from tests.pipelines.training import Silent, read_csv
from tests.small_tokenizers import RATE, sound
from ulmo.bundle.token_model import read_token_model
from ulmo.cli import exits
from ulmo.cli.main import ulmo as command
from ulmo.config import UserError
from ulmo.pipelines.lm.streams import Streams, TokenCorpus, read_token_corpus, split_tokens
from ulmo.pipelines.lm.train import train_token_model
from ulmo.tokenizer import load_tokenizer
from ulmo.vocabulary import Vocabulary

MODEL = {"width": 8, "hidden": 8, "blocks": 2, "heads": 2}
SETTINGS = {"streams": 2, "columns": 64, "epochs": 2, "validation_fraction": 0.4, "planted": 0.5}
FLAGS = [
    part
    for name, value in {**MODEL, **SETTINGS}.items()
    for part in (f"--{name.replace('_', '-')}", value)
]


@pytest.fixture(scope="module")
def trained(tokens, bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    done = run(command, "lm", "train", tokens, folder, *FLAGS, "--tokenizer", bundle)
    assert done.exit_code == 0, done.output
    assert f"next        ulmo lm score FILE... --lm {folder}/lm --out scores.csv" in done.stdout
    return folder


@pytest.fixture(scope="module")
def model(trained):
    return ulmo.load_token_model(trained / "lm")


def test_a_run_is_logged_and_ends_in_a_token_model(trained, bundle):
    steps = read_csv(trained / "losses.csv")
    assert [int(row["step"]) for row in steps] == list(range(1, len(steps) + 1))
    epochs = read_csv(trained / "epochs.csv")
    assert len(epochs) == 2
    assert all(0 < float(row["val_bits"]) < 5 for row in epochs)
    manifest = read_token_model(trained / "lm").manifest
    assert manifest.tokenizer == load_tokenizer(bundle).manifest.fingerprint
    card = manifest.card
    assert card.training.steps == len(steps)
    assert card.training.epochs == 2
    assert card.corpora[0].recordings == 3
    assert card.figures.tokens > 0
    assert (trained / "tensorboard").is_dir()


def test_it_can_be_inspected(trained, tmp_path):
    shown = run(command, "inspect", trained / "lm")
    assert shown.exit_code == 0, shown.output
    assert "blocks        recurrent, attention; width 8, MLPs 8" in shown.stdout
    assert "predicts      2 bands of 8 codes" in shown.stdout
    facts = json.loads(run(command, "inspect", trained / "lm", "--json").stdout)
    manifest = read_token_model(trained / "lm").manifest
    assert facts["manifest"] == manifest.model_dump(mode="json")
    assert facts["files"][1]["sha256"] == manifest.weights


@pytest.fixture
def eager():
    """Steps are no graphs until it is called: to trace one takes longer than a few steps."""
    tf.config.run_functions_eagerly(True)
    yield lambda: tf.config.run_functions_eagerly(False)
    tf.config.run_functions_eagerly(False)


def test_a_stopped_run_goes_on_as_if_it_had_not_been_stopped(
    trained, tokens, bundle, tmp_path, eager
):
    options = {"model": MODEL, "settings": SETTINGS, "tokenizer": bundle}
    stopped = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt, match=r"saved at step 3: go on with .* --resume"):
        train_token_model(tokens, stopped, Silent(interrupt_at=3), **options)
    assert len(read_csv(stopped / "losses.csv")) == 3
    assert not (stopped / "lm").exists()
    eager()
    reporter = Silent()
    again = train_token_model(tokens, stopped, reporter, resume=True, tokenizer=bundle)
    steps = len(read_csv(trained / "losses.csv"))
    assert (again.steps, again.epochs, again.end) == (steps, 2, "epochs")
    assert reporter.steps == again.steps
    one, other = (read_token_model(folder / "lm") for folder in (trained, stopped))
    for name, values in one.tensors().items():
        np.testing.assert_allclose(other.tensors()[name], values, atol=2e-2, err_msg=name)


def test_devices_share_the_streams_and_learn_what_one_learns(
    trained, tokens, bundle, tmp_path, monkeypatch, eager
):
    """A device named three times stands for three: one of them has no stream."""
    monkeypatch.setattr("ulmo.pipelines.lm.trainer.use_devices", lambda count: ("CPU:0",) * count)
    options = {"model": MODEL, "settings": {**SETTINGS, "devices": 3}, "tokenizer": bundle}
    with pytest.raises(KeyboardInterrupt):
        train_token_model(tokens, tmp_path / "run", Silent(interrupt_at=4), **options)
    found = read_csv(tmp_path / "run" / "losses.csv")
    for row, expected in zip(found, read_csv(trained / "losses.csv"), strict=False):
        assert float(row["bits"]) == pytest.approx(float(expected["bits"]), rel=1e-4)
    assert len(found) == 4


def test_wrong_usage_of_training_is_one_line(trained, tokens, bundle, audio, tmp_path):
    def refused(*arguments, words):
        assert_refused(run(command, "lm", "train", *arguments), *words)

    own = ("--tokenizer", bundle)
    refused(tokens, trained, *own, words=("exists: go on with --resume",))
    refused(tokens, trained, *own, "--resume", "--width", 16, words=("width there 8, here 16",))
    refused(tokens, trained, *own, "--resume", "--size", "base", words=("width there 8, here 304",))
    refused(tokens, tmp_path / "new", words=("are of another tokenizer", "--tokenizer"))
    refused(audio, tmp_path / "new", *own, words=("holds no tokens",))
    refused(tokens, tmp_path / "new", *own, "--heads", 5, words=("heads 5 must divide width",))
    refused(tokens, tmp_path / "new", *own, "--columns", 70, words=("--columns = 70",))
    assert not (tmp_path / "new").exists()


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_recordings_and_their_tokens_have_the_same_scores(trained, audio, tokens, bundle, tmp_path):
    lm = ("--lm", trained / "lm")
    own = ("--tokenizer", bundle, "--workers", 1)
    first = run(command, "lm", "score", audio, *lm, *own, "--out", tmp_path / "a.csv")
    assert first.exit_code == 0, first.output
    again = run(command, "lm", "score", tokens, *lm, "--out", tmp_path / "b.parquet", "--json")
    assert again.exit_code == 0, again.output
    rows, table = rows_of(tmp_path / "a.csv"), pq.read_table(tmp_path / "b.parquet").to_pylist()
    assert len(rows) == len(table) == json.loads(again.stdout)["columns"] == sum(range(6, 11)) * 25
    for row, other in zip(rows, table, strict=True):
        assert row["recording"] == other["recording"]
        assert float(row["start_s"]) == pytest.approx(other["start_s"], abs=1e-6)
        assert float(row["bits"]) == pytest.approx(other["bits"], abs=1e-4)
        each = sum(other[f"bits_band_{band}"] for band in range(2))
        assert other["bits"] == pytest.approx(each, rel=1e-5)
        assert other["gain"] == pytest.approx(other["bits_short"] - other["bits"], abs=1e-5)
        if other["copied_from_s"] is not None:
            assert other["copied_from_s"] < other["start_s"]
    assert rows[30]["start_utc"] == "2026-03-01T12:00:01.200000Z"
    assert "gain        nothing is longer ago than 1,024 tokens" in first.stdout
    assert f"output      {tmp_path}/a.csv" in first.stdout


def test_workers_and_threads_change_no_byte(trained, audio, bundle, tmp_path):
    found = []
    for workers, threads in ((1, 1), (2, 2)):
        out = tmp_path / f"{workers}.csv"
        arguments = (audio, "--lm", trained / "lm", "--tokenizer", bundle, "--out", out)
        flags = ("--workers", workers, "--threads", threads)
        assert run(command, "lm", "score", *arguments, *flags).exit_code == 0
        found.append(out.read_bytes())
    assert found[0] == found[1]


def test_a_table_that_is_not_finished_does_not_appear(trained, tokens, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ulmo.pipelines.lm.score.ScoredRow.rows", interrupted)
    out = tmp_path / "scores.csv"
    done = run(command, "lm", "score", tokens, "--lm", trained / "lm", "--out", out)
    assert done.exit_code == exits.INTERRUPTED
    assert not list(tmp_path.iterdir())


def test_time_that_was_left_out_is_a_gap_with_its_true_times(trained, bundle, tmp_path):
    """Of a recording with a gap: rows of sound alone, the same from the file and its tokens."""
    path = tmp_path / "audio" / "20260301_120000T.wav"
    write_triggered(path, sound(3 * RATE), 40, sound(4 * RATE), rate=RATE)
    table, stored = tmp_path / "a.csv", tmp_path / "b.csv"
    lm, own = ("--lm", trained / "lm"), ("--tokenizer", bundle, "--workers", 1)
    assert run(command, "lm", "score", path.parent, *lm, *own, "--out", table).exit_code == 0
    folder = tmp_path / "tokens"
    assert run(command, "tokenize", path.parent, *own, "--out", folder).exit_code == 0
    assert run(command, "lm", "score", folder, *lm, "--out", stored).exit_code == 0
    rows = rows_of(table)
    times = np.array([float(row["start_s"]) for row in rows])
    assert np.diff(times).max() > 1
    assert [(row["column"], row["bits"]) for row in rows] == [
        (row["column"], row["bits"]) for row in rows_of(stored)
    ]


def test_a_recording_that_cannot_be_read_is_refused_and_the_others_go_on(
    trained, audio, bundle, tmp_path
):
    mixed = tmp_path / "mixed"
    shutil.copytree(audio, mixed)
    (mixed / "bad.wav").write_bytes(b"no sound")
    out = tmp_path / "scores.csv"
    arguments = (mixed, "--lm", trained / "lm", "--tokenizer", bundle, "--out", out)
    done = run(command, "lm", "score", *arguments, "--workers", 1)
    assert done.exit_code == exits.SOME_REFUSED
    assert "refused     bad.wav" in done.stdout
    assert len({row["recording"] for row in rows_of(out)}) == 5


def test_wrong_usage_of_scores_is_one_line(trained, tokens, audio, tmp_path):
    def refused(*arguments, words):
        assert_refused(run(command, "lm", *arguments), *words)

    out = ("--out", tmp_path / "x.csv")
    lm = ("--lm", trained / "lm")
    refused("score", audio, *lm, *out, words=("are of another tokenizer than the token model",))
    refused("score", tokens, *out, words=("are of another tokenizer than the token model",))
    refused("score", tokens, *lm, "--out", tmp_path / "x.txt", words=("end", ".csv or .parquet"))
    refused("score", tokens, "--lm", tokens, *out, words=("is not a token model",))
    refused("curve", audio, *lm, words=("holds no tokens",))
    assert not (tmp_path / "x.csv").exists()


def test_a_curve_has_the_same_targets_and_a_past_that_grows(trained, tokens, tmp_path):
    out = tmp_path / "curve.csv"
    arguments = (tokens, "--lm", trained / "lm", "--targets", 2, "--out", out)
    done = run(command, "lm", "curve", *arguments, "--json")
    assert done.exit_code == 0, done.output
    points = json.loads(done.stdout)["points"]
    assert [point["context_tokens"] for point in points] == [100, None]  # none has a past of 400
    assert all(point["low"] <= point["bits"] <= point["high"] for point in points)
    assert points[0]["bits"] != points[1]["bits"]
    assert [row["context_tokens"] for row in rows_of(out)] == ["100", ""]


def test_python_scores_streams_as_wholes_and_says_what_does_not_fit(model, bundle, audio):
    tokenizer = load_tokenizer(bundle, threads=1)
    source = audio / "20260301_120400.wav"
    whole = model.score(tokenizer.encode(source))
    blocks = np.array_split(soundfile.read(source, dtype="float32")[0], 9)
    parts = list(model.stream(tokenizer.stream(blocks, sample_rate=RATE)))
    assert len(parts) > 2
    for field in whole._fields:
        joined = np.concatenate([getattr(part, field) for part in parts])
        np.testing.assert_array_equal(joined, getattr(whole, field))
    with pytest.raises(UserError, match=r"whole numbers \(time, 2\), not float64 \(3, 2\)"):
        model.score(np.zeros((3, 2)))
    with pytest.raises(UserError, match="ids must be from 0 to 63"):
        model.score(np.full((3, 2), 64))
    assert len(model.score(np.zeros((0, 2), int)).bits) == 0


def test_streams_hold_each_recording_once_behind_bos(tokens, bundle):
    corpus = read_token_corpus(tokens, load_tokenizer(bundle))
    vocabulary = Vocabulary(8)
    split = split_tokens(corpus, 0.4, 0)
    assert sorted(split.train + split.validation) == list(range(5))
    assert len(split.validation) == 2
    laid = Streams.of(corpus, split.train, vocabulary, streams=2, columns=64, seed=3, epoch=1)
    steps = [*laid.from_step(0)]
    assert all(step.shape == (2, 65, 2) for step in steps)
    for before, after in pairwise(steps):
        assert (before[:, -1] == after[:, 0]).all()
    row = np.concatenate([step[:, 1:] for step in steps], axis=1).reshape(-1, 2)
    begins = np.flatnonzero((row == vocabulary.bos).all(axis=1))
    found = [part[1:] for part in np.split(row, begins) if len(part) > 1]
    expected = [corpus.ids[place] for place in split.train]
    assert sorted(part.tolist() for part in found) == sorted(part.tolist() for part in expected)


def test_planted_repeats_are_where_they_are_said_to_be():
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 500, (int(length), 2)) for length in rng.integers(20, 900, 60)]
    corpus = TokenCorpus(
        [f"{at}.wav" for at in range(60)], [each.astype(np.uint16) for each in ids], 0.04, ""
    )
    vocabulary, some = Vocabulary(512), {"streams": 4, "columns": 64, "seed": 3}
    laid = Streams.of(corpus, [*range(60)], vocabulary, **some, planted=0.5)
    plain = Streams.of(corpus, [*range(60)], vocabulary, **some)
    assert laid.steps == plain.steps
    assert {each.stream for each in laid.planted} == {0, 1}
    covered = np.zeros(laid.ids.shape[:2], bool)
    for stream, column, apart, length in laid.planted:
        again = laid.ids[stream, column : column + length]
        assert (again == laid.ids[stream, column - apart : column - apart + length]).all()
        assert 25 <= apart <= column
        assert 7 <= length <= min(100, apart)
        assert not covered[stream, column : column + length].any()
        covered[stream, column : column + length] = True
    assert 0.2 < covered[:2].mean() < 0.5
    apart = np.log([each.apart for each in laid.planted])
    assert 0.3 < (apart - np.log(25)).mean() / np.log(laid.ids.shape[1] / 25) < 0.6
    begins = (laid.ids[:, 1:] == vocabulary.bos).all(axis=2)
    assert np.flatnonzero(begins[:2]).tolist() == [0]
    assert begins[2:].sum() > 20
    again = Streams.of(corpus, [*range(60)], vocabulary, **some, planted=0.5)
    assert (again.ids == laid.ids).all()
    other = Streams.of(corpus, [*range(60)], vocabulary, **some, planted=0.5, epoch=1)
    assert (other.ids != laid.ids).any()


def test_channels_of_a_recording_are_on_one_side():
    names = [f"{number}.wav" for number in range(10) for _ in range(2)]
    ids = [np.zeros((3, 2), np.uint16)] * 20
    split = split_tokens(TokenCorpus(names, ids, 0.04, ""), 0.3, 1)
    assert len(split.validation) == 6
    assert not {names[at] for at in split.train} & {names[at] for at in split.validation}
