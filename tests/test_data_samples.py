"""The sample recordings are the ones their script makes, and hold what events.csv says."""

import csv
import importlib.util
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pytest
import soundfile

from tests.conftest import SAMPLES as FOLDER

with (FOLDER / "events.csv").open(encoding="utf-8", newline="") as lines:
    COLUMNS, *TABLE = csv.reader(lines)
TICK_S = 1e-6  # the resolution of events.csv


class Row(NamedTuple):
    """A row of events.csv."""

    file: str
    start_s: float
    end_s: float
    low_hz: float
    high_hz: float
    label: str


def recordings(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))


def rows(file):
    found = [Row(name, *map(float, numbers), label) for name, *numbers, label in TABLE]
    return [row for row in found if row.file == file]


def listen(file):
    samples, rate = soundfile.read(FOLDER / file, always_2d=True)
    return samples, rate  # (frames, channels)


def band_powers(samples, rate):
    """A function that gives the power (channels,) of `samples` in an event's band."""
    spectrum = np.abs(np.fft.rfft(samples, axis=0) / len(samples)) ** 2  # (bin, channels)
    hz = np.fft.rfftfreq(len(samples), 1 / rate)
    return lambda event: spectrum[(hz >= event.low_hz) & (hz <= event.high_hz)].sum(axis=0)


@pytest.fixture(scope="module")
def remade(tmp_path_factory):
    spec = importlib.util.spec_from_file_location("data_samples_make", FOLDER / "make.py")
    make = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make)
    folder = tmp_path_factory.mktemp("data_samples")
    make.main([str(folder)])
    return folder


def test_files_are_those_the_script_makes(remade):
    assert recordings(remade) == recordings(FOLDER)
    for name in ["events.csv", *recordings(FOLDER)]:
        assert (remade / name).read_bytes() == (FOLDER / name).read_bytes(), name


def test_total_is_small():
    assert sum((FOLDER / name).stat().st_size for name in recordings(FOLDER)) < 3_000_000


def test_formats_cover_what_recorders_write():
    infos = [soundfile.info(FOLDER / name) for name in recordings(FOLDER)]
    assert {info.samplerate for info in infos} >= {8000, 16000, 22050, 44100, 96000}
    assert {info.channels for info in infos} == {1, 2}
    assert {info.subtype for info in infos} == {"PCM_16", "PCM_24"}
    assert any("/" in name for name in recordings(FOLDER))


def test_events_name_only_files_that_exist():
    assert tuple(COLUMNS) == Row._fields
    assert {name for name, *_ in TABLE} == set(recordings(FOLDER)) - {"near_silence.wav"}


@pytest.mark.parametrize("file", recordings(FOLDER))
def test_events_lie_within_the_recording(file):
    info = soundfile.info(FOLDER / file)
    events = rows(file)
    for event in events:
        assert 0.0 <= event.start_s < event.end_s <= info.duration + TICK_S
        assert 0 <= event.low_hz < event.high_hz <= info.samplerate / 2
        assert event.label
    assert all(a.start_s <= b.start_s for a, b in pairwise(events))


@pytest.mark.parametrize("file", recordings(FOLDER))
def test_no_recording_clips(file):
    samples, _ = listen(file)
    assert 0.0 < np.abs(samples).max() < 0.95


@pytest.mark.parametrize("file", recordings(FOLDER))
def test_events_stand_out_in_their_band(file):
    """In its band, in every channel, an event has 10 dB more power than the time between events."""
    samples, rate = listen(file)
    quiet = np.ones(len(samples), dtype=bool)
    for event in rows(file):
        quiet[round(event.start_s * rate) : round((event.end_s + 0.001) * rate)] = False
    rest = band_powers(samples[quiet], rate)
    for event in rows(file):
        if event.label != "dropout":
            part = samples[round(event.start_s * rate) : round(event.end_s * rate)]
            power = band_powers(part, rate)
            assert np.all(power(event) > 10.0 * rest(event)), event


def test_clicks_are_where_events_say():
    """Loud samples more than 50 ms apart start a click: no use of the stated times."""
    samples, rate = listen("click_train.wav")
    loud = np.flatnonzero(np.abs(samples[:, 0]) > 0.1)
    found_s = loud[np.diff(loud, prepend=-rate) > 0.05 * rate] / rate
    stated_s = [event.start_s for event in rows("click_train.wav")]
    np.testing.assert_allclose(found_s, stated_s, rtol=0, atol=0.001)
    intervals = np.diff(found_s)
    np.testing.assert_allclose(intervals[1:] / intervals[:-1], 0.96, atol=0.001)


def test_the_call_is_the_same_each_time():
    samples, rate = listen("harmonic_calls.wav")
    starts = [round(event.start_s * rate) for event in rows("harmonic_calls.wav")]
    calls = [samples[start : start + round(0.6 * rate), 0] for start in starts]
    assert len(calls) >= 5
    for one, other in combinations(calls, 2):
        assert np.corrcoef(one, other)[0, 1] > 0.9


def test_near_silence_is_quiet_but_not_zero():
    samples, _ = listen("near_silence.wav")
    assert -92.0 < 10.0 * np.log10(np.mean(samples**2)) < -88.0


@pytest.mark.parametrize("file", recordings(FOLDER))
def test_only_dropouts_are_digital_silence(file):
    """Zeros in every channel for over 10 ms are a dropout, and nothing else is."""
    samples, rate = listen(file)
    silent = np.pad(~samples.any(axis=1), 1).astype(int)
    spans = np.flatnonzero(np.diff(silent)).reshape(-1, 2) / rate  # (run, start and end in s)
    found = spans[spans[:, 1] - spans[:, 0] > 0.01]
    stated = [event[1:3] for event in rows(file) if event.label == "dropout"]
    np.testing.assert_allclose(found, np.reshape(stated, (-1, 2)), rtol=0, atol=0.001)
