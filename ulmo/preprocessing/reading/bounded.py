"""A limit on reads of a file: a hostile one can make its reader read the same bytes forever.

Each of many sound files in one may have chunks that lead over all the others, say. Finding what a
file holds takes a few reads for each sound file in it, or for each place where one is damaged.
"""

import io
from typing import BinaryIO, cast

FREE_READS = 1 << 16  # of any file: more than MAX_PARTS small sound files in one take
BYTES_A_READ = 4  # of a file that allow one more; a frame of MPEG audio after each gap takes ten
READ_BYTES = 1 << 12  # further bytes that count as one more read


class TooManyReadsError(OSError):
    """A file was read more often than its size allows."""


class BoundedFile(io.RawIOBase):
    """A file of `size` bytes; TooManyReadsError once it was read too often."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._left = FREE_READS + size // BYTES_A_READ

    def seekable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The descriptor of the file."""
        return self._file.fileno()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The present place."""
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, as the file gives them."""
        content = self._file.read(size)
        self._left -= 1 + len(content) // READ_BYTES
        if self._left < 0:
            raise TooManyReadsError("its headers lead over the same bytes too often")
        return content


def bounded_file(file: BinaryIO, size: int) -> BinaryIO:
    """A file of `size` bytes with a limited number of reads."""
    return cast(BinaryIO, BoundedFile(file, size))
