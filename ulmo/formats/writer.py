"""How tokens are written, whatever the format: begin, write, end for each recording; close."""

from collections.abc import Sequence
from typing import BinaryIO, ClassVar, NamedTuple

from ulmo.arrays import Ids
from ulmo.formats.header import TokensHeader

PIECE = 4096
"""Columns that are looked at together, at most; and those of one row of a table."""


class Options(NamedTuple):
    """What only some formats ask."""

    ids: frozenset[int] | None = None
    """Label the runs of these alone; None: of all."""
    min_columns: int = 1
    """Label no run that is shorter."""


PLAIN = Options()


class Writer:
    """Writes tokens in memory that does not grow with a recording, however they are cut.

    What a format does is in the four methods with an underscore; the checks are here. They raise
    ValueError, for it is a mistake of the program's to write what does not fit.
    """

    many: ClassVar[bool] = True
    """True where one file may hold several recordings."""

    def __init__(self, files: Sequence[BinaryIO], options: Options = PLAIN) -> None:
        self._files = files
        self._options = options
        self.headers: list[TokensHeader] = []
        """Of the recordings that have ended."""
        self._header: TokensHeader | None = None
        self._recordings = 0
        self._columns = 0

    @property
    def header(self) -> TokensHeader:
        """Of the recording that is being written."""
        if self._header is None:
            raise ValueError("no recording was begun")
        return self._header

    @property
    def columns(self) -> int:
        """Of that recording, written so far."""
        return self._columns

    def begin(self, header: TokensHeader) -> None:
        """Begin a recording; how long it is need not be known yet."""
        if self._recordings and not self.many:
            raise ValueError("this format holds one recording")
        if self._recordings and header.grid != self.header.grid:
            raise ValueError("one file holds the tokens of one tokenizer")
        self._header = header
        self._columns = 0
        self._recordings += 1
        self._begin()

    def write(self, ids: Ids) -> None:
        """Append columns (n, band)."""
        if ids.ndim != 2 or ids.shape[1] != self.header.bands:
            raise ValueError(f"ids {ids.shape} are not (n, {self.header.bands})")
        if ids.size and not (ids.min() >= 0 and ids.max() < self.header.vocabulary.size):
            raise ValueError(f"ids must be below {self.header.vocabulary.size}")
        for first in range(0, len(ids), PIECE):
            piece = ids[first : first + PIECE]
            self._write(piece)
            self._columns += len(piece)

    def end(self, header: TokensHeader) -> None:
        """End the recording, whose header now says how long it is."""
        if header.columns != self._columns or header.grid != self.header.grid:
            raise ValueError(f"{self._columns} columns were written, not {header.columns}")
        self._header = header
        self._end()
        self.headers.append(header)

    def close(self) -> None:
        """Write what comes after the last recording."""
        if not self.headers or len(self.headers) < self._recordings:
            raise ValueError("no recording was written to its end")
        self._close()

    def abandon(self) -> None:
        """Write nothing more: the files are about to be thrown away."""

    def _begin(self) -> None: ...

    def _write(self, ids: Ids) -> None:
        """Columns (n, band), n at most PIECE; `columns` does not count them yet."""
        raise NotImplementedError

    def _end(self) -> None: ...

    def _close(self) -> None: ...
