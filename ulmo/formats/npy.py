"""int32 (time, band) as numpy reads it."""

from ulmo.arrays import Ids
from ulmo.formats.writer import Writer
from ulmo.tokens import NpyWriter


class Npy(Writer):
    """One recording, one array."""

    many = False

    def _begin(self) -> None:
        self._array = NpyWriter(self._files[0], self.header.bands)

    def _write(self, ids: Ids) -> None:
        self._array.write(ids)

    def _close(self) -> None:
        self._array.close()
