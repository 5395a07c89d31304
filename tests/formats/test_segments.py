"""Streams whose columns come from several places in files: times and places in every format."""

import csv
import json
import tracemalloc
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.streams import EPOCH, random_ids, save, stream_of, streams, written
from ulmo.formats import FORMATS
from ulmo.formats.header import Segment
from ulmo.formats.labels import token_text
from ulmo.formats.read import read_corpus
from ulmo.vocabulary import Vocabulary

GAP = Vocabulary(16).gap
HOP = 2560


def ids_of(header, seed=0):
    """Ids (time, band) in which tokens last, and those of gaps are `<gap>`."""
    ids = np.repeat(random_ids(header.columns, seed=seed, highest=4), 2, axis=0)[: header.columns]
    for column in range(header.columns):
        if header.segment(column) is None:
            ids[column] = GAP
    return ids


def stated(header, ids):
    return header.model_copy(update={"unknown": int((ids == 16).sum())})


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25)
@given(header=streams(), cuts=st.lists(st.integers(0, 60), max_size=6))
def test_how_the_ids_are_cut_changes_no_byte(name, header, cuts):
    ids = ids_of(header)
    header = stated(header, ids)
    assert written(name, [(header, ids)], cuts) == written(name, [(header, ids)])


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if kind.readable])
@settings(max_examples=25)
@given(header=streams())
def test_round_trip(name, header, tmp_path_factory):
    ids = ids_of(header)
    header = stated(header, ids)
    path = tmp_path_factory.getbasetemp() / name / f"x{FORMATS[name].suffixes[-1]}"
    save(path, name, [(header, ids)])
    ((found, again),) = read_corpus(path)
    assert found == header
    np.testing.assert_array_equal(again, ids)


@settings(max_examples=50)
@given(header=streams(), seed=st.integers(0, 9))
def test_rows_of_a_table_are_evenly_spaced_in_time(header, seed):
    ids = ids_of(header, seed)
    (content,) = written("jsonl", [(header, ids)])
    column = 0
    for row in map(json.loads, content.splitlines()):
        count = len(row["ids"]) // 3
        for each in range(count):
            expected = header.seconds(column + each)
            assert row["start_s"] + each * row["hop_s"] == pytest.approx(expected, abs=1e-9)
        assert row["end_s"] == header.end_seconds(column + count)
        column += count
    assert column == len(ids)


@settings(max_examples=50)
@given(header=streams())
def test_csv_has_the_true_times_of_each_token(header):
    ids = ids_of(header)
    (content,) = written("csv", [(header, ids)])
    rows = list(csv.DictReader(content.decode().splitlines()))
    assert [int(row["id"]) for row in rows] == ids.reshape(-1).tolist()
    for number, row in enumerate(rows):
        column = number // 3
        assert float(row["start_s"]) == header.seconds(column)
        assert float(row["end_s"]) == header.end_seconds(column + 1)


def test_files_of_many_rates_are_added_up_in_little_memory():
    """Exact sums of their lengths have ever longer denominators: 13 MB here."""
    places = {"columns": 1, "frame": 0, "frames": 160, "file_frames": 10**7}
    segments = [
        Segment(
            recording=f"{number % 2}.wav",
            column=number,
            offset=HOP * number,
            recording_rate=3_999_999 - 2 * number,
            **places,
        )
        for number in range(2500)
    ]
    header = stream_of(segments, len(segments))
    ids = np.full((len(segments), 3), [0, 1, 2], np.int32)
    tracemalloc.start()
    (content,) = written("raven", [(header, ids)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8e6
    lengths = (Fraction(10**7, segment.recording_rate) for segment in segments)
    begins = [0, *accumulate(lengths)]
    rows = fields(content)[::300]
    assert [row["Begin Time (s)"] for row in rows] == [
        f"{float(begins[segments.index(segment)]):.9f}" for segment in segments[::100]
    ]


def fields(content):
    """Rows of a selection table."""
    return list(csv.DictReader(content.decode().splitlines(), delimiter="\t"))


@settings(max_examples=100)
@given(header=streams(), seed=st.integers(0, 9))
def test_raven_shows_each_run_at_its_place_in_its_file(header, seed):
    """Every token below the Nyquist frequency of its file, once; nothing across files or gaps."""
    ids = ids_of(header, seed)
    (content,) = written("raven", [(header, ids)])
    starts, length, last = {}, Fraction(0), None  # seconds of the files before each
    for segment in header.segments:
        if segment.recording != last:
            starts[segment.recording] = length
            length += Fraction(segment.file_frames, segment.recording_rate)
        last = segment.recording
    found = np.full(ids.shape, -1)
    for row in fields(content):
        begin, end = (float(row[f"{edge} Time (s)"]) for edge in ("Begin", "End"))
        offset = float(row["File Offset (s)"])
        assert begin == pytest.approx(float(starts[row["Begin Path"]]) + offset, abs=2e-9)
        (segment,) = (
            each
            for each in header.segments
            if each.recording == row["Begin Path"]
            and 0 <= round(offset * each.recording_rate) - each.frame < each.frames
        )
        assert row["Begin File"] == segment.recording.removeprefix("card/")
        late = Fraction(offset) - Fraction(segment.frame, segment.recording_rate)
        first = segment.column + round(late * header.sample_rate / HOP)
        sound = Fraction(segment.frame + segment.frames, segment.recording_rate)
        assert offset + end - begin <= float(sound) + 1e-8
        stop = first + -(-round((end - begin) * header.sample_rate - 0.01) // HOP)
        assert stop <= segment.column + segment.columns
        low, high = float(row["Low Freq (Hz)"]), float(row["High Freq (Hz)"])
        assert low < high <= segment.recording_rate / 2
        band = header.edges_hz.index(low)
        ((token, *others),) = [set(ids[first:stop, band].tolist())]
        assert not others
        assert token_text(Vocabulary(16), token) == row["Token"]
        assert (found[first:stop, band] == -1).all()
        found[first:stop, band] = token
        true = segment.offset / header.sample_rate + (first - segment.column) * HOP / (
            header.sample_rate
        )
        written_utc = datetime.fromisoformat(row["Begin UTC"])
        assert abs(written_utc - EPOCH - timedelta(seconds=true)) <= timedelta(microseconds=1)
    for column in range(len(ids)):
        segment = header.segment(column)
        expected = [-1] * 3 if segment is None else ids[column].tolist()
        expected = [-1 if token == GAP else token for token in expected]
        assert found[column].tolist() == expected


@settings(max_examples=50)
@given(header=streams())
def test_audacity_has_true_times_and_gaps(header):
    ids = ids_of(header)
    (content,) = written("audacity", [(header, ids)])
    borders = {
        f"{header.seconds(column):.6f}"
        for column in range(header.columns)
        if header.border(column - 1) == column
    }
    begins = set()
    for line in content.decode().splitlines()[::2]:
        begin, end, token = line.split("\t")
        begins.add(begin)
        assert float(begin) <= float(end)
        assert (token == "<gap>") == any(
            header.segment(column) is None
            for column in range(header.columns)
            if f"{header.seconds(column):.6f}" == begin
        )
    assert borders <= begins
