"""What tokens lose of a sound is said in the same words by `encode` and by the commands."""

import warnings

import numpy as np
import pytest
import soundfile

from tests.gaps import write_triggered
from ulmo import load_tokenizer
from ulmo.jobs.outcome import count_flags
from ulmo.reports.progress import counted, named_lines
from ulmo.reports.sound import flag_lines
from ulmo.reports.tokenize import lasting

RATE = 16000
NOISE = np.random.default_rng(3).normal(0, 0.1, 2 * RATE).astype(np.float32)
BOTH = np.stack([NOISE, -NOISE], axis=1)
HIGH = 0.5 * np.sin(2 * np.pi * 45000 / 384000 * np.arange(96000)).astype(np.float32)
CANCEL = "the sound's channels cancel when averaged: pass channel=0"
FAINT = "the sound is fainter than the floor of the settings, so tokens fade to silence: "
ABOVE = "over a third of the sound's power lies above 8000 Hz, which is not heard: pass "


def warnings_of(source, **options):
    """The words of each warning of `encode`, all of which name this file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_tokenizer().encode(source, **options)
    assert all(one.category is UserWarning and one.filename == __file__ for one in caught)
    return [str(one.message) for one in caught]


@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize(
    ("samples", "rate", "options", "expected"),
    [
        (NOISE, RATE, {}, []),
        (0 * NOISE, RATE, {}, []),
        (BOTH, RATE, {}, [CANCEL]),
        (BOTH, RATE, {"channel": 1}, []),
        (1e-6 * BOTH, RATE, {"channel": 1}, [FAINT]),
        (HIGH, 384000, {}, [ABOVE + "time_expansion=10, or train"]),
        (HIGH, 384000, {"time_expansion": 10}, []),
    ],
)
def test_encode_warns_of_what_is_lost(samples, rate, options, expected, as_file, tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    found = (
        warnings_of(path, **options)
        if as_file
        else warnings_of(samples, sample_rate=rate, **options)
    )
    assert len(found) == len(expected)
    assert all(words.startswith(start) for words, start in zip(found, expected, strict=True))


def test_where_little_cancels_faint_sound_is_faint_all_the_same():
    """A fifth of the power cancels: without it, the sound is just as faint."""
    samples = 1e-6 * np.stack([NOISE, NOISE], axis=1)
    samples[: len(samples) // 5, 1] *= -1
    found = warnings_of(samples, sample_rate=RATE)
    assert [words.split(":")[0] + ": " for words in found] == [CANCEL.split(":")[0] + ": ", FAINT]


def row(path, *flags, rate=384000):
    return {
        "path": path,
        "flags": list(flags),
        "sample_rate": rate,
        "bandwidth_hz": 8000.0,
        "peak_db": -3.0,
    }


def test_the_command_uses_the_same_words():
    (one,) = flag_lines(count_flags([row("a.wav", "above_bandwidth")]), time_expansion=1)
    assert one == (
        "above_bandwidth  a.wav: over a third of its power lies above 8000 Hz, which is not heard: "
        "use --time-expansion 10, or train a tokenizer with a higher --sample-rate (ulmo-prep)"
    )
    both = count_flags([row("a.wav", "cancelled"), row("b.wav", "cancelled")])
    (two,) = flag_lines(both, time_expansion=1)
    assert two == (
        "cancelled   2 recordings (such as a.wav): their channels cancel when averaged: "
        "use --channels 0 or --channels each"
    )


def test_sound_that_was_slowed_down_needs_its_true_rate_not_another_expansion():
    slow = row("a.wav", "above_bandwidth", "time_expanded")
    lines = flag_lines(count_flags([slow]), time_expansion=1)
    assert not any("--time-expansion" in line for line in lines)
    assert "heard: write the true sample rate into the header first, or train" in lines[0]
    mixed = flag_lines(count_flags([slow, row("b.wav", "above_bandwidth")]), time_expansion=1)
    assert "use --time-expansion 10" in mixed[0]
    tokenizer = load_tokenizer()
    hearing = tokenizer.hearing()
    list(hearing.resample([HIGH], 384000, RATE))
    assert "time_expansion" in hearing.losses()["above_bandwidth"]
    assert "time_expansion" not in hearing.losses(slowed=True)["above_bandwidth"]


def test_a_recording_with_gaps_is_heard_too(tmp_path):
    path = tmp_path / "20230501_120000T.WAV"
    write_triggered(path, 1e-4 * NOISE[:8000], 100, 1e-4 * NOISE[:8000], rate=RATE)
    assert [words.startswith(FAINT) for words in warnings_of(path)] == [True]


def test_the_first_recordings_are_named_and_the_others_counted():
    lost = [(f"{number:02}.wav", "truncated", "it ends early") for number in range(12)]
    lines = named_lines("partial", [*lost, ("z.wav", "more_data", "sound behind the end")])
    assert lines[0] == "partial     00.wav: truncated (it ends early)"
    assert len(lines) == 11
    assert lines[-1] == ("partial     and 3 more: 2 truncated, 1 more_data; see recordings.parquet")
    assert named_lines("partial", []) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.5, "0.5 s"), (119, "119 s"), (180, "3 minutes"), (7200, "2 hours"), (5097596, "59 days")],
)
def test_lengths_of_time_are_in_fitting_units(seconds, words):
    assert lasting(seconds) == words


def test_one_is_singular():
    assert [counted(number, "gap") for number in (0, 1, 2)] == ["0 gaps", "1 gap", "2 gaps"]
