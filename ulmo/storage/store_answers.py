"""What a store says of an object, and its errors as those of a file."""

import calendar
import errno
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple, Self

from ulmo.config import UserError, one_line, printable
from ulmo.storage.signature import ChangedError, Signature

_TIMES: tuple[str, ...] = ("LastModified", "last_modified", "mtime", "updated", "modified")
_TIMES += ("Last-Modified", "created", "date_time")
_VERSIONS = ("ETag", "etag", "VersionId", "generation", "md5Hash", "content_md5", "CRC", *_TIMES)
# Errors that say nothing of a store.
_HERE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT})


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


def described(info: Mapping[str, Any]) -> Object:
    """What a store says of an object, in the words of its kind of store."""
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
def reaching(shown: object) -> Iterator[None]:
    """Turn the errors of a store into those of a file, without what is secret in an address.

    shown: what is shown of the address.

    Raises FileNotFoundError, ChangedError if an object is another one now, or StoreError; UserError
    if a package is missing.
    """
    shown = str(shown)
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
    if isinstance(error, OSError) and error.errno in _HERE:
        return error
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), shown)
    if isinstance(error, PermissionError):
        return StoreError(errno.EACCES, os.strerror(errno.EACCES), shown)
    if isinstance(error, OSError) and error.errno == errno.EBUSY:  # FileExpired of s3fs
        return ChangedError(errno.ESTALE, "the file was changed while it was read")
    if isinstance(error, FileExistsError):
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), shown)
    hidden = _hidden(str(error))  # before it is cut, so that no @ is cut off
    why = one_line(OSError(hidden)) if hidden.strip() else type(error).__name__
    return StoreError(errno.EIO, why, shown)


def _hidden(text: str) -> str:
    """A text of a library without what is secret in addresses."""
    return re.sub(r"\?[^\s'\"]+", "", re.sub(r"://[^/\s]*@", "://", text))
