"""Runs of equal tokens in a band, found while a recording streams by."""

from collections.abc import Iterable
from functools import cache, partial
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.base import Format
from ulmo.formats.header import utc_text
from ulmo.formats.vocabulary import token_text

Places = NDArray[np.int64]


class Run(NamedTuple):
    """Columns `start` to `end` - 1 of a band, all of one id."""

    start: int
    end: int
    band: int
    token: int


class Label(NamedTuple):
    """A run as text."""

    begin: str  # seconds
    end: str  # seconds
    hertz: str  # lower and upper edge of its band, with a tab between
    token: str
    utc: str  # time of its begin; empty if unknown


class RunFormat(Format):
    """Finds runs; holds one open run per band.

    Runs come in the order of their ends, then of their bands: a run is known when it ends, so
    sorting them needs no memory.
    """

    many = False
    readable = False
    decimals: ClassVar[int] = 6  # of seconds

    def _begin(self) -> None:
        highest = self.header.sample_rate / 2  # programs refuse what lies above
        edges = pairwise(self.header.edges_hz)
        self._bands = [f"{low:.6f}\t{min(high, highest):.6f}" for low, high in edges]
        self._open: Ids = np.full(self.header.bands, -1, np.int32)  # the id of each band's run
        self._since: Places = np.zeros(self.header.bands, np.int64)  # its first column

    def _write(self, ids: Ids) -> None:
        before = np.concatenate([self._open[None], ids[:-1]])  # (n, band)
        changes = ids != before
        columns = self.columns + np.arange(len(ids), dtype=np.int64)[:, None]
        begun = np.concatenate([self._since[None], np.where(changes, columns, -1)])
        since = np.maximum.accumulate(begun)  # (n + 1, band): of the run open before each column
        where = changes & self._is_wanted(before) & (columns - since[:-1] >= self._least)
        rows, bands = np.nonzero(where)
        starts, tokens = since[rows, bands], before[rows, bands]
        self._write_runs(_runs(starts, self.columns + rows, bands, tokens))
        self._open, self._since = ids[-1].copy(), since[-1].copy()

    def _end(self) -> None:
        wanted = self._is_wanted(self._open) & (self.columns - self._since >= self._least)
        bands = np.nonzero(wanted)[0]
        ends = np.full(len(bands), self.columns, np.int64)
        self._write_runs(_runs(self._since[bands], ends, bands, self._open[bands]))

    @property
    def _least(self) -> int:
        return self._options.min_columns

    def _is_wanted(self, ids: Ids) -> NDArray[np.bool_]:
        wanted: NDArray[np.bool_] = ids >= 0
        if self._options.ids is not None:
            wanted &= np.isin(ids, np.array(sorted(self._options.ids), np.int64))
        return wanted

    def _write_runs(self, runs: Iterable[Run]) -> None:
        header, decimals = self.header, self.decimals
        begin = cache(lambda column: f"{header.seconds(column):.{decimals}f}")
        end = cache(lambda column: f"{header.end_seconds(column):.{decimals}f}")
        token = cache(partial(token_text, header.vocabulary))
        utc = cache(lambda column: utc_text(time) if (time := header.utc(column)) else "")
        lines = [
            self._line(Label(begin(start), end(stop), self._bands[band], token(number), utc(start)))
            for start, stop, band, number in runs
        ]
        self._files[0].write("".join(lines).encode())

    def _line(self, label: Label) -> str:
        """The line or lines of a run, with their ends."""
        raise NotImplementedError


def _runs(starts: Places, ends: Places, bands: Places, tokens: Ids) -> Iterable[Run]:
    columns = (starts.tolist(), ends.tolist(), bands.tolist(), tokens.tolist())
    return (Run(*values) for values in zip(*columns, strict=True))
