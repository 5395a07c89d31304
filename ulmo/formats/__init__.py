"""The files that tokens are written to, for other programs to open. One file and one line each.

A line in `ulmo.config.FORMAT_TRAITS` says what each is.

    with publish_tokens(path, "parquet") as writer:     # ulmo.formats.publish
        writer.begin(header)
        writer.write(ids)
        writer.end(header.ended(columns=..., frames=..., unknown=...))
    for header, ids in read_corpus(path): ...           # ulmo.formats.read

pyarrow is loaded only to write or read Parquet.
"""

from ulmo.formats.base import Format
from ulmo.formats.csv import Csv
from ulmo.formats.flat import Flat, Megatron
from ulmo.formats.labels import Audacity, Raven
from ulmo.formats.npy import Npy
from ulmo.formats.parquet import Parquet
from ulmo.formats.rows import Jsonl

FORMATS: dict[str, type[Format]] = {
    "npy": Npy,
    "parquet": Parquet,
    "jsonl": Jsonl,
    "csv": Csv,
    "megatron": Megatron,
    "bin": Flat,
    "raven": Raven,
    "audacity": Audacity,
}
