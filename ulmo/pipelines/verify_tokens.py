"""Verifying tokens: a file, or a folder of all formats, its headers and its table; mending them."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ulmo.config import UserError
from ulmo.formats import FORMATS
from ulmo.formats.header import Stored, TokensHeader, check_hash, read_stored
from ulmo.formats.publish import STEM
from ulmo.formats.read import READERS, read_tokens
from ulmo.formats.vocabulary import vocabulary_json
from ulmo.formats.writer import Ids
from ulmo.pipelines.faults import Fault, Findings, below, left_overs
from ulmo.pipelines.inputs import portable
from ulmo.pipelines.tokenize_rows import JOURNAL, REPORT, Row, checked_rows, digest_path
from ulmo.preprocessing.atomic import TEMPORARY

ENDINGS = {suffix.removeprefix(STEM) for kind in FORMATS.values() for suffix in kind.suffixes}
VOCABULARY = ".vocabulary.json"
AGAIN = "run the same ulmo-tokenize or ulmo convert again"


class Output(NamedTuple):
    """A header, and what lies beside it."""

    header: Path
    files: list[Path]

    @property
    def stem(self) -> str:
        """x.tokens of x.tokens.json."""
        return self.header.stem


def holds_tokens(folder: Path) -> bool:
    """True of a folder with tokens, or with what a job that makes some has left, below it."""
    files = list(_files(folder))
    names = {path.name for path in files}
    return bool(names & {REPORT, JOURNAL}) or any(True for _ in _outputs(files))


def check_tokens(place: Path) -> Findings:
    """A tokens file with its header, or all that lie below a folder."""
    if not place.is_dir():
        return _check_outputs(place.parent, [_output_of(place)])
    files = list(_files(place))
    outputs = list(_outputs(files))
    findings = _check_outputs(place, outputs)
    temporary = [path for path in files if TEMPORARY.fullmatch(path.name)]
    faults = [*findings.faults, *left_overs(place, temporary), *_unfinished(place, files)]
    for table in (path for path in files if _is_table(path)):
        faults += _check_table(place, table, outputs)
    return Findings(findings.counts, faults)


def mend_tokens(place: Path, faults: list[Fault]) -> list[str]:
    """Remove what is damaged, with the header beside it: the same command then makes it again."""
    folder = place if place.is_dir() else place.parent
    removable = [fault.path for fault in faults if fault.what in ("damaged", "left_over")]
    done = []
    for name in dict.fromkeys(removable):
        path = folder / name
        doomed = {path, path.with_suffix(".json")}
        if _is_table(path):
            doomed = {path, digest_path(path)}
        for each in sorted(doomed):
            if each.is_file():
                each.unlink()
                done.append(f"removed {below(each, folder)}")
    return done


def _files(folder: Path) -> Iterator[Path]:
    """All files below a folder, in the order of their paths; links to folders are not followed."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(root) / name for name in sorted(names))


def _outputs(files: Iterable[Path]) -> Iterator[Output]:
    """Headers and tokens files, told by their names: what has the stem of a header is beside it."""
    groups: dict[Path, list[Path]] = {}
    for path in files:
        stem = _stem(path.name)
        if stem and not path.name.startswith("."):
            groups.setdefault(path.with_name(f"{stem}.json"), []).append(path)
    for header, found in groups.items():
        if header.stem.endswith(STEM) or _is_ours(header):
            yield Output(header, [path for path in found if path != header])


def _is_ours(header: Path) -> bool:
    """True of JSON that looks like a header: corpus.bin has corpus.json beside it."""
    if not header.is_file():
        return False
    with header.open("rb") as file:
        start = file.read(1 << 16)
    return b'"fingerprint"' in start and b'"edges_hz"' in start


def _stem(name: str) -> str:
    """x.tokens of x.tokens.npy; nothing of what is no file of tokens."""
    for ending in sorted({*ENDINGS, VOCABULARY, ".json"}, key=len, reverse=True):
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending)
    return ""


def _output_of(path: Path) -> Output:
    stem = _stem(path.name)
    if not stem:
        raise UserError(f"{path} is no file of tokens: they end with {', '.join(sorted(ENDINGS))}")
    header = path.with_name(f"{stem}.json")
    beside = [path.with_name(stem + ending) for ending in sorted({*ENDINGS, VOCABULARY})]
    return Output(header, [each for each in beside if each.exists()])


def _check_outputs(folder: Path, outputs: list[Output]) -> Findings:
    faults: list[Fault] = []
    recordings = files = ids = 0
    for output in outputs:
        try:
            stored = read_stored(output.header)
        except (UserError, OSError) as error:
            faults += _without_header(folder, output, str(error))
            continue
        recordings += len(stored.headers)
        files += len(stored.hashes)
        ids += sum(header.columns * header.bands for header in stored.headers)
        faults += _check_files(folder, output, stored)
    return Findings({"files": files, "recordings": recordings, "ids": ids}, faults)


def _without_header(folder: Path, output: Output, reason: str) -> Iterator[Fault]:
    if output.header.exists():
        yield Fault(below(output.header, folder), "damaged", reason, AGAIN)
    else:
        for path in output.files:
            detail = f"{output.header.name} is missing, which tells what it is"
            yield Fault(below(path, folder), "orphan", detail, f"delete it, or {AGAIN}")


def _check_files(folder: Path, output: Output, stored: Stored) -> Iterator[Fault]:
    there = {path.name.removeprefix(output.stem): path for path in output.files}
    for ending in sorted(stored.hashes):
        path = output.header.with_name(output.stem + ending)
        if ending not in there:
            detail = f"{output.header.name} speaks of it"
            yield Fault(below(path, folder), "missing", detail, AGAIN)
            continue
        try:
            check_hash(path, stored, ending)
            if path.suffix in READERS and not _is_half(path, there):
                yield from _check_ids(folder, path)
        except (UserError, ValueError, OSError) as error:
            yield Fault(below(path, folder), "damaged", str(error), AGAIN)
    for ending in sorted(there.keys() - stored.hashes.keys()):
        path = there[ending]
        if ending != VOCABULARY:
            detail = f"{output.header.name} does not speak of it"
            yield Fault(below(path, folder), "orphan", detail, f"delete it, or {AGAIN}")
        elif path.read_bytes() != vocabulary_json(stored.headers[0].codebook_size).encode():
            detail = "it is not the vocabulary of these tokens"
            yield Fault(below(path, folder), "damaged", detail, AGAIN)


def _is_half(path: Path, there: dict[str, Path]) -> bool:
    """True of Megatron's .bin, which is read with its .idx."""
    return path.suffix == ".bin" and ".idx" in there


def _check_ids(folder: Path, path: Path) -> Iterator[Fault]:
    """The ids are those that the header speaks of; a timeline is `<gap>` between its segments."""
    for header, ids in read_tokens(path):
        if header.segments and (column := _misplaced(header, ids)) is not None:
            detail = f"column {column} is neither of a segment nor <gap>"
            yield Fault(below(path, folder), "gap", detail, AGAIN)


def _misplaced(header: TokensHeader, ids: Ids) -> int | None:
    """The first column where segments overlap, run out of the file, or leave no gap between."""
    gap = header.vocabulary.special("<gap>")
    place = 0
    for segment in header.segments:
        if segment.column < place or segment.column + segment.columns > len(ids):
            return segment.column
        between = np.flatnonzero((ids[place : segment.column] != gap).any(axis=1))
        if len(between):
            return place + int(between[0])
        place = segment.column + segment.columns
    return None if place == len(ids) else place


def _unfinished(folder: Path, files: list[Path]) -> Iterator[Fault]:
    again = "run the same ulmo-tokenize again, which goes on where it was"
    for path in files:
        if path.name == JOURNAL:
            yield Fault(below(path, folder), "unfinished", "the job has not ended", again)


def _is_table(path: Path) -> bool:
    """True of recordings.parquet, and of x.tokens.npy.recordings.parquet beside a timeline."""
    return path.name == REPORT or path.name.endswith(f".{REPORT}")


def _check_table(folder: Path, table: Path, outputs: list[Output]) -> Iterator[Fault]:
    try:
        rows = checked_rows(table)
    except (UserError, OSError) as error:
        yield Fault(below(table, folder), "damaged", str(error), AGAIN)
        return
    if table == folder / REPORT:
        yield from _check_rows(folder, rows, outputs)


def _check_rows(folder: Path, rows: list[Row], outputs: list[Output]) -> Iterator[Fault]:
    """Each row has its outputs, with as many columns as it says; each output has one row."""
    named = Counter(name for row in rows for name in row.outputs)
    for name, count in named.items():
        if count > 1:
            yield Fault(REPORT, "duplicate", f"{count} rows have the output {name}", AGAIN)
    found = {
        portable(path.relative_to(folder)): output.header
        for output in outputs
        for path in output.files
    }
    for row in rows:
        yield from _check_row(folder, row, found)
    headers = {found[name] for name in named if name in found}
    for output in outputs:
        if output.files and output.header not in headers and output.header.exists():
            detail = f"no row of {REPORT} names it"
            yield Fault(below(output.header, folder), "orphan", detail, "delete it, or leave it")


def _check_row(folder: Path, row: Row, found: dict[str, Path]) -> Iterator[Fault]:
    unknown = 0
    for name in row.outputs:
        if name not in found:
            yield Fault(name, "missing", f"{row.path} was tokenized to it", AGAIN)
            return
        try:
            (header,) = read_stored(found[name]).headers
        except (UserError, OSError, ValueError):
            return  # told already, of the file itself
        unknown += header.unknown
        if (header.columns, header.bands) != (row.columns, row.bands):
            detail = f"{row.path}: {row.columns} x {row.bands} tokens there, others in {name}"
            yield Fault(REPORT, "disagrees", detail, AGAIN)
    if row.outputs and unknown != row.unknown:
        detail = f"{row.path}: {row.unknown} ids are <unk> there, {unknown} in its outputs"
        yield Fault(REPORT, "disagrees", detail, AGAIN)
