"""int32 (time, band), as numpy reads it."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.base import Format, Headers
from ulmo.storage.plain_file import open_unlinked
from ulmo.tokens import NpyWriter, npy_header

_MAGIC = b"\x93NUMPY\x01\x00"
# What numpy writes for int32 (time, band). numpy's own reader evaluates the header as Python.
_HEADER = re.compile(
    rb"\{'descr': '<i4', 'fortran_order': False, 'shape': \((\d{1,18}), (\d{1,18})\), \}"
)


class Npy(Format):
    """One recording, one array."""

    suffixes = (".tokens.npy",)
    many = False

    def _begin(self) -> None:
        self._array = NpyWriter(self._files[0], self.header.bands)

    def _write(self, ids: Ids) -> None:
        self._array.write(ids)

    def _close(self) -> None:
        self._array.close()

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """The one array."""
        if len(headers) != 1:
            raise ValueError("its header is of several recordings")
        yield read_npy(path)


def read_npy(path: Path) -> NDArray[np.int32]:
    """Ids (time, band) of a tokens file; ValueError, before allocating, if it is not one."""
    with open_npy(path) as npy:
        return npy.all()


class NpyReader:
    """Ids of an open tokens file, read in their order."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._hash = sha256()
        if self._read(len(_MAGIC)) != _MAGIC:
            raise ValueError(f"{path} is not an .npy file of version 1")
        length = self._read(2)
        text = self._read(int.from_bytes(length, "little"))
        header = _HEADER.match(text)
        if header is None:
            raise ValueError(f"{path} is not a tokens file: it does not hold int32 (time, band)")
        self._left, self._bands = int(header[1]), int(header[2])
        if _MAGIC + length + text != npy_header(self._left, self._bands):
            raise ValueError(f"{path} is damaged: its header is not as NumPy writes it")
        size = os.fstat(file.fileno()).st_size - file.tell()
        if self._left * self._bands * 4 != size:
            raise ValueError(
                f"{path} is damaged: {self._left} x {self._bands} ids are declared, "
                f"but {size} bytes follow"
            )

    @property
    def sha256(self) -> str:
        """SHA-256 of all that was read, in hexadecimal: of the file, if that is all of it."""
        return self._hash.hexdigest()

    def blocks(self, count: int | None = None, columns: int = 4096) -> Iterator[NDArray[np.int32]]:
        """Yield the next `count` columns (None: all), in blocks (n, band) of at most `columns`.

        Fewer if the file has fewer; ValueError if it was cut meanwhile.
        """
        count = self._left if count is None else min(count, self._left)
        while count:
            taken = min(columns, count)
            ids = np.fromfile(self._file, "<i4", taken * self._bands)
            if len(ids) < taken * self._bands:
                raise ValueError(f"{self._path} is damaged: it ends before its last ids")
            self._hash.update(ids.data)
            self._left -= taken
            count -= taken
            yield ids.reshape(taken, self._bands)

    def all(self) -> NDArray[np.int32]:
        """All ids (time, band) that are left."""
        return next(self.blocks(columns=self._left), np.empty((0, self._bands), np.int32))

    def skip(self, columns: int) -> None:
        """Leave out columns; they are not hashed."""
        columns = min(columns, self._left)
        self._file.seek(4 * self._bands * columns, os.SEEK_CUR)
        self._left -= columns

    def _read(self, size: int) -> bytes:
        content = self._file.read(size)
        self._hash.update(content)
        return content


@contextmanager
def open_npy(path: Path) -> Iterator[NpyReader]:
    """Open a tokens file; ValueError, before allocating, if it is not one."""
    with open_unlinked(path) as file:
        yield NpyReader(file, path)
