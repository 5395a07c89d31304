"""int32 (time, band), as numpy reads it."""

from collections.abc import Iterator
from pathlib import Path

from ulmo.arrays import Ids
from ulmo.formats.base import Format, Headers
from ulmo.tokens import NpyWriter, read_npy


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
