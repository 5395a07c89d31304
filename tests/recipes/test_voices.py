"""Voices: what is said, which pairs are made, and that espeak-ng says the same each time."""

from importlib.metadata import PackageNotFoundError
from itertools import pairwise

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from recipes.corpora import espeak, voices
from recipes.corpora.__main__ import main


def pretend(monkeypatch, found):
    def version(name):
        if found is None:
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(espeak, "version", version)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (None, "voices need espeakng-loader, which is not installed"),
        ("0.1.9", "voices need espeakng-loader 0.2.4, and this is 0.1.9"),
    ],
)
def test_without_espeak_one_line_says_what_to_install(found, line, tmp_path, monkeypatch):
    pretend(monkeypatch, found)
    done = CliRunner().invoke(main, [str(tmp_path), "--only", "voices"])
    assert done.exit_code == 2
    assert done.stderr == (
        f"ulmo: {line}: pip install 'ulmo[recipes]', or name the other corpora with --only\n"
    )
    assert not list(tmp_path.rglob("*.csv"))


def test_what_is_said_is_drawn_the_same_each_time(monkeypatch):
    names = [f"m{number}" for number in range(9)] + ["f2", "whisper", "robosoft3", "Mr serious"]
    monkeypatch.setattr(voices, "variants", lambda: names)
    planned = voices.plan(200)
    assert planned == voices.plan(200)
    assert planned[:50] == voices.plan(50)
    said = [utterance for group in planned for utterance in group]
    assert len({utterance.path for utterance in said}) == len(said) == 1200
    used = {utterance.voice.partition("+")[2] for utterance in said}
    assert used == set(names) - {"f2", "whisper", "robosoft3"}
    languages = {utterance.voice.partition("+")[0] for utterance in said}
    assert len(languages) > 20
    for group in planned:
        assert len({(each.text, each.rate) for each in group}) == 1
        assert len({each.voice for each in group}) == voices.VOICES
        assert 1 <= len(group[0].text.split()) <= 8
    digits = [group for group in planned if group[0].text.replace(" ", "").isdigit()]
    assert 0.1 < len(digits) / len(planned) < 0.4


@pytest.mark.parametrize(
    ("a", "b", "made"),
    [
        ((0.0, 0.4, 1.0), (0.0, 0.5, 1.12), True),
        ((0.0, 0.5, 1.12), (0.0, 0.4, 1.0), True),
        ((0.0, 0.4, 1.0), (0.0, 0.5, 1.13), False),  # durations differ by 13 %
        ((0.0, 0.4, 1.0), (0.0, 1.0), False),  # one has more words
    ],
)
def test_pairs_are_of_voices_whose_durations_agree(a, b, made):
    pair = voices.paired("a.flac", "b.flac", a, b)
    assert (pair is not None) == made
    if pair:
        assert pair == ("a.flac", "b.flac", a, b)


def log_bands(samples, rate):
    """The logarithm of power in 24 bands from 100 Hz to 7 kHz, (24, frames of 10 ms)."""
    hop, size = round(0.01 * rate), 512
    starts = range(0, len(samples) - size, hop)
    frames = np.array([samples[start : start + size] * np.hanning(size) for start in starts])
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.geomspace(100, 7000, 25) / rate * size
    bins = np.arange(power.shape[1])
    inside = [(bins >= low - 1) & (bins < high) for low, high in pairwise(edges)]
    bands = np.log10(np.array([power[:, each].mean(axis=1) for each in inside]) + 1e-8)
    return bands - bands.mean(axis=1, keepdims=True)


def mapped(pair, folder, shift=0.0):
    """The correlation of two recordings' bands once the time of one is mapped to the other's."""
    (one, rate), (other, _) = (soundfile.read(folder / name) for name in (pair.a, pair.b))
    bands, others = log_bands(one, rate), log_bands(other, rate)
    seconds = np.arange(bands.shape[1]) * 0.01
    inside = (seconds >= pair.a_times[0]) & (seconds < pair.a_times[-1])
    there = (np.interp(seconds, pair.a_times, pair.b_times)[inside] + shift) / 0.01
    places = np.arange(others.shape[1])
    rows = np.array([np.interp(there, places, row) for row in others])
    return np.corrcoef((bands[:, inside]).ravel(), rows.ravel())[0, 1]


def test_espeak_says_the_same_each_time_and_pairs_map_words_to_words(tmp_path, monkeypatch):
    monkeypatch.setattr(voices, "BATCH", 3)
    one = voices.make(tmp_path / "one", 1, groups=6)
    two = voices.make(tmp_path / "two", 2, groups=6)
    assert one == two
    assert len(one.labels) == 36
    for label in one.labels:
        path = tmp_path / "one" / label.file
        assert path.read_bytes() == (tmp_path / "two" / label.file).read_bytes(), label
    assert len(one.pairs) > 30
    straight = [pair._replace(a_times=pair.a_times[::99] + pair.a_times[-1:]) for pair in one.pairs]
    straight = [pair._replace(b_times=(pair.b_times[0], pair.b_times[-1])) for pair in straight]
    found = [mapped(pair, tmp_path / "one") for pair in one.pairs]
    wrong = [mapped(pair, tmp_path / "one", 0.1) for pair in one.pairs]
    linear = [mapped(pair, tmp_path / "one") for pair in straight]
    assert np.mean(found) > np.mean(linear) > np.mean(wrong)
    assert np.mean(found) > 0.6
