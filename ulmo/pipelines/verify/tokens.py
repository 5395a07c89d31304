"""Verifying tokens: a file, or all formats below a folder, with their headers and tables."""

from collections.abc import Iterator
from pathlib import Path

from ulmo.bundle.manifest import MANIFEST
from ulmo.config import NewerError, UserError, WholeFileError
from ulmo.formats.checked import misplaced
from ulmo.formats.file_hash import check_hash
from ulmo.formats.folder import AGAIN as AGAIN_TOKENIZE
from ulmo.formats.header import Stored, read_stored
from ulmo.formats.places import header_path
from ulmo.formats.publish import is_parts, one_writer
from ulmo.formats.read import is_half, read_corpus, readers
from ulmo.formats.readme import README
from ulmo.formats.taken import is_as_recorded, is_ulmos_name
from ulmo.formats.vocabulary import has_vocabulary
from ulmo.pipelines.verify.outputs import VOCABULARY, Output, stem_of
from ulmo.pipelines.verify.token_ledgers import check_ledgers, is_ledger_file
from ulmo.storage.atomic import is_left, owner_of
from ulmo.storage.faults import Fault, Findings, Kind, What, left_overs, name_in, remove_faulty
from ulmo.storage.lock import is_left_lock, locked_name
from ulmo.storage.names import path_of, portable
from ulmo.storage.probe import is_left_probe, is_probe
from ulmo.storage.run_manifest import RUN_MANIFEST
from ulmo.storage.walk import Below, walk

_AGAIN = "run the same ulmo-tokenize or ulmo convert again"
_REPAIR = f"ulmo verify DIR --repair removes it; then {_AGAIN}"
_REMOVE = f"delete it, or {_AGAIN}"
_DELETE = f"if ulmo wrote it, delete it, then {_AGAIN}"  # a name of the user's
_MOVE = "if ulmo wrote it, delete it; else move it elsewhere"
_KEEP = f"it stays, for an ulmo that reads it; or {_REMOVE}"
_READABLE = "make it readable, or copy it again, then run ulmo verify again"
_OTHER_KINDS = frozenset({"prep.json", "tiles.parquet", RUN_MANIFEST, MANIFEST})


def _look_below(folder: Path) -> Below:
    """Files below a folder, but not in folders of another kind, nor in what is skipped.

    Those are parts of timelines, and folders in which names were tried.
    """
    found = walk(
        folder,
        skip=lambda each: is_parts(each) or is_probe(each),
        prune=lambda names: not _OTHER_KINDS.isdisjoint(names),
    )
    return found._replace(files=[folder / path for path in found.files])


def _holds_tokens(folder: Path) -> bool:
    """Whether tokens, or what a job that makes some has left, lie below a folder."""
    found = _look_below(folder)
    has_ledger = any(is_ledger_file(path) for path in found.files)
    return has_ledger or bool(found.skipped) or bool(Output.among(found.files))


def _mend(place: Path, faults: list[Fault]) -> list[str]:
    """Remove damaged files of tokens and left-overs, so that the same command makes them again.

    Tables and manifests stay: the same ulmo-tokenize writes them anew. So does every file whose
    name the user chose: what a header says of it proves nothing.
    """
    folder = place if place.is_dir() else place.parent

    def is_removable(fault: Fault) -> bool:
        path = folder / path_of(fault.path)
        if fault.what == "left_over" and is_left_probe(path):
            return True
        stays = is_ledger_file(path) and fault.what != "left_over"
        is_ours = _is_lock(path) or _has_ulmos_name(path)
        return fault.what in ("damaged", "left_over") and is_ours and path.is_file() and not stays

    done = []
    outputs: dict[Path, list[Fault]] = {}  # by header
    for fault in filter(is_removable, faults):
        path = folder / path_of(fault.path)
        if (stem := stem_of(path)) is None:
            done += remove_faulty(folder, [fault], is_removable, _is_whole)
        else:
            outputs.setdefault(header_path(stem), []).append(fault)
    for header, found in outputs.items():
        with one_writer(header):  # a job may have written the files again since
            done += remove_faulty(folder, found, is_removable, _is_whole)
    return done


def _has_ulmos_name(path: Path) -> bool:
    """Whether ulmo chose the name of a file, or that of the file that a temporary one becomes."""
    wanted = _wanted(path)
    stem = stem_of(wanted)
    return _is_beside(wanted) or (stem is not None and is_ulmos_name(stem.name))


def _is_half(path: Path) -> bool:
    """Whether a file is the half of one that ulmo may write, and no living process writes it."""
    wanted = _wanted(path)
    is_ours = _is_beside(wanted) or stem_of(wanted) is not None
    return wanted != path and is_ours and is_left(path)


def _wanted(path: Path) -> Path:
    """The file that a temporary one becomes, by its short name; any other file itself."""
    return path.with_name(owner_of(path.name) or path.name)


def _is_beside(path: Path) -> bool:
    """Whether a path has the name of a file that ulmo writes beside tokens."""
    return is_ledger_file(path) or path.name == README


def _is_whole(path: Path) -> bool:
    """Whether a file has the hash in its header, or is a header whose checksum fits."""
    stem = stem_of(path)
    return stem is not None and is_as_recorded(path, header_path(stem))


def _check(place: Path) -> Findings:
    """Check a tokens file with its header, or all below a folder.

    Raises NewerError if a newer ulmo wrote any of it.
    """
    if not place.is_dir():
        return _check_outputs(place.parent, [Output.of(place)])
    found = _look_below(place)
    outputs = Output.among(found.files)
    findings = _check_outputs(place, outputs)
    temporary = [path for path in found.files if _is_half(path)]
    temporary += [path for path in found.files if _is_lock(path) and is_left_lock(path)]
    temporary += filter(is_left_probe, (place / path for path in found.skipped))
    faults = [
        *findings.faults,
        *left_overs(place, temporary),
        *(
            Fault(portable(path), "unfinished", "the job has not ended", AGAIN_TOKENIZE)
            for path in filter(is_parts, found.skipped)
        ),
        *(
            Fault(portable(path), "unreadable", why, _READABLE)
            for path, why in found.closed.items()
        ),
        *check_ledgers(place, found.files, outputs),
    ]
    seen: set[tuple[str, What]] = set()
    once = []
    for fault in faults:
        if fault.what != "missing" or fault[:2] not in seen:
            once.append(fault)
        seen.add(fault[:2])
    return Findings(findings.counts, once)


def _is_lock(path: Path) -> bool:
    """Whether a file has the name of a lock of a folder of tokens, or of a file of them."""
    name = locked_name(path)
    return name == "" or (name is not None and stem_of(path.with_name(name)) is not None)


def _check_outputs(folder: Path, outputs: list[Output]) -> Findings:
    faults: list[Fault] = []
    counts = {"files": 0, "recordings": 0, "ids": 0}
    for output in outputs:
        try:
            stored = read_stored(output.header)
        except (UserError, OSError) as error:
            faults += _without_header(folder, output, error)
            continue
        counts["files"] += len(stored.hashes)
        counts["recordings"] += len(stored.headers)
        counts["ids"] += sum(header.columns * header.bands for header in stored.headers)
        for path, found in _check_files(output, stored):
            faults.append(Fault(name_in(path, folder), *found))
    return Findings(counts, faults)


def _without_header(folder: Path, output: Output, error: UserError | OSError) -> Iterator[Fault]:
    if isinstance(error, OSError) or output.header.exists():
        yield Fault(name_in(output.header, folder), *_fault_of(error, output))
        return
    for path in output.files.values():
        detail = f"{output.header.name} is missing, which says what it is"
        yield Fault(name_in(path, folder), "orphan", detail, _REMOVE)


_Found = tuple[What, str, str]  # what is wrong with a file, the detail and the remedy


def _fault_of(error: Exception, output: Output, *, is_whole: bool = False) -> _Found:
    """A fault for an error of reading a file; `is_whole` says that it has its recorded hash.

    Raises a NewerError again.
    """
    if isinstance(error, NewerError):
        raise error
    if isinstance(error, OSError):
        return "unreadable", error.strerror or str(error), _READABLE
    if is_whole or isinstance(error, WholeFileError):
        return "unreadable", str(error), _KEEP
    return "damaged", str(error), _REPAIR if output.has_ulmos_name else _DELETE


def _check_files(output: Output, stored: Stored) -> Iterator[tuple[Path, _Found]]:
    """The files of an output: those that its header names, and no others."""
    name, there = output.header.name, output.files
    for ending in sorted(stored.hashes):
        path = output.path(ending)
        if ending not in there:
            yield path, ("missing", f"{name} names it", _AGAIN)
            continue
        try:
            check_hash(path, stored, ending)
        except (UserError, ValueError, OSError) as error:
            yield path, _fault_of(error, output)
            continue
        is_read = path.suffix in readers() and not is_half(path, there.values())
        try:
            for column in _misplaced_columns(path) if is_read else ():
                detail = f"column {column} is neither of a segment nor <gap>"
                yield path, ("gap", detail, _AGAIN)
        except (UserError, ValueError, OSError) as error:
            yield path, _fault_of(error, output, is_whole=True)
    for ending in sorted(there.keys() - stored.hashes.keys()):
        path = there[ending]
        if path != output.path(VOCABULARY):
            remedy = _REMOVE if output.has_ulmos_name else _MOVE
            yield path, ("orphan", f"{name} does not name it", remedy)
            continue
        try:
            size = stored.headers[0].codebook_size
            if not path.is_file() or not has_vocabulary(path, size):
                raise UserError("it is not the vocabulary of these tokens")
        except (UserError, OSError) as error:
            yield path, _fault_of(error, output)


def _misplaced_columns(path: Path) -> Iterator[int]:
    """Read all ids; the first misplaced column of each timeline."""
    for header, ids in read_corpus(path):
        if (column := misplaced(header, ids)) is not None:
            yield column


TOKENS = Kind(_holds_tokens, _check, _mend)
