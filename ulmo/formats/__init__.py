"""The files that tokens are written to, so that other people's programs open them.

    with publish_tokens(path, "parquet") as writer:     # ulmo.formats.publish
        writer.begin(header)
        writer.write(ids)
        writer.end(header.ended(columns=..., frames=..., unknown=...))
    for header, ids in read_tokens(path): ...           # ulmo.formats.read

pyarrow is loaded when Parquet is written or read.
"""

from typing import NamedTuple

from ulmo.formats.audacity import Audacity
from ulmo.formats.csv import Csv
from ulmo.formats.flat import Flat
from ulmo.formats.jsonl import Jsonl
from ulmo.formats.megatron import Megatron
from ulmo.formats.npy import Npy
from ulmo.formats.parquet import Parquet
from ulmo.formats.raven import Raven
from ulmo.formats.writer import Writer


class Format(NamedTuple):
    """One kind of file, or of files that belong together."""

    suffixes: tuple[str, ...]
    """How their names end, in the order in which the writer takes them."""
    writer: type[Writer]
    vocabulary: bool
    """True where models are trained on it: the vocabulary lies beside a corpus."""

    @property
    def many(self) -> bool:
        """True where one file may hold many recordings."""
        return self.writer.many


FORMATS = {
    "npy": Format((".tokens.npy",), Npy, vocabulary=False),
    "parquet": Format((".tokens.parquet",), Parquet, vocabulary=True),
    "jsonl": Format((".tokens.jsonl",), Jsonl, vocabulary=True),
    "csv": Format((".tokens.csv",), Csv, vocabulary=False),
    "megatron": Format((".tokens.bin", ".tokens.idx"), Megatron, vocabulary=True),
    "bin": Format((".tokens.bin",), Flat, vocabulary=True),
    "raven": Format((".tokens.selections.txt",), Raven, vocabulary=False),
    "audacity": Format((".tokens.labels.txt",), Audacity, vocabulary=False),
}
