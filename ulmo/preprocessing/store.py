"""Tiles on disk: shards of .npy, two Parquet manifests, and prep.json over all."""

import io
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Literal

import google_crc32c
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from ulmo.arrays import Array
from ulmo.config import AugmentSettings, ClockSettings, PrepSettings, Settings, UserError, one_line
from ulmo.preprocessing.normalize import Normalization
from ulmo.storage.atomic import publish
from ulmo.storage.parquet_guard import read_guarded
from ulmo.storage.plain_file import file_hash, open_plain
from ulmo.storage.sealed import canonical_json, read_json

Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

SCHEMA_VERSION: Literal[2] = 2
"""1 had neither checksums of the manifests, nor flags and declared frames of recordings."""
SHARD = re.compile(r"\d{6,18}-\d{4,18}\.npy")
"""Name of a shard: the number of its job, and its own."""
SHARD_TILES = 256
SHARD_HEADER = 128
SHARD_BYTES = 64 << 20
"""A shard ends with the tile that reaches either: 256 tiles, 51 MB, at M = 224."""
AGAIN = "delete the folder and prepare the tiles again"
DELETE = "delete it and run the same ulmo-prep again"

TILES_SCHEMA = pa.schema(
    [
        ("shard", pa.string()),  # file name below tiles/
        ("row", pa.int32()),  # tile in the shard
        ("recording", pa.string()),  # path below AUDIO_DIR, as in recordings.parquet
        ("channel", pa.int32()),  # null: the mean of all
        ("tile", pa.int32()),  # its number in the channel, the same for all of its views
        ("view", pa.int32()),  # 0: the tile itself
        ("augmentation", pa.string()),  # JSON: what the view was made with; null in view 0
        ("start_sample", pa.int64()),  # centre of the first frame, at the settings' sample_rate
        ("start_s", pa.float64()),
        ("start_utc", pa.timestamp("us", tz="UTC")),  # null where nothing tells it
        ("valid_frames", pa.int32()),  # what follows is filling
        ("norm_offset_db", pa.float64()),  # level in dB = value * scale + offset; null for PCEN
        ("norm_scale_db", pa.float64()),
        ("peak_level_db", pa.float64()),  # the loudest cell of the valid frames; null for PCEN
        ("crc32c", pa.uint32()),  # of the tile's bytes
    ]
)
RECORDING_FIELDS = [
    ("path", pa.string()),
    ("bytes", pa.int64()),
    ("ends_crc32c", pa.uint32()),  # CRC-32C of its first and last 4096 bytes
    ("status", pa.string()),  # ok, repaired, partial, refused
    ("reason", pa.string()),  # a stable code; null when ok
    ("detail", pa.string()),  # the same for people
    ("sample_rate", pa.int32()),
    ("channels", pa.int32()),
    ("frames", pa.int64()),  # read
    ("frames_declared", pa.int64()),  # by the header, true or not; null where it does not say
    ("frames_missing", pa.int64()),  # declared, or where sizes are wrong held, and not read
    ("duration_s", pa.float64()),
    ("flags", pa.list_(pa.string())),  # what is odd about the samples: quality.FLAGS
]
"""What every table of recordings begins with."""
RECORDINGS_SCHEMA = pa.schema(
    [
        *RECORDING_FIELDS,
        ("bandwidth_hz", pa.float64()),  # of what the tiles show: half the lower of the two rates
        ("peak_db", pa.float64()),  # largest sample re full scale; null for digital silence
        ("tiles", pa.int32()),
        ("start_utc", pa.timestamp("us", tz="UTC")),  # of the first sample; null: not known
        ("start_source", pa.string()),  # what tells it: pattern, guano, comment, bext, date, name
    ]
)
TableName = Literal["tiles.parquet", "recordings.parquet"]
SCHEMAS: dict[TableName, pa.Schema] = {
    "tiles.parquet": TILES_SCHEMA,
    "recordings.parquet": RECORDINGS_SCHEMA,
}
NEVER_NULL: dict[TableName, tuple[str, ...]] = {
    "tiles.parquet": (
        *("shard", "row", "recording", "tile", "view", "start_sample", "start_s"),
        *("valid_frames", "crc32c"),
    ),
    "recordings.parquet": ("path", "bytes", "ends_crc32c", "status", "tiles"),
}


class Manifest(Settings):
    """prep.json."""

    schema_version: Literal[2] = SCHEMA_VERSION
    settings: PrepSettings
    augment: AugmentSettings = AugmentSettings()
    clock: ClockSettings = ClockSettings()
    plan: Annotated[str, Field(max_length=64)]
    """Hash over the list of input files; another list is another job."""
    normalization: Normalization | None = None
    """The constants of the modes `corpus`, `pcen` and `level`."""
    complete: bool = False
    recordings: int = 0
    tiles: int = 0
    fingerprint: Annotated[str, Field(max_length=64)] | None = None
    """Hash over settings, constants and every tile's checksum."""
    hashes: dict[TableName, Hash] = Field(default_factory=dict)
    """SHA-256 of the tables of a complete output."""


def tiles_per_shard(tile_size: int) -> int:
    """Tiles of M x M float32 in a full shard."""
    return max(1, min(SHARD_TILES, SHARD_BYTES // (4 * tile_size * tile_size)))


def write_shard(path: Path, tiles: Sequence[Array]) -> None:
    """Publish tiles (M, M, 1) as one array (n, M, M, 1), C order, .npy version 1."""
    with publish(path) as file:
        file.write(shard_header(len(tiles), tiles[0].shape))
        for tile in tiles:
            file.write(np.ascontiguousarray(tile).data)


def shard_header(count: int, shape: tuple[int, ...]) -> bytes:
    """The first SHARD_HEADER bytes of a shard: those of .npy, version 1."""
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def open_shard(path: Path, tile_size: int) -> Array:
    """A shard mapped into memory, (n, M, M, 1); ValueError unless it is one, to the last byte.

    Nothing is parsed: from the file's length follows how it must begin.
    """
    shape = (tile_size, tile_size, 1)
    with open_plain(path, remedy=DELETE) as file:
        count, rest = divmod(os.fstat(file.fileno()).st_size - SHARD_HEADER, 4 * tile_size**2)
        if count < 1 or rest or file.read(SHARD_HEADER) != shard_header(count, shape):
            raise ValueError(f"it is no array of tiles of {tile_size} x {tile_size}")
        return np.memmap(file, "<f4", mode="r", offset=SHARD_HEADER, shape=(count, *shape))


def checksum(tile: Array) -> int:
    """CRC-32C of a tile's bytes in C order."""
    return int(google_crc32c.value(np.ascontiguousarray(tile).tobytes()))


def fingerprint_head(manifest: Manifest) -> bytes:
    """What the fingerprint of tiles hashes before their checksums (uint32, little-endian)."""
    named = {"settings", "augment", "clock", "normalization"}
    return canonical_json(manifest.model_dump(mode="json", include=named)).encode()


def read_manifest(folder: Path) -> Manifest | None:
    """prep.json of a folder, strictly checked; None where there is none."""
    path = folder / "prep.json"
    if not path.is_file():
        return None
    versions = {"newest": SCHEMA_VERSION, "oldest": SCHEMA_VERSION}
    return read_json(path, Manifest, **versions, remedy=AGAIN, outdated=AGAIN, sealed=True)


def read_manifest_table(folder: Path, manifest: Manifest, name: TableName) -> pa.Table:
    """tiles.parquet or recordings.parquet of a complete output; UserError where it is damaged."""
    path, schema = folder / name, SCHEMAS[name]
    if file_hash(path) != manifest.hashes.get(name):
        raise UserError(
            f"{path} is damaged (it is not the file that prep.json speaks of): {DELETE}"
        )
    try:
        table = read_guarded(path, schema)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise UserError(f"{path} cannot be read ({one_line(error)}): {AGAIN}") from None
    if missing := [column for column in NEVER_NULL[name] if table[column].null_count]:
        raise UserError(f"{path} has rows without {missing[0]}: {AGAIN}")
    return table


class TileStore:
    """Prepared tiles, read at random without loading them: memory-mapped shards."""

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if manifest is None:
            raise UserError(f"{folder} holds no tiles: make them with ulmo-prep AUDIO_DIR {folder}")
        if not manifest.complete:
            raise UserError(f"{folder} is unfinished: run the same ulmo-prep again to complete it")
        self.folder = folder
        self.manifest = manifest
        self.table = read_manifest_table(folder, manifest, "tiles.parquet")
        self.recordings: NDArray[np.str_] = np.array(self.table["recording"].to_pylist(), dtype=str)
        self.valid_frames: NDArray[np.int32] = self.table["valid_frames"].to_numpy()
        self.views: NDArray[np.int32] = self.table["view"].to_numpy()
        self.offsets_db: Array = self.table["norm_offset_db"].to_numpy().astype(np.float32)
        self.peaks_db: Array = self.table["peak_level_db"].to_numpy().astype(np.float32)
        self.scales_db: Array = self.table["norm_scale_db"].to_numpy().astype(np.float32)
        for name in self.table["shard"].unique().to_pylist():
            if not SHARD.fullmatch(name):
                raise UserError(f"{folder}: tiles.parquet names the shard {name[:60]!r}: {AGAIN}")
        if len(self.table) != manifest.tiles:
            raise UserError(f"{folder}: tiles.parquet and prep.json disagree: {AGAIN}")
        self._constants: Normalization | None = None
        self._shards: dict[str, Array] = {}
        columns = (self.table[name].to_pylist() for name in ("shard", "row", "crc32c"))
        self._places = list(zip(*columns, strict=True))

    def __len__(self) -> int:
        return len(self.table)

    @property
    def tile_size(self) -> int:
        """M."""
        return self.manifest.settings.tile_size

    def read(self, indices: Iterable[int]) -> Array:
        """Tiles (n, M, M, 1) by their rows in tiles.parquet; UserError where one is damaged."""
        return np.stack([self._tile(index) for index in indices])

    @property
    def in_decibels(self) -> bool:
        """False where the tiles are PCEN, from which no level can be told."""
        return self.manifest.settings.normalization != "pcen"

    def renormalize(self, constants: Normalization) -> None:
        """From now on, give every tile as these constants would have made it."""
        self._constants = constants
        if self.in_decibels:
            self.offsets_db = np.full_like(self.offsets_db, constants.offset)
            self.scales_db = np.full_like(self.scales_db, constants.scale)

    def normalization(self, index: int) -> Normalization:
        """How one tile is normalised."""
        return self._constants or self._made_with(index)

    def _made_with(self, index: int) -> Normalization:
        if not self.in_decibels and self.manifest.normalization is not None:
            return self.manifest.normalization
        row = self.table.slice(index, 1).to_pylist()[0]
        return Normalization(offset=row["norm_offset_db"], scale=row["norm_scale_db"])

    def _tile(self, index: int) -> Array:
        name, row, expected = self._places[index]
        shard = self._shard(name)
        if not 0 <= row < len(shard) or checksum(shard[row]) != expected:
            raise UserError(f"{self._path(name)} is damaged at its tile {row}: {DELETE}")
        tile: Array = shard[row]
        if self._constants is not None:
            tile = self._constants.apply(self._made_with(index).undo(tile))
        return tile

    def _path(self, shard: str) -> Path:
        return self.folder / "tiles" / Path(shard).name

    def _shard(self, name: str) -> Array:
        if name not in self._shards:
            path = self._path(name)
            try:
                shard = open_shard(path, self.tile_size)
            except (OSError, ValueError) as error:
                raise UserError(f"{path} cannot be read ({error}): {DELETE}") from None
            self._shards[name] = shard
        return self._shards[name]
