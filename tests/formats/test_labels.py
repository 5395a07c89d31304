"""Runs of equal tokens as Raven and Audacity show them, read by crowsetta."""

from itertools import groupby

import crowsetta
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.streams import UTC_START, header_of, random_ids, save, written
from ulmo.formats.base import ALL_RUNS, Labelling
from ulmo.formats.labels import token_text
from ulmo.vocabulary import Vocabulary

HOP_S = 0.16
GAP = Vocabulary(16).gap


def runs_of(ids, labelling=ALL_RUNS):
    """(end, band, start, id) of each run, band by band, then sorted: the slow way."""
    runs = []
    for band in range(ids.shape[1]):
        column = 0
        for token, group in groupby(ids[:, band].tolist()):
            length = len(list(group))
            if length >= labelling.min_columns and (
                labelling.ids is None or token in labelling.ids
            ):
                runs.append((column + length, band, column, token))
            column += length
    return sorted(runs)


def boxes_of(header, runs):
    """(onset, offset, low, high, label) of each."""
    end, edges = header.frames * 0.01, header.edges_hz
    return [
        (
            *(start * HOP_S, min(stop * HOP_S, end)),
            *(edges[band], min(edges[band + 1], 8000.0)),
            token_text(Vocabulary(16), token),
        )
        for stop, band, start, token in runs
    ]


def read(name, path):
    kinds = crowsetta.formats.bbox
    raven = name == "raven"
    reader = kinds.Raven.from_file(path, "Token") if raven else kinds.AudBBox.from_file(path)
    boxes = reader.to_bbox()
    return reader.df, [(b.onset, b.offset, b.low_freq, b.high_freq, b.label) for b in boxes]


def assert_same(found, expected):
    assert [box[4] for box in found] == [box[4] for box in expected]
    places = [[box[:4] for box in boxes] for boxes in (found, expected)]
    np.testing.assert_allclose(*places, rtol=0, atol=1e-6)


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:crowsetta")
NAMES = {"raven": "x.tokens.selections.txt", "audacity": "x.tokens.labels.txt"}


@pytest.mark.parametrize("filled", [1, 15, 16])
@pytest.mark.parametrize("name", NAMES)
def test_crowsetta_reads_every_run(name, filled, tmp_path):
    ids = np.repeat(random_ids(300, seed=3), 2, axis=0)[1:]
    ids[ids == GAP] = 0
    header = header_of(ids, filled=filled)
    path = save(tmp_path / NAMES[name], name, [(header, ids)])
    frame, boxes = read(name, path)
    assert_same(boxes, boxes_of(header, runs_of(ids)))
    if name == "raven":
        assert frame["Selection"].tolist() == list(range(1, len(boxes) + 1))
        assert set(frame["View"]) == {"Spectrogram 1"}
        assert set(frame["Channel"]) == {1}
        assert "Begin UTC" not in frame


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=40)
@given(
    columns=st.integers(1, 40),
    bands=st.integers(1, 4),
    seed=st.integers(0, 99),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    wanted=st.none() | st.frozensets(st.integers(0, 17), max_size=4),
    least=st.integers(1, 4),
)
def test_chosen_runs(name, columns, bands, seed, cuts, wanted, least):
    ids = random_ids(columns, bands, seed=seed, highest=3)
    header = header_of(ids, filled=5)
    labelling = Labelling(wanted, least)
    (content,) = written(name, [(header, ids)], cuts, labelling)
    lines = content.decode().splitlines()
    if name == "raven":
        found = [line.split("\t") for line in lines[1:]]
        boxes = [(*map(float, row[3:7]), row[7]) for row in found]
    else:
        pairs = zip(lines[::2], lines[1::2], strict=True)
        found = [[*first.split("\t"), *second.split("\t")] for first, second in pairs]
        assert all(row[3] == "\\" for row in found)
        boxes = [(*map(float, row[:2]), *map(float, row[4:]), row[2]) for row in found]
    assert_same(boxes, boxes_of(header, runs_of(ids, labelling)))


def test_raven_knows_channel_and_time(tmp_path):
    ids = np.array([[5], [5], [7]], np.int32)
    header = header_of(ids, channel=3, start_utc=UTC_START)
    path = save(tmp_path / NAMES["raven"], "raven", [(header, ids)])
    frame, _ = read("raven", path)
    assert frame["Channel"].tolist() == [4, 4]
    times = ["2026-03-01T23:59:59.999999Z", "2026-03-02T00:00:00.319999Z"]
    assert frame["Begin UTC"].tolist() == times


@pytest.mark.parametrize("name", NAMES)
def test_a_long_run_is_one_run(name):
    ids = np.full((9000, 1), 4, np.int32)
    (content,) = written(name, [(header_of(ids), ids)], [1, 4096, 8000])
    assert content.count(b"\tc4") == 1
    assert b"1440.000000" in content


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("recorded", "edges"),
    [
        (48_000, {(0.0, 50.5), (50.5, 1000.0), (1000.0, 8000.0)}),
        (8_000, {(0.0, 50.5), (50.5, 1000.0), (1000.0, 4000.0)}),
        (2_000, {(0.0, 50.5), (50.5, 1000.0)}),
        (100, {(0.0, 50.0)}),
        (None, {(0.0, 50.5), (50.5, 1000.0), (1000.0, 8000.0)}),
    ],
)
def test_no_label_lies_above_half_the_rate_of_the_recording(name, recorded, edges):
    ids = np.array([[1, 2, 3]] * 3, np.int32)
    (content,) = written(name, [(header_of(ids, recording_rate=recorded), ids)])
    lines = content.decode().splitlines()
    rows = lines[1:] if name == "raven" else lines[1::2]
    place = slice(5, 7) if name == "raven" else slice(1, 3)
    assert {tuple(map(float, row.split("\t")[place])) for row in rows} == edges


def test_raven_names_the_file_and_the_place_in_it():
    ids = np.array([[5], [7]], np.int32)
    (content,) = written("raven", [(header_of(ids, recording="a/b/x\xa0\u3000.wav"), ids)])
    names, *rows = [line.split("\t") for line in content.decode().splitlines()]
    assert names[-3:] == ["Begin File", "Begin Path", "File Offset (s)"]
    assert [row[-3:] for row in rows] == [
        ["x??.wav", "a/b/x??.wav", "0.000000000"],
        ["x??.wav", "a/b/x??.wav", "0.160000000"],
    ]
