"""ulmo repeats as it is: calls that come back in noise, clicks, and nothing where nothing does."""

import numpy as np
import pytest
import soundfile

import ulmo
from tests.commands import run
from tests.conftest import SAMPLES
from ulmo.cli.main import ulmo as command
from ulmo.tokenizer import load_tokenizer

RATE, LENGTH_S = 16_000, 150
STARTS = np.arange(3.0, LENGTH_S - 2, 7.7)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(threads=1)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """One call, every 7.7 s, 20 dB above noise; the file says when it was made."""
    samples = np.random.default_rng(0).normal(0, 0.005, LENGTH_S * RATE)
    calls, _ = soundfile.read(SAMPLES / "harmonic_calls.wav")
    call = calls[RATE // 2 : RATE // 2 + 6 * RATE // 10]
    for start in STARTS:
        place = round(start * RATE)
        samples[place : place + len(call)] += 0.2 * call
    path = tmp_path_factory.mktemp("whole") / "20260301_053000.wav"
    soundfile.write(path, samples, RATE)
    return path


def nearest(times, others):
    return np.abs(np.subtract.outer(times, others)).min(axis=1)


@pytest.fixture(scope="module")
def found(tokenizer, recording):
    return ulmo.repeats(recording, tokenizer=tokenizer)


def test_calls_are_found_with_their_class_and_period(found):
    sounds = [row for row in found if row["kind"] == "sound"]
    starts = np.array([row["start_s"] for row in sounds])
    assert (nearest(STARTS, starts) < 0.3).mean() > 0.9
    assert (nearest(starts, STARTS) < 0.6).all()
    classes = [row["class"] for row in sounds]
    main = max(set(classes), key=classes.count)
    assert classes.count(main) > 0.7 * len(STARTS)
    row = next(row for row in sounds if row["class"] == main)
    assert row["period_s"] == pytest.approx(7.7, rel=0.01)
    assert row["false_per_hour"] <= 1.0
    assert str(row["start_utc"]).startswith("2026-03-01 05:30:")


def test_an_example_finds_the_others(tokenizer, recording):
    like = f"{recording}:{STARTS[3]}-{STARTS[3] + 0.6}"
    found = ulmo.repeats(recording, tokenizer=tokenizer, like=like, impulses=False)
    assert len({row["class"] for row in found}) == 1
    starts = np.array([row["start_s"] for row in found])
    assert (nearest(STARTS, starts) < 0.3).mean() > 0.7


def test_noise_has_hardly_a_row(tokenizer, tmp_path):
    samples = np.random.default_rng(1).normal(0, 0.01, LENGTH_S * RATE)
    soundfile.write(tmp_path / "x.wav", samples, RATE)
    assert len(ulmo.repeats(tmp_path / "x.wav", tokenizer=tokenizer)) <= 2


def test_every_known_click_is_found(tokenizer):
    known = np.loadtxt(
        [line for line in (SAMPLES / "events.csv").open() if line.startswith("click")],
        delimiter=",",
        usecols=1,
    )
    found = ulmo.repeats(SAMPLES / "click_train.wav", tokenizer=tokenizer)
    clicks = np.array([row["start_s"] for row in found if row["kind"] == "impulses"])
    assert len(known) == 23
    assert nearest(known, clicks).max() < 0.002


def test_the_command_finds_the_same(found, recording, tmp_path):
    out = tmp_path / "x.csv"
    done = run(command, "repeats", recording, "--out", out, "--workers", 1, "--threads", 1)
    assert done.exit_code == 0, done.output
    assert out.read_text().count("\n") == len(found) + 1
    assert "every 7.7 s" in done.stdout
