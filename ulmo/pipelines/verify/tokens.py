"""Verifying tokens: a file, or a folder of all formats, with its headers and its tables."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import NewerError, UserError, read_most
from ulmo.formats.folder import AGAIN as AGAIN_TOKENIZE
from ulmo.formats.header import Stored, TokensHeader, check_hash, read_stored
from ulmo.formats.read import read_tokens, readers
from ulmo.formats.vocabulary import vocabulary_json
from ulmo.pipelines.verify.outputs import (
    VOCABULARY,
    Below,
    Output,
    find_outputs,
    look_below,
    output_of,
)
from ulmo.pipelines.verify.token_ledgers import check_ledgers, is_ledger_file
from ulmo.storage.atomic import TEMPORARY, is_left
from ulmo.storage.faults import Fault, Findings, below, left_overs

_AGAIN = "run the same ulmo-tokenize or ulmo convert again"
_REPAIR = f"ulmo verify DIR --repair removes it; then {_AGAIN}"
_READABLE = "make it readable, or copy it again, then run ulmo verify again"


def holds_tokens(folder: Path) -> bool:
    """Whether tokens, or what a job that makes some has left, lie below a folder."""
    found = look_below(folder)
    ledgers = any(is_ledger_file(path) for path in found.files)
    return ledgers or bool(found.parts) or any(True for _ in find_outputs(found.files))


def mend_tokens(place: Path, faults: list[Fault]) -> list[str]:
    """Remove damaged files of tokens and left-overs, so that the same command makes them again.

    Tables and manifests stay: the same ulmo-tokenize writes them anew.
    """
    folder = place if place.is_dir() else place.parent
    done = []
    for name in dict.fromkeys(
        each.path for each in faults if each.what in ("damaged", "left_over")
    ):
        path = folder / name
        if path.is_file() and (path.name.startswith(".") or not is_ledger_file(path)):
            path.unlink()
            done.append(f"removed {name}")
    return done


def check_tokens(place: Path) -> Findings:
    """A tokens file with its header, or all that lie below a folder.

    NewerError where a newer ulmo wrote any of it.
    """
    if not place.is_dir():
        return _check_outputs(place.parent, [output_of(place)])
    found = look_below(place)
    outputs = list(find_outputs(found.files))
    findings = _check_outputs(place, outputs)
    temporary = [path for path in found.files if TEMPORARY.fullmatch(path.name) and is_left(path)]
    faults = [
        *findings.faults,
        *left_overs(place, temporary),
        *_unfinished(place, found),
        *(Fault(below(path, place), "unreadable", why, _READABLE) for path, why in found.closed),
        *check_ledgers(place, found.files, outputs),
    ]
    told: set[tuple[str, str]] = set()
    once = []
    for fault in faults:
        key = (fault.path, fault.what)
        if fault.what != "missing" or key not in told:
            once.append(fault)
        told.add(key)
    return Findings(findings.counts, once)


def _check_outputs(folder: Path, outputs: list[Output]) -> Findings:
    faults: list[Fault] = []
    recordings = files = ids = 0
    for output in outputs:
        try:
            stored = read_stored(output.header)
        except NewerError:
            raise
        except UserError as error:
            faults += _without_header(folder, output, str(error))
            continue
        except OSError as error:
            faults.append(_unreadable(folder, output.header, error))
            continue
        recordings += len(stored.headers)
        files += len(stored.hashes)
        ids += sum(header.columns * header.bands for header in stored.headers)
        faults += _check_files(folder, output, stored)
    return Findings({"files": files, "recordings": recordings, "ids": ids}, faults)


def _without_header(folder: Path, output: Output, reason: str) -> Iterator[Fault]:
    if output.header.exists():
        yield Fault(below(output.header, folder), "damaged", reason, _REPAIR)
    else:
        for path in output.files:
            detail = f"{output.header.name} is missing, which tells what it is"
            yield Fault(below(path, folder), "orphan", detail, f"delete it, or {_AGAIN}")


def _unreadable(folder: Path, path: Path, error: OSError) -> Fault:
    return Fault(below(path, folder), "unreadable", error.strerror or str(error), _READABLE)


def _check_files(folder: Path, output: Output, stored: Stored) -> Iterator[Fault]:
    there = {path.name.removeprefix(output.stem): path for path in output.files}
    for ending in sorted(stored.hashes):
        path = output.header.with_name(output.stem + ending)
        if ending not in there:
            detail = f"{output.header.name} speaks of it"
            yield Fault(below(path, folder), "missing", detail, _AGAIN)
            continue
        try:
            check_hash(path, stored, ending)
            if path.suffix in readers() and not _is_half(path, there):
                yield from _check_ids(folder, path)
        except (UserError, ValueError) as error:
            yield Fault(below(path, folder), "damaged", str(error), _REPAIR)
        except OSError as error:
            yield _unreadable(folder, path, error)
    for ending in sorted(there.keys() - stored.hashes.keys()):
        path = there[ending]
        if ending == VOCABULARY:
            yield from _check_vocabulary(folder, path, stored.headers[0].codebook_size)
        else:
            detail = f"{output.header.name} does not speak of it"
            yield Fault(below(path, folder), "orphan", detail, f"delete it, or {_AGAIN}")


def _check_vocabulary(folder: Path, path: Path, codebook_size: int) -> Iterator[Fault]:
    expected = vocabulary_json(codebook_size).encode()
    try:
        is_whole = read_most(path, len(expected)) == expected
    except UserError:
        is_whole = False
    except OSError as error:
        yield _unreadable(folder, path, error)
        return
    if not is_whole:
        detail = "it is not the vocabulary of these tokens"
        yield Fault(below(path, folder), "damaged", detail, _REPAIR)


def _is_half(path: Path, there: dict[str, Path]) -> bool:
    """True of Megatron's .bin, which is read with its .idx."""
    return path.suffix == ".bin" and ".idx" in there


def _check_ids(folder: Path, path: Path) -> Iterator[Fault]:
    """The ids are those that the header speaks of; a timeline is `<gap>` between its segments."""
    for header, ids in read_tokens(path):
        if header.segments and (column := _misplaced(header, ids)) is not None:
            detail = f"column {column} is neither of a segment nor <gap>"
            yield Fault(below(path, folder), "gap", detail, _AGAIN)


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


def _unfinished(folder: Path, found: Below) -> Iterator[Fault]:
    for path in found.parts:
        yield Fault(below(path, folder), "unfinished", "the job has not ended", AGAIN_TOKENIZE)
