"""Every format of events: golden bytes, foreign text, files of others that stay."""

import io
from datetime import UTC, datetime

import crowsetta
import pandas
import pyarrow.parquet as pq
import pytest

from ulmo.config import UserError
from ulmo.formats.event_files import check_event_file, event_format_of, publish_events
from ulmo.formats.events import (
    CHANNEL,
    END,
    EVENT_FORMATS,
    HIGH,
    LOW,
    RECORDING,
    START,
    UTC_TIME,
    Column,
    Events,
    Place,
    label_of,
)

COLUMNS = (
    *(RECORDING, CHANNEL, START, END, LOW, HIGH),
    Column("kind", "text"),
    Column("class", "whole"),
    Column("bits", "number", 1),
    UTC_TIME,
)
FIRST = {
    **{"recording": 'a/=b "c", d.wav', "channel": 1, "start_s": 1.5, "end_s": 1.75},
    **{"low_hz": 50.5, "high_hz": 1000.0, "kind": "sound", "class": 3, "bits": 12.345},
    "start_utc": datetime(2026, 3, 1, 23, 59, 59, 999_999, UTC),
}
SECOND = {
    **{"recording": "=x.wav", "channel": None, "start_s": 0.0, "end_s": 0.25},
    **{"low_hz": 0.0, "high_hz": 8000.0, "kind": "impulses", "class": None, "bits": None},
    "start_utc": None,
}
EVENTS = [(FIRST, Place('a/=b "c", d.wav', 0.5)), (SECOND, Place("=x.wav", 0.0, 2.0))]
GOLDEN = {
    "csv": (
        b"recording,channel,start_s,end_s,low_hz,high_hz,kind,class,bits,start_utc\r\n"
        b'"a/=b ""c"", d.wav",1,1.500000,1.750000,50.5,1000.0,sound,3,12.3,'
        b"2026-03-01T23:59:59.999999Z\r\n"
        b"'=x.wav,,0.000000,0.250000,0.0,8000.0,impulses,,,\r\n"
    ),
    "raven": (
        b"Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
        b"\tBegin File\tBegin Path\tFile Offset (s)\tkind\tclass\tbits\tBegin UTC\n"
        b"1\tSpectrogram 1\t2\t0.500000000\t0.750000000\t50.500000\t1000.000000"
        b'\t./=b "c", d.wav\ta/=b "c", d.wav\t0.500000000\tsound\t3\t12.3'
        b"\t2026-03-01T23:59:59.999999Z\n"
        b"2\tSpectrogram 1\t1\t2.000000000\t2.250000000\t0.000000\t8000.000000"
        b"\t./=x.wav\t./=x.wav\t0.000000000\timpulses\t\t\t\n"
    ),
    "audacity": (
        b'0.500000\t0.750000\t./=b "c", d.wav class 3\n\\\t50.500000\t1000.000000\n'
        b"2.000000\t2.250000\t./=x.wav impulses\n\\\t0.000000\t8000.000000\n"
    ),
}


def written(name, events=EVENTS):
    file = io.BytesIO()
    writer = EVENT_FORMATS[name](file, COLUMNS)
    writer.begin()
    for row, place in events:
        writer.add(row, place)
    writer.close()
    return file.getvalue()


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes(name):
    assert written(name) == GOLDEN[name]


def test_every_format_has_a_golden_file_or_is_read_back():
    assert {*GOLDEN, "parquet"} == set(EVENT_FORMATS)


def test_parquet_has_types_and_the_same_bytes_each_time():
    content = written("parquet")
    table = pq.read_table(io.BytesIO(content))
    assert table.to_pylist() == [FIRST, SECOND]
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["class"] == kinds["channel"] == "int64"
    assert (kinds["start_s"], kinds["kind"]) == ("double", "string")
    assert kinds["start_utc"] == "timestamp[us, tz=UTC]"
    assert written("parquet") == content
    assert pq.read_table(io.BytesIO(written("parquet", []))).num_rows == 0


@pytest.mark.parametrize("name", EVENT_FORMATS)
def test_a_table_replaces_an_older_one_and_nothing_else(name, tmp_path):
    path = tmp_path / f"x{EVENT_FORMATS[name].ending}"
    for events in (EVENTS, [], EVENTS[1:], EVENTS):  # empty ones and empty files are replaced
        with publish_events(path, name, COLUMNS) as table:
            for row, place in events:
                table.add(row, place)
    assert path.read_bytes() == written(name)
    for other in (b"dear diary\n", b"PAR1 is a bar", b"recording,channel\r\n"):
        path.write_bytes(other)
        with pytest.raises(UserError, match="no such table of ulmo's: choose another --out"):
            check_event_file(path, name, COLUMNS)
        assert path.read_bytes() == other
    path.unlink()
    path.mkdir()
    with pytest.raises(UserError, match="is a folder: name a file with --out"):
        check_event_file(path, name, COLUMNS)


def test_a_table_of_other_columns_stays(tmp_path):
    path = tmp_path / "x.parquet"
    with publish_events(path, "parquet", COLUMNS[:4]) as table:
        table.add(FIRST, EVENTS[0][1])
    with pytest.raises(UserError, match="no such table"):
        check_event_file(path, "parquet", COLUMNS)


@pytest.mark.parametrize("name", EVENT_FORMATS)
def test_nothing_appears_if_the_job_fails(name, tmp_path):
    path = tmp_path / f"x{EVENT_FORMATS[name].ending}"

    def fail():
        with publish_events(path, name, COLUMNS) as table:
            table.add(FIRST, EVENTS[0][1])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert list(tmp_path.iterdir()) == []
    with publish_events(path, name, COLUMNS) as table:
        table.add(*EVENTS[1])
    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == written(name, EVENTS[1:])


@pytest.mark.parametrize(
    ("name", "wanted", "found"),
    [
        ("x.csv", None, "csv"),
        ("x.parquet", None, "parquet"),
        ("x.selections.txt", None, "raven"),
        ("x.labels.txt", None, "audacity"),
        ("x.txt", None, "raven"),
        ("x.txt", "audacity", "audacity"),
        ("x.csv", "csv", "csv"),
    ],
)
def test_the_end_of_a_name_is_a_format(name, wanted, found, tmp_path):
    assert event_format_of(tmp_path / name, wanted) == found


@pytest.mark.parametrize(
    ("name", "wanted", "words"),
    [
        ("x", None, "end it with one of .csv, .parquet, .selections.txt, .labels.txt"),
        ("x.png", None, "any other .txt is a table for Raven"),
        ("x.wav", None, "is no name for a table"),
        ("x.csv", "raven", "is no name for raven: end it with .selections.txt"),
        ("x.csv", "npy", "format must be one of csv, parquet, raven, audacity, not 'npy'"),
    ],
)
def test_other_names_are_refused(name, wanted, words, tmp_path):
    with pytest.raises(UserError, match=words):
        event_format_of(tmp_path / name, wanted)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:crowsetta")
@pytest.mark.parametrize("name", ["raven", "audacity"])
def test_crowsetta_reads_every_box(name, tmp_path):
    path = tmp_path / f"x{EVENT_FORMATS[name].ending}"
    path.write_bytes(written(name))
    kinds, raven = crowsetta.formats.bbox, name == "raven"
    reader = kinds.Raven.from_file(path, "kind") if raven else kinds.AudBBox.from_file(path)
    boxes = [(b.onset, b.offset, b.low_freq, b.high_freq, b.label) for b in reader.to_bbox()]
    labels = ("sound", "impulses") if raven else ('./=b "c", d.wav class 3', "./=x.wav impulses")
    assert boxes == [
        (0.5, 0.75, 50.5, 1000.0, labels[0]),
        (2.0, 2.25, 0.0, 8000.0, labels[1]),
    ]


def test_csv_is_read_by_pandas():
    frame = pandas.read_csv(io.BytesIO(written("csv")))
    assert frame["recording"].str.removeprefix("'").tolist() == ['a/=b "c", d.wav', "=x.wav"]
    assert frame["start_s"].tolist() == [1.5, 0.0]
    assert frame["class"].tolist()[0] == 3.0


def test_labels_say_the_class():
    found = [
        label_of({"kind": kind, "class": number})
        for kind, number in (("sound", 3), ("background", None), ("impulses", 1), (None, None))
    ]
    assert found == ["class 3", "background", "impulses 1", ""]


def test_events_are_a_table_of_pandas():
    events = Events(COLUMNS, [FIRST, SECOND], [("y.wav", "not_audio (no)")])
    assert (len(events), events[0], events.refused) == (2, FIRST, (("y.wav", "not_audio (no)"),))
    frame = events.to_pandas()
    assert list(frame.columns) == [each.name for each in COLUMNS]
    assert str(frame["class"].dtype) == "Int64"
    assert str(frame["start_utc"].dtype).endswith("UTC]")
    assert frame["channel"].isna().tolist() == [False, True]
    assert list(Events(COLUMNS, []).to_pandas().columns) == list(frame.columns)
