"""Files of ours as a stranger may have made them: changed, and sealed again."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.outputs import write_table
from ulmo.formats.places import header_path
from ulmo.preprocessing.store import checksum
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.plain_file import file_hash
from ulmo.storage.sealed import seal


def write_sealed_values(path, values):
    """Write a table of JSON with a checksum that fits it."""
    rest = {name: value for name, value in values.items() if name != "checksum"}
    path.write_bytes(seal(json.dumps(rest, indent=2)))


def reseal(path, **changes):
    """Change keys of a sealed file, and seal it again."""
    write_sealed_values(path, {**json.loads(path.read_text()), **changes})


def hashes_of(folder, *names):
    """Of the tables that lie there: what a manifest says of them."""
    names = names or ("recordings.parquet", "tiles.parquet")
    found = {name: file_hash(folder / name) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def seal_tables(folder, manifest="prep.json"):
    """Let a manifest speak of the tables as they are."""
    reseal(folder / manifest, hashes=hashes_of(folder))


def spoil(folder, index, value):
    """Put a value into a tile of prepared tiles, with checksums and hashes that fit it."""
    table = pq.read_table(folder / "tiles.parquet")
    row = table.slice(index, 1).to_pylist()[0]
    tiles = np.load(folder / "tiles" / row["shard"], mmap_mode="r+")
    tiles[row["row"], 0, 0] = value
    tiles.flush()
    sums = table["crc32c"].to_pylist()
    sums[index] = checksum(tiles[row["row"]])
    place = table.schema.get_field_index("crc32c")
    changed = table.set_column(place, "crc32c", pa.array(sums, pa.uint32()))
    write_table(folder / "tiles.parquet", changed.to_pylist(), TILES_SCHEMA)
    seal_tables(folder)


def seal_tokens(path, values=None):
    """Write the header beside a tokens file for the files that lie there; the path.

    `values` are the header's; else its own.
    """
    header = header_path(path.with_suffix(""))
    endings = {each.name.removeprefix(header.stem): each for each in sorted(path.parent.iterdir())}
    hashes = {
        ending: file_hash(each)
        for ending, each in endings.items()
        if each.name.startswith(header.stem)
        and ending != ".json"
        and each.is_file()
        and not ending.endswith((".recordings.parquet", ".tokenize.json"))
    }
    values = values or json.loads(header.read_bytes())
    write_sealed_values(header, {**values, "hashes": hashes})
    return path
