"""Objects of a store, such as s3://bucket/a.wav, as paths: fsspec reads and lists them.

    s3://bucket/birds/a.wav               an object
    https://host/a.wav?signature          what is secret in an address is kept apart, and not shown
    zip://birds/a.wav::s3://bucket/b.zip  a file in an archive that is an object itself

A RemotePath is only made of an address that the user gave, and of names that a store lists below
it. As a path it has all that pathlib does with names; where it is, what it has and what it holds,
it asks the store. It is no path of this computer: what asks it for one gets a UserError.
"""

import calendar
import errno
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from pathlib import Path, PosixPath
from typing import Any, NamedTuple, Self

from ulmo.config import UserError, one_line, printable
from ulmo.config.arguments import ADDRESS, path_argument
from ulmo.config.extras import require
from ulmo.storage.signature import ChangedError, Signature

_MARK = "\0"  # no path of this computer has one: no name is taken for an address
_SECRET = re.compile(r"([^/@]*:[^/@]*@)")  # user:password@
_WEB = ("http", "https")
_ARCHIVES = ("zip", "tar", "libarchive")  # names in them may look like user:password@
_ONE_PROCESS = "memory"
_TIMES: tuple[str, ...] = ("LastModified", "last_modified", "mtime", "updated", "modified", "Last-Modified")
_TIMES += ("created", "date_time")
_VERSIONS = ("ETag", "etag", "VersionId", "generation", "md5Hash", "content_md5", "CRC", *_TIMES)
_secrets: dict[str, str] = {}  # what was given in an address, by what is shown of it


class StoreError(UserError, OSError):
    """A store, or an object in it, cannot be reached; `strerror` says why."""

    def __init__(self, number: int, why: str, path: str) -> None:
        OSError.__init__(self, number, why, path)

    def __str__(self) -> str:
        return f"{self.filename} cannot be reached ({self.strerror}): check it, and your rights"

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        return type(self), (self.errno, self.strerror, self.filename)


class Object(NamedTuple):
    """What a store says of a name."""

    is_folder: bool
    size: int | None  # bytes; None: it does not say
    mtime_ns: int  # in nanoseconds; where there is no time, a number made of the version
    version: int  # changes with the content

    @property
    def signature(self) -> Signature:
        """That of an open file."""
        return Signature(0, self.version, self.size or 0, self.mtime_ns, 0)


class RemotePath(PosixPath):
    """A path in a store, which `remote_path` makes of an address.

    Its first part stands for the store. `with_segments` and `relative_to` give a plain path if that
    part is lost. Raises StoreError where the store does not answer.
    """

    def with_segments(self, *segments: Any) -> Any:
        """What pathlib calls to make a path of parts of this one (from Python 3.12 on)."""
        path = Path(*segments)
        return type(self)(path) if path.parts[:1] and path.parts[0][0] == _MARK else path

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
        behind = "".join(f"::{each.replace(_MARK, '/')}" for each in outer)
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
        shown = str(self)
        known = {name: _secrets[name] for name in (_store_of(shown), shown) if name in _secrets}
        return _restored, (self.parts, known)

    @property
    def is_whole(self) -> bool:
        """Whether it begins with a store, and is not only names below one."""
        return bool(self.parts) and self.parts[0].startswith(_MARK)

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
        return self.protocol not in _WEB

    @property
    def takes_objects(self) -> bool:
        """Whether objects may be put below it."""
        return self.protocol not in (*_WEB, *_ARCHIVES) and "::" not in self.parts[0]

    def store(self) -> tuple[Any, str]:
        """The file system of fsspec, and the name that this has there."""
        address = _whole(str(self))
        with reaching(self):
            system = _system(_whole(_store_of(str(self))))
            system.invalidate_cache()
            return system, str(system._strip_protocol(address.partition("::")[0]))

    def look(self) -> Object:
        """What the store says of it. Raises StoreError; FileNotFoundError if it is not there."""
        system, name = self.store()
        with reaching(self):
            return _described(system.info(name))

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
                yield Path(*(_part(each) for each in relative.split("/")))

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
    first, *outer = address.split("::")
    protocol, _, names = first.partition("://")
    shown = "::".join(_shown(each) for each in (first, *outer))
    if protocol in ("file", "local"):
        raise UserError(f"{printable(shown)} is a file of this computer: give its path")
    if _secrets.get(shown, address) != address:
        raise UserError(
            f"{printable(shown)} is given twice, with other things behind ? or before @: name one"
        )
    if shown != address:
        _secrets[shown] = address
        _secrets[_store_of(shown)] = _store_of(address)
    names = _shown(first).partition("://")[2]
    behind = shown.partition("::")[2]
    marked = f"::{behind.replace('/', _MARK)}" if behind else ""
    parts = [_part(each) for each in names.strip("/").split("/")] if names.strip("/") else []
    path = RemotePath(f"{_MARK}{protocol}{marked}", *parts)
    with reaching(path):
        _check_known(first, *outer)
    return path


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
    _secrets.update(known)
    return RemotePath(*parts)


def _shown(address: str) -> str:
    """An address without what is secret in it."""
    protocol, mark, names = address.partition("://")
    if not mark:
        return address
    if protocol in _WEB:
        names = re.split(r"[?#]", names, maxsplit=1)[0]
    return protocol + mark + (names if protocol in _ARCHIVES else _SECRET.sub("", names, count=1))


def _whole(shown: str) -> str:
    """The address of what is shown of it."""
    if shown in _secrets:
        return _secrets[shown]
    store = _store_of(shown)
    if store not in _secrets:
        return shown
    first, mark, outer = shown.partition("::")
    begins, own, outside = store.partition("::")[0], *_secrets[store].partition("::")[::2]
    return own + first.removeprefix(begins) + mark + outside


def _store_of(address: str) -> str:
    """What an address begins with: s3://bucket; zip://::s3://b/x.zip of a file in an archive."""
    first, mark, outer = address.partition("::")
    protocol, _, names = first.partition("://")
    host = "" if protocol in _ARCHIVES else re.split(r"[/?#]", names, maxsplit=1)[0]
    return f"{protocol}://{host}{mark}{outer}"


@lru_cache(maxsize=16)
def _system(address: str) -> Any:
    from fsspec.core import url_to_fs

    return url_to_fs(address)[0]


def _part(name: str) -> str:
    """A name as a part of a path: one that cannot be a part is spelled as an address would be."""
    if name in ("", ".", ".."):
        return f"%{name.encode().hex()}"
    return name.replace(_MARK, "%00")


def _described(info: Mapping[str, Any]) -> Object:
    known = [(key, str(info[key])) for key in _VERSIONS if info.get(key)]
    version = int.from_bytes(sha256(repr(known).encode()).digest()[:6]) if known else 0
    when = next((found for key in _TIMES if (found := _nanoseconds(info.get(key)))), version)
    size = info.get("size")
    return Object(info.get("type") == "directory", size, when, version)


def _nanoseconds(time: Any) -> int:
    """A time as stores tell it; 0 if it is none."""
    try:
        if isinstance(time, str):
            time = _of_web(time) if time[:3].isalpha() else datetime.fromisoformat(time)
        if isinstance(time, tuple):  # of an archive, without a zone
            return calendar.timegm((*time, 0, 0, 0)) * 10**9
        if isinstance(time, datetime):
            whole = time.replace(tzinfo=time.tzinfo or UTC)
            return calendar.timegm(whole.utctimetuple()) * 10**9 + whole.microsecond * 1000
        return round(time * 10**9) if isinstance(time, int | float) else 0
    except (ValueError, TypeError, OverflowError):
        return 0


def _of_web(time: str) -> datetime:
    from email.utils import parsedate_to_datetime

    return parsedate_to_datetime(time)


@contextmanager
def reaching(path: RemotePath) -> Iterator[None]:
    """Turn the errors of a store into those of a file, without what is secret in an address.

    Raises FileNotFoundError, ChangedError if an object is another one now, or StoreError; UserError
    if a package is missing.
    """
    shown = str(path)
    try:
        yield
    except (UserError, ChangedError):
        raise
    except ImportError as error:
        package = re.search(r"\b(s3fs|gcsfs|adlfs|aiohttp|paramiko|huggingface_hub)\b", str(error))
        missing = package[1] if package else one_line(error)
        extra = {"s3fs": "'ulmo[s3]'", "aiohttp": "'ulmo[urls]'"}.get(missing, missing)
        raise UserError(
            f"{printable(shown)} needs {missing}, which is not installed: pip install {extra}"
        ) from None
    except Exception as error:  # a store raises what its libraries have, each its own
        raise _of_file(error, shown) from None


def _of_file(error: Exception, shown: str) -> OSError:
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
    status = getattr(cause, "status", 404)
    if status in (401, 403):  # fsspec hides what a web server says
        error = PermissionError()
    elif status != 404 or isinstance(cause, OSError):
        error = OSError(f"{cause}")
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shown)
    if isinstance(error, PermissionError):
        return StoreError(errno.EACCES, os.strerror(errno.EACCES), shown)
    if isinstance(error, OSError) and error.errno == errno.EBUSY:  # FileExpired of s3fs
        return ChangedError(errno.ESTALE, "the file was changed while it was read")
    if isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), shown)
    return StoreError(errno.EIO, _hidden(one_line(error)), shown)


def _hidden(text: str) -> str:
    """A text of a library without what is secret in addresses."""
    text = re.sub(r"://[^/@\s]*:[^/@\s]*@", "://", text)
    return re.sub(r"(https?://[^\s?'\"]*)\?[^\s'\"]*", r"\1", text)
