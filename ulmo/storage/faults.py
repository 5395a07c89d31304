"""Faults that `ulmo verify` finds. Files that could not be read are not called damaged."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

from ulmo.config import NewerError, UserError, WholeFileError
from ulmo.storage.atomic import is_full, link_on_the_way, remove
from ulmo.storage.names import path_of, portable
from ulmo.storage.plain_file import ABSENT, is_of_process, lexists
from ulmo.storage.removal import remove_tree

What = Literal[
    "damaged",
    "unreadable",
    "missing",
    "orphan",
    "left_over",
    "gap",
    "duplicate",
    "disagrees",
    "unfinished",
    "partial",
    "refused",
]
# Errors if a file is missing, or is no plain file.
_NOT_THERE = ABSENT | {errno.EISDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.ENODEV}
READ = "let yourself read it (chmod, chown, or mend the disk), then run ulmo verify again"


class Fault(NamedTuple):
    """Something that is wrong, and what to do about it."""

    path: str  # below the folder that was verified, by `portable`
    what: What
    detail: str
    remedy: str


class Findings(NamedTuple):
    """What was checked, and the faults that were found."""

    counts: dict[str, int]  # what was checked, by name, in the order of the report
    faults: list[Fault]


class Kind(NamedTuple):
    """How one kind of output is verified."""

    is_here: Callable[[Path], bool]  # whether a folder holds one
    check: Callable[[Path], Findings]
    # Repairs what it can; returns a line for each repair.
    mend: Callable[[Path, list[Fault]], list[str]] = lambda *_: []


def has_any(*names: str) -> Callable[[Path], bool]:
    """A test whether one of some names is in a folder."""
    return lambda folder: any(lexists(folder / name) for name in names)


def remove_faulty(
    folder: Path,
    faults: list[Fault],
    is_removable: Callable[[Fault], bool],
    is_whole: Callable[[Path], bool],
) -> list[str]:
    """Remove the files of some faults; returns a line for each file.

    `is_whole` says whether a file has its recorded hash. If so, the file stays, whatever a fault
    says of it. A file that cannot be read stays too, and so does one behind a link to a folder.
    """
    names = list(dict.fromkeys(fault.path for fault in faults if is_removable(fault)))
    gone = [name for name in names if not _stays(folder, path_of(name), is_whole)]
    for name in gone:
        remove_any(folder / path_of(name), below=folder)
    return [f"removed {name}" for name in gone]


def _stays(folder: Path, name: Path, is_whole: Callable[[Path], bool]) -> bool:
    path = folder / name
    if link_on_the_way(path.parent, folder):
        return True
    try:
        return is_whole(path)
    except WholeFileError:
        return True  # the table that has its hash
    except (UserError, OSError) as error:
        return reading_error(error) is not None


def name_in(path: Path, folder: Path) -> str:
    """A path as seen from `folder`, by `portable`; the name of `folder` for itself."""
    return portable(Path(os.path.relpath(path, folder)) if path != folder else Path(path.name))


def left_overs(folder: Path, paths: list[Path]) -> list[Fault]:
    """A fault for each file that a killed job left."""
    detail = "a job that was killed left it; nothing reads it"
    return [Fault(name_in(path, folder), "left_over", detail, "delete it") for path in paths]


def remove_any(path: Path, *, below: Path | None = None) -> None:
    """Remove a file, a link or a folder, if it is there. Raises UserError if that is denied.

    Raises OSError if the disk is full. `below` as in `open_folder`.
    """
    try:
        if path.is_dir() and not path.is_symlink():
            remove_tree(path, below=below)
        else:
            remove(path, below=below)
    except OSError as error:
        if is_full(error):
            raise
        remedy = "let yourself write there (chmod, chown), then run the same again"
        raise UserError(f"{path} cannot be removed ({error.strerror}): {remedy}") from None


def handled() -> BaseException | None:
    """The error that is being handled, if there is one."""
    return sys.exc_info()[1]


def reading_error(error: BaseException, outer: BaseException | None = None) -> OSError | None:
    """The OSError behind an error, if something is there but could not be read.

    Whether its content is damaged is then not known. Errors of Parquet are OSError too, but have
    no number. `outer` is an error that was handled() before: it does not count, nor what is behind
    it, such as that of a recording whose tokens are looked at now.
    """
    seen: BaseException | None = error
    while seen is not None and seen is not outer:
        if isinstance(seen, OSError) and seen.errno and seen.errno not in _NOT_THERE:
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """A block that reads a file of ours: an error of reading never means that there is none.

    The file may be whole, so nothing may be written in its place: raises the error of unreadable()
    for it, and any other error as it is.
    """
    outer = handled()
    try:
        yield
    except (UserError, OSError, ValueError) as error:
        denied = reading_error(error, outer)
        if denied is None or is_of_process(denied):
            raise
        raise unreadable(path, denied) from error


def unreadable(path: Path, error: OSError) -> UserError:
    """An error about a file that may be whole. Raise it from `error`, for reading_error()."""
    remedy = "let yourself read it (chmod, chown, or mend the disk), or choose another output"
    return UserError(f"{path} cannot be read ({error.strerror}): {remedy}")


def fault_of(path: str, error: Exception, remedy: str, *replaced: str) -> Fault:
    """The fault for an error of reading: `damaged` unless reading was denied or the file is whole.

    `replaced` are remedies at the end of the error's text, in whose place `remedy` is named.
    A NewerError is raised again: nothing is known of what a newer ulmo wrote.
    """
    if isinstance(error, NewerError):
        raise error
    if denied := reading_error(error):
        detail = f"it cannot be read ({denied.strerror}): whether it is whole is not known"
        return Fault(path, "unreadable", detail, READ)
    detail = str(error)
    for words in (remedy, *replaced):
        detail = detail.removesuffix(f": {words}")
    what: What = "unreadable" if isinstance(error, WholeFileError) else "damaged"
    return Fault(path, what, detail, remedy)
