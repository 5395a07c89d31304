"""Tables in which many channels repeat a long path: what is written is read, in little memory."""

from hashlib import sha256

import pyarrow.parquet as pq
import pytest

from ulmo.jobs.outcome import Tokenized
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage.parquet_guard import GROUP_TEXTS, MAX_GROUP, VALUES_PER_ROW, GroupedTable
from ulmo.storage.tables import publish_table, python_rows, read_table, schema_of, texts_of

FOLDER = "/".join(["f" * 79] * 4)  # 320 letters
TOKENIZED = schema_of(Tokenized)


def tokenized(number, channels, folder=FOLDER):
    """The row of a silent recording."""
    key = sha256(str(number).encode()).hexdigest()
    stem = f"{folder}/{number:06}"
    outputs = tuple(f"tokens/{stem}.ch{channel}.tokens.npy" for channel in range(channels))
    row = {"path": f"{stem}.wav", "bytes": 0, "ends_crc32c": 0, "status": "ok", "key": key}
    return Tokenized(**row, outputs=outputs, tokens_sha256=key).model_dump()


def tile(channel, number):
    """The row of a silent tile."""
    row = {"shard": f"000000-{number % 9:04}.npy", "row": 0, "recording": f"{FOLDER}/x.wav"}
    row |= {"channel": channel, "tile": number, "view": 0, "start_sample": 80 * number}
    return row | {"start_s": number / 100, "valid_frames": 8, "crc32c": 7}


@pytest.fixture
def written(tmp_path):
    """Writes rows as a table, and returns its path."""

    def write(rows, schema):
        path = tmp_path / "x.parquet"
        with publish_table(path, schema) as writer:
            for row in rows:
                writer.add(row)
        return path

    return write


def unpacked(path):
    """The bytes of each group of a table."""
    metadata = pq.ParquetFile(path).metadata
    return [metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups)]


def test_tokens_of_many_channels_are_read(written):
    rows = [tokenized(number, 256) for number in range(300)]
    path = written(rows, TOKENIZED)
    assert sum(unpacked(path)) > 100 * path.stat().st_size
    assert max(unpacked(path)) < 1.1 * GROUP_TEXTS
    found = read_table(path, TOKENIZED, remedy="none", read=GroupedTable)
    assert len(found) == 300
    for first in range(0, 300, 100):
        read = python_rows(found.slice(first, 100))
        assert [Tokenized(**row).model_dump() for row in read] == rows[first : first + 100]


def test_a_row_whose_paths_are_as_long_as_can_be(written):
    """One before it, and one after it, do not make its group larger."""
    folder = "/".join(["f" * 254] * 16)[:4060]
    rows = [tokenized(number, count, folder) for number, count in enumerate((1, VALUES_PER_ROW, 1))]
    path = written(rows, TOKENIZED)
    assert max(map(len, rows[1]["outputs"])) > 4080
    assert max(unpacked(path)) < MAX_GROUP / 2
    found = read_table(path, TOKENIZED, remedy="none", read=GroupedTable)
    assert [row["path"] for row in python_rows(found.slice(0, 3))] == [row["path"] for row in rows]


def test_tiles_of_many_channels_are_read(written, tmp_path):
    rows = [tile(channel, number) for channel in range(256) for number in range(150)]
    path = written(rows, TILES_SCHEMA)
    table = read_table(path, TILES_SCHEMA, remedy="none")
    assert texts_of(table["recording"]).tolist() == [row["recording"] for row in rows]
    assert table.nbytes < 8e6, "the path is in memory for each tile"
    again = tmp_path / "y.parquet"
    with publish_table(again, TILES_SCHEMA) as writer:
        for start, stop in ((0, 7), (7, 30_000), (30_000, len(table))):
            writer.add_table(table.slice(start, stop - start))
    assert again.read_bytes() == path.read_bytes()


def test_paths_of_recordings_are_written_once_a_group(written):
    """However many there are: else half of the rows of a group would repeat them."""
    rows = [
        tile(0, number % 3) | {"recording": f"{FOLDER}/{number // 3:06}.wav"}
        for number in range(12_000)
    ]
    path = written(rows, TILES_SCHEMA)
    assert sum(unpacked(path)) < 4000 * 340 * 1.5
    assert len(read_table(path, TILES_SCHEMA, remedy="none")) == 12_000
