"""Runs of equal tokens in a band as labels: selection tables of Raven, label tracks of Audacity.

Runs are found while a recording streams by.
"""

from functools import cache, partial
from itertools import pairwise
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.base import Format
from ulmo.formats.header import utc_text
from ulmo.vocabulary import SPECIAL_TOKENS, Vocabulary

_Places = NDArray[np.int64]
_FIELDS = (  # of Raven; one more, "Begin UTC", if the recording's time is known
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"),
    *("Low Freq (Hz)", "High Freq (Hz)", "Token"),
)


class _Label(NamedTuple):
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
        self._since: _Places = np.zeros(self.header.bands, np.int64)  # its first column

    def _write(self, ids: Ids) -> None:
        before = np.concatenate([self._open[None], ids[:-1]])  # (n, band)
        changes = ids != before
        columns = self.columns + np.arange(len(ids), dtype=np.int64)[:, None]
        begun = np.concatenate([self._since[None], np.where(changes, columns, -1)])
        since = np.maximum.accumulate(begun)  # (n + 1, band): of the run open before each column
        rows, bands = np.nonzero(changes & self._is_wanted(before, columns - since[:-1]))
        starts, tokens = since[rows, bands], before[rows, bands]
        self._write_runs(starts, self.columns + rows, bands, tokens)
        self._open, self._since = ids[-1].copy(), since[-1].copy()

    def _end(self) -> None:
        (bands,) = np.nonzero(self._is_wanted(self._open, self.columns - self._since))
        ends = np.full(len(bands), self.columns, np.int64)
        self._write_runs(self._since[bands], ends, bands, self._open[bands])

    def _is_wanted(self, ids: Ids, lengths: _Places) -> NDArray[np.bool_]:
        """Whether to label runs of these ids and lengths in columns."""
        wanted: NDArray[np.bool_] = (ids >= 0) & (lengths >= self._options.min_columns)
        if self._options.ids is not None:
            wanted &= np.isin(ids, np.array(sorted(self._options.ids), np.int64))
        return wanted

    def _write_runs(self, starts: _Places, ends: _Places, bands: _Places, tokens: Ids) -> None:
        """Write the runs of columns `starts` to `ends` - 1 of `bands`, each of one id."""
        runs = zip(starts.tolist(), ends.tolist(), bands.tolist(), tokens.tolist(), strict=True)
        header, decimals = self.header, self.decimals
        begin = cache(lambda column: f"{header.seconds(column):.{decimals}f}")
        end = cache(lambda column: f"{header.end_seconds(column):.{decimals}f}")
        token = cache(partial(token_text, header.vocabulary))
        utc = cache(lambda column: utc_text(time) if (time := header.utc(column)) else "")
        lines = [
            self._line(
                _Label(begin(start), end(stop), self._bands[band], token(number), utc(start))
            )
            for start, stop, band, number in runs
        ]
        self._files[0].write("".join(lines).encode())

    def _line(self, label: _Label) -> str:
        """The line or lines of a run, with their ends."""
        raise NotImplementedError


class Audacity(RunFormat):
    """A label a run, in the order of their ends."""

    words = "label track for Audacity"
    suffixes = (".tokens.labels.txt",)

    def _line(self, label: _Label) -> str:
        return f"{label.begin}\t{label.end}\t{label.token}\n\\\t{label.hertz}\n"


class Raven(RunFormat):
    """A selection a run, numbered from 1, in the order of their ends; channels count from 1."""

    words = "selection table for Raven Pro and Raven Lite"
    suffixes = (".tokens.selections.txt",)
    decimals = 9

    def _begin(self) -> None:
        super()._begin()
        self._selections = 0
        fields = [*_FIELDS, *(["Begin UTC"] if self.header.start_utc else [])]
        self._files[0].write(("\t".join(fields) + "\n").encode())

    def _line(self, label: _Label) -> str:
        self._selections += 1
        channel = 1 + (self.header.channel or 0)
        utc = f"\t{label.utc}" if label.utc else ""
        return (
            f"{self._selections}\tSpectrogram 1\t{channel}\t{label.begin}\t{label.end}"
            f"\t{label.hertz}\t{label.token}{utc}\n"
        )


def token_text(vocabulary: Vocabulary, token: int) -> str:
    """c17 for code 17, `<gap>` for a special token, `<id600>` for an unused id."""
    if token < vocabulary.codebook_size:
        return f"c{token}"
    special = token - vocabulary.codebook_size
    return SPECIAL_TOKENS[special] if special < len(SPECIAL_TOKENS) else f"<id{token}>"
