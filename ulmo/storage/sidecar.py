"""The file that a recording is read together with: the log of a SoundTrap, x.log.xml for x.wav."""

import errno
from pathlib import Path
from typing import NamedTuple

import google_crc32c

from ulmo.storage.plain_file import is_of_process, lexists, open_file, signature_of
from ulmo.storage.remote_path import RemotePath

# About 7,000 gaps; a log without any has 4 KiB.
MAX_SIDECAR_BYTES = 1 << 20
_ENDING = ".log.xml"
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG})


class Stamp(NamedTuple):
    """Changes when somebody writes to a sidecar, or puts another in its place."""

    size: int  # in bytes
    mtime_ns: int
    checksum: int  # CRC-32C of what is read of it


class Sidecar(NamedTuple):
    """What was read of a sidecar."""

    content: bytes  # from its start, MAX_SIDECAR_BYTES at most
    stamp: Stamp
    fault: str = ""  # why it was not read to its end; empty if it was


def sidecar_path(recording: Path) -> Path:
    """Where the sidecar of a recording is, if it has one."""
    return recording.with_name(f"{recording.stem}{_ENDING}")


def read_sidecar(recording: Path) -> Sidecar | None:
    """Read the sidecar of a recording; None if there is none.

    A sidecar that exists but cannot be read, such as a dead link, raises OSError, with a message
    that names the sidecar as the cause.
    """
    path = sidecar_path(recording)
    if isinstance(path, RemotePath) and not path.has_neighbours:
        return None
    try:
        with open_file(path) as file:
            found, content = signature_of(file), file.read(MAX_SIDECAR_BYTES + 1)
    except OSError as error:
        if is_of_process(error):
            raise
        if error.errno in _ABSENT and (isinstance(path, RemotePath) or not lexists(path)):
            return None
        why = error.strerror or str(error)
        raise OSError(error.errno, f"its log cannot be read: {why}", str(path)) from None
    content, more = content[:MAX_SIDECAR_BYTES], content[MAX_SIDECAR_BYTES:]
    stamp = Stamp(found.size, found.mtime_ns, int(google_crc32c.value(content)))
    return Sidecar(content, stamp, "it is longer than 1 MiB" if more else "")
