"""Verifying the ledgers of tokens: rows without outputs, and outputs without a row."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ulmo.config import NewerError, UserError
from ulmo.formats.folder import (
    AGAIN,
    DELETE,
    folder_ledger,
    timeline_ledger,
)
from ulmo.formats.header import TokensHeader, read_header, read_stored
from ulmo.formats.places import COMMAND, HEADERS, MANIFEST, TOKENS
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.verify.outputs import Output
from ulmo.storage.faults import Fault, What, below, fault_of
from ulmo.storage.manifest import TABLE
from ulmo.storage.names import path_of, portable


def is_ledger_file(path: Path) -> bool:
    """Whether a path has the name of a manifest, a table or a journal of ulmo-tokenize."""
    endings = (MANIFEST, TABLE, f".{COMMAND}.jsonl")
    return path.name in endings or path.name.endswith(tuple(f".{name}" for name in endings))


def check_ledgers(folder: Path, files: list[Path], outputs: list[Output]) -> Iterator[Fault]:
    """Check all ledgers below a folder. Raises NewerError if a newer ulmo wrote one."""
    there = set(files)
    for path in sorted(there):
        if path.name == MANIFEST or path.name.endswith(f".{MANIFEST}"):
            yield from _check_ledger(folder, path, files, outputs)
        elif path.name == f".{COMMAND}.jsonl" and path.with_name(MANIFEST) not in there:
            yield Fault(below(path, folder), "unfinished", "the job has not ended", AGAIN)
        elif (lost := _lost_manifest(path, there)) is not None:
            detail = f"{path.name} and tokens are there"
            yield Fault(below(lost, folder), "missing", detail, AGAIN)


def _lost_manifest(path: Path, there: set[Path]) -> Path | None:
    """The manifest beside a table of tokens, if it is gone; None for other files."""
    before = path.name.removesuffix(TABLE)
    manifest = path.with_name(before + MANIFEST)
    if path.name == TABLE:
        has_tokens = any(each.is_relative_to(path.with_name(TOKENS)) for each in there)
    else:
        has_tokens = before.endswith(".") and path.with_name(before[:-1]) in there
    return manifest if has_tokens and manifest not in there else None


def _check_ledger(
    folder: Path, manifest: Path, files: list[Path], outputs: list[Output]
) -> Iterator[Fault]:
    """Check the ledger of the folder that a manifest lies in, or of a timeline beside it."""
    name = manifest.name.removesuffix(MANIFEST).removesuffix(".")
    timeline = manifest.with_name(name) if name else None
    try:
        ledger = timeline_ledger(timeline) if timeline else folder_ledger(manifest.parent)
    except NewerError:
        raise
    except UserError as error:
        yield fault_of(below(manifest, folder), error, DELETE)
        return
    faults = ledger.check()
    for fault in faults:
        yield fault._replace(path=below(manifest.parent / path_of(fault.path), folder))
    if faults:
        return
    table, rows = ledger.files.table, ledger.rows()
    if timeline is None:
        yield from _check_rows(folder, table, rows, outputs)
        yield from _check_orphans(folder, table.parent, rows, files)
    else:
        yield from _check_timeline(folder, table, rows, timeline)


def _check_rows(
    folder: Path, table: Path, rows: list[Tokenized], outputs: list[Output]
) -> Iterator[Fault]:
    """Each row has its outputs, which are as the row describes them."""

    def at_table(what: What, detail: str) -> Fault:
        return Fault(below(table, folder), what, detail, AGAIN)

    for name, count in Counter(name for row in rows for name in row.outputs).items():
        if count > 1:
            yield at_table("duplicate", f"{count} rows have the output {name}")
    headers = {
        portable(path.relative_to(table.parent)): output.header
        for output in outputs
        for path in output.files.values()
        if path.is_relative_to(table.parent)
    }
    for row in rows:
        missing = [name for name in row.outputs if name not in headers]
        for name in missing:
            path = below(table.parent / path_of(name), folder)
            yield Fault(path, "missing", f"{row.path} was tokenized to it", AGAIN)
        if missing or not row.outputs:
            continue
        try:
            found = {name: _only_header(headers[name]) for name in row.outputs}
        except (UserError, OSError, ValueError):
            continue  # a fault of the file itself, which is reported there
        for name, header in found.items():
            if detail := _contradiction(row, name, header):
                yield at_table("disagrees", f"{row.path}: {detail}")
        unknown = sum(header.unknown for header in found.values())
        if unknown != row.unknown:
            detail = f"{row.path}: {row.unknown} ids are <unk> there, {unknown} in its outputs"
            yield at_table("disagrees", detail)


def _only_header(path: Path) -> TokensHeader:
    """The header of one recording. Raises ValueError if a file has several."""
    (header,) = read_stored(path).headers
    return header


def _contradiction(row: Tokenized, name: str, header: TokensHeader) -> str:
    """How a header differs from a row; empty if they agree."""
    if header.recording != row.path:
        return f"{name} has the tokens of {header.recording}"
    if (header.columns, header.bands) != (row.columns, row.bands):
        return f"{row.columns} x {row.bands} tokens there, others in {name}"
    return ""


def _check_orphans(
    folder: Path, home: Path, rows: list[Tokenized], files: list[Path]
) -> Iterator[Fault]:
    """Files of tokens and headers that belong to no row."""
    known = {Output.stem_of(home / path_of(name)) for row in rows for name in row.outputs} - {None}
    for path in files:
        is_inside = any(path.is_relative_to(home / each) for each in (TOKENS, HEADERS))
        if not is_inside or path.name.startswith("."):
            continue
        if Output.stem_of(path) not in known:
            detail = f"no row of {TABLE} names it"
            yield Fault(below(path, folder), "orphan", detail, "delete it, or move it elsewhere")


def _check_timeline(
    folder: Path, table: Path, rows: list[Tokenized], output: Path
) -> Iterator[Fault]:
    """The timeline is there, and has the recordings that its table names."""
    joined = Counter(path for row in rows for path in [row.path] * row.stretches)
    if not output.exists():
        detail = f"{len(joined)} recordings were joined to it"
        yield Fault(below(output, folder), "missing", detail, AGAIN)
        return
    try:
        segments = read_header(Output.of(output).header).segments
    except (UserError, OSError):
        return  # a fault of the file itself, which is reported there
    if Counter(segment.recording for segment in segments) != joined:
        detail = f"{output.name} has other recordings than it names"
        yield Fault(below(table, folder), "disagrees", detail, AGAIN)
