"""Files for Megatron-LM and Megatron Core: .bin as Flat writes it, and .idx, its index.

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

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ulmo.arrays import Ids
from ulmo.config import UserError
from ulmo.formats.base import PLAIN, Headers, Options
from ulmo.formats.flat import Flat, document_lengths
from ulmo.formats.header import check_hash, header_path, read_stored

MAGIC = b"MMIDIDX\x00\x00"
VERSION, UINT16 = 1, 8
HEAD = struct.Struct("<9sQBQQ")
MAX_LENGTH = (1 << 31) - 1


class Megatron(Flat):
    """One document a recording."""

    words = "uint16 stream and index, as Megatron-LM reads them"
    suffixes = (".tokens.bin", ".tokens.idx")

    def __init__(self, files: Sequence[BinaryIO], options: Options = PLAIN) -> None:
        super().__init__(files, options)
        self._lengths: list[int] = []

    def _end(self) -> None:
        super()._end()
        length = self.columns * self.header.bands + 1
        if length > MAX_LENGTH:
            raise UserError(f"{self.header.recording} is too long for Megatron: cut it in parts")
        self._lengths.append(length)

    def _close(self) -> None:
        self._files[1].write(index_bytes(self._lengths))

    @staticmethod
    def read(path: Path, headers: Headers) -> Iterator[Ids]:
        """Check the index (.idx) byte by byte, then read the ids beside it (.bin)."""
        lengths = document_lengths(headers)
        if max(lengths) > MAX_LENGTH:
            raise ValueError("its header says more ids than a document can have")
        expected = index_bytes(lengths)
        if path.stat().st_size != len(expected) or path.read_bytes() != expected:
            raise ValueError("its header says other documents")
        data = path.with_suffix(".bin")
        if not data.is_file():
            raise UserError(f"{data} is missing, which holds the ids of {path.name}")
        check_hash(data, read_stored(header_path(data)))
        yield from Flat.read(data, headers)


def index_bytes(lengths: Sequence[int]) -> bytes:
    """Bytes of .idx for documents of these lengths, in tokens."""
    count = len(lengths)
    ends = np.cumsum([0, *lengths], dtype="<i8")
    parts = [
        HEAD.pack(MAGIC, VERSION, UINT16, count, count + 1),
        np.array(lengths, "<i4").tobytes(),
        (2 * ends[:-1]).astype("<i8").tobytes(),
        np.arange(count + 1, dtype="<i8").tobytes(),
    ]
    return b"".join(parts)
