"""Whether a tokens file is the one that its header describes: its length, and its SHA-256."""

from pathlib import Path

from ulmo.formats.header import Stored
from ulmo.storage.plain_file import LinkError, file_hash

# Longest file in any format: a row of JSON lines may be of one id, and names the recording.
FREE_BYTES, BYTES_PER_ID = 1 << 24, 1 << 15


def check_hash(path: Path, stored: Stored, ending: str | None = None) -> None:
    """Raise ValueError unless the file's hash is the one in its header.

    `ending` is the end of its name, if that is more than what follows the last dot.
    """
    ending = ending or path.suffix
    ids = sum(header.columns * header.bands for header in stored.headers)
    if path.is_symlink():
        raise LinkError(path)
    if path.is_file() and path.stat().st_size > FREE_BYTES + BYTES_PER_ID * ids:
        raise ValueError("it is longer than its header says")
    check_read(file_hash(path), stored, ending)


def check_read(digest: str | None, stored: Stored, ending: str) -> None:
    """Raise ValueError unless a file's SHA-256 is the one in its header."""
    if ending not in stored.hashes:
        raise ValueError("its header does not name it")
    if digest != stored.hashes[ending]:
        raise ValueError("its checksum is not the one in its header")
