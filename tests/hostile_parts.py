"""Building blocks of malicious files."""

import io
import json
import os
import zipfile
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bundles import WEIGHTS, replace, rewrite, write_small_bundle
from tests.parquet import write_parquet
from tests.sealed import reseal, seal_tables
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.bundle.weights import weight_shapes
from ulmo.config import ModelSettings, PrepSettings
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.tables import schema_of

GIB = 1 << 30
DEEP = b"[" * 60_000
DEEP_TABLES = b'{"a":' * 10_000
SHARD, HEADER = "tiles/000000-0000.npy", "x.tokens.json"


class Bomb:
    """What a malicious pickle would do."""

    def __reduce__(self):
        return os.system, ("touch /tmp/ulmo-was-here",)


def keys(count):
    return b"{" + b",".join(b'"%06d":0' % number for number in range(count)) + b"}"


def tables(count):
    return b"[" + b"{}," * count + b"{}]"


# Attacks: functions that damage a valid output at `path`; `bait` is a folder outside it.
# A name is that of a file in the output, or beside it if that is a file; "" is the output itself.


def place(path, name):
    return (path if path.is_dir() else path.parent) / name if name else path


def put(name, content=b""):
    return lambda path, bait: place(path, name).write_bytes(content)


def sparse(name, size):
    def make(path, bait):
        place(path, name).unlink(missing_ok=True)
        with place(path, name).open("wb") as file:
            file.truncate(size)

    return make


def fifo(name):
    def make(path, bait):
        place(path, name).unlink()
        os.mkfifo(place(path, name))

    return make


def link(name, target):
    """A link to a file of the bait, or to an absolute path."""

    def make(path, bait):
        place(path, name).unlink()
        place(path, name).symlink_to(bait / target)

    return make


def object_array():
    file = io.BytesIO()
    np.save(file, np.array([Bomb()], object), allow_pickle=True)
    return file.getvalue()


def npy(header):
    """A .npy file with a given header."""
    text = header.encode() + b" " * (118 - len(header)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)


def zip_bomb():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(64 << 20))
    return file.getvalue()


def padded(content, size):
    return content[:size] + bytes(max(0, size - len(content)))


# Tables


def rows_of_no_tiles(folder, bait):
    """Hundreds of thousands of rows in groups as ulmo writes them, and shards that are empty."""
    count, most = 600_000, 256
    first = pq.read_table(folder / "tiles.parquet").slice(0, 1)
    table = first.take(pa.array(np.zeros(count, np.int64)))
    numbers = np.arange(count)
    names = [f"{number:06d}-0000.npy" for number in range(-(-count // most))]
    columns = {"shard": pa.array(names).take(pa.array(numbers // most))}
    columns |= {"row": pa.array(numbers % most, pa.int32())}
    for name, values in columns.items():
        table = table.set_column(TILES_SCHEMA.get_field_index(name), name, values)
    for name in names[1:]:
        (folder / "tiles" / name).touch()
    write_parquet(table.cast(TILES_SCHEMA), folder / "tiles.parquet", row_group_size=1 << 14)
    reseal(folder / "prep.json", tiles=count)
    seal_tables(folder)


def equal_rows(name, row, count):
    """Many rows that differ in a bit or two: a stranger's, and yet the table has its own hash."""

    def write(path):
        schema, bits = schema_of(row), np.random.default_rng(0)
        plain = row(path="a", bytes=0, ends_crc32c=0, status="ok", key="k").model_dump()
        arrays = {}
        for field in schema:
            value = plain[field.name]
            arrays[field.name] = pa.array([value or None]).cast(field.type).take([0] * count)
            if pa.types.is_list(field.type):
                offsets = pa.array(np.zeros(count + 1, np.int32))
                arrays[field.name] = pa.ListArray.from_arrays(offsets, pa.array([], pa.string()))
            elif value == 0:
                most = 4 if field.name == "frames" else 1
                arrays[field.name] = pa.array(bits.integers(0, most, count)).cast(field.type)
        plain_columns = [each.name for each in schema if not pa.types.is_list(each.type)]
        table = pa.Table.from_pydict(arrays, schema=schema)
        write_parquet(table, path, row_group_size=1 << 14, use_dictionary=plain_columns)

    def make(path, bait):
        write(place(path, name))

    return make


# Bundles


def setting(path, value):
    """A manifest with one value changed, then sealed."""

    def change(values):
        *tables, key = path.split("/")
        for table in tables:
            values = values[table]
        values[key] = value

    return lambda folder, bait: rewrite(folder, change)


def bundle_file(name, change):
    """Other bytes of the same length in a bundle's file, with their hash in the manifest."""

    def make(folder, bait):
        content = (folder / name).read_bytes()
        replace(folder, name, change(content))

    return make


def with_weight(name, value, every=1):
    """Weights with one tensor filled with one value."""

    def change(content):
        size = int.from_bytes(content[:8], "little")
        first, last = json.loads(content[8 : 8 + size])[name]["data_offsets"]
        values = np.frombuffer(content, "<f4", (last - first) // 4, 8 + size + first).copy()
        values[::every] = value
        return content[: 8 + size + first] + values.tobytes() + content[8 + size + last :]

    return bundle_file(WEIGHTS, change)


def other_metadata(content):
    size = int.from_bytes(content[:8], "little")
    text = content[8 : 8 + size].replace(b'"dtype":"F32"', b'"dtype":"I32"', 1)
    return content[:8] + text + content[8 + size :]


def large(name, at, width=800):
    """A large model of zeros with hashes that fit; four bytes of a file are NaN."""

    def make(folder, bait):
        plan = {"frequency_stride": 4, "time_stride": 4, "encoder_layers": 3, "decoder_layers": 3}
        model = ModelSettings(tile_size=32, width=width, **plan)
        zeros = {n: np.zeros(shape, np.float32) for n, shape in weight_shapes(model).items()}
        thresholds = np.zeros((model.codebook_size, len(UNK_QUANTILES)), np.float32)
        contents = {"model": model, "weights": zeros, "thresholds": thresholds}
        prep = PrepSettings(tile_size=32, normalization="tile")
        write_small_bundle(folder, prep, contents=contents)
        with (folder / name).open("r+b") as file:
            file.seek(at)
            file.write(b"\0\0\xc0\x7f")
        digest = sha256((folder / name).read_bytes()).hexdigest()
        rewrite(folder, lambda values: values["hashes"].update({name: digest}))

    return make
