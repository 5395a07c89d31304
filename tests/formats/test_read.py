"""Round trips, and what is refused on the way back."""

import contextlib
import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.streams import UTC_START, header_of, random_ids, save, some, streams
from tests.parquet import write_parquet
from tests.sealed import seal_tokens
from ulmo.config import UserError
from ulmo.formats import FORMATS, rows
from ulmo.formats.header import header_json
from ulmo.formats.npy import read_npy
from ulmo.formats.read import read_corpus, read_tokens

READABLE = {name: f"x{kind.suffixes[-1]}" for name, kind in FORMATS.items() if kind.readable}


def recordings_for(name):
    return some((5,)) if name == "npy" else some((5, 0, 4100))


def assert_same(found, recordings):
    found = list(found)
    assert [item.header for item in found] == [header for header, _ in recordings]
    for (_, ids), (_, expected) in zip(found, recordings, strict=True):
        np.testing.assert_array_equal(ids, expected)
        assert ids.dtype == np.int32


@pytest.mark.parametrize("name", READABLE)
def test_round_trip(name, tmp_path):
    recordings = recordings_for(name)
    path = save(tmp_path / READABLE[name], name, recordings)
    assert_same(read_corpus(path), recordings)
    (tmp_path / "x.tokens.json").unlink()
    assert "x.tokens.json is missing" in refused(path)


@pytest.mark.parametrize("name", READABLE)
@settings(max_examples=8)
@given(columns=st.integers(0, 60), bands=st.integers(1, 4), codes=st.sampled_from([2, 512, 65_472]))
def test_round_trip_of_any_grid(name, columns, bands, codes, tmp_path_factory):
    ids = random_ids(columns, bands, highest=codes)
    recordings = [(header_of(ids, codebook_size=codes), ids)] * (1 if name == "npy" else 2)
    path = save(tmp_path_factory.getbasetemp() / name / READABLE[name], name, recordings)
    assert_same(read_corpus(path), recordings)


def test_a_bin_is_read_without_megatrons_index(tmp_path):
    recordings = recordings_for("megatron")
    save(tmp_path / "x.tokens.bin", "megatron", recordings)
    assert_same(read_corpus(tmp_path / "x.tokens.bin"), recordings)
    (tmp_path / "x.tokens.bin").unlink()
    with pytest.raises(UserError, match=r"x\.tokens\.bin is missing"):
        list(read_corpus(tmp_path / "x.tokens.idx"))


def test_what_is_not_there_or_not_ours(tmp_path):
    for name, reason in (
        ("x.labels.txt", "cannot be read back"),
        ("x.npy", "is not a file"),
        ("folder", "is neither a file nor a folder"),
    ):
        with pytest.raises(UserError, match=reason):
            list(read_corpus(tmp_path / name))


def refused(path):
    with pytest.raises(UserError, match=r"x\.tokens\.") as caught:
        list(read_corpus(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("change", ["shorter", "longer", "other", "unknown", "fewer", "more"])
def test_another_files_header_is_refused(name, change, tmp_path):
    recordings = recordings_for(name)
    path = save(tmp_path / READABLE[name], name, recordings)
    headers = [header for header, _ in recordings]
    last = headers[-1]
    frames, columns, unknown = last.frames, last.columns, last.unknown
    changed = {
        "shorter": [last.ended(columns=columns - 1, frames=frames - 16, unknown=unknown - 1)],
        "longer": [last.ended(columns=columns + 1, frames=frames + 16, unknown=unknown)],
        "other": [last.model_copy(update={"codebook_size": 2, "fingerprint": "cd" * 32})],
        "unknown": [last.ended(columns=columns, frames=frames, unknown=unknown - 1)],
        "fewer": [],
        "more": [last, last],
    }[change]
    grid = changed[0].grid if changed else last.grid
    others = [header.model_copy(update=dict(grid)) for header in headers[:-1]]
    if not others and not changed:
        changed = [last.ended(columns=0, frames=0, unknown=0)]
    (tmp_path / "x.tokens.json").write_bytes(header_json([*others, *changed]))
    seal_tokens(path)
    assert "is as it was written, but does not fit its header" in refused(path)


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("cut", [0, 1, 7, -1, -8, -60])
def test_a_cut_file_is_refused(name, cut, tmp_path):
    path = save(tmp_path / READABLE[name], name, recordings_for(name))
    content = path.read_bytes()
    for damaged in (content[:cut], content + b"\n\n{}"):
        path.write_bytes(damaged)
        refused(path)
        refused(seal_tokens(path))


@pytest.mark.parametrize("name", READABLE)
@settings(max_examples=25)
@given(changes=st.dictionaries(st.floats(0, 1, exclude_max=True), st.integers(0, 255), min_size=1))
def test_a_damaged_file_is_refused_or_gives_tokens(name, changes, tmp_path_factory):
    """Never another error, and never an id or a place that the header does not allow."""
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    recordings = some((5,))
    path = save(folder / READABLE[name], name, recordings)
    content = bytearray(path.read_bytes())
    for place, value in changes.items():
        content[int(place * len(content))] = value
    path.write_bytes(content)
    seal_tokens(path)
    with contextlib.suppress(UserError):
        ((header, ids),) = read_corpus(path)
        assert header == recordings[0][0]
        assert ids.shape == (5, 3)
        assert ids.max() < 64


def table_with(path, column, row, value):
    """The Parquet file again, with another value in one place."""
    schema = pq.read_schema(path)
    values = pq.read_table(path).to_pydict()
    values[column][row] = value
    write_parquet(pa.Table.from_pydict(values, schema=schema), path)
    return seal_tokens(path)


@pytest.mark.parametrize(
    ("column", "row", "value"),
    [
        ("channel", 0, 9),
        ("start_s", 1, 0.0),
        ("start_utc", 1, None),
        ("ids", 0, None),
        ("ids", 0, [None] * 15),
        ("ids", 0, [3] * 16),
        ("ids", 0, [1] * (3 * 4097)),
        ("unk_rate", 0, 0.5),
        ("recording", 0, None),
    ],
)
def test_a_parquet_file_of_others_is_refused(column, row, value, tmp_path):
    path = save(tmp_path / "x.tokens.parquet", "parquet", some((5, 5)))
    table_with(path, "channel", 0, None)
    assert len(list(read_corpus(path))) == 2
    refused(table_with(path, column, row, value))


def test_a_parquet_file_with_other_columns_is_refused(tmp_path):
    path = save(tmp_path / "x.tokens.parquet", "parquet", some((5,)))
    pq.write_table(pa.table({"ids": [[1, 2, 3]]}), path)
    assert "its columns are not those" in refused(seal_tokens(path))


def test_a_row_that_unpacks_to_gigabytes_is_refused_unread(tmp_path, monkeypatch):
    path = save(tmp_path / "x.tokens.parquet", "parquet", some((5,)))
    table_with(path, "ids", 0, [0] * (1 << 21))
    assert path.stat().st_size < 1 << 14
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", None)
    assert re.search("more values than rows|unpacks to more|longer than ours", refused(path))


NO_IDS = [*([value] * 15 for value in (0.5, True, [1], "1", 10**30, 64, -1)), [1], 3]


@pytest.mark.parametrize(
    "change", [*({"ids": ids} for ids in NO_IDS), {"bands": 5}, {"other": 1}, {"start_s": 1}]
)
def test_a_line_of_others_is_refused(change, tmp_path):
    path = save(tmp_path / "x.tokens.jsonl", "jsonl", some((5,)))
    row = json.loads(path.read_bytes())
    path.write_text(json.dumps({**row, "unk_rate": 0.0, **change}) + "\n")
    refused(seal_tokens(path))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"ids":[0,', b'"ids":[4294967296,'),
        (b'"ids":[0,', b'"ids":[-65536,'),
        (b'"ids":[0,', b'"ids":[false,'),
        (b'"ids":[0,', b'"ids":[0.0,'),
        (b'"ids":[0,', b'"ids":[9],"ids":[0,'),
        (b'"recording"', b'"recording":"other","recording"'),
        (b'"start_s":0.0', b'"start_s":false'),
        (b'"bands":3', b'"bands":3.0'),
        (b"{", b"{ "),
        (b"\n", b"\r\n"),
    ],
)
def test_a_line_that_others_may_read_as_other_ids_is_refused(old, new, tmp_path):
    ids = np.zeros((5, 3), np.int32)
    path = save(tmp_path / "x.tokens.jsonl", "jsonl", [(header_of(ids), ids)])
    line = path.read_bytes()
    assert line.count(old) == 1
    path.write_bytes(line.replace(old, new))
    refused(seal_tokens(path))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"(5, 3), }", b"(05, 3),}"),
        lambda text: text.replace(b"(5, 3), }", b"(5, 3) ,}"),
        lambda text: text[:-2] + b"\n\n",
        lambda text: text.rstrip() + b"\n",
        lambda text: text[:-1] + b" " * 20_000 + b"\n",
    ],
)
def test_an_array_whose_header_numpy_would_not_write_is_refused(change, tmp_path):
    path = save(tmp_path / "x.tokens.npy", "npy", some((5,)))
    content = path.read_bytes()
    begin, end = 10, content.index(b"\n") + 1  # of the text, behind its length in two bytes
    text = change(content[begin:end])
    assert text != content[begin:end]
    path.write_bytes(content[:8] + len(text).to_bytes(2, "little") + text + content[end:])
    with pytest.raises(ValueError, match=r"not as NumPy writes it|does not hold int32|is damaged"):
        read_npy(path)


def test_a_line_without_end_is_not_read_to_its_end(tmp_path, monkeypatch):
    path = save(tmp_path / "x.tokens.jsonl", "jsonl", some((5,)))
    with path.open("ab") as file:
        file.truncate(12 << 20)
    seal_tokens(path)
    lengths = []
    lines = rows.bounded_lines

    class Watched:
        def __init__(self, file):
            self.readline = lambda bound: lengths.append(bound) or file.readline(bound)

    monkeypatch.setattr(rows, "bounded_lines", lambda f, b: lines(Watched(f), b))
    refused(path)
    assert max(lengths) < 1 << 18


@pytest.mark.parametrize("text", ["", "x", "1.0", "-1", "+1", "1_0", "٣", "64", "9" * 50, "00005"])
def test_a_csv_field_that_is_no_id_is_refused(text, tmp_path):
    path = save(tmp_path / "x.tokens.csv", "csv", some((5,)))
    start, _ = path.read_bytes().rsplit(b",", 1)
    path.write_bytes(start + f",{text}\r\n".encode())
    refused(seal_tokens(path))


@pytest.mark.parametrize("name", READABLE)
def test_a_header_that_promises_everything_costs_nothing(name, tmp_path):
    recordings = some((5,))
    path = save(tmp_path / READABLE[name], name, recordings)
    header = recordings[0][0].ended(columns=1 << 48, frames=1 << 52, unknown=0)
    (tmp_path / "x.tokens.json").write_bytes(header_json([header]))
    refused(seal_tokens(path))


@pytest.mark.parametrize("name", READABLE)
def test_tokens_of_one_recording_are_those_that_encode_gave(name, tmp_path):
    header, ids = some((0, 5))[1]
    path = save(tmp_path / READABLE[name], name, [(header, ids)])
    tokens = read_tokens(str(path))
    np.testing.assert_array_equal(tokens.ids, ids)
    np.testing.assert_array_equal(tokens.seconds, [header.seconds(column) for column in range(5)])
    np.testing.assert_array_equal(tokens.hertz, [(0, 50.5), (50.5, 1000), (1000, 8010.25)])
    known = ("sample_rate", "hop", "frames", "start", "start_utc", "fingerprint", "unk_quantile")
    for field in known:
        assert getattr(tokens, field) == getattr(header, field)
    assert np.isnan(tokens.distances).all()
    assert tokens.distances.shape == ids.shape


def test_tokens_of_several_recordings_are_a_corpus(tmp_path):
    path = save(tmp_path / "x.tokens.csv", "csv", some((5, 5)))
    with pytest.raises(UserError, match=r"x\.tokens\.csv holds several .* ulmo\.read_corpus$"):
        read_tokens(path)
    assert [item.tokens().start_utc for item in read_corpus(path)] == [None, UTC_START]


@given(header=streams())
def test_tokens_of_a_timeline_have_true_times(header, tmp_path_factory):
    ids = np.zeros((header.columns, 3), np.int32)
    path = tmp_path_factory.getbasetemp() / "t.npy"
    save(path, "npy", [(header, ids)])
    expected = [header.seconds(column) for column in range(header.columns)]
    np.testing.assert_array_equal(read_tokens(path).seconds, expected)
