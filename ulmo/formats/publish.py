"""Files of tokens and their headers: their names, and how they appear, whole or not at all."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from ulmo.config import NewerError, UserError, plain
from ulmo.formats import FORMATS
from ulmo.formats.base import ALL_RUNS, MOST_NAME, Format, Labelling
from ulmo.formats.file_hash import check_hash
from ulmo.formats.header import Hashes, Stored, TokensHeader, header_json, read_stored
from ulmo.formats.labels import RunFormat
from ulmo.formats.places import STEM, header_path
from ulmo.formats.taken import (
    TakenError,
    is_ulmos_name,
    may_remove,
    refuse_foreign,
    refuse_foreign_header,
    refuse_foreign_vocabulary,
)
from ulmo.formats.vocabulary import has_vocabulary, vocabulary_json
from ulmo.storage.atomic import (
    PassingOver,
    check_places,
    make_folders,
    publish,
    publish_together,
    remove,
    remove_temporaries,
    short_name,
)
from ulmo.storage.faults import handled, reading, reading_error
from ulmo.storage.lock import lock_path, locked, remove_lock
from ulmo.storage.plain_file import written_hash
from ulmo.storage.walk import hidden_in

PARTS = ".parts"  # ending of the hidden folder of a timeline that is not finished
_CHANNEL = ".ch"
_OF_CHANNEL = re.compile(rf"{re.escape(_CHANNEL)}\d+(?=({re.escape(STEM)})?(\.[a-z]+)+\Z)")
_MOST_IDS = 1 << 16  # ids are written as uint16
_WAIT_SECONDS = 60.0  # for another job that is moving its files to the same places


class Outputs(NamedTuple):
    """The files of one output."""

    files: tuple[Path, ...]
    header: Path  # written last: if it is there, the files are complete
    vocabulary: Path  # beside a corpus

    @property
    def endings(self) -> tuple[str, ...]:
        """The ends of the files' names, by which the header names them."""
        return tuple(path.name.removeprefix(self.header.stem) for path in self.files)


def output_paths(path: Path, file_format: str) -> Outputs:
    """The files of one output: for x.tokens.bin also x.tokens.idx, and their header x.tokens.json.

    Raises UserError unless `path` ends as the format does, with or without `.tokens`.
    """
    endings = endings_of(file_format)
    for ending in endings:
        if path.name.endswith(ending) and path.name != ending:
            folder, stem = path.parent, path.name.removesuffix(ending)
            return Outputs(
                files=tuple(folder / f"{stem}{each}" for each in endings),
                header=(header := header_path(folder / stem)),
                vocabulary=header.parent / f"{stem}.vocabulary.json",
            )
    raise UserError(f"{path} is no name for {file_format}: end it with {STEM}{endings[0]}")


def endings_of(file_format: str) -> list[str]:
    """The ends of the names of a format's files, after `.tokens`; none if unknown."""
    suffixes = FORMATS[file_format].suffixes if file_format in FORMATS else ()
    return [suffix.removeprefix(STEM) for suffix in suffixes]


def _others(outputs: Outputs, stored: Stored) -> list[Path]:
    """Files in other formats that the header of an output also describes."""
    endings = sorted(stored.hashes.keys() - set(outputs.endings))
    stem = outputs.header.stem
    paths = [outputs.files[0].with_name(f"{stem}{ending}") for ending in endings]
    return [path for path in paths if path.exists()]


def check_outputs(outputs: Outputs) -> None:
    """Raise OSError if an output cannot have its place; TakenError for a foreign file there.

    Also raises NewerError for a header that a newer ulmo wrote. A folder of headers is ulmo's own.
    """
    check_places((*outputs.files, outputs.header))
    is_apart = outputs.header.parent != outputs.files[0].parent
    if not (is_apart and is_ulmos_name(outputs.header.stem)):
        refuse_foreign_header(outputs.header)


def refuse_spoiling(outputs: Outputs, is_same: Callable[[Sequence[TokensHeader]], bool]) -> None:
    """Raise TakenError if files in other formats share the header, and would lose it.

    `is_same` is called with the stored headers: whether they describe the tokens to be written.
    Also raises NewerError for a header that a newer ulmo wrote.
    """
    stored = stored_at(outputs.header)
    if stored is None or is_same(stored.headers):
        return
    if others := _others(outputs, stored):
        why = f"it also describes {others[0].name}, whose tokenizer, recordings or gaps are others"
        raise TakenError(outputs.header, why)


def refuse_another_recording(outputs: Outputs, headers: Sequence[TokensHeader]) -> None:
    """Raise TakenError if one recording's tokens would replace those of another of that name.

    x.wav and x.flac both become x.tokens.npy. In one command both keep their full names; of two
    commands, the second is refused. Only the names of the files are compared, because a header has
    the path that the user gave. In a folder of outputs a ledger knows what replaces what.
    """
    is_apart = outputs.header.parent != outputs.files[0].parent
    stored = None if is_apart else stored_at(outputs.header)
    if stored is None or not is_ulmos_name(outputs.header.stem):
        return
    there, here = ({Path(one.recording).name for one in all} for all in (stored.headers, headers))
    if len(there) == len(here) == 1 and there != here:
        why = f"it is of {plain(there.pop())}, another recording"
        raise TakenError(outputs.header, why, "delete it, or write elsewhere with --out-dir")


def tokens_hash(outputs: Iterable[Stored], endings: Iterable[str]) -> str:
    """SHA-256 of the outputs of a recording, which its row in recordings.parquet holds.

    It is that of their headers, as if each named the files of one format alone, whose `endings`
    these are: so it changes with any id and any fact, but not when others are written beside.
    """
    running, endings = sha256(), set(endings)
    for headers, hashes in outputs:
        own = {ending: digest for ending, digest in hashes.items() if ending in endings}
        running.update(header_json(headers, own))
    return running.hexdigest()


def read_whole(outputs: Outputs) -> Stored:
    """The header of files that have the hashes in it.

    Raises UserError, OSError or ValueError if that, or one of the files, is not so.
    """
    stored = read_stored(outputs.header)
    for path, ending in zip(outputs.files, outputs.endings, strict=True):
        check_hash(path, stored, ending)
    return stored


def whole_at(outputs: Outputs) -> Stored | None:
    """The same; None if a file is missing or damaged. Raises UserError if one cannot be read."""
    outer = handled()
    with reading(outputs.files[0]):
        try:
            return read_whole(outputs)
        except (UserError, OSError, ValueError) as error:
            if reading_error(error, outer):
                raise
            return None


def is_file_name(out: Path, file_format: str) -> bool:
    """Whether a path ends as files of the format do, and is no folder."""
    with suppress(UserError):
        return not out.is_dir() and bool(output_paths(out, file_format))
    return False


def format_of(out: Path | None) -> str:
    """The format that the end of a name stands for: csv for all.csv; npy for all others."""
    if out is not None and not out.is_dir():
        for name, kind in FORMATS.items():
            if is_file_name(out, name) and out.name.endswith(Path(kind.suffixes[-1]).suffix):
                return name
    return "npy"


def stream_paths(target: Path, channels: Sequence[int | None]) -> list[Path]:
    """The file for each channel: `target` itself for one, or a file that names its channel.

    Channel 1 of x.tokens.npy goes to x.ch1.tokens.npy; of x.npy, given with --out, to x.ch1.npy.
    """
    if len(channels) == 1:
        return [target]
    return [channel_path(target, channel) for channel in channels]


def channel_path(target: Path, channel: int | None) -> Path:
    """The file of one channel of several."""
    stem, dot, ending = target.name.rpartition(f"{STEM}.")
    if not dot:
        stem, dot, ending = target.stem, "", target.suffix
    return target.with_name(f"{stem}{_CHANNEL}{channel}{dot}{ending}")


def remove_leftovers(targets: Iterable[Path], file_format: str) -> None:
    """Remove the hidden files that killed jobs left beside these outputs, and no others.

    A lock that another job holds stays. `targets` may be read twice.
    """
    folders = {target.parent for target in targets}
    folders |= {header_path(folder / STEM).parent for folder in folders}
    if not any(map(hidden_in, folders)):
        return
    ours: dict[Path, set[str]] = {}
    for target in targets:
        outputs = output_paths(target, file_format)
        for folder in {outputs.files[0].parent, outputs.header.parent}:
            ours.setdefault(folder, set()).update(temporary_names(outputs))
        remove_lock(header_lock(outputs.header))
    for folder, names in ours.items():
        with PassingOver():  # such as a folder whose path is too long: no file can be there
            remove_temporaries(folder, names.__contains__)


def temporary_names(outputs: Outputs) -> set[str]:
    """The names by which temporary files of an output are known again, whichever its channel."""
    paths = (*outputs.files, outputs.header, outputs.vocabulary)
    return {short_name(whole_name(path.name)) for path in paths}


def whole_name(name: str) -> str:
    """The name without its channel: x.tokens.npy for x.ch1.tokens.npy."""
    return _OF_CHANNEL.sub("", name)


def parts_folder(out: Path) -> Path:
    """Where the recordings of a timeline lie until they are joined: a hidden folder beside it."""
    return out.with_name(f".{short_name(out.name)}{PARTS}")


def is_parts(folder: Path) -> bool:
    """Whether a folder holds the recordings of a timeline until they are joined."""
    return folder.name.startswith(".") and folder.name.endswith(PARTS)


@contextmanager
def publish_tokens(
    path: Path,
    file_format: str,
    labelling: Labelling = ALL_RUNS,
    *,
    corpus: bool = False,
    below: Path | None = None,
) -> Iterator[Format]:
    """A writer whose files appear when the block ends, and not at all if it fails.

    Raises OSError at once if no file can be put at one of the places, and TakenError if that would
    replace a file that may not be ulmo's (formats/taken.py), or the header of other tokens;
    LockError if another job has been writing the same files for a minute. Older files, and then
    their header, are removed before the first of them is replaced. With `corpus`, the vocabulary is
    written as well, beside formats that models are trained on. `below` is the folder that the user
    named: no link between it and the files is followed, nor one between it and the header.
    """
    outputs = output_paths(path, file_format)
    kind, home = FORMATS[file_format], _home(outputs, below)
    if home != below:  # else it exists, or was moved away
        make_folders(home)
    make_folders(outputs.header.parent, below=home)
    check_outputs(outputs)
    hashes: Hashes = {}
    content: list[bytes] = []  # of the header
    with ExitStack() as until_the_header_is_there:

        def unseal() -> None:
            made = [written_hash(file) for file in files]
            make_folders(outputs.header.parent, below=home)  # raises if it is a link by now
            until_the_header_is_there.enter_context(one_writer(outputs.header))
            check_outputs(outputs)
            refuse_spoiling(outputs, tuple(writer.headers).__eq__)
            refuse_another_recording(outputs, writer.headers)
            for path, written in zip(outputs.files, made, strict=True):
                refuse_foreign(path, outputs.header, written)
            if corpus and kind.trains:
                refuse_foreign_vocabulary(outputs.vocabulary, outputs.header)
            there = stored_at(outputs.header)
            if there is not None and there.headers == tuple(writer.headers):
                hashes.update(there.hashes)
            elif outputs.header.exists():
                for path in (*outputs.files, outputs.header):
                    remove(path, below=home)
            writer.hashes = dict(zip(outputs.endings, made, strict=True))
            hashes.update(writer.hashes)
            # It may raise: before a file appears without a header.
            content.append(header_json(writer.headers, hashes))

        with publish_together(outputs.files, unseal, owner=whole_name, below=home) as files:
            writer = kind(files, labelling)
            try:
                yield writer
                writer.close()
            except BaseException:
                writer.abandon()
                raise
        if corpus and kind.trains:
            with publish(outputs.vocabulary, owner=whole_name, below=home) as file:
                file.write(vocabulary_json(writer.header.codebook_size).encode())
        with publish(outputs.header, owner=whole_name, below=home) as file:
            file.write(content[0])


def _home(outputs: Outputs, below: Path | None) -> Path:
    """The folder in which both the files and their header lie, at any depth."""
    folders = (outputs.header.parent, outputs.files[0].parent)
    if below is not None and all(folder.is_relative_to(below) for folder in folders):
        return below
    return Path(os.path.commonpath([folder.absolute() for folder in folders]))


def remove_tokens(outputs: Outputs, *, below: Path | None = None) -> None:
    """Remove the files of an output, and its header unless files in other formats need it.

    The header goes last, so that a job that is run again after a kill knows the others as its own.
    The vocabulary of a corpus goes with its header. Nothing is removed if one of them has a name of
    the user's and is not as its header says. `below` as in `publish_tokens`. Raises OSError if that
    is not allowed, or if another job writes them.
    """
    home = _home(outputs, below)
    with one_writer(outputs.header):
        if not may_remove(outputs.files, outputs.header):
            return
        stored, own = stored_at(outputs.header), [outputs.header]
        with suppress(UserError, OSError):  # it is not there, or somebody's file
            if stored and has_vocabulary(outputs.vocabulary, stored.headers[0].codebook_size):
                own.append(outputs.vocabulary)
        is_shared = stored is not None and _others(outputs, stored)
        for path in outputs.files if is_shared else (*outputs.files, *reversed(own)):
            remove(path, below=home)


def one_writer(header: Path) -> AbstractContextManager[None]:
    """Hold the lock of a header while it and its files are changed; LockError after a minute.

    Of two jobs that write the same output, the later one replaces all files. Two jobs that write
    the same tokens in two formats both have their hashes in the header. A job holds the lock for a
    moment only, so the other one waits.
    """
    return locked(header_lock(header), header, wait=_WAIT_SECONDS)


def header_lock(header: Path) -> Path:
    """The lock file to hold while a header is changed: one for all channels of a recording."""
    return lock_path(header.with_name(whole_name(header.name)))


def stored_at(path: Path) -> Stored | None:
    """An existing header; None if there is none, or a damaged one.

    Raises NewerError for a newer one, and OSError for one that cannot be read: it may be whole.
    """
    outer = handled()
    try:
        return read_stored(path)
    except NewerError:
        raise
    except (UserError, OSError) as error:
        if denied := reading_error(error, outer):
            raise OSError(denied.errno, denied.strerror, str(path)) from None
        return None


def name_obstacle(names: Iterable[str], file_format: str) -> str:
    """Why a format cannot hold tokens of recordings with these names; empty if it can.

    A format that repeats a name in each row would make gigabytes of a few rows with a long one.
    """
    longest = max(map(len, names), default=0)
    if not FORMATS[file_format].repeats_name or longest <= MOST_NAME:
        return ""
    return (
        f"its name has {longest} characters, and {file_format}, which repeats it in each row, "
        f"takes {MOST_NAME}: choose another format, such as parquet"
    )


def check_labelling(labelling: Labelling, file_format: str, vocabulary: int | None = None) -> None:
    """Raise UserError for options that the format does not have, and for ids out of range."""
    if labelling == ALL_RUNS:
        return
    if not issubclass(FORMATS[file_format], RunFormat):
        raise UserError(f"--ids and --min-columns choose runs to label, and {file_format} has none")
    if labelling.min_columns < 1:
        raise UserError("--min-columns must be at least 1")
    wrong = sorted(set(labelling.ids or ()).difference(range(vocabulary or _MOST_IDS)))
    if wrong:
        last = (vocabulary or _MOST_IDS) - 1
        raise UserError(f"--ids: {wrong[0]} is not an id of this tokenizer (0 to {last})")
