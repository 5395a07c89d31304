"""Objects of a store, such as s3://bucket/a.wav, as paths: fsspec reads and lists them.

    s3://bucket/birds/a.wav               an object
    https://host/a.wav?signature          what is secret in an address is kept apart, and not shown
    zip://birds/a.wav::s3://bucket/b.zip  a file in an archive that is an object itself

A RemotePath is only made of an address that the user gave, and of names that a store lists below
it. As a path it has all that pathlib does with names; where it is, what it has and what it holds,
it asks the store. It is no path of this computer: what asks it for one gets a UserError.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path, PosixPath
from typing import Any, Self

from ulmo.config import UserError, printable
from ulmo.config.arguments import ADDRESS, path_argument
from ulmo.config.extras import require
from ulmo.storage.address import (
    ARCHIVES,
    MARK,
    WEB,
    Secret,
    keep_secret,
    learn_secrets,
    part_of,
    secret_of,
    secrets_of,
    store_of,
    whole,
)
from ulmo.storage.store_answers import Object, described, reaching

_ONE_PROCESS = "memory"


class RemotePath(PosixPath):
    """A path in a store, which `remote_path` makes of an address.

    Its first part stands for the store. `with_segments` and `relative_to` give a plain path if that
    part is lost. Raises StoreError where the store does not answer.
    """

    given: Secret | None = None  # of one that was made of an address itself

    def with_segments(self, *segments: Any) -> Any:
        """What pathlib calls to make a path of parts of this one (from Python 3.12 on)."""
        path = Path(*segments)
        return type(self)(path) if path.parts[:1] and path.parts[0][0] == MARK else path

    def relative_to(self, *other: Any, **options: Any) -> Any:
        """The names below another path, as a plain path."""
        return Path(*super().relative_to(*other, **options).parts)

    def __rtruediv__(self, other: Any) -> Any:
        """The same, as of an absolute path."""
        return self if self.is_whole else Path(other, *self.parts)

    def __str__(self) -> str:
        if not self.is_whole:
            return "/".join(self.parts)
        store, *names = self.parts
        protocol, *outer = store[1:].split("::", 1)
        behind = "".join(f"::{each.replace(MARK, '/')}" for each in outer)
        return f"{protocol}://{'/'.join(names)}{behind}"

    def __fspath__(self) -> str:
        raise UserError(f"{printable(str(self))} is an address: give a path of this computer here")

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __reduce__(self) -> Any:
        if self.protocol == _ONE_PROCESS or f"::{_ONE_PROCESS}:" in self.parts[0]:
            raise UserError(
                f"{printable(str(self))} is in the memory of one process: set --workers 1 "
                "(in Python: workers=1)"
            )
        return _restored, (self.parts, secrets_of(str(self)))

    @property
    def is_whole(self) -> bool:
        """Whether it begins with a store, and is not only names below one."""
        return bool(self.parts) and self.parts[0].startswith(MARK)

    @property
    def protocol(self) -> str:
        """Its kind of store: s3 for s3://bucket/a.wav."""
        return self.parts[0][1:].partition("::")[0]

    @property
    def names(self) -> Path:
        """What tables and headers call it: bucket/a.wav for s3://bucket/a.wav."""
        return Path(*self.parts[1:])

    @property
    def bucket(self) -> Self:
        """Where it begins: s3://bucket for s3://bucket/a.wav."""
        return type(self)(*self.parts[:2])

    @property
    def has_neighbours(self) -> bool:
        """Whether the store lists names, so that a file may have another beside it."""
        return self.protocol not in WEB

    @property
    def takes_objects(self) -> bool:
        """Whether objects may be put below it."""
        return self.protocol not in (*WEB, *ARCHIVES) and "::" not in self.parts[0]

    def store(self) -> tuple[Any, str]:
        """The file system of fsspec, and the name that this has there."""
        address = whole(str(self))
        with reaching(self):
            system = _system(whole(store_of(str(self))))
            system.invalidate_cache()
            return system, str(system._strip_protocol(address.partition("::")[0]))

    def look(self) -> Object:
        """What the store says of it. Raises StoreError; FileNotFoundError if it is not there."""
        system, name = self.store()
        with reaching(self):
            return described(system.info(name))

    def below(self) -> Iterator[Path]:
        """Names of all objects below it, relative to it.

        A name with a part that no path has (an empty one, `.` or `..`) is given with a part that
        no object has: it is not found when it is opened, and leads nowhere.
        """
        system, top = self.store()
        with reaching(self):
            found = system.find(top, detail=True)
        top = top.rstrip("/")
        for name, info in found.items():
            relative = name.removeprefix(top).lstrip("/") if name.startswith(top) else name
            if relative and not name.endswith("/") and info.get("type") != "directory":
                yield Path(*(part_of(each) for each in relative.split("/")))

    def lstat(self) -> os.stat_result:
        """As stat: a store has no links."""
        return self.stat()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Kind, size and time."""
        found = self.look()
        kind = stat.S_IFDIR if found.is_folder else stat.S_IFREG
        seconds = found.mtime_ns // 10**9
        ten = (kind, found.version, 0, 1, 0, 0, found.size or 0, seconds, seconds, seconds)
        return os.stat_result(ten, {"st_mtime_ns": found.mtime_ns})

    def _is(self, *, folder: bool) -> bool:
        try:
            return self.look().is_folder == folder
        except FileNotFoundError:
            return False

    def is_dir(self, **_: Any) -> bool:
        """Whether there are objects below it. A web server does not say: then it is none."""
        return self.has_neighbours and self._is(folder=True)

    def is_file(self, **_: Any) -> bool:
        """Whether it is an object."""
        return self._is(folder=False)

    def exists(self, **_: Any) -> bool:
        """Whether it is an object, or has objects below it."""
        return self.is_dir() or self.is_file()

    def is_symlink(self) -> bool:
        """False."""
        return False

    def resolve(self, strict: bool = False) -> Self:
        """The same: a store has no links."""
        return self

    def absolute(self) -> Self:
        """The same."""
        return self


def is_remote(path: Path) -> bool:
    """Whether a path is one in a store."""
    return isinstance(path, RemotePath)


def may_be_asked_at_once(path: Path) -> bool:
    """Whether it pays to ask for several paths like this at once: it is in a store.

    An archive is read by one thread at a time, and each of its files is copied whole.
    """
    return isinstance(path, RemotePath) and path.protocol not in ARCHIVES


def source_argument(name: str, value: Any) -> Path:
    """A path, or an address that begins as s3://. UserError for anything else."""
    if isinstance(value, str) and ADDRESS.match(value):
        return remote_path(value)
    return value if isinstance(value, RemotePath) else path_argument(name, value)


def remote_path(address: str) -> RemotePath:
    """The path of an address, without what is secret in it.

    >>> print(remote_path("https://me:secret@host/a.wav?signature=1"))
    https://host/a.wav

    Raises UserError if fsspec is not installed, or what it needs for the address, and for an
    address that it does not know.
    """
    require("fsspec")
    protocol = address.partition("://")[0]
    shown = keep_secret(address)
    if protocol in ("file", "local"):
        raise UserError(f"{printable(shown)} is a file of this computer: give its path")
    first, _, behind = shown.partition("::")
    names = first.partition("://")[2].strip("/")
    marked = f"::{behind.replace('/', MARK)}" if behind else ""
    parts = [part_of(each) for each in names.split("/")] if names else []
    path = RemotePath(f"{MARK}{protocol}{marked}", *parts)
    with reaching(path):
        _check_known(*address.split("::"))
    path.given = secret_of(address)
    return path


def check_apart(paths: Iterable[Path]) -> None:
    """UserError for two addresses that differ in secrets alone: they would be taken for one.

    So for two logins of one store: all that is read there is read with one of them.
    """
    known: dict[tuple[str, bool], Secret] = {}
    for path in paths:
        if isinstance(path, RemotePath):
            shown = str(path)
            secret = secret_of(whole(shown)) if path.given is None else path.given
            login = ((secret[0][0], ""), *secret[1:])
            for name, own in (((shown, False), secret), ((store_of(shown), True), login)):
                if known.setdefault(name, own) != own:
                    raise UserError(
                        f"{printable(name[0])} is given twice, with other things behind ? or "
                        "before @: name one, and the other in a run of its own"
                    )


def _check_known(*addresses: str) -> None:
    """ImportError if a package is missing; UserError if fsspec does not know an address."""
    from fsspec import get_filesystem_class

    for address in addresses:
        protocol, mark, _ = address.partition("://")
        if not mark:  # an archive of this computer
            continue
        try:
            get_filesystem_class(protocol)
        except ValueError:
            known = "s3://, gs://, https:// and zip:// are some"
            raise UserError(f"fsspec knows no {printable(protocol)[:60]}://: {known}") from None


def _restored(parts: tuple[str, ...], known: Mapping[str, str]) -> RemotePath:
    learn_secrets(known)
    return RemotePath(*parts)


@lru_cache(maxsize=16)
def _system(address: str) -> Any:
    from fsspec.core import url_to_fs

    return url_to_fs(address)[0]
