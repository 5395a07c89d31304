"""Rows of tiles.parquet: what each column may hold, for whoever writes and reads the table."""

import re
from typing import Annotated

import numpy as np
import pyarrow as pa
from pydantic import Field

from ulmo.config import AugmentSettings, PrepSettings, Settings
from ulmo.preprocessing.augment import check_described
from ulmo.preprocessing.normalize import MIN_SCALE, Normalization
from ulmo.storage.columns import (
    Checksum,
    ColumnType,
    Microseconds,
    OptionalDecibels,
    PathText,
    Seconds,
    SmallCount,
)
from ulmo.storage.tables import check_columns, schema_of

SHARD = re.compile(r"[0-9]{6,18}-[0-9]{4,18}\.npy")  # number of its job, number of the shard
SHARD_TILES = 256  # at most: at M = 224 they have 51 MB
_NORMALISED = ("norm_offset_db", "norm_scale_db", "peak_level_db")


class TileRow(Settings):
    """The columns of tiles.parquet."""

    shard: Annotated[str, Field(pattern=f"^{SHARD.pattern}$"), ColumnType("string")]  # in tiles/
    row: Annotated[int, Field(ge=0, lt=SHARD_TILES), ColumnType("int32")]  # tile in the shard
    recording: PathText  # below AUDIO_DIR, as in recordings.parquet
    channel: Annotated[int | None, Field(ge=0, le=9999), ColumnType("int32")]  # null: mean of all
    tile: SmallCount  # its number in the channel, the same for all of its views
    view: Annotated[int, Field(ge=0, lt=64), ColumnType("int32")]  # 0: the tile itself
    # JSON: what the view was made with; null in view 0
    augmentation: Annotated[str | None, Field(max_length=512), ColumnType("string")]
    # Centre of the first frame, at the settings' true_rate.
    start_sample: Annotated[int, Field(ge=0, le=1 << 53), ColumnType("int64")]
    start_s: Seconds
    start_utc: Microseconds  # null if unknown
    # The frames after them are filling.
    valid_frames: Annotated[int, Field(ge=1, le=2048), ColumnType("int32")]
    norm_offset_db: OptionalDecibels  # level in dB = value * scale + offset; null for PCEN
    norm_scale_db: Annotated[float | None, Field(ge=MIN_SCALE, le=1000), ColumnType("float64")]
    peak_level_db: OptionalDecibels  # the loudest cell of the valid frames; null for PCEN
    crc32c: Checksum  # of the tile's bytes


TILES_SCHEMA = schema_of(TileRow)


def check_tile_rows(
    table: pa.Table,
    settings: PrepSettings,
    augment: AugmentSettings,
    constants: Normalization | None,
) -> None:
    """Raise ValueError unless each row is one that these settings can give.

    constants: those that normalise all tiles; None if each recording or tile has its own.
    """
    check_columns(table, TileRow)
    views = table["view"].to_numpy()
    if (views >= augment.views).any():
        raise ValueError(f"view = {views.max()}: there are {augment.views} views")
    if (table["augmentation"].is_null().to_numpy() != (views == 0)).any():
        raise ValueError("augmentation is not what views have, and no other tile")
    check_described(table["augmentation"].drop_null().unique().to_pylist(), settings, augment)
    if (table["valid_frames"].to_numpy() > settings.tile_size).any():
        raise ValueError(f"valid_frames is over {settings.tile_size}, the size of a tile")
    starts, samples = table["start_s"].to_numpy(), table["start_sample"].to_numpy()
    late = np.abs(starts - samples / settings.true_rate)
    if (late > 1 / settings.true_rate + 1e-9 * starts).any():
        raise ValueError("start_s is not the time of start_sample")
    is_pcen = settings.normalization == "pcen"
    for name in _NORMALISED:
        if table[name].null_count != (len(table) if is_pcen else 0):
            raise ValueError(f"{name} is {'there' if is_pcen else 'missing'} in some rows")
    if constants is not None and not is_pcen:
        for name, value in zip(_NORMALISED, (constants.offset, constants.scale), strict=False):
            if (table[name].to_numpy() != value).any():
                raise ValueError(f"{name} is not {value:g}, as in prep.json")
