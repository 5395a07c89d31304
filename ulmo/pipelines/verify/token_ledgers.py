"""Verifying the ledgers of tokens: rows without outputs, and outputs without a row."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Self

from ulmo.config import UserError
from ulmo.formats.folder import AGAIN, DELETE, contradiction, folder_ledger, timeline_ledger
from ulmo.formats.header import TokensHeader, read_stored
from ulmo.formats.places import HEADERS, JOURNAL, MANIFEST, TOKENS
from ulmo.formats.publish import endings_of, tokens_hash
from ulmo.formats.readme import readme_faults
from ulmo.jobs.outcome import Tokenized
from ulmo.pipelines.verify.outputs import ENDINGS, Output, is_tokens, stem_of
from ulmo.storage.atomic import owner_of
from ulmo.storage.faults import Fault, What, fault_of, name_in
from ulmo.storage.manifest import TABLE
from ulmo.storage.names import path_of, portable
from ulmo.storage.plain_file import lexists
from ulmo.storage.walk import by_bytes, bytes_of, walk

_MOST_MISSING = 10_000  # files of an output that are reported one by one


def is_ledger_file(path: Path) -> bool:
    """Whether a path has the name of a manifest, a table or a journal of ulmo-tokenize."""
    endings = (MANIFEST, TABLE, JOURNAL)
    return path.name in endings or path.name.endswith(tuple(f".{name}" for name in endings))


def output_of(folder: Path) -> Path | None:
    """The folder of the output whose tokens, or headers, lie in `folder`; None if it is no part."""
    place = folder.absolute()
    is_part = place.name in (TOKENS, HEADERS) and not lexists(place / MANIFEST)
    return place.parent if is_part and lexists(place.parent / MANIFEST) else None


class _Found(NamedTuple):
    """What lies below a folder that may have many outputs: looked through once for all of them."""

    headers: dict[Path, Path]  # by the files of tokens that they describe
    files: list[Path]  # in the order of their bytes

    @classmethod
    def of(cls, files: Iterable[Path], outputs: Iterable[Output]) -> Self:
        headers = {path: each.header for each in outputs for path in each.files.values()}
        return cls(headers, by_bytes(files))

    def below(self, folder: Path) -> list[Path]:
        """Files below a folder, which has a name."""
        start, stop = (bytes_of(folder) + end for end in (b"/", b"0"))  # as 0 follows / in ASCII
        first, last = (bisect_left(self.files, end, key=bytes_of) for end in (start, stop))
        return self.files[first:last]


def check_ledgers(folder: Path, files: Sequence[Path], outputs: list[Output]) -> Iterator[Fault]:
    """Check all ledgers below a folder. Raises NewerError if a newer ulmo wrote one."""
    there = set(files)
    found = _Found.of(files, outputs)
    for path in sorted(there):
        if path.name == MANIFEST or path.name.endswith(f".{MANIFEST}"):
            yield from _check_ledger(folder, path, found)
        elif path.name == JOURNAL and path.with_name(MANIFEST) not in there:
            yield Fault(name_in(path, folder), "unfinished", "the job has not ended", AGAIN)
        elif (lost := _lost_manifest(path, there, found)) is not None:
            detail = f"{path.name} and tokens are there"
            yield Fault(name_in(lost, folder), "missing", detail, AGAIN)


def _lost_manifest(path: Path, there: set[Path], found: _Found) -> Path | None:
    """The manifest beside a table of tokens, if it is gone; None for other files."""
    before = path.name.removesuffix(TABLE)
    manifest = path.with_name(before + MANIFEST)
    if path.name == TABLE:
        has_tokens = bool(found.below(path.with_name(TOKENS)))
    else:
        has_tokens = before.endswith(".") and path.with_name(before[:-1]) in there
    return manifest if has_tokens and manifest not in there else None


def _check_ledger(folder: Path, manifest: Path, found: _Found) -> Iterator[Fault]:
    """Check the ledger of the folder that a manifest lies in, or of a timeline beside it."""
    name = manifest.name.removesuffix(MANIFEST).removesuffix(".")
    timeline = manifest.with_name(name) if name else None
    try:
        ledger = timeline_ledger(timeline) if timeline else folder_ledger(manifest.parent)
    except UserError as error:
        yield fault_of(name_in(manifest, folder), error, DELETE)
        return
    if timeline is None:
        home = manifest.parent
        for fault in readme_faults(home, ledger.manifest.file_format):
            yield fault._replace(path=name_in(home / fault.path, folder))
    faults = ledger.check()
    for fault in faults:
        yield fault._replace(path=name_in(manifest.parent / path_of(fault.path), folder))
    if faults:
        return
    table, rows = ledger.files.table, ledger.rows()
    endings = endings_of(ledger.manifest.file_format)
    if timeline is None:
        there = _There.of(table.parent, found)
        yield from _check_rows(folder, table, rows, there, endings)
        yield from _check_orphans(folder, there)
    else:
        yield from _check_timeline(folder, table, rows, timeline, endings)


class _There(NamedTuple):
    """What lies in the folders of an output, by the names that rows may have for it.

    Rows may name millions of outputs. What is not there is counted, and not kept.
    """

    headers: dict[str, Path]  # of files of tokens that have one
    files: list[tuple[Path, Path | None]]  # all that may have a row, and the stems of their names
    stems: dict[str, Path]  # of these files, by each name of an output that they may belong to
    counts: Counter[str]  # rows that name each file
    named: set[Path]  # stems that rows name

    @classmethod
    def of(cls, home: Path, found: _Found) -> Self:
        def text(path: Path) -> str:
            return portable(path.relative_to(home))

        tokens = found.below(home / TOKENS)
        headers = {text(path): found.headers[path] for path in tokens if path in found.headers}
        among = [path for path in _among(home / TOKENS) if not _may_be_written(path)]
        files = [(path, stem_of(path) if is_tokens(path) else None) for path in among]
        visible = (path for path in found.below(home / HEADERS) if path.name[0] != ".")
        files += [(path, stem_of(path)) for path in visible]
        stems = {
            text(stem.with_name(stem.name + ending)): stem
            for stem in {stem for _, stem in files if stem and stem.is_relative_to(home)}
            for ending in ENDINGS
        }
        return cls(headers, files, stems, Counter(), set())

    def note(self, names: Iterable[str]) -> None:
        """Count the outputs of a row."""
        for name in names:
            if name in self.headers:
                self.counts[name] += 1
            if name in self.stems:
                self.named.add(self.stems[name])


def _check_rows(
    folder: Path, table: Path, rows: Iterable[Tokenized], there: _There, endings: list[str]
) -> Iterator[Fault]:
    """Each row has its outputs, which are as the row describes them.

    An output is read once, however many rows have it.
    """

    def at_table(what: What, detail: str) -> Fault:
        return Fault(name_in(table, folder), what, detail, AGAIN)

    missing = 0
    for row in rows:
        there.note(row.outputs)
        if any(there.counts[name] > 1 for name in row.outputs):
            continue
        headers = [there.headers[name] for name in row.outputs if name in there.headers]
        lost = [name for name in row.outputs if name not in there.headers]
        for name in lost[: max(_MOST_MISSING - missing, 0)]:
            detail = f"{row.path} was tokenized to it"
            yield Fault(name_in(table.parent / path_of(name), folder), "missing", detail, AGAIN)
        missing += len(lost)
        if lost or not row.outputs:
            continue
        try:
            made = [read_stored(header) for header in headers]
            described = [stored.header for stored in made]
        except (UserError, OSError, ValueError):
            continue  # a fault of the file itself, which is reported there
        details = [*map(partial(_contradiction, row), row.outputs, described)]
        unknown = sum(header.unknown for header in described)
        if unknown != row.unknown:
            details.append(f"{row.unknown} ids are <unk> there, {unknown} in its outputs")
        if not any(details) and tokens_hash(made, endings) != row.tokens_sha256:
            details.append(f"{row.outputs[0]} has other tokens than were written for this row")
        for detail in filter(None, details):
            yield at_table("disagrees", f"{row.path}: {detail}")
    if missing > _MOST_MISSING:
        yield at_table("missing", f"{missing - _MOST_MISSING} more files of its rows are missing")
    for name, count in there.counts.items():
        if count > 1:
            yield at_table("duplicate", f"{count} rows have the output {name}")


def _contradiction(row: Tokenized, name: str, header: TokensHeader) -> str:
    """How a header differs from a row; empty if they agree."""
    if header.recording != row.path:
        return f"{name} has the tokens of {header.recording}"
    if (header.columns, header.bands) != (row.columns, row.bands):
        return f"{row.columns} x {row.bands} tokens there, others in {name}"
    return ""


def _check_orphans(folder: Path, there: _There) -> Iterator[Fault]:
    """Files among the tokens that belong to no row, whatever their names; headers without a row.

    Programs read the tokens as a whole: hidden files, other endings, what a link leads to.
    """
    for path, stem in there.files:
        if stem not in there.named:
            detail = f"no row of {TABLE} names it"
            yield Fault(name_in(path, folder), "orphan", detail, "delete it, or move it elsewhere")


def _among(tokens: Path) -> list[Path]:
    """Every file and every link below the folder of tokens, whatever else its folder holds."""
    if tokens.is_symlink() or not tokens.is_dir():
        return [tokens] if lexists(tokens) else []
    try:
        there = walk(tokens)
    except UserError:  # as the search for outputs has said
        return []
    return [tokens / path for path in by_bytes([*there.files, *there.links])]


def _may_be_written(path: Path) -> bool:
    """Whether a file is a temporary one of tokens; reported if no process still writes it."""
    owner = owner_of(path.name)
    is_half = owner is not None and is_tokens(path.with_name(owner))
    return is_half and path.is_file() and not path.is_symlink()


def _check_timeline(
    folder: Path, table: Path, rows: Iterable[Tokenized], output: Path, endings: list[str]
) -> Iterator[Fault]:
    """The timeline is there, and has the recordings and the tokens that its table names."""
    if not output.exists():
        joined = {row.path for row in rows if row.stretches}
        detail = f"{len(joined)} recordings were joined to it"
        yield Fault(name_in(output, folder), "missing", detail, AGAIN)
        return
    try:
        others = contradiction(read_stored(Output.of(output).header), rows, endings)
    except (UserError, OSError, ValueError):
        return  # a fault of the file itself, which is reported there
    if others:
        detail = f"{output.name} has other {others} than it names"
        yield Fault(name_in(table, folder), "disagrees", detail, AGAIN)
