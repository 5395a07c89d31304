"""int32 (time, band), as numpy reads it."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.base import Format, Headers
from ulmo.storage.plain_file import open_unlinked
from ulmo.tokens import NpyWriter

_MAGIC = b"\x93NUMPY\x01\x00"
# What numpy writes for int32 (time, band). numpy's own reader evaluates the header as Python.
_HEADER = re.compile(
    rb"\{'descr': '<i4', 'fortran_order': False, 'shape': \((\d{1,18}), (\d{1,18})\), \} *\n"
)


class Npy(Format):
    """One recording, one array."""

    words = "NumPy array, int32 (time, band), a file a recording"
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
    with open_unlinked(path) as file:
        columns, bands = _read_shape(file, path)
        return np.fromfile(file, dtype="<i4").reshape(columns, bands)


def read_npy_blocks(
    path: Path, columns: int = 4096, *, first: int = 0, count: int | None = None
) -> Iterator[NDArray[np.int32]]:
    """Ids of a tokens file in blocks (n, band) of `columns` columns; the last may be shorter.

    Begins at column `first`, and reads `count` columns (None: to the end).
    """
    with open_unlinked(path) as file:
        there, bands = _read_shape(file, path)
        left = max(there - first, 0)
        left = left if count is None else min(count, left)
        file.seek(4 * bands * first, io.SEEK_CUR)
        while left:
            taken = min(columns, left)
            yield np.fromfile(file, "<i4", taken * bands).reshape(taken, bands)
            left -= taken


def _read_shape(file: BinaryIO, path: Path) -> tuple[int, int]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError(f"{path} is not an .npy file of version 1")
    header = _HEADER.fullmatch(file.read(int.from_bytes(file.read(2), "little")))
    if header is None:
        raise ValueError(f"{path} is not a tokens file: it does not hold int32 (time, band)")
    columns, bands = int(header[1]), int(header[2])
    size = os.fstat(file.fileno()).st_size - file.tell()
    if columns * bands * 4 != size:
        raise ValueError(
            f"{path} is damaged: {columns} x {bands} ids are declared, but {size} bytes follow"
        )
    return columns, bands
