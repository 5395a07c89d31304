"""Files that appear whole or not at all, and folders to write them to."""

import errno
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import cache
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO, NamedTuple

from filelock import lock_descriptor

from ulmo.config import UserError
from ulmo.storage.open_folder import IS_POSIX, OpenFolder, open_folder
from ulmo.storage.plain_file import NO_TRAP, lexists, naming

_TEMPORARY = re.compile(r"\.(?P<owner>.+)\.[0-9a-f]+\.tmp", re.DOTALL)
_NAME_BYTES = 64  # of an output's name in another name; file systems take 255, some 143
_HASH_LETTERS = 16
_HOST_LETTERS = 8
_DAY = 86400  # seconds
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# Errors of a disk, a connection or this process: they are not of one file and its name.
_OF_ALL = _FULL | {
    getattr(errno, name)
    for name in (
        *("EIO", "EROFS", "ENOMEM", "EMFILE", "ENFILE", "ENODEV", "ENXIO", "ENOLCK", "ESTALE"),
        *("ETIMEDOUT", "ENOTCONN", "EHOSTDOWN", "EHOSTUNREACH", "EREMOTEIO"),
    )
    if hasattr(errno, name)
}


@contextmanager
def publish(
    path: Path, *, owner: Callable[[str], str] = str, below: Path | None = None
) -> Iterator[BinaryIO]:
    """Write a file beside its place, and move it there once it is complete and on the disk.

    Nobody ever sees a part of it: not after an error, a kill or a power cut. `owner` turns its name
    into the one by which `remove_temporaries` knows the temporary file again; `below` as in
    `open_folder`.
    """
    with publish_together([path], owner=owner, below=below) as (file,):
        yield file


@contextmanager
def publish_together(
    paths: Sequence[Path],
    before_moves: Callable[[], None] | None = None,
    *,
    owner: Callable[[str], str] = str,
    below: Path | None = None,
) -> Iterator[Sequence[BinaryIO]]:
    """Publish several files: none is moved before all are complete and on the disk.

    A kill between the moves leaves some old files and some new. `before_moves` is called before
    the first move, to remove the file that says they belong together.
    """
    with ExitStack() as stack:
        made = []
        for path in paths:
            folder = stack.enter_context(open_folder(path.parent, below=below))
            with naming(path):
                made.append(stack.enter_context(_temporary(folder, owner(path.name))))
        yield [temporary.file for temporary in made]
        for temporary in made:
            temporary.file.flush()
            os.fsync(temporary.file.fileno())
        if before_moves is not None:
            before_moves()
        for temporary, path in zip(made, paths, strict=True):
            temporary.move(path.name)
        for folder in {temporary.folder.path: temporary.folder for temporary in made}.values():
            folder.sync()


class _Temporary(NamedTuple):
    """A file that is being written."""

    file: BinaryIO
    folder: OpenFolder
    name: str

    def move(self, name: str) -> None:
        """Give it its name.

        A network file system may lose the answer to its request, and send it again. The second one
        fails, because the file was moved by the first.
        """
        if not IS_POSIX:
            self.file.close()
        try:
            with naming(self.folder.path / name):
                self.folder.move(self.name, name)
        except FileNotFoundError:
            status = None if self.file.closed else self.folder.status(name)
            if status is None or not os.path.samestat(os.fstat(self.file.fileno()), status):
                raise


@contextmanager
def _temporary(folder: OpenFolder, owner: str) -> Iterator[_Temporary]:
    """Open a new file in a folder, locked while it is open; at the end it is removed."""
    while True:
        name = f".{short_name(owner)}.{random_name()}.tmp"
        try:
            with folder.create(name) as file:
                if try_lock(file.fileno()) is not False and folder.status(name) is not None:
                    yield _Temporary(file, folder, name)
                    return
        finally:
            folder.remove(name)


def random_name() -> str:
    """24 hexadecimal digits: 8 that stand for this machine, then 16 that nobody can foresee.

    Machines that share storage never make one name, and a person sees which of them left a file.
    Whether it is left over, its lock alone says: the kernel, or the server of the storage, lifts it
    when the process or the machine is gone.
    """
    return f"{_host_letters(socket.gethostname())}{secrets.token_hex(8)}"


@cache
def _host_letters(host: str) -> str:
    return sha256(os.fsencode(host)).hexdigest()[:_HOST_LETTERS]


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder; False if another has locked it, None if that cannot be done."""
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError:  # a file system without locks
        return None


def short_name(name: str) -> str:
    """A file name, or its hash and its end if it is too long to be part of another name."""
    if len(os.fsencode(name)) <= _NAME_BYTES:
        return name
    end = name[1:]
    while len(os.fsencode(end)) > _NAME_BYTES - _HASH_LETTERS:
        end = end[1:]
    return sha256(os.fsencode(name)).hexdigest()[:_HASH_LETTERS] + end


def owner_of(temporary: str) -> str | None:
    """The `short_name` of the owner of a temporary file, by its name; None for other names."""
    match = _TEMPORARY.fullmatch(temporary)
    return match["owner"] if match else None


def is_temporary(path: Path) -> bool:
    """Whether a file is one that `publish` writes before it moves it."""
    return owner_of(path.name) is not None and not path.is_dir()


def remove_temporaries(folder: Path, is_ours: Callable[[str], bool]) -> None:
    """Remove what killed jobs left in a folder; what a living process writes stays.

    `is_ours` is called with the `short_name` of the owner of a temporary file.
    """
    with open_folder(folder) as opened:
        for name in opened.names():
            if (owner := owner_of(name)) is None or not is_ours(owner):
                continue
            with claimed(opened, name) as left:
                if left and IS_POSIX:
                    opened.remove(name)
            if left:
                opened.remove(name)


def is_left(path: Path) -> bool:
    """Whether no living process writes this temporary file: a killed job left it."""
    try:
        with open_folder(path.parent) as folder, claimed(folder, path.name) as left:
            return left
    except FileNotFoundError:
        return False


@contextmanager
def claimed(folder: OpenFolder, name: str, flags: int = os.O_RDWR | NO_TRAP) -> Iterator[bool]:
    """Whether a temporary file or folder is left over; if so it is locked, so that nobody uses it.

    The process that makes one keeps it locked while it needs it. Where locks do not work, one that
    was not changed for a day counts as left over.
    """
    with ExitStack() as stack:
        left = None
        try:
            descriptor = folder.open(name, flags)
            stack.callback(os.close, descriptor)
            left = try_lock(descriptor)
        except FileNotFoundError:
            left = False
        except OSError:  # it may not be opened
            pass
        if left is None:
            status = folder.status(name)
            left = status is not None and time.time() - status.st_mtime > _DAY
        yield left


def remove(path: Path, *, below: Path | None = None) -> None:
    """Remove a file, if it is there, so that no power cut brings it back.

    `below` as in `open_folder`.
    """
    with suppress(FileNotFoundError), open_folder(path.parent, below=below) as folder:
        if folder.status(path.name) is not None:
            folder.remove(path.name)
            folder.sync()


def make_folder(folder: Path, remedy: str = "set --out", *, below: Path | None = None) -> None:
    """Make the folder of a job's output, and those above it; `below` as in `make_folders`.

    Raises UserError, which ends with `remedy`, if nothing can be written there, and OSError if the
    disk is full.
    """
    try:
        make_folders(folder, below=below)
    except OSError as error:
        if is_full(error):
            raise
        raise UserError(f"cannot make the folder {folder}: {error.strerror}: {remedy}") from None
    if not os.access(folder, os.W_OK):
        raise UserError(f"cannot write to {folder}: {remedy}")


def make_folders(folder: Path, *, below: Path | None = None) -> None:
    """Make a folder and those above it, at any depth, so that a power cut does not undo it.

    `below`: the folder that the user named, which may be a link. It exists, and is not made again:
    FileNotFoundError is raised if it was moved or deleted. What lies in it is ulmo's, and
    NotADirectoryError is raised if a part of the way from there to `folder` is a link: somebody
    put it there, and it would lead out of the output.
    """
    if below is not None and _is_made(folder, below):
        return
    if below is not None and (link := link_on_the_way(folder, below)) is not None:
        raise NotADirectoryError(errno.ENOTDIR, "a link is in its place", str(link))
    if below is not None and not lexists(below):
        raise FileNotFoundError(errno.ENOENT, "it was moved or deleted", str(below))
    top, way = below and below.absolute(), (folder, *folder.parents)
    missing = list(takewhile(lambda each: each.absolute() != top and not each.exists(), way))
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_folder(each.parent)
    if not missing:
        folder.mkdir(exist_ok=True)  # which raises for a file in its place


def _is_made(folder: Path, below: Path) -> bool:
    """Whether a folder is there, and the way to it from the one that the user named has no links.

    False also where that is not known at once: each recording asks it several times.
    """
    try:
        here, parts = str(below), folder.relative_to(below).parts
        is_made = stat.S_ISDIR(below.stat().st_mode)
        for part in parts:
            here = f"{here}{os.sep}{part}"
            is_made = is_made and stat.S_ISDIR(os.lstat(here).st_mode)
    except (OSError, ValueError):
        return False
    return is_made


@contextmanager
def staying(folder: Path) -> Iterator[None]:
    """Raise UserError for an error of a file below an output's folder that is itself gone."""
    try:
        yield
    except OSError:
        refuse_gone(folder)
        raise


def refuse_gone(folder: Path) -> None:
    """Raise UserError if the folder of an output was moved or deleted."""
    if not folder.is_dir():
        raise UserError(
            f"the output folder {folder} was moved or deleted while the job ran: put it back, or "
            "name its new place, and run the same again"
        )


def link_on_the_way(path: Path, below: Path) -> Path | None:
    """The first link between a folder of the user and a path below it; None if there is none.

    The folder itself may be a link.
    """
    path, below = path.absolute(), below.absolute()
    if not path.is_relative_to(below):
        return None
    way = list(takewhile(lambda each: each != below, (path, *path.parents)))
    return next((each for each in reversed(way) if each.is_symlink()), None)


def is_full(error: OSError) -> bool:
    """Whether a file could not be written because its disk, or the user's share of it, is full."""
    return error.errno in _FULL


def is_of_one_file(error: OSError) -> bool:
    """Whether an error of writing a file says nothing of the next file.

    True for a name that is too long or that the file system does not take, a denied or read-only
    place, a folder in the way. False for a full or failing disk, or too many open files; and for a
    file that is too large if the process has a limit of its own (ulimit -f), not the disk.
    """
    is_limit = error.errno == errno.EFBIG and _limits_files()
    return error.errno is not None and error.errno not in _OF_ALL and not is_limit


def _limits_files() -> bool:
    """Whether this process may write files up to some size only."""
    try:
        import resource
    except ImportError:  # on Windows
        return False
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


class PassingOver(AbstractContextManager[None]):
    """A block that ends at an error of one file, which says nothing of the next file."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        return isinstance(error, OSError) and is_of_one_file(error)


def check_places(paths: Iterable[Path]) -> None:
    """Raise OSError if no file can be put at one of these paths, before there is work for it.

    The name may be too long for the file system, or a folder may have it.
    """
    for path in paths:
        with suppress(FileNotFoundError, NotADirectoryError):
            if stat.S_ISDIR(path.lstat().st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    with open_folder(folder) as opened:
        opened.sync()
