"""The base of all formats: writes tokens (begin, write, end per recording; close), and reads them.

A format is a subclass of `Format` in a file of its own and a line in `ulmo.formats.FORMATS`; a line
in `ulmo.config.FORMAT_TRAITS` says what it is.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar, NamedTuple

from ulmo.arrays import Ids
from ulmo.formats.header import Hashes, Stored, TokensHeader

PIECE = 4096  # columns handed to `_write` at once, at most; also the columns in a row of a table
MOST_NAME = 1024  # characters of a recording's name in a format that repeats it in each row
Headers = tuple[TokensHeader, ...]


class Labelling(NamedTuple):
    """Labelling that only label formats use."""

    ids: frozenset[int] | None = None  # label the runs of these ids only; None: of all ids
    min_columns: int = 1  # label only runs of at least this many columns


ALL_RUNS = Labelling()


class Format:
    """Writes tokens in memory that does not grow with the recording, in pieces of any size.

    A subclass sets the class attributes and implements `_write`, and `_begin`, `_end`, `_close`
    and `read` as needed. The checks are here; they raise ValueError, because writing ids that do
    not fit the header is a programming error.
    """

    # Endings of its file names, in the order of `files`. A readable format is known by what follows
    # the last dot of the last one, which no other format may have.
    suffixes: ClassVar[tuple[str, ...]]
    many: ClassVar[bool] = True  # whether one file may hold several recordings
    trains: ClassVar[bool] = False  # whether models train on it: a corpus gets a vocabulary file
    tabular: ClassVar[bool] = False  # whether programs read a folder of them as one table
    readable: ClassVar[bool] = True  # whether `read` reads back a file of the last suffix
    # Whether each token or run repeats the name of its recording: then MOST_NAME bounds names.
    repeats_name: ClassVar[bool] = False

    def __init__(self, files: Sequence[BinaryIO], labelling: Labelling = ALL_RUNS) -> None:
        self._files = files
        self._labelling = labelling
        self.headers: list[TokensHeader] = []  # of the recordings written to their ends
        self._header: TokensHeader | None = None
        self._recordings = 0
        self.hashes: Hashes = {}  # of the files, once they are written
        self.columns = 0  # of this recording, written so far

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Ids (time, band) of each recording, in the order of the headers.

        Raises ValueError if the file does not match its headers. The caller checks the ids' range.
        """
        raise NotImplementedError

    @property
    def stored(self) -> Stored:
        """What the header says of these files, once they are written."""
        return Stored(tuple(self.headers), self.hashes)

    @property
    def header(self) -> TokensHeader:
        """Header of the recording that is being written."""
        if self._header is None:
            raise ValueError("no recording was begun")
        return self._header

    def begin(self, header: TokensHeader) -> None:
        """Begin a recording; the header has its segments, but need not know its length yet."""
        if self._recordings and not self.many:
            raise ValueError("this format holds one recording")
        if self._recordings and header.grid != self.header.grid:
            raise ValueError("one file holds the tokens of one tokenizer")
        self._header = header
        self.columns = 0
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
            self.columns += len(piece)

    def end(self, header: TokensHeader) -> None:
        """End the recording; its header now states its length."""
        if header.columns != self.columns or header.grid != self.header.grid:
            raise ValueError(f"{self.columns} columns were written, not {header.columns}")
        self._header = header
        self._end()
        self.headers.append(header)

    def close(self) -> None:
        """Write what follows the last recording."""
        if not self.headers or len(self.headers) < self._recordings:
            raise ValueError("no recording was written to its end")
        self._close()

    def abandon(self) -> None:
        """Stop writing: the files are about to be deleted."""

    def _begin(self) -> None: ...

    def _write(self, ids: Ids) -> None:
        """Write columns (n, band), n at most PIECE; `columns` does not count them yet."""
        raise NotImplementedError

    def _end(self) -> None: ...

    def _close(self) -> None: ...
