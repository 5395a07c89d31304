"""Files of tables of events: their names, and how they appear, whole or not at all."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ulmo.config import UserError
from ulmo.config.arguments import one_of
from ulmo.formats.events import EVENT_FORMATS, Column, EventFormat, event_schema
from ulmo.storage.atomic import make_folder, publish
from ulmo.storage.plain_file import lexists, open_plain

_REMEDY = "choose another --out"
_LABEL = re.compile(rb"\d+\.\d{6}\t\d+\.\d{6}\t[^\n]*\n\\\t\d+\.\d{6}\t\d+\.\d{6}\n")
_LONGEST = 1 << 16  # bytes of the first two lines of labels


def event_format_of(path: Path, wanted: str | None = None) -> str:
    """The format of a file: the wanted one, or that of its name's end.

    .csv and .parquet are these; .labels.txt is Audacity's, and any other .txt Raven's. UserError
    for another end, and if the wanted format has another.
    """
    for name, kind in EVENT_FORMATS.items():
        fits = path.name.endswith(Path(kind.ending).suffix if wanted else kind.ending)
        if fits and wanted in (None, name):
            return name
    if wanted is not None:
        ending = EVENT_FORMATS[one_of("format", wanted, EVENT_FORMATS)].ending
        raise UserError(f"{path} is no name for {wanted}: end it with {ending}")
    if path.suffix != ".txt":
        endings = ", ".join(kind.ending for kind in EVENT_FORMATS.values())
        raise UserError(
            f"{path} is no name for a table: end it with one of {endings}; "
            "any other .txt is a table for Raven"
        )
    return "raven"


def check_event_file(path: Path, file_format: str, columns: Sequence[Column]) -> None:
    """Raise UserError if a table cannot have its place, or would replace a file of another kind.

    An older table of the same command is replaced, and so is a file that holds nothing.
    """
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file with --out")
    if not lexists(path):
        return
    begins = EVENT_FORMATS[file_format].begins(columns)
    with open_plain(path, remedy=_REMEDY) as file:
        first = file.read(len(begins) or _LONGEST)
        is_ours = first == begins if begins else bool(_LABEL.match(first))
        if first and is_ours and file_format == "parquet":
            is_ours = _has_columns(path, columns)
    if first and not is_ours:
        raise UserError(f"{path} is there, and is no such table of ulmo's: {_REMEDY}")


def _has_columns(path: Path, columns: Sequence[Column]) -> bool:
    import pyarrow as pa

    from ulmo.storage.parquet_guard import parquet_file, same_schema

    with open_plain(path, remedy=_REMEDY) as raw:
        try:
            with parquet_file(raw) as file:
                return same_schema(file.schema_arrow, event_schema(columns))
        except (OSError, ValueError, pa.ArrowException):
            return False


@contextmanager
def publish_events(
    path: Path, file_format: str, columns: Sequence[Column]
) -> Iterator[EventFormat]:
    """A writer whose file appears when the block ends, and not at all if it fails.

    Raises UserError at once for what `check_event_file` refuses.
    """
    check_event_file(path, file_format, columns)
    make_folder(path.parent)
    with publish(path) as file:
        writer = EVENT_FORMATS[file_format](file, columns)
        try:
            writer.begin()
            yield writer
            writer.close()
        except BaseException:
            writer.abandon()
            raise
        check_event_file(path, file_format, columns)
