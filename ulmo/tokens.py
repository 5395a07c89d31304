"""Tokens: ids on a grid of time and frequency, their clock, and the files that hold them."""

import io
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from math import floor
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tokens:
    """The tokens of a recording, or of a part of it, and their clock.

    The grid is [time, band], band 0 the lowest frequencies. Flattened it is time-major, and so a
    causal sequence.

    >>> Tokens(np.zeros((3, 2), np.int32), np.zeros((3, 2), np.float32), 16000, 2560,
    ...        np.array([0.0, 4000.0, 8000.0]), frames=48).seconds
    array([0.  , 0.16, 0.32])
    """

    ids: NDArray[np.int32]  # (time, band)
    distances: NDArray[np.float32]  # (time, band), squared, from the latent to its code
    sample_rate: int  # hertz, to which the recording was resampled
    hop: int  # samples from one column to the next, at sample_rate
    edges_hz: NDArray[np.float64]  # (bands + 1,): band b lies between edges b and b + 1
    frames: int  # spectrogram frames; they may fill the last column only partly
    start: int = 0  # sample, at sample_rate, at the centre of the first column's first frame
    start_utc: datetime | None = None  # time of the recording's first sample, with time zone
    fingerprint: str = ""  # the tokenizer's: SHA-256 over settings and weights, in hexadecimal
    unk_quantile: float | None = None  # level of `<unk>`; None: no id is `<unk>`
    # Sample at which each column begins, (time,), if they are not evenly spaced: a timeline whose
    # gaps are left out, read from a file. None: `start`, and a hop from each to the next.
    samples: NDArray[np.int64] | None = None
    # Red, green and blue of each code, (CB, 3), like codes alike: for `plot`. None: not known.
    colours: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Centre of each column's first frame, (time,), in seconds from the first sample.

        Samples are counted as integers and divided once, so that long recordings do not drift.
        """
        if self.samples is not None:
            return self.samples / self.sample_rate
        return (self.start + np.arange(len(self.ids), dtype=np.int64) * self.hop) / self.sample_rate

    @property
    def hertz(self) -> NDArray[np.float64]:
        """Lower and upper edge of each band in hertz, (bands, 2)."""
        return np.stack([self.edges_hz[:-1], self.edges_hz[1:]], axis=1)

    def sequence(self) -> NDArray[np.int32]:
        """The ids as one causal sequence, (time * bands,)."""
        return self.ids.reshape(-1)

    def plot(self, axes: Any = None, *, colours: NDArray[np.uint8] | None = None) -> Any:
        """Draw the tokens with Matplotlib: a coloured cell for each, over seconds and hertz.

        axes: to draw in; None: those of a new figure.
        colours: (CB, 3) of the codes, such as `tokenizer.colours`; None: those that `encode` gave.
            Tokens that were read from a file have none: each id then has a colour of its own, and
            like colours do not mean like codes.

        Returns the axes. `<unk>` is grey, `<gap>` is empty, and rows are of one height, whatever
        the hertz of a band. A window of seconds is `tokens.plot().set_xlim(2, 4)`.
        """
        from ulmo.pictures.notebook import draw_tokens

        known = self.colours if colours is None else colours
        return draw_tokens(axes, self.ids, self.seconds, self._column_s, self.edges_hz, known)

    def _repr_html_(self) -> str:
        """What a notebook shows: the facts, and the first and last columns in their colours."""
        from ulmo.pictures.notebook import html_table

        columns, bands = self.ids.shape
        facts = {
            "grid": f"{columns} x {bands} (time, band)",
            "a column each": f"{1000 * self._column_s:g} ms",
            "different ids": str(len(np.unique(self.ids))),
        }
        if self.start_utc is not None:
            facts["recorded from"] = self.start_utc.isoformat()
        if self.fingerprint:
            facts["tokenizer"] = self.fingerprint[:8]
        return html_table(facts, self.ids, self.seconds, self.edges_hz, self.colours)

    @property
    def _column_s(self) -> float:
        return self.hop / self.sample_rate


def nearest_column(seconds: Fraction, hop: Fraction) -> int:
    """The column, of `hop` seconds each, that begins nearest to a time; of two, the later."""
    return floor(seconds / hop + Fraction(1, 2))


def band_edges(frequencies: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """Edges in hertz (bands + 1,) of bands of `stride` bins, half way between the bins' centres.

    `frequencies` (M,) are the centres of the bins in hertz. The last band may have fewer bins.
    """
    middles = (frequencies[1:] + frequencies[:-1]) / 2
    first = max(0.0, 2 * frequencies[0] - middles[0])
    borders = np.concatenate([[first], middles, [2 * frequencies[-1] - middles[-1]]])
    starts = np.arange(0, len(frequencies), stride)
    return np.append(borders[starts], borders[-1])


def npy_header(columns: int, bands: int) -> bytes:
    """The first bytes of an .npy file of int32 (time, band), before the ids."""
    file = io.BytesIO()
    header = {"descr": "<i4", "fortran_order": False, "shape": (columns, bands)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


class NpyWriter:
    """Writes int32 (time, band) as .npy while it grows, in constant memory.

    numpy leaves room in the header for a longer first axis. So the header is written again at the
    end, and the file has the bytes of np.save.
    """

    def __init__(self, file: BinaryIO, bands: int) -> None:
        self._file = file
        self._bands = bands
        self._columns = 0
        self._write_header()

    def write(self, ids: NDArray[np.int32]) -> None:
        """Append columns (n, band)."""
        self._file.write(np.ascontiguousarray(ids, np.dtype("<i4")).tobytes())
        self._columns += len(ids)

    def close(self) -> int:
        """Write the final header; returns the number of columns."""
        self._file.seek(0)
        self._write_header()
        self._file.seek(0, io.SEEK_END)
        return self._columns

    def _write_header(self) -> None:
        self._file.write(npy_header(self._columns, self._bands))
