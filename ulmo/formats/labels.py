"""Runs of equal tokens in a band as labels: selection tables of Raven, label tracks of Audacity.

Runs are found while a recording streams by. None crosses the end of a file, or a gap.
"""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache, partial
from itertools import pairwise
from pathlib import PurePosixPath
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ulmo.arrays import Ids
from ulmo.formats.base import Format
from ulmo.formats.cells import path_cell
from ulmo.formats.header import utc_text
from ulmo.vocabulary import SPECIAL_TOKENS, Vocabulary

_Places = NDArray[np.int64]
_TICKS = 1 << 100  # a second
_FIELDS = (  # of Raven; one more, "Begin UTC", if the recording's time is known
    *("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)"),
    *("Low Freq (Hz)", "High Freq (Hz)", "Token", "Begin File", "Begin Path", "File Offset (s)"),
)


class _Run(NamedTuple):
    """Columns `first` to `stop` - 1 of a band, all of one token."""

    first: int
    stop: int
    hertz: str  # lower and upper edge of its band, with a tab between
    token: str


class RunFormat(Format):
    """Finds runs; holds one open run per band.

    Runs come in the order of their ends, then of their bands: a run is known when it ends, so
    sorting them needs no memory.
    """

    many = False
    readable = False
    labels_gaps: ClassVar[bool] = True  # whether runs of `<gap>` are labelled

    def _begin(self) -> None:
        self._open: Ids = np.full(self.header.bands, -1, np.int32)  # the id of each band's run
        self._since: _Places = np.zeros(self.header.bands, np.int64)  # its first column

    def _write(self, ids: Ids) -> None:
        column = self.columns
        while len(ids):
            if self.header.border(column - 1) == column:
                self._end_runs(column)
            border = self.header.border(column) or column + len(ids)
            self._find(ids[: border - column], column)
            ids, column = ids[border - column :], border

    def _find(self, ids: Ids, first: int) -> None:
        """Write the runs that end in columns (n, band), of which `first` is the first."""
        before = np.concatenate([self._open[None], ids[:-1]])  # (n, band)
        changes = ids != before
        columns = first + np.arange(len(ids), dtype=np.int64)[:, None]
        begun = np.concatenate([self._since[None], np.where(changes, columns, -1)])
        since = np.maximum.accumulate(begun)  # (n + 1, band): of the run open before each column
        rows, bands = np.nonzero(changes & self._is_wanted(before, columns - since[:-1]))
        starts, tokens = since[rows, bands], before[rows, bands]
        self._write_runs(starts, first + rows, bands, tokens)
        self._open, self._since = ids[-1].copy(), since[-1].copy()

    def _end_runs(self, column: int) -> None:
        """Write the open runs, which end before a column."""
        (bands,) = np.nonzero(self._is_wanted(self._open, column - self._since))
        ends = np.full(len(bands), column, np.int64)
        self._write_runs(self._since[bands], ends, bands, self._open[bands])
        self._open = np.full(self.header.bands, -1, np.int32)

    def _end(self) -> None:
        self._end_runs(self.columns)

    def _is_wanted(self, ids: Ids, lengths: _Places) -> NDArray[np.bool_]:
        """Whether to label runs of these ids and lengths in columns."""
        wanted: NDArray[np.bool_] = (ids >= 0) & (lengths >= self._labelling.min_columns)
        if not self.labels_gaps:
            wanted &= ids != self.header.vocabulary.gap
        if self._labelling.ids is not None:
            wanted &= np.isin(ids, np.array(sorted(self._labelling.ids), np.int64))
        return wanted

    def _write_runs(self, starts: _Places, ends: _Places, bands: _Places, tokens: Ids) -> None:
        """Write the runs of columns `starts` to `ends` - 1 of `bands`, each of one id."""
        runs = zip(starts.tolist(), ends.tolist(), bands.tolist(), tokens.tolist(), strict=True)
        token = cache(partial(token_text, self.header.vocabulary))
        hertz = cache(self._hertz)
        made = (
            _Run(start, stop, edges[band], token(number))
            for start, stop, band, number in runs
            if (edges := hertz(self._recording_rate(start)))[band]
        )
        self._files[0].write("".join(self._lines(made)).encode())

    def _recording_rate(self, column: int) -> int:
        """Hertz at which the file of a column was recorded, or resampled to if that is less."""
        segment = self.header.segment(column)
        rate = segment.recording_rate if segment else self.header.recording_rate
        return min(rate or self.header.sample_rate, self.header.sample_rate)

    def _hertz(self, rate: int) -> list[str]:
        """Edges of each band, as programs take them: below half the rate, or empty above it."""
        highest = rate / 2
        edges = pairwise(round(edge, 6) for edge in self.header.edges_hz)
        return [
            f"{low:.6f}\t{min(high, highest):.6f}" if low < min(high, highest) else ""
            for low, high in edges
        ]

    def _lines(self, runs: Iterator[_Run]) -> Iterator[str]:
        """The line or lines of each run, with their ends."""
        raise NotImplementedError


class Audacity(RunFormat):
    """A label a run, in the order of their ends; times are from the recording's first sample."""

    suffixes = (".tokens.labels.txt",)

    def _lines(self, runs: Iterator[_Run]) -> Iterator[str]:
        begin = cache(lambda column: f"{self.header.seconds(column):.6f}")
        end = cache(lambda column: f"{self.header.end_seconds(column):.6f}")
        for run in runs:
            yield f"{begin(run.first)}\t{end(run.stop)}\t{run.token}\n\\\t{run.hertz}\n"


class Raven(RunFormat):
    """A selection a run, numbered from 1, in the order of their ends; channels count from 1.

    Raven plays a list of files without the gaps between them. So a selection's times are those of
    its file, behind the lengths of the files before; its true time is Begin UTC.
    """

    suffixes = (".tokens.selections.txt",)
    repeats_name = True
    labels_gaps = False

    def _begin(self) -> None:
        super()._begin()
        self._selections = 0
        self._files_begin = self._add_up_files()
        fields = [*_FIELDS, *(["Begin UTC"] if self.header.start_utc else [])]
        self._files[0].write(("\t".join(fields) + "\n").encode())

    def _add_up_files(self) -> dict[int, float]:
        """Seconds of the files before that of each segment, by its first column.

        Counted in whole _TICKS: the exact sum of files of many rates would have a denominator that
        grows with each. What is lost in a million files is less than a float resolves.
        """
        segments, begin = self.header.segments, 0
        begins = {segment.column: 0.0 for segment in segments[:1]}
        for before, segment in pairwise(segments):
            if not segment.is_of_the_file_of(before):
                begin += round(Fraction(before.file_frames * _TICKS, before.recording_rate))
            begins[segment.column] = begin / _TICKS
        return begins

    def _lines(self, runs: Iterator[_Run]) -> Iterator[str]:
        begins = cache(self._begin_fields)
        channel = 1 + (self.header.channel or 0)
        for run in runs:
            begin, file, utc = begins(run.first)
            self._selections += 1
            end = begin + self.header.end_seconds(run.stop) - self.header.seconds(run.first)
            yield (
                f"{self._selections}\tSpectrogram 1\t{channel}\t{begin:.9f}\t{end:.9f}"
                f"\t{run.hertz}\t{run.token}\t{file}{utc}\n"
            )

    def _begin_fields(self, column: int) -> tuple[float, str, str]:
        """Seconds at which Raven shows a column; its file and place in it; and its time."""
        segment, place = self.header.segment(column), self.header.place(column)
        if place is None:
            raise ValueError(f"column {column} is of no recording")
        name, path = PurePosixPath(place.recording).name, place.recording
        before = self._files_begin[segment.column] if segment else 0.0
        file = f"{path_cell(name)}\t{path_cell(path)}\t{place.seconds:.9f}"
        utc = f"\t{utc_text(place.utc)}" if place.utc else ""
        return before + place.seconds, file, utc


def token_text(vocabulary: Vocabulary, token: int) -> str:
    """c17 for code 17, `<gap>` for a special token, `<id600>` for an unused id."""
    if token < vocabulary.codebook_size:
        return f"c{token}"
    special = token - vocabulary.codebook_size
    return SPECIAL_TOKENS[special] if special < len(SPECIAL_TOKENS) else f"<id{token}>"
