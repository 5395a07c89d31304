"""Plain uint16, as trainers of the nanoGPT kind map it into memory: no header, no gaps."""

from ulmo.arrays import Ids
from ulmo.formats.writer import Writer


class Flat(Writer):
    """Each recording's ids, time-major and little-endian, and `<eos>`."""

    def _write(self, ids: Ids) -> None:
        self._files[0].write(ids.astype("<u2").tobytes())

    def _end(self) -> None:
        self._files[0].write(self.header.vocabulary.special("<eos>").to_bytes(2, "little"))
