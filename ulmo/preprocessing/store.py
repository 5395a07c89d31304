"""Tiles on disk: shards of .npy, tiles.parquet with a row a tile, and prep.json over all."""

import io
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import google_crc32c
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from ulmo.arrays import Array
from ulmo.config import (
    AugmentSettings,
    ClockSettings,
    PrepSettings,
    UserError,
    WholeFileError,
    plain,
)
from ulmo.preprocessing.normalize import Normalization, largest_value
from ulmo.preprocessing.tile_rows import SHARD, SHARD_TILES, TILES_SCHEMA, check_tile_rows
from ulmo.storage.atomic import publish
from ulmo.storage.journal import progress
from ulmo.storage.manifest import LedgerFiles, LedgerManifest, read_manifest_file
from ulmo.storage.parquet_guard import read_guarded
from ulmo.storage.plain_file import LinkError, lexists, open_plain
from ulmo.storage.sealed import canonical_json, json_values
from ulmo.storage.tables import read_recorded, texts_of

ROWS = ".rows"  # folder of the tile rows of each job, until all jobs are done
# Folder of what is made beside an output: what a complete one had lost, until that is found equal,
# or, if recordings changed, what replaces it once all of that is made.
BESIDE = ".again"
SHARD_BYTES = 64 << 20  # at most, and SHARD_TILES
SHARD_HEADER = 128
MOST_LOST = 1 << 18  # tiles whose shards may be missing: with M = 224, they had 52 GB
AGAIN = "delete the folder and prepare the tiles again"
GO_ON = "run the same ulmo-prep again"
DELETE = "delete it and run the same ulmo-prep again"


class TilesManifest(LedgerManifest):
    """prep.json: what is the same for all tiles of a folder."""

    schema_version: Literal[5] = 5  # 4 did not say which recordings its constants are of
    settings: PrepSettings
    augment: AugmentSettings = AugmentSettings()
    clock: ClockSettings = ClockSettings()
    plan: Annotated[str, Field(max_length=64)]  # hash of the list of input files
    normalization: Normalization | None = None  # constants of the modes corpus, pcen and level
    # Until the job has ended: hash of the recordings, with their times, that they were learned of.
    learned_of: Annotated[str, Field(max_length=64)] = ""
    recordings: int = 0
    tiles: int = 0
    fingerprint: Annotated[str, Field(max_length=64)] | None = None  # see fingerprint_head

    def deciding(self) -> dict[str, Any]:
        """The settings by name; those of views count only if there are several views."""
        augment = self.augment if self.augment.views > 1 else AugmentSettings()
        return {
            name: value for group in (self.settings, self.clock, augment) for name, value in group
        }

    def contents(self) -> dict[str, Any]:
        """What the fingerprint depends on, as JSON has it, but for the samples themselves."""
        values: dict[str, Any] = json_values(self.deciding())
        return {"recordings": self.recordings, "tiles": self.tiles, **values}

    def begun_again(self) -> Self:
        """The manifest as it was before any tile was made; it keeps the constants."""
        kept = {"settings", "augment", "clock", "plan", "normalization", "learned_of"}
        return type(self)(**{name: getattr(self, name) for name in kept})


def tiles_per_shard(tile_size: int) -> int:
    """Number of tiles of M x M float32 in a full shard."""
    return max(1, min(SHARD_TILES, SHARD_BYTES // (4 * tile_size * tile_size)))


def write_shard(path: Path, tiles: Sequence[Array]) -> None:
    """Publish tiles (M, M, 1) as one array (n, M, M, 1): C order, .npy version 1.

    The folder of the shards is ulmo's, and may not be a link.
    """
    with publish(path, below=path.parent.parent) as file:
        file.write(_shard_header(len(tiles), tiles[0].shape))
        for tile in tiles:
            file.write(np.ascontiguousarray(tile).data)


def _shard_header(count: int, shape: tuple[int, ...]) -> bytes:
    """The first SHARD_HEADER bytes of a shard: the header of .npy, version 1."""
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def open_shard(path: Path, tile_size: int) -> Array:
    """Map a shard (n, M, M, 1) into memory; ValueError unless it has exactly this form.

    Nothing is parsed: the file's length determines its header.
    """
    shape = (tile_size, tile_size, 1)
    if path.parent.is_symlink():
        raise LinkError(path.parent)
    with open_plain(path, remedy=DELETE) as file:
        count, rest = divmod(os.fstat(file.fileno()).st_size - SHARD_HEADER, 4 * tile_size**2)
        if count < 1 or rest or file.read(SHARD_HEADER) != _shard_header(count, shape):
            raise ValueError(f"it is not an array of tiles of {tile_size} x {tile_size}")
        return np.memmap(file, "<f4", mode="r", offset=SHARD_HEADER, shape=(count, *shape))


def checksum(tile: Array) -> int:
    """CRC-32C of a tile's bytes in C order."""
    return int(google_crc32c.value(np.ascontiguousarray(tile).tobytes()))


def fingerprint_head(manifest: TilesManifest) -> bytes:
    """What the fingerprint of tiles hashes before their checksums (uint32, little-endian)."""
    named = {"settings", "augment", "clock", "normalization"}
    return canonical_json(manifest.model_dump(mode="json", include=named)).encode()


def read_manifest(folder: Path) -> TilesManifest | None:
    """prep.json of a folder, strictly checked; None if there is none."""
    path = folder / "prep.json"
    return read_manifest_file(path, TilesManifest, AGAIN) if path.is_file() else None


def tiles_there(folder: Path, manifest: TilesManifest) -> int:
    """How many tiles the shards of an output have room for, by their lengths."""
    most = tiles_per_shard(manifest.settings.tile_size)
    tile_bytes = 4 * manifest.settings.tile_size**2
    tiles = 0
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / "tiles") as entries:
        for entry in entries:
            if SHARD.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                size = entry.stat(follow_symlinks=False).st_size - SHARD_HEADER
                tiles += min(max(size // tile_bytes, 0), most)
    return tiles


def read_tiles_table(folder: Path, manifest: TilesManifest, *, elsewhere: int = 0) -> pa.Table:
    """tiles.parquet of a complete output. Raises UserError if it is missing or damaged.

    WholeFileError if it is as it was written, but has a row that the settings cannot give. More
    rows than tiles, but for MOST_LOST, are not read: a stranger's table may have millions of rows
    in a megabyte. `elsewhere` is the number of its tiles that are not in this folder.
    """
    path = folder / "tiles.parquet"
    recorded = manifest.hashes.get(path.name)
    rows = tiles_there(folder, manifest) + elsewhere + MOST_LOST
    read = partial(read_guarded, most_rows=rows)
    table: pa.Table = read_recorded(
        path, TILES_SCHEMA, recorded, remedy=DELETE, anew=AGAIN, read=read
    )
    most = tiles_per_shard(manifest.settings.tile_size)
    if table["shard"].value_counts().field("counts").to_numpy().max(initial=0) > most:
        raise UserError(f"{path} has more than {most} rows of a shard: {AGAIN}")
    try:
        check_tile_rows(table, manifest.settings, manifest.augment, manifest.normalization)
    except ValueError as error:
        state = "is as it was written, but not as this ulmo writes it"
        raise WholeFileError(f"{path} {state} ({error}): {AGAIN}") from None
    return table


class TileStore:
    """Prepared tiles in memory-mapped shards: read any of them without loading the rest."""

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if manifest is None:
            raise UserError(f"{folder} holds no tiles: make them with ulmo-prep AUDIO_DIR {folder}")
        if not manifest.complete:
            done = progress(LedgerFiles.inside(folder, "prep").journal)
            raise UserError(f"{folder} is unfinished ({done}): {GO_ON}")
        self.folder = folder
        self.manifest = manifest
        self.table = read_tiles_table(folder, manifest)
        self.recordings: NDArray[np.object_] = texts_of(self.table["recording"])
        self.valid_frames: NDArray[np.int32] = self.table["valid_frames"].to_numpy()
        self.views: NDArray[np.int32] = self.table["view"].to_numpy()
        self.offsets_db: Array = self.table["norm_offset_db"].to_numpy().astype(np.float32)
        self.peaks_db: Array = self.table["peak_level_db"].to_numpy().astype(np.float32)
        self.scales_db: Array = self.table["norm_scale_db"].to_numpy().astype(np.float32)
        for name in self.table["shard"].unique().to_pylist():
            if not lexists(self._path(name)):
                raise UserError(f"{folder} lacks tiles/{name}: {GO_ON}")
        if len(self.table) != manifest.tiles:
            raise UserError(f"{folder}: tiles.parquet and prep.json disagree: {AGAIN}")
        self._largest = largest_value(manifest.settings, manifest.normalization)
        self._constants: Normalization | None = None
        self._shards: dict[str, Array] = {}
        self._rows: NDArray[np.int32] = self.table["row"].to_numpy()
        self._checksums: NDArray[np.uint32] = self.table["crc32c"].to_numpy()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def tile_size(self) -> int:
        """M, the number of bins and of frames of a tile."""
        return self.manifest.settings.tile_size

    def read(self, indices: Iterable[int]) -> Array:
        """Read tiles (n, M, M, 1) by their rows in tiles.parquet.

        Raises UserError if one is damaged, or has a value that is not finite or that no sound has.
        """
        return np.stack([self._tile(index) for index in indices])

    @property
    def in_decibels(self) -> bool:
        """Whether the tiles hold levels in dB. PCEN tiles hold none."""
        return self.manifest.settings.normalization != "pcen"

    def renormalize(self, constants: Normalization) -> None:
        """From now on, return every tile as if normalised with these constants."""
        self._constants = constants
        if self.in_decibels:
            self.offsets_db = np.full_like(self.offsets_db, constants.offset)
            self.scales_db = np.full_like(self.scales_db, constants.scale)

    def normalization(self, index: int) -> Normalization:
        """How a tile is normalised, by its row."""
        return self._constants or self._stored(index)

    def _stored(self, index: int) -> Normalization:
        if not self.in_decibels and self.manifest.normalization is not None:
            return self.manifest.normalization
        row = self.table.slice(index, 1).to_pylist()[0]
        return Normalization(offset=row["norm_offset_db"], scale=row["norm_scale_db"])

    def _tile(self, index: int) -> Array:
        name = self.table["shard"][index].as_py()
        row, expected = int(self._rows[index]), int(self._checksums[index])
        shard = self._shard(name)
        if not 0 <= row < len(shard) or checksum(shard[row]) != expected:
            raise UserError(f"{self._path(name)} is damaged in tile {row}: {DELETE}")
        tile: Array = shard[row]
        if not -self._largest <= tile.min() <= tile.max() <= self._largest:  # nor if one is NaN
            recording = plain(str(self.recordings[index]))
            raise UserError(
                f"{self._path(name)} holds values that no sound has in tile {row}, of {recording}: "
                f"{AGAIN}"
            )
        if self._constants is not None:
            tile = self._constants.apply(self._stored(index).undo(tile))
        return tile

    def _path(self, shard: str) -> Path:
        return self.folder / "tiles" / Path(shard).name

    def _shard(self, name: str) -> Array:
        if name not in self._shards:
            path = self._path(name)
            try:
                self._shards[name] = open_shard(path, self.tile_size)
            except (OSError, ValueError) as error:
                raise UserError(f"{path} cannot be read ({error}): {DELETE}") from None
        return self._shards[name]
