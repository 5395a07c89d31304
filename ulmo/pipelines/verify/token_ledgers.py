"""Verifying the ledgers of tokens: rows without outputs, and outputs without a row."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ulmo.config import NewerError, UserError
from ulmo.formats.folder import (
    AGAIN,
    COMMAND,
    DELETE,
    MANIFEST,
    TOKENS,
    TokensLedger,
    folder_ledger,
    timeline_ledger,
)
from ulmo.formats.header import TokensHeader, read_header, read_stored
from ulmo.jobs.inputs import portable
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.verify.outputs import Output, stem_of
from ulmo.storage.faults import Fault, below, fault_of
from ulmo.storage.manifest import TABLE


def is_ledger_file(path: Path) -> bool:
    """Whether a path has the name of a manifest, a table or a journal of ulmo-tokenize."""
    endings = (MANIFEST, TABLE, f".{COMMAND}.jsonl")
    return path.name in endings or path.name.endswith(tuple(f".{name}" for name in endings))


def check_ledgers(folder: Path, files: list[Path], outputs: list[Output]) -> Iterator[Fault]:
    """Check all ledgers below a folder. Raises NewerError if a newer ulmo wrote one."""
    there = set(files)
    for path in sorted(there):
        if path.name == MANIFEST:
            yield from _check_ledger(folder, path, None, files, outputs)
        elif path.name.endswith(f".{MANIFEST}"):
            output = path.with_name(path.name.removesuffix(f".{MANIFEST}"))
            yield from _check_ledger(folder, path, output, files, outputs)
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
    folder: Path, manifest: Path, output: Path | None, files: list[Path], outputs: list[Output]
) -> Iterator[Fault]:
    """Check the ledger of the folder that the manifest lies in, or of a timeline `output`."""
    try:
        ledger = folder_ledger(manifest.parent) if output is None else timeline_ledger(output)
    except NewerError:
        raise
    except UserError as error:
        yield fault_of(below(manifest, folder), error, DELETE)
        return
    faults = ledger.check()
    for fault in faults:
        yield fault._replace(path=below(manifest.with_name(fault.path), folder))
    if faults:
        return
    rows = ledger.rows()
    if output is None:
        yield from _check_rows(folder, ledger, rows, outputs)
        yield from _check_orphans(folder, manifest.parent, rows, files, outputs)
    else:
        yield from _check_timeline(folder, ledger, output, rows)


def _check_rows(
    folder: Path, ledger: TokensLedger, rows: list[Tokenized], outputs: list[Output]
) -> Iterator[Fault]:
    """Each row has its outputs, with as many columns as it says."""
    table = ledger.files.table
    for name, count in Counter(name for row in rows for name in row.outputs).items():
        if count > 1:
            detail = f"{count} rows have the output {name}"
            yield Fault(below(table, folder), "duplicate", detail, AGAIN)
    headers = {
        portable(path.relative_to(table.parent)): output.header
        for output in outputs
        for path in output.files
        if path.is_relative_to(table.parent)
    }
    for row in rows:
        yield from _check_row(folder, table, row, headers)


def _check_row(
    folder: Path, table: Path, row: Tokenized, headers: dict[str, Path]
) -> Iterator[Fault]:
    unknown = 0
    for name in row.outputs:
        if name not in headers:
            path = portable((table.parent / name).relative_to(folder))
            yield Fault(path, "missing", f"{row.path} was tokenized to it", AGAIN)
            return
        try:
            (header,) = read_stored(headers[name]).headers
        except (UserError, OSError, ValueError):
            return  # a fault of the file itself, which is reported there
        unknown += header.unknown
        if detail := _contradiction(row, name, header):
            yield Fault(below(table, folder), "disagrees", detail, AGAIN)
    if row.outputs and unknown != row.unknown:
        detail = f"{row.path}: {row.unknown} ids are <unk> there, {unknown} in its outputs"
        yield Fault(below(table, folder), "disagrees", detail, AGAIN)


def _contradiction(row: Tokenized, name: str, header: TokensHeader) -> str:
    """How a header differs from a row; empty if they agree."""
    if header.recording != row.path:
        return f"{row.path}: {name} has the tokens of {header.recording}"
    if (header.columns, header.bands) != (row.columns, row.bands):
        return f"{row.path}: {row.columns} x {row.bands} tokens there, others in {name}"
    return ""


def _check_orphans(
    folder: Path,
    home: Path,
    rows: Sequence[Tokenized],
    files: Iterable[Path],
    outputs: Iterable[Output],
) -> Iterator[Fault]:
    """Files below tokens/ that belong to no row."""
    headers = {f"{stem_of(name)}.json" for row in rows for name in row.outputs}
    kept = {
        path
        for output in outputs
        if output.header.is_relative_to(home)
        and portable(output.header.relative_to(home)) in headers
        for path in (output.header, *output.files)
    }
    for path in files:
        if (
            path.is_relative_to(home / TOKENS)
            and path not in kept
            and not path.name.startswith(".")
        ):
            detail = f"no row of {TABLE} names it"
            yield Fault(below(path, folder), "orphan", detail, "delete it, or move it elsewhere")


def _check_timeline(
    folder: Path, ledger: TokensLedger, output: Path, rows: list[Tokenized]
) -> Iterator[Fault]:
    """The timeline is there, and is of the recordings that its table names."""
    joined = Counter(row.path for row in rows if row.status != "refused")
    if not output.exists():
        detail = f"{sum(joined.values())} recordings were joined to it"
        yield Fault(below(output, folder), "missing", detail, AGAIN)
        return
    try:
        segments = read_header(output.with_suffix(".json")).segments
    except (UserError, OSError):
        return  # a fault of the file itself, which is reported there
    if Counter(segment.recording for segment in segments) != joined:
        detail = f"{output.name} is of other recordings than it names"
        yield Fault(below(ledger.files.table, folder), "disagrees", detail, AGAIN)
