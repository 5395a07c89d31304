"""The one row of a recording: its columns, and its way through a journal and a table."""

from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.outputs import write_table
from ulmo.config import Settings
from ulmo.jobs.outcome import Outcome, Prepared, Tokenized
from ulmo.storage.columns import ColumnType, OptionalDecibels
from ulmo.storage.journal import Entry, Journal
from ulmo.storage.names import portable
from ulmo.storage.parquet_guard import GroupedTable
from ulmo.storage.tables import TYPES, python_rows, read_table, schema_of

PATHS = st.text().map(lambda text: portable(Path(text.replace("\0", "0"))))
CODES = st.from_regex(r"[a-z_]{1,64}", fullmatch=True)
BOUNDS = {
    **dict.fromkeys(("duration_s", "bandwidth_hz"), (0, 1e12)),
    **dict.fromkeys(("peak_db", "loudness"), (-1000, 1000)),
    "share_above": (0, 1),
}
BITS = {"int32": 31, "int64": 63, "uint32": 32, "utc": 53}


class Counted(Tokenized):
    """What another command would add."""

    loudness: OptionalDecibels = None


ROWS = (Outcome, Prepared, Tokenized, Counted)


def column_type(field):
    (kind,) = [each.name for each in field.metadata if isinstance(each, ColumnType)]
    return kind


def values_of(name, field):
    """All values that a column may have."""
    kind, optional = column_type(field), type(None) in getattr(field.annotation, "__args__", ())
    match kind:
        case "string" if name == "status":
            found = st.sampled_from(["ok", "repaired", "partial", "refused"])
        case "string" if name == "path":
            found = PATHS
        case "string" if name in ("reason", "start_source"):
            found = CODES
        case "string":
            found = st.text()
        case "strings" if name == "outputs":
            found = st.lists(PATHS, max_size=3).map(tuple)
        case "strings" if name == "flags":
            found = st.lists(CODES, max_size=3).map(tuple)
        case "strings":
            found = st.lists(st.text(), max_size=3).map(tuple)
        case "float64":
            found = st.floats(*BOUNDS[name])
        case "int32" if name == "channels":
            found = st.integers(0, 1024)
        case "utc":
            found = st.integers(-(1 << 53), 1 << 53)
        case _:
            found = st.integers(0, (1 << BITS[kind]) - 1)
    return found | st.none() if optional else found


def rows(row):
    every = {name: values_of(name, field) for name, field in row.model_fields.items()}
    return (
        st.fixed_dictionaries(every)
        .map(lambda values: values if values["sample_rate"] else {**values, "flags": ()})
        .map(row.model_validate)
    )


@pytest.mark.parametrize(
    ("name", "value", "more"),
    [
        ("reason", "\x1b[31mred", {}),
        ("reason", "changed\n", {}),
        ("start_source", "Guano", {}),
        ("flags", ("\x07",), {}),
        ("flags", ("silent",), {"sample_rate": None}),
        ("peak_db", 1e5, {}),
        ("duration_s", 1e308, {}),
        ("share_above", 1.5, {}),
        ("bandwidth_hz", -1.0, {}),
    ],
)
def test_what_no_recording_has(name, value, more):
    row = {"path": "a", "bytes": 1, "ends_crc32c": 0, "status": "ok", "key": "k"}
    row["sample_rate"] = 8000
    assert Outcome.model_validate(row)
    with pytest.raises(ValidationError):
        Outcome.model_validate({**row, name: value, **more})


@pytest.mark.parametrize("row", ROWS)
def test_every_column_has_a_type(row):
    schema = schema_of(row)
    assert schema.names == list(row.model_fields)
    for name, field in row.model_fields.items():
        assert schema.field(name).type == TYPES[column_type(field)]
    assert schema_of(Counted).names == [*schema_of(Tokenized).names, "loudness"]


def test_a_field_without_a_type_is_no_column():
    class Wrong(Outcome):
        more: Annotated[int, "no type"] = 0

    with pytest.raises(KeyError, match="more"):
        schema_of(Wrong)


@pytest.mark.parametrize("row", ROWS)
@settings(max_examples=10)
@given(data=st.data())
def test_a_row_comes_back_from_a_journal_and_a_table(row, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    found = data.draw(st.lists(rows(row), max_size=3))
    table = folder / "rows.parquet"
    write_table(table, (each.model_dump() for each in found), schema_of(row))
    read = read_table(table, schema_of(row), remedy="none", read=GroupedTable)
    values = python_rows(read.slice(0, len(found)))
    assert [row.model_validate(each) for each in values] == found
    journal = Journal(folder / "rows.jsonl", row)
    by_key: dict[str, list[Settings]] = {}
    for each in found:
        by_key.setdefault(each.key, []).append(each)
    journal.begin(Entry(key, each) for key, each in by_key.items())
    journal.close()
    again = Journal(folder / "rows.jsonl", row)
    again.load()
    assert {key: list(again.entry(key).rows) for key in by_key} == by_key
