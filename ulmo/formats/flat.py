"""Plain uint16, as trainers of the nanoGPT kind map it into memory: no header, no gaps."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from ulmo.arrays import Ids
from ulmo.formats.base import Format, Headers


class Flat(Format):
    """The ids of each recording, time-major and little-endian, then `<eos>`."""

    words = "uint16 stream, as nanoGPT reads it"
    suffixes: ClassVar[tuple[str, ...]] = (".tokens.bin",)
    trains = True

    def _write(self, ids: Ids) -> None:
        self._files[0].write(ids.astype("<u2").tobytes())

    def _end(self) -> None:
        self._files[0].write(self.header.vocabulary.special("<eos>").to_bytes(2, "little"))

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Split the stream by the lengths in the headers; each recording must end with `<eos>`."""
        lengths = document_lengths(headers)
        if path.stat().st_size != 2 * sum(lengths):
            raise ValueError(f"its header says {sum(lengths)} ids")
        with path.open("rb") as file:
            for header, length in zip(headers, lengths, strict=True):
                ids = np.fromfile(file, "<u2", length).astype(np.int32)
                if len(ids) < length or ids[-1] != header.vocabulary.special("<eos>"):
                    raise ValueError(f"no <eos> after {header.recording!r}")
                yield ids[:-1].reshape(-1, header.bands)


def document_lengths(headers: Headers) -> list[int]:
    """Ids of each recording, `<eos>` included."""
    return [header.columns * header.bands + 1 for header in headers]
