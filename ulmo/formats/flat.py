"""Streams of uint16: plain, as trainers of the nanoGPT kind map them into memory; for Megatron-LM
and Megatron Core with an index.

Layout of .idx (megatron/core/datasets/indexed_dataset.py), little-endian:

    9 bytes    MMIDIDX, two zeros
    uint64     1, the version
    uint8      8, the code of uint16
    uint64     n, sequences: here one a document
    uint64     n + 1, borders of documents
    int32      n lengths, in tokens
    int64      n offsets into .bin, in bytes
    int64      n + 1 borders, in sequences: 0 to n
"""

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import UserError
from ulmo.formats.base import Format, Headers
from ulmo.formats.file_hash import check_hash
from ulmo.formats.header import TokensHeader, read_stored
from ulmo.formats.places import header_path
from ulmo.storage.plain_file import open_unlinked

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION, _UINT16 = 1, 8
_HEAD = struct.Struct("<9sQBQQ")
_MAX_LENGTH = (1 << 31) - 1


class Flat(Format):
    """The ids of each recording, time-major and little-endian, then `<eos>`."""

    suffixes: ClassVar[tuple[str, ...]] = (".tokens.bin",)
    trains = True

    def _write(self, ids: Ids) -> None:
        self._files[0].write(ids.astype("<u2").tobytes())

    def _end(self) -> None:
        self._files[0].write(self.header.vocabulary.eos.to_bytes(2, "little"))

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Split the stream by the lengths in the headers; each recording must end with `<eos>`."""
        lengths = _document_lengths(headers)
        with open_unlinked(path) as file:
            if os.fstat(file.fileno()).st_size != 2 * sum(lengths):
                raise ValueError(f"its header says {sum(lengths)} ids")
            for header, length in zip(headers, lengths, strict=True):
                ids = np.fromfile(file, "<u2", length).astype(np.int32)
                if len(ids) < length or ids[-1] != header.vocabulary.eos:
                    raise ValueError(f"no <eos> after {header.recording!r}")
                yield ids[:-1].reshape(-1, header.bands)


class Megatron(Flat):
    """One document a recording."""

    suffixes = (".tokens.bin", ".tokens.idx")

    def _end(self) -> None:
        super()._end()
        if self.columns * self.header.bands + 1 > _MAX_LENGTH:
            raise UserError(f"{self.header.recording} is too long for Megatron: cut it in parts")

    def _close(self) -> None:
        self._files[1].write(_index_bytes(_document_lengths(self.headers)))

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Check the index (.idx) byte by byte, then read the ids beside it (.bin)."""
        lengths = _document_lengths(headers)
        if max(lengths) > _MAX_LENGTH:
            raise ValueError("its header says more ids than a document can have")
        expected = _index_bytes(lengths)
        with open_unlinked(path) as file:
            is_same = file.read(len(expected) + 1) == expected
        if not is_same:
            raise ValueError("its header says other documents")
        data = path.with_suffix(".bin")
        if not data.is_file():
            raise UserError(f"{data} is missing, which holds the ids of {path.name}")
        check_hash(data, read_stored(header_path(data.with_suffix(""))))
        yield from Flat.read(data, headers)


def _document_lengths(headers: Sequence[TokensHeader]) -> list[int]:
    """Ids of each recording, `<eos>` included."""
    return [header.columns * header.bands + 1 for header in headers]


def _index_bytes(lengths: Sequence[int]) -> bytes:
    """Bytes of .idx for documents of these lengths, in tokens."""
    count = len(lengths)
    ends = np.cumsum([0, *lengths], dtype="<i8")
    parts = [
        _HEAD.pack(_MAGIC, _VERSION, _UINT16, count, count + 1),
        np.array(lengths, "<i4").tobytes(),
        (2 * ends[:-1]).astype("<i8").tobytes(),
        np.arange(count + 1, dtype="<i8").tobytes(),
    ]
    return b"".join(parts)
