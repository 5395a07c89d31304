"""Parquet as ulmo writes it, with what ulmo would not put in it."""

import struct

import pyarrow.parquet as pq


def write_parquet(table, path, **options):
    """Write a table to a path, without statistics."""
    pq.write_table(table, path, **{"compression": "zstd", "write_statistics": False, **options})


def parquet_of(groups=1, columns=1, levels=2, encodings=0):
    """A file of nothing but a footer, whose parts are as short as Thrift can write them.

    levels: elements of its schema, of which the first two are a column of int32.
    encodings: that each column of each group names.
    """
    schema = b"\x48\x01r\x15\x02\0" + (b"\x15\x02\x25\0\x18\x01a\0") * (levels - 1)
    chunk = b"\x3c\x29" + _list(encodings, 5) + bytes(encodings) + b"\x56\0\x26\x08\0\0"
    group = b"\x19" + _list(columns, 12) + chunk * columns + b"\x16\0\x16\0\0"
    footer = b"\x15\x02\x19" + _list(levels, 12) + schema + b"\x16\0\x19" + _list(groups, 12)
    footer += group * groups + b"\0"
    return b"PAR1" + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _list(count, kind):
    """The head of a list of Thrift's compact protocol."""
    return bytes([0xF0 | kind, count & 0x7F | 0x80, count >> 7 & 0x7F | 0x80, count >> 14])
