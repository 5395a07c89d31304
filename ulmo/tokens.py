"""Tokens: ids on a grid of time and frequency, their clock, and the files that hold them."""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY\x01\x00"
HEADER = re.compile(
    rb"\{'descr': '<i4', 'fortran_order': False, 'shape': \((\d{1,18}), (\d{1,18})\), \} *\n"
)
"""What numpy writes for int32 (time, band); numpy's own reader evaluates whatever is there."""


@dataclass(frozen=True)
class Tokens:
    """What a tokenizer makes of a recording.

    The grid is [time, band], band 0 the lowest frequencies; flattened, it is time-major, and so
    a causal sequence.
    """

    ids: NDArray[np.int32]  # (time, band)
    distances: NDArray[np.float32]  # (time, band), squared, from the latent to its code
    sample_rate: int
    """Hertz; the rate that the recording was resampled to."""
    hop: int
    """Samples from one column to the next, at sample_rate."""
    edges_hz: NDArray[np.float64]  # (bands + 1,)
    """Band b lies between edges b and b + 1."""
    frames: int
    """Spectrogram frames that the ids stand for; the last column may be partly filling."""
    start: int = 0
    """Sample, at sample_rate, on which the first column's first frame is centred."""
    start_utc: datetime | None = None
    """Time of the recording's first sample, with its zone; None where nothing tells it."""
    fingerprint: str = ""
    """The tokenizer's: SHA-256 over its settings and weights, in hexadecimal."""
    unk_quantile: float | None = None
    """What lies further from its code than this share in training is `<unk>`; None: nothing is."""

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Centre of each column's first frame, in seconds from the recording's first sample.

        (time,). Counted in whole samples and divided once: nothing drifts, however long it is.
        """
        return (self.start + np.arange(len(self.ids), dtype=np.int64) * self.hop) / self.sample_rate

    @property
    def hertz(self) -> NDArray[np.float64]:
        """Lower and upper edge of each band in hertz, (bands, 2)."""
        return np.stack([self.edges_hz[:-1], self.edges_hz[1:]], axis=1)

    def sequence(self) -> NDArray[np.int32]:
        """The ids in one causal row, (time * bands,)."""
        return self.ids.reshape(-1)


def band_edges(frequencies: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """Edges in hertz of bands of `stride` bins: half way to the neighbouring bins' centres.

    `frequencies` (M,) are the bins' centres; the last band may hold fewer bins.
    """
    middles = (frequencies[1:] + frequencies[:-1]) / 2
    first = max(0.0, 2 * frequencies[0] - middles[0])
    borders = np.concatenate([[first], middles, [2 * frequencies[-1] - middles[-1]]])
    starts = np.arange(0, len(frequencies), stride)
    return np.append(borders[starts], borders[-1])


class NpyWriter:
    """Writes int32 (time, band) as .npy while it grows, in constant memory.

    numpy leaves room in the header for the first axis, so the header is simply written again
    at the end: the bytes are those of np.save.
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
        """Put the true length into the header; the columns that were written."""
        self._file.seek(0)
        self._write_header()
        self._file.seek(0, io.SEEK_END)
        return self._columns

    def _write_header(self) -> None:
        shape = (self._columns, self._bands)
        header = {"descr": "<i4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)


def read_npy(path: Path) -> NDArray[np.int32]:
    """Ids (time, band) of a tokens file; ValueError where it is none, before allocating."""
    with path.open("rb") as file:
        columns, bands = _read_shape(file, path)
        return np.fromfile(file, dtype="<i4").reshape(columns, bands)


def read_npy_blocks(path: Path, columns: int = 4096) -> Iterator[NDArray[np.int32]]:
    """The same in blocks of so many columns, the last one shorter: (n, band)."""
    with path.open("rb") as file:
        left, bands = _read_shape(file, path)
        while left:
            count = min(columns, left)
            yield np.fromfile(file, "<i4", count * bands).reshape(count, bands)
            left -= count


def _read_shape(file: BinaryIO, path: Path) -> tuple[int, int]:
    if file.read(len(MAGIC)) != MAGIC:
        raise ValueError(f"{path} is no .npy file of version 1")
    header = HEADER.fullmatch(file.read(int.from_bytes(file.read(2), "little")))
    if header is None:
        raise ValueError(f"{path} does not hold int32 (time, band): no tokens file")
    columns, bands = int(header[1]), int(header[2])
    size = path.stat().st_size - file.tell()
    if columns * bands * 4 != size:
        raise ValueError(f"{path} promises {columns} x {bands} ids, and has {size} bytes")
    return columns, bands
