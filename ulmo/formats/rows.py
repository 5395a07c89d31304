"""Recordings cut into rows of a table, each with its own start."""

from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.header import TokensHeader
from ulmo.formats.writer import PIECE, Writer

ROW_COLUMNS = PIECE
"""Of tokens in a row, at most: 11 minutes at 160 ms."""


class Row(NamedTuple):
    """Some columns of a recording."""

    header: TokensHeader
    column: int
    """The first one."""
    ids: NDArray[np.uint16]  # (n, band)

    @property
    def start_s(self) -> float:
        """From the recording's first sample."""
        return self.header.seconds(self.column)

    @property
    def start_utc(self) -> datetime | None:
        """When it begins."""
        return self.header.utc(self.column)

    @property
    def unk_rate(self) -> float:
        """Share of its ids that are `<unk>`."""
        return int((self.ids == self.header.vocabulary.unk).sum()) / self.ids.size


class RowWriter(Writer):
    """Gathers columns to rows of ROW_COLUMNS, the last of a recording shorter."""

    def _begin(self) -> None:
        self._held = np.empty((ROW_COLUMNS, self.header.bands), np.uint16)
        self._filled = 0

    def _write(self, ids: Ids) -> None:
        taken = min(len(ids), ROW_COLUMNS - self._filled)
        self._hold(ids[:taken])
        if self._filled == ROW_COLUMNS:
            self._write_row(Row(self.header, self.columns + taken - ROW_COLUMNS, self._held))
            self._held = np.empty_like(self._held)
            self._filled = 0
            self._hold(ids[taken:])

    def _hold(self, ids: Ids) -> None:
        self._held[self._filled : self._filled + len(ids)] = ids
        self._filled += len(ids)

    def _end(self) -> None:
        if self._filled:
            ids = self._held[: self._filled].copy()
            self._write_row(Row(self.header, self.columns - self._filled, ids))

    def _write_row(self, row: Row) -> None:
        raise NotImplementedError
