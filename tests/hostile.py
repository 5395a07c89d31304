"""One table of attacks: bundles, tokens, tiles, runs, settings and labels."""

import json
import pickle
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.bundles import ENCODER, MANIFEST, WEIGHTS, rewrite
from tests.hostile_parts import (
    DEEP,
    DEEP_TABLES,
    GIB,
    HEADER,
    SHARD,
    Bomb,
    bundle_file,
    equal_rows,
    fifo,
    keys,
    large,
    link,
    npy,
    object_array,
    other_metadata,
    padded,
    place,
    put,
    rows_of_no_tiles,
    setting,
    sparse,
    tables,
    with_weight,
    zip_bomb,
)
from tests.outputs import write_table
from tests.parquet import parquet_of, write_parquet
from tests.sealed import reseal, seal_tables, seal_tokens
from ulmo.jobs.outcome import Prepared, Tokenized
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.sealed import fingerprint, seal
from ulmo.storage.tables import schema_of

BUNDLES = {
    "a large model that is NaN": large(WEIGHTS, 9_000_000),
    "a large model with another encoder": large(ENCODER, 9_000_000),
    "weights are a link outside": link(WEIGHTS, "secret"),
    "manifest is a link outside": link(MANIFEST, "secret"),
    "encoder is /dev/zero": link(ENCODER, "/dev/zero"),
    "encoder is a pipe": fifo(ENCODER),
    "manifest is a pipe": fifo(MANIFEST),
    "a linked folder lies inside": lambda f, bait: (f / "data").symlink_to(bait),
    "weights are a folder": lambda f, bait: ((f / WEIGHTS).unlink(), (f / WEIGHTS).mkdir()),
    "code lies beside": put("__init__.py", b"import os"),
    "a Keras model lies beside": put("model.keras", b"PK\3\4"),
    "ONNX data lies beside": put("encoder.onnx.data"),
    "a name of two lines lies beside": put("a\nb"),
    "a thousand hidden files": lambda f, bait: [(f / f".{n}").touch() for n in range(1000)],
    "hash of a file outside": lambda f, bait: rewrite(
        f, lambda values: values["hashes"].update({"../../outside/secret": "0" * 64})
    ),
    "deep lists": put(MANIFEST, DEEP),
    "deep tables": put(MANIFEST, DEEP_TABLES),
    "many tables": put(MANIFEST, tables(20_000)),
    "many keys": put(MANIFEST, keys(5500)),
    "a key twice": put(MANIFEST, b'{"schema_version": 2, "schema_version": 2}'),
    "a number of 60,000 digits": put(MANIFEST, b"1" * 60_000),
    "a manifest of 2 GB": sparse(MANIFEST, 2 * GIB),
    "weights of 2 GB": sparse(WEIGHTS, 2 * GIB),
    "an encoder of 2 TB": sparse(ENCODER, 2048 * GIB),
    "a newer schema": setting("schema_version", 10**30),
    "a front end that is a path": setting("prep/frontend", "../../evil"),
    "a wavelet that is code": setting("prep/wavelet", "__import__('os')"),
    "NaN in the settings": setting("prep/floor_db", float("nan")),
    "a model beyond all bounds": setting("model/width", 2048),
    "a tile of 10^12 bins": setting("prep/tile_size", 10**12),
    "a card that moves the cursor": setting("card/notes", "\x1b[2J\x1b]0;owned\x07"),
    "weights are a pickle": bundle_file(WEIGHTS, lambda c: padded(pickle.dumps(Bomb()), len(c))),
    "weights are a zip bomb": bundle_file(WEIGHTS, lambda c: padded(zip_bomb(), len(c))),
    "weights of another type": bundle_file(WEIGHTS, other_metadata),
    "weights with a huge header": bundle_file(WEIGHTS, lambda c: b"\xff" * 7 + b"\x7f" + c[8:]),
    "weights are NaN": with_weight("decoder.layer_0.kernel", np.nan),
    "codes are infinite": with_weight("codebook", np.inf),
    "thresholds are negative": with_weight("unk.thresholds", -1.0),
    "thresholds fall": with_weight("unk.thresholds", 0.0, every=2),
    "an unknown operator": bundle_file(ENCODER, lambda c: c.replace(b"ArgMin", b"Python", 1)),
    "another operator": bundle_file(ENCODER, lambda c: c.replace(b"ArgMin", b"ArgMax", 1)),
    "external data in the encoder": bundle_file(
        ENCODER, lambda c: padded(c[:-60] + b"\x6a\x10\x0a\x08location\x12\x04/etc", len(c))
    ),
    "another codebook in the encoder": bundle_file(ENCODER, lambda c: c[:-100] + bytes(100)),
}


def sealed(name, **changes):
    """Other values in a sealed file."""
    return lambda path, bait: reseal(place(path, name), **changes)


# Tokens


def described(write):
    """Other tokens, and the header that describes them."""

    def make(path, bait):
        write(path)
        seal_tokens(path)

    return make


def token_file(content):
    return described(lambda path: path.write_bytes(content))


def parquet_bomb(column, part, times):
    """A Parquet file of ours with one column that unpacks to gigabytes."""

    def write(path):
        schema, values = pq.read_schema(path), pq.read_table(path).to_pydict()
        values[column][0] = part * times
        write_parquet(pa.Table.from_pydict(values, schema=schema), path)

    return described(write)


def other_end(size, content):
    """The last bytes are other ones."""
    return described(lambda path: path.write_bytes(path.read_bytes()[:-size] + content))


TOKENS = {
    "npy": {
        "an object array that unpickles": token_file(object_array()),
        "a header that is evaluated": token_file(npy("{'descr': __import__('os').system('id')}")),
        "a shape of 2^62": token_file(
            npy(f"{{'descr': '<i4', 'fortran_order': False, 'shape': ({1 << 61}, 3), }}")
        ),
        "a header of npy 3": token_file(b"\x93NUMPY\x03\x00\xff\xff\xff\xff" + bytes(64)),
        "a zip bomb in place of an array": token_file(zip_bomb()),
        "tokens are a pipe": fifo(""),
        "tokens of 40 GB": sparse("", 40 * GIB),
        "a header of 2 GB": sparse(HEADER, 2 * GIB),
        "a header that is a pipe": fifo(HEADER),
        "a header that is a device": link(HEADER, "/dev/zero"),
        "a deep header": put(HEADER, DEEP),
        "a deep header of tables": put(HEADER, DEEP_TABLES),
        "a header of a million tables": put(HEADER, tables(300_000)),
        "a header of many keys": put(HEADER, keys(90_000)),
        "a header with a key twice": put(HEADER, b'{"hop": 1, "hop": 2}'),
        "a header of 2^53 columns": sealed(HEADER, columns=1 << 53, frames=1 << 53),
        "a header of 10^4000 columns": sealed(HEADER, columns=10**4000),
        "a header with a recording outside": sealed(
            HEADER, hashes={"/../../outside/secret": sha256(b"secret").hexdigest()}
        ),
        "a header of a corpus of brackets": put(
            HEADER, seal('{\n  "recordings": [' + "[]," * 3_000_000 + "[]]\n}")
        ),
        "a header that names files outside": sealed(HEADER, recording="../" * 6000),
    },
    "parquet": {
        "other columns": described(
            lambda path: pq.write_table(pa.table({"ids": [[1, 2, 3]]}), path)
        ),
        "a row of millions of ids": parquet_bomb("ids", [0], 1 << 23),
        "a name of megabytes": parquet_bomb("recording", "a", 1 << 26),
        "a footer of 4 GB": other_end(8, b"\xff\xff\xff\xff" + b"PAR1"),
        "a footer of a million columns": token_file(parquet_of(columns=1_000_000)),
        "no Parquet": token_file(b"PAR1" + bytes(100) + b"PAR1"),
    },
    "jsonl": {
        "a line of a gigabyte": sparse("", GIB),
        "a deep line": token_file(DEEP[:40_000] + b"\n"),
        "ids of 10^4000": token_file(b'{"ids": [' + b"1" * 4000 + b"]}\n"),
    },
    "csv": {
        "a field without end": token_file(b'"' + b"a" * 200_000),
        "lines without end": sparse("", GIB),
    },
    "megatron": {
        "an index of 2^63 documents": token_file(b"MMIDIDX\0\0" + b"\x7f" * 200),
        "an index that points outside": other_end(24, b"\xff" * 24),
    },
}

# Tiles


def tile_rows(**changes):
    """Every row of tiles.parquet is changed, then sealed."""

    def make(folder, bait):
        rows = pq.read_table(folder / "tiles.parquet").to_pylist()
        write_table(folder / "tiles.parquet", [{**row, **changes} for row in rows], TILES_SCHEMA)
        seal_tables(folder)

    return make


def tile_table(rows):
    """Other rows in tiles.parquet, with the number that prep.json gives."""

    def make(folder, bait):
        made = rows()
        write_table(folder / "tiles.parquet", made, TILES_SCHEMA)
        reseal(folder / "prep.json", tiles=len(made))
        seal_tables(folder)

    return make


def row(**values):
    plain = {"shard": "000000-0000.npy", "row": 0, "recording": "a.wav", "tile": 0, "view": 0}
    plain |= {"start_sample": 0, "start_s": 0.0, "valid_frames": 8, "crc32c": 0}
    return {**plain, **values}


def many_rows(folder, bait):
    """Millions of rows in a few kilobytes: dictionaries of one value."""
    count = 3_000_000
    arrays = {}
    for field in TILES_SCHEMA:
        value = row().get(field.name)
        arrays[field.name] = pa.nulls(count, field.type)
        if value is not None and not pa.types.is_string(field.type):
            arrays[field.name] = pa.array(np.full(count, value), field.type)
    table = pa.Table.from_pydict(arrays, schema=TILES_SCHEMA)
    write_parquet(table, folder / "tiles.parquet", row_group_size=1 << 20)
    reseal(folder / "prep.json", tiles=count)
    seal_tables(folder)


def sealed_after(make, **changes):
    def done(folder, bait):
        make(folder, bait)
        reseal(folder / "prep.json", **changes)
        seal_tables(folder)

    return done


def hole_of_a_journal(folder, bait):
    sparse(".prep.jsonl", 1024 * GIB)(folder, bait)
    reseal(folder / "prep.json", complete=False)


TILES = {
    "many equal recordings": sealed_after(equal_rows("recordings.parquet", Prepared, 200_000)),
    "many rows of one tile": tile_table(lambda: [row()] * 20_000),
    "a journal of 1 TB": hole_of_a_journal,
    "a shard outside, by ..": tile_rows(shard="../../outside/secret"),
    "a shard outside, by its root": tile_rows(shard="/etc/passwd"),
    "a shard without a name": tile_rows(shard=""),
    "a shard whose name has NUL": tile_rows(shard="\0"),
    "a row before the first": tile_rows(row=-1),
    "a row of 2^31 - 1": tile_rows(row=2**31 - 1),
    "a row that is missing": tile_rows(row=None),
    "levels that are no numbers": tile_rows(norm_offset_db=float("nan")),
    "a view of brackets": tile_rows(view=1, augmentation="[" * 10**5),
    "a text of megabytes": tile_table(lambda: [row(recording="a" * (1 << 26))]),
    "a long text in each row": tile_table(lambda: [row(recording="a" * (1 << 18))] * 600),
    "millions of rows": many_rows,
    "rows of tiles that are not there": rows_of_no_tiles,
    "other columns in the table": lambda folder, bait: (
        write_table(folder / "tiles.parquet", [], schema_of(Prepared)),
        seal_tables(folder),
    ),
    "a shard of 1 TB": sparse(SHARD, 1024 * GIB),
    "a shard that unpickles": put(SHARD, object_array()),
    "a shard that is evaluated": put(SHARD, npy("{'descr': __import__('os').system('id')}")),
    "a shard that is a pipe": fifo(SHARD),
    "a shard that is a link outside": link(SHARD, "secret"),
    "a deep prep.json": put("prep.json", DEEP),
    "a prep.json of many tables": put("prep.json", tables(300_000)),
    "a prep.json of many keys": put("prep.json", keys(90_000)),
    "a prep.json with a key twice": put("prep.json", b'{"plan": "a", "plan": "b"}'),
    "a prep.json of a newer ulmo": sealed("prep.json", schema_version=99),
    "10^30 tiles": sealed("prep.json", tiles=10**30),
}

# Runs, tables, settings, labels


def digest_outside(folder, bait):
    path = folder / "checkpoints" / "ckpt-5.json"
    digest = sha256(b"secret").hexdigest()
    files = {**json.loads(path.read_text())["files"], "../../outside/secret": digest}
    values = {"schema_version": 1, "files": files, "fingerprint": fingerprint(files)}
    path.write_text(json.dumps(values, indent=2) + "\n")


RUNS = {
    "losses of 1 TB": sparse("losses.csv", 1024 * GIB),
    "epochs of 1 TB": sparse("epochs.csv", 1024 * GIB),
    "a deep train.json": put("train.json", DEEP),
    "a train.json with a key twice": put("train.json", b'{"tiles": "a", "tiles": "b"}'),
    "a train.json of 1 TB": sparse("train.json", 1024 * GIB),
    "digests of files outside": digest_outside,
    "digests of 2 GB": sparse("checkpoints/ckpt-5.json", 2 * GIB),
    "digests that are a pipe": fifo("checkpoints/ckpt-5.json"),
    "deep digests": put("checkpoints/ckpt-5.json", DEEP),
    "a checkpoint that is a pipe": fifo("checkpoints/ckpt-5.index"),
    "a checkpoint that is a link outside": link("checkpoints/ckpt-5.index", "/dev/zero"),
}


SETTINGS = {
    "deep lists in TOML": put("", b"a = " + b"[" * 50_000),
    "deep tables in TOML": put("", b"[" + b"a." * 20_000 + b"a]\n"),
    "dotted keys in TOML": put(
        "", b"\n".join(b"%s.x%d = 1" % (b"a." * 30 + b"a", n) for n in range(900))
    ),
    "TOML of 2 GB": sparse("", 2 * GIB),
    "TOML that is a pipe": fifo(""),
    "a long number in TOML": put("", b"a = " + b"1" * 60_000),
    "a setting that is unknown": put("", b'[prep]\n"\\u001b[2J" = 1\n'),
    "a batch of 10^18": put("", b"[train]\nbatch_size = 1000000000000000000\n"),
}
LABELS = {
    "labels of files outside": put("", b"file,label\n../outside/secret,x\n"),
    "labels of /etc": put("", b"file,label\n/etc/passwd,x\n"),
    "labels with NUL": put("", b"file,label\na\0b,x\n"),
    "labels without end": put("", b'file,label\n"' + b"a" * 1_000_000),
    "labels of 2 GB": sparse("", 2 * GIB),
    "labels that are a pipe": fifo(""),
    "a million labels": put("", b"file,label\n" + b"a.wav,x\n" * 1_000_000),
}


def plain_row():
    return Tokenized(path="a", bytes=0, ends_crc32c=0, status="ok", key="k").model_dump()


def report_of(write):
    """Another table of tokens, of which tokenize.json has the hash."""

    def make(path, bait):
        write(path)
        hashes = {path.name: sha256(path.read_bytes()).hexdigest()}
        reseal(path.with_name("tokenize.json"), hashes=hashes)

    return make


def long_names(count, last):
    """Rows of 1,024 outputs whose names repeat 9,900 letters, each row a group; and a last one."""

    def write(path):
        schema = schema_of(Tokenized)
        names = [f"{channel:04}" + "a" * 9_900 for channel in range(1024)]
        with pq.ParquetWriter(
            path, schema, compression="zstd", write_statistics=False, use_dictionary=["key"]
        ) as writer:
            for row in [{**plain_row(), "outputs": names}] * count + [{**plain_row(), **last}]:
                writer.write_table(pa.Table.from_pylist([row], schema=schema))

    return write


REPORTS = {
    "long names before a row of nothing": report_of(long_names(8, {"bytes": None})),
    "many equal rows in a table of tokens": report_of(
        lambda path: equal_rows("", Tokenized, 30_000)(path, None)
    ),
    "long lists in a table of tokens": report_of(
        lambda path: write_table(
            path,
            [{**plain_row(), "outputs": ["ab"] * 120}] * 4000,
            schema_of(Tokenized),
        )
    ),
    "other columns in a table of tokens": report_of(
        lambda path: pq.write_table(pa.table({"outputs": [["../../outside"]]}), path)
    ),
    "a table of tokens with long lists": report_of(
        lambda path: write_table(path, [{"outputs": ["a" * (1 << 26)] * 4}], schema_of(Tokenized))
    ),
    "a table of tokens with rows of nothing": report_of(
        lambda path: write_table(path, [{}], schema_of(Tokenized))
    ),
    "a deep tokenize.json": put("tokenize.json", DEEP),
    "a tokenize.json of a newer ulmo": sealed("tokenize.json", schema_version=99),
    "a tokenize.json that is a pipe": fifo("tokenize.json"),
    "a tokenize.json of 2 GB": sparse("tokenize.json", 2 * GIB),
    "a table of tokens that is a pipe": fifo(""),
}


TABLES = {"bundle": BUNDLES, **TOKENS, "tiles": TILES, "run": RUNS}
TABLES |= {"toml": SETTINGS, "labels": LABELS, "table": REPORTS}
ATTACKS = {  # kind of output and function, by name
    f"{name} ({kind})": (kind, make)
    for kind, table in TABLES.items()
    for name, make in table.items()
}
