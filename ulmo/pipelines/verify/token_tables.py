"""Verifying the tables of tokens: each by its digest, and what its rows say of their outputs."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from ulmo.config import NewerError, UserError
from ulmo.formats.header import TokensHeader, read_header, read_stored
from ulmo.jobs.inputs import portable
from ulmo.pipelines.tokenize.rows import (
    REPORT,
    Row,
    checked_rows,
    digest_path,
    is_digest,
    is_our_table,
    is_table,
)
from ulmo.pipelines.verify.outputs import Output
from ulmo.storage.faults import Fault, below

AGAIN = "run the same ulmo-tokenize again"


def check_tables(folder: Path, files: list[Path], outputs: list[Output]) -> Iterator[Fault]:
    """All tables below a folder; NewerError where a newer ulmo wrote one."""
    there = set(files)
    reports: dict[Path, list[Row]] = {}
    for table in _tables(files):
        name = below(table, folder)
        if table not in there:
            detail = f"{digest_path(table).name} speaks of it"
            yield Fault(name, "missing", detail, AGAIN)
            continue
        try:
            rows = checked_rows(table)
        except NewerError:
            raise
        except UserError as error:
            yield Fault(name, "damaged", str(error), f"{AGAIN}, which writes it anew")
            continue
        except OSError as error:
            detail = error.strerror or str(error)
            yield Fault(name, "unreadable", detail, "make it readable, or copy it again")
            continue
        if table.name == REPORT:
            reports[table] = rows
            yield from _check_rows(folder, table, rows, outputs)
        else:
            yield from _check_timeline(folder, table, rows)
    yield from _unnamed(folder, reports, outputs, there)


def names_in_tables(files: Iterable[Path]) -> set[Path]:
    """The outputs that the readable tables among some files speak of."""
    named: set[Path] = set()
    for table in _tables(files):
        try:
            named |= {table.parent / name for row in checked_rows(table) for name in row.outputs}
        except (UserError, OSError):
            continue
    return named


def _tables(files: Iterable[Path]) -> Iterator[Path]:
    """Tables of ulmo-tokenize, each once, and those of which only the digest is left."""
    there = set(files)
    for path in sorted(there):
        if is_table(path) and is_our_table(path):
            yield path
        elif is_digest(path) and path.with_suffix(".parquet") not in there:
            yield path.with_suffix(".parquet")


def _check_rows(
    folder: Path, table: Path, rows: list[Row], outputs: list[Output]
) -> Iterator[Fault]:
    """Each row has its outputs, with as many columns as it says."""
    for name, count in Counter(name for row in rows for name in row.outputs).items():
        if count > 1:
            detail = f"{count} rows have the output {name}"
            yield Fault(below(table, folder), "duplicate", detail, AGAIN)
    headers = {path: output.header for output in outputs for path in output.files}
    found = {
        portable(path.relative_to(table.parent)): header
        for path, header in headers.items()
        if path.is_relative_to(table.parent)
    }
    for row in rows:
        yield from _check_row(folder, table, row, found)


def _check_row(folder: Path, table: Path, row: Row, found: dict[str, Path]) -> Iterator[Fault]:
    unknown = 0
    for name in row.outputs:
        if name not in found:
            path = portable((table.parent / name).relative_to(folder))
            yield Fault(path, "missing", f"{row.path} was tokenized to it", AGAIN)
            return
        try:
            (header,) = read_stored(found[name]).headers
        except (UserError, OSError, ValueError):
            return  # told already, of the file itself
        unknown += header.unknown
        if detail := _contradiction(row, name, header):
            yield Fault(below(table, folder), "disagrees", detail, AGAIN)
    if row.outputs and unknown != row.unknown:
        detail = f"{row.path}: {row.unknown} ids are <unk> there, {unknown} in its outputs"
        yield Fault(below(table, folder), "disagrees", detail, AGAIN)


def _contradiction(row: Row, name: str, header: TokensHeader) -> str:
    """What a header says otherwise than a row; empty where they agree."""
    if header.recording != row.path:
        return f"{row.path}: {name} has the tokens of {header.recording}"
    if (header.columns, header.bands) != (row.columns, row.bands):
        return f"{row.path}: {row.columns} x {row.bands} tokens there, others in {name}"
    return ""


def _check_timeline(folder: Path, table: Path, rows: list[Row]) -> Iterator[Fault]:
    """The timeline beside its table is there, and is of the recordings that the table names."""
    output = table.with_name(table.name.removesuffix(f".{REPORT}"))
    told = Counter(row.path for row in rows if row.status != "refused")
    if not output.exists():
        detail = f"{sum(told.values())} recordings were joined to it"
        yield Fault(below(output, folder), "missing", detail, AGAIN)
        return
    try:
        segments = read_header(output.with_suffix(".json")).segments
    except (UserError, OSError):
        return  # told already, of the file itself
    if Counter(segment.recording for segment in segments) != told:
        detail = f"{output.name} is of other recordings than it names"
        yield Fault(below(table, folder), "disagrees", detail, AGAIN)


def _unnamed(
    folder: Path, reports: dict[Path, list[Row]], outputs: list[Output], there: set[Path]
) -> Iterator[Fault]:
    """Outputs below a folder with a table that no row names.

    Those of several recordings, and timelines with a table of their own, are nobody's rows.
    """
    named = {table.parent / name for table, rows in reports.items() for name in _names(rows)}
    for output in outputs:
        over = [table for table in reports if output.header.is_relative_to(table.parent)]
        if not over or not output.files or named.intersection(output.files):
            continue
        if output.header not in there or _is_joined(output, there):
            continue
        detail = f"no row of {REPORT} names it"
        yield Fault(below(output.header, folder), "orphan", detail, "delete it, or leave it")


def _names(rows: list[Row]) -> Iterator[str]:
    return (name for row in rows for name in row.outputs)


def _is_joined(output: Output, there: set[Path]) -> bool:
    """True of a corpus, and of a timeline beside its own table."""
    if any(path.with_name(f"{path.name}.{REPORT}") in there for path in output.files):
        return True
    try:
        return len(read_stored(output.header).headers) > 1
    except (UserError, OSError):
        return False
