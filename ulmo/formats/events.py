"""Tables of events, such as those of `ulmo regions`: one table over all recordings.

    with publish_events(path, "raven", COLUMNS) as table:      # ulmo.formats.event_files
        table.add({"recording": "x.wav", "start_s": 1.5, ...}, place)

A format is a class here and a line in EVENT_FORMATS. Two columns are the same in each command: a
channel is empty for the mean of all, and `start_utc` is empty if the time is not known.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from typing import Any, BinaryIO, ClassVar, Literal, NamedTuple

from ulmo.config import UserError
from ulmo.formats.cells import csv_cell, path_cell
from ulmo.formats.header import utc_text

Row = Mapping[str, Any]  # values by the names of columns; None is an empty field


class Column(NamedTuple):
    """A column of a table of events."""

    name: str
    kind: Literal["text", "whole", "number", "utc"]
    digits: int = 6  # behind the point, in text: microseconds
    words: str = ""  # what a reader may not know


RECORDING = Column("recording", "text", words="as the user named it, or below a folder")
CHANNEL = Column("channel", "whole", words="from 0; empty: the mean of all")
START = Column("start_s", "number", words="true time from the recording's first sample")
END = Column("end_s", "number")
LOW = Column("low_hz", "number", digits=1)
HIGH = Column("high_hz", "number", digits=1)
UTC_TIME = Column("start_utc", "utc", words="of start_s; empty: unknown")
REPEAT_COLUMNS = (
    *(RECORDING, CHANNEL),
    Column("kind", "text", words="sound, impulses, or background: what is always there"),
    Column("class", "whole", words="from 1, in the order of first occurrences; empty: in no class"),
    Column("occurrence", "whole", words="from 1, in its class"),
    *(START, END, LOW, HIGH),
    Column("bits", "number", 1, "evidence that it is its best match again"),
    Column("false_per_hour", "number", 6, "such rows that would come by chance in an hour"),
    Column("best_match_recording", "text"),
    Column("best_match_s", "number", words="start_s of its best match"),
    Column("period_s", "number", words="of its class; of its train; empty: unknown"),
    Column("period_jitter", "number", words="standard deviation of the intervals, in seconds"),
    Column("period_n", "whole", words="intervals that the period explains"),
    UTC_TIME,
)
_PLACED = {each.name for each in (RECORDING, CHANNEL, START, END, LOW, HIGH, UTC_TIME)}


class Events(Sequence[dict[str, Any]]):
    """Events as Python has them: rows with the values of all columns by name, None if empty.

    columns: those of the table, in their order.
    refused: name and reason of each recording that could not be heard.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        rows: Sequence[dict[str, Any]],
        refused: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.columns, self.refused = tuple(columns), tuple(refused)
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __repr__(self) -> str:
        return f"<{len(self)} events: {', '.join(each.name for each in self.columns)}>"

    def to_pandas(self) -> Any:
        """The events as a DataFrame; UserError where pandas is not installed."""
        try:
            pandas = import_module("pandas")
        except ModuleNotFoundError:
            missing = "this needs pandas, which is not installed: pip install pandas"
            raise UserError(missing) from None
        names = [each.name for each in self.columns]
        frame = pandas.DataFrame(self._rows, columns=names)
        kinds = {"text": "string", "whole": "Int64", "number": "float64"}
        for each in self.columns:
            if each.kind == "utc":
                frame[each.name] = pandas.to_datetime(frame[each.name], utc=True)
            else:
                frame[each.name] = frame[each.name].astype(kinds[each.kind])
        return frame


class Place(NamedTuple):
    """Where an event lies in its file, for programs that open the file."""

    path: str  # of the file, as text (storage.names.portable)
    offset_s: float  # from the file's first frame, which differs from true time behind a gap
    before_s: float = 0.0  # lengths of the files before it, which such programs play in one row


class EventFormat:
    """Writes events one by one, so that memory does not grow with their number."""

    words: ClassVar[str]  # what the format is, for --help
    ending: ClassVar[str]  # of names that ulmo proposes; a user's may have the last part alone

    def __init__(self, file: BinaryIO, columns: Sequence[Column]) -> None:
        self._file = file
        self._columns = columns

    @classmethod
    def begins(cls, columns: Sequence[Column]) -> bytes:
        """The first bytes of each file of the format; a file without them is another program's."""
        return b""

    def begin(self) -> None:
        """Write what comes before the first event."""
        self._file.write(self.begins(self._columns))

    def add(self, row: Row, place: Place) -> None:
        """Write an event."""
        raise NotImplementedError

    def close(self) -> None:
        """Write what follows the last event."""

    def abandon(self) -> None:
        """Stop writing: the file is about to be deleted."""


class Csv(EventFormat):
    """Comma-separated values (RFC 4180), for spreadsheets and R; empty fields are unknown.

    Foreign text that would be a formula has an apostrophe before it: see `csv_cell`.
    """

    words = "a line an event, for spreadsheets, pandas and R"
    ending = ".csv"

    @classmethod
    def begins(cls, columns: Sequence[Column]) -> bytes:
        """The names of the columns."""
        return (",".join(each.name for each in columns) + "\r\n").encode()

    def add(self, row: Row, place: Place) -> None:
        """Write a line."""
        cells = (_cell(each, row.get(each.name)) for each in self._columns)
        self._file.write((",".join(cells) + "\r\n").encode())


class Parquet(EventFormat):
    """A table of typed columns, zstd; the same events give the same bytes."""

    words = "a table with types, for pandas, Polars and DuckDB"
    ending = ".parquet"
    _writer: Any = None

    @classmethod
    def begins(cls, columns: Sequence[Column]) -> bytes:
        """The mark of Parquet; `event_files` looks at the columns, too."""
        return b"PAR1"

    def begin(self) -> None:
        """Open the table."""
        from ulmo.storage.tables import TableWriter  # brings pyarrow

        self._writer = TableWriter(self._file, event_schema(self._columns)).__enter__()

    def add(self, row: Row, place: Place) -> None:
        """Write a row."""
        self._writer.add({each.name: row.get(each.name) for each in self._columns})

    def close(self) -> None:
        """Write the footer."""
        self._writer.__exit__(None, None, None)

    def abandon(self) -> None:
        """Keep pyarrow from writing a footer into a file that is closed by then."""
        if self._writer is not None:
            self._writer.__exit__(KeyboardInterrupt, None, None)


class Raven(EventFormat):
    """One combined selection table: each selection names its file, and its place there.

    Raven plays a list of files without gaps between them, so Begin Time counts from the begin of
    the first file of the table; channels count from 1.
    """

    words = "one selection table over all files, for Raven Pro and Raven Lite"
    ending = ".selections.txt"
    _selections = 0

    @classmethod
    def begins(cls, columns: Sequence[Column]) -> bytes:
        """The names of the columns, with tabs between them."""
        names = [each.name for each in columns if each.name not in _PLACED]
        return ("\t".join([*_RAVEN, *names, "Begin UTC"]) + "\n").encode()

    def add(self, row: Row, place: Place) -> None:
        """Write a selection."""
        self._selections += 1
        begin = place.before_s + place.offset_s
        end = begin + row["end_s"] - row["start_s"]
        name = place.path.rpartition("/")[2]
        others = [
            _tabbed(each, row.get(each.name)) for each in self._columns if each.name not in _PLACED
        ]
        cells = [
            *(f"{self._selections}", "Spectrogram 1", f"{1 + (row['channel'] or 0)}"),
            *(f"{begin:.9f}", f"{end:.9f}", f"{row['low_hz']:.6f}", f"{row['high_hz']:.6f}"),
            *(path_cell(name), path_cell(place.path), f"{place.offset_s:.9f}"),
            *(*others, _text(UTC_TIME, row.get("start_utc"))),
        ]
        self._file.write(("\t".join(cells) + "\n").encode())


class Audacity(EventFormat):
    """A label an event; several recordings are thought to lie one behind the other on one track."""

    words = "one label track, for Audacity"
    ending = ".labels.txt"

    def add(self, row: Row, place: Place) -> None:
        """Write a label, and its frequencies on a line of their own."""
        begin = place.before_s + place.offset_s
        end = begin + row["end_s"] - row["start_s"]
        label = path_cell(f"{place.path.rpartition('/')[2]} {label_of(row)}".strip())
        edges = f"{row['low_hz']:.6f}\t{row['high_hz']:.6f}"
        self._file.write(f"{begin:.6f}\t{end:.6f}\t{label}\n\\\t{edges}\n".encode())


EVENT_FORMATS: dict[str, type[EventFormat]] = {
    "csv": Csv,
    "parquet": Parquet,
    "raven": Raven,
    "audacity": Audacity,
}
_RAVEN = (
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"),
    *("Low Freq (Hz)", "High Freq (Hz)", "Begin File", "Begin Path", "File Offset (s)"),
)


def label_of(row: Row) -> str:
    """The class of an event in words: `class 3`, `impulses 1`, `background`; empty without one."""
    kind, number = row.get("kind") or "", row.get("class")
    word = kind if kind not in ("", "sound") else "" if number is None else "class"
    return f"{word}{'' if number is None else f' {number}'}"


def event_schema(columns: Sequence[Column]) -> Any:
    """The columns of a Parquet table of events."""
    import pyarrow as pa

    from ulmo.storage.tables import TYPES

    names = {"text": "string", "whole": "int64", "number": "float64", "utc": "utc"}
    return pa.schema([(each.name, TYPES[names[each.kind]]) for each in columns])


def _text(column: Column, value: Any) -> str:
    """A value as text; empty for None."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return utc_text(value)
    return f"{value:.{column.digits}f}" if column.kind == "number" else str(value)


def _cell(column: Column, value: Any) -> str:
    text = _text(column, value)
    return csv_cell(text) if column.kind == "text" else text


def _tabbed(column: Column, value: Any) -> str:
    text = _text(column, value)
    return path_cell(text) if column.kind == "text" else text
