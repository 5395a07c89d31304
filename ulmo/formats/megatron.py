"""What Megatron-LM and Megatron Core read: .bin as Flat writes it, and .idx, which finds documents.

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
from collections.abc import Sequence
from typing import BinaryIO

import numpy as np

from ulmo.config import UserError
from ulmo.formats.flat import Flat
from ulmo.formats.writer import PLAIN, Options

MAGIC = b"MMIDIDX\x00\x00"
VERSION, UINT16 = 1, 8
HEAD = struct.Struct("<9sQBQQ")
MAX_LENGTH = (1 << 31) - 1


class Megatron(Flat):
    """One document a recording."""

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


def index_bytes(lengths: Sequence[int]) -> bytes:
    """All of .idx, of documents so many tokens long."""
    count = len(lengths)
    ends = np.cumsum([0, *lengths], dtype="<i8")
    parts = [
        HEAD.pack(MAGIC, VERSION, UINT16, count, count + 1),
        np.array(lengths, "<i4").tobytes(),
        (2 * ends[:-1]).astype("<i8").tobytes(),
        np.arange(count + 1, dtype="<i8").tobytes(),
    ]
    return b"".join(parts)
