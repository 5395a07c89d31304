import gc
import json
import os
import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.oracles import crc32c
from tests.outputs import write_table
from tests.sealed import hashes_of, reseal, seal_tables, spoil
from ulmo.config import AugmentSettings, ClockSettings, PrepSettings, UserError
from ulmo.jobs.outcome import Prepared
from ulmo.preprocessing import store
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.store import (
    TilesManifest,
    TileStore,
    checksum,
    fingerprint_head,
    read_manifest,
    tiles_per_shard,
    tiles_there,
    write_shard,
)
from ulmo.preprocessing.tile_rows import TILES_SCHEMA
from ulmo.storage import tables
from ulmo.storage.sealed import write_json, write_sealed
from ulmo.storage.tables import TableWriter, schema_of

SIZE = 8
TILES = np.random.default_rng(0).normal(size=(5, SIZE, SIZE, 1)).astype(np.float32)
SHARDS = {"000000-0000.npy": TILES[:3], "000000-0001.npy": TILES[3:]}
SETTINGS = PrepSettings(tile_size=SIZE)


VIEWS = AugmentSettings(views=2)
VIEW = {"sample_rate": 16_000, "hop_length": 160, "win_length": 16, "gain_db": -3.5}
VIEW |= {"noise_db": -50.0, "time_mask": [0, 0], "frequency_mask": [2, 2]}


def tile_rows():
    same = {"recording": "a.wav", "start_sample": 0, "start_s": 0.0, "valid_frames": SIZE}
    same |= {"norm_scale_db": 2.0, "peak_level_db": -20.0}
    return [
        {**same, "shard": shard, "row": row, "tile": row, "view": view}
        | {"augmentation": json.dumps(VIEW) if view else None}
        | {"norm_offset_db": -40.0 - row, "crc32c": checksum(tile)}
        for view, (shard, tiles) in enumerate(SHARDS.items())
        for row, tile in enumerate(tiles)
    ]


def manifest_of(**changes):
    plain = {"settings": SETTINGS, "plan": "p", "complete": True, "tiles": len(TILES)}
    return TilesManifest(**{**plain, **changes})


@pytest.fixture
def folder(tmp_path):
    """A complete output of ulmo-prep, made by hand."""
    (tmp_path / "tiles").mkdir()
    for name, tiles in SHARDS.items():
        write_shard(tmp_path / "tiles" / name, list(tiles))
    write_table(tmp_path / "tiles.parquet", tile_rows(), TILES_SCHEMA)
    write_sealed(tmp_path / "prep.json", manifest_of(hashes=hashes_of(tmp_path), augment=VIEWS))
    return tmp_path


def described(path):
    """The columns of a Parquet file and their types."""
    return ", ".join(f"{field.name} {field.type}" for field in pq.read_schema(path))


class TestGolden:
    """What others read: change these with the schema's version, and not without."""

    def test_prep_json(self):
        values = manifest_of().model_dump(mode="json")
        assert values["schema_version"] == 5
        assert list(values) == [
            *("schema_version", "complete", "hashes", "settings", "augment", "clock", "plan"),
            *("normalization", "learned_of", "recordings", "tiles", "fingerprint"),
        ]
        assert list(values["settings"]) == [
            *("frontend", "sample_rate", "tile_size", "hop_length", "n_fft", "win_length"),
            *("fmin", "fmax", "bins_per_octave", "wavelet", "wavelet_level", "floor_db"),
            *("normalization", "pcen_gain", "pcen_bias", "pcen_power", "pcen_time_constant"),
            *("level_release_db", "level_range_db", "level_least_db"),
            *("overlap", "channels"),
        ]
        assert list(values["augment"]) == [
            *("views", "view_seed", "rate_spread", "hop_factors", "window_factors"),
            *("gain_spread_db", "noise_db", "time_mask", "frequency_mask"),
        ]
        assert values["clock"] == {"timestamp_pattern": None, "timezone": "UTC"}
        constants = manifest_of(normalization=Normalization(offset=-40, scale=2))
        assert constants.model_dump(mode="json")["normalization"] == {"offset": -40, "scale": 2}

    def test_tiles_parquet(self, folder):
        assert described(folder / "tiles.parquet") == (
            "shard string, row int32, recording string, channel int32, tile int32, view int32, "
            "augmentation string, start_sample int64, start_s double, "
            "start_utc timestamp[us, tz=UTC], valid_frames int32, norm_offset_db double, "
            "norm_scale_db double, peak_level_db double, crc32c uint32"
        )

    def test_recordings_parquet(self, tmp_path):
        write_table(tmp_path / "x", [{"path": "a.wav"}], schema_of(Prepared))
        assert described(tmp_path / "x") == (
            "path string, bytes int64, ends_crc32c uint32, status string, reason string, "
            "detail string, sample_rate int32, channels int32, frames int64, "
            "frames_declared int64, frames_missing int64, duration_s double, "
            "flags list<element: string>, bandwidth_hz double, share_above double, "
            "peak_db double, stretches int64, start_utc timestamp[us, tz=UTC], "
            "start_source string, key string, tiles int32"
        )

    def test_shard(self, folder):
        content = (folder / "tiles" / "000000-0000.npy").read_bytes()
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 8, 8, 1), }"
        assert content[:10] == b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
        assert content[10:128] == header.ljust(117) + b"\n"
        assert content[128:] == TILES[:3].tobytes()

    def test_checksum_is_crc_32c(self):
        assert checksum(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283
        assert checksum(TILES[0]) == crc32c(TILES[0].tobytes())
        assert checksum(TILES[0].transpose(1, 0, 2)) != checksum(TILES[0])

    def test_fingerprint(self):
        """It covers settings, views, clock and constants (and checksums), and nothing else."""
        augment = AugmentSettings(views=2, hop_factors=(0.5, 2))
        named = {
            "augment": augment.model_dump(),
            "clock": {"timestamp_pattern": "%Y%j", "timezone": "+01:00"},
            "normalization": {"offset": -40.0, "scale": 2.0},
            "settings": SETTINGS.model_dump(),
        }
        expected = json.dumps(named, sort_keys=True, separators=(",", ":"))
        constants = Normalization(offset=-40, scale=2)
        told = ClockSettings(timestamp_pattern="%Y%j", timezone="+01:00")
        manifest = manifest_of(augment=augment, clock=told, normalization=constants)
        assert fingerprint_head(manifest) == expected.encode()
        other_plan = manifest.model_copy(update={"plan": "q", "complete": False, "tiles": 0})
        assert fingerprint_head(other_plan) == expected.encode()

    def test_the_same_rows_give_the_same_bytes(self, folder, tmp_path):
        write_table(tmp_path / "again", tile_rows(), TILES_SCHEMA)
        assert (tmp_path / "again").read_bytes() == (folder / "tiles.parquet").read_bytes()


@pytest.mark.parametrize("cuts", [(), (1, 2, 3), (0, 5, 5, 11), (9,)])
def test_rows_one_by_one_or_many_at_once_give_the_same_bytes(tmp_path, monkeypatch, cuts):
    """Whatever is held of them, and wherever the groups of a table end."""
    monkeypatch.setattr(tables, "ROW_GROUP", 4)
    monkeypatch.setattr(tables, "BATCH_ROWS", 3)
    rows = [{**row, "tile": i} for i, row in enumerate(3 * tile_rows())]
    write_table(tmp_path / "expected", rows, TILES_SCHEMA)
    with (tmp_path / "found").open("wb") as file, TableWriter(file, TILES_SCHEMA) as writer:
        for part, (first, last) in enumerate(pairwise([0, *cuts, len(rows)])):
            if part % 2:
                for row in rows[first:last]:
                    writer.add(row)
            else:
                writer.add_table(pa.Table.from_pylist(rows[first:last], schema=TILES_SCHEMA))
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()
    assert [row["tile"] for row in pq.read_table(tmp_path / "found").to_pylist()] == [*range(15)]
    assert pq.ParquetFile(tmp_path / "found").num_row_groups == 4


def test_a_table_that_fails_leaves_no_traceback_of_a_destructor(tmp_path, monkeypatch):
    """The writer of Parquet would write its end to a file that is closed."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    monkeypatch.setattr(TableWriter, "_convert", lambda _: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError), tables.publish_table(tmp_path / "x.parquet", TILES_SCHEMA):
        pass
    gc.collect()
    assert said == []
    assert list(tmp_path.iterdir()) == []


class TestManifest:
    def test_round_trip(self, folder):
        assert read_manifest(folder) == manifest_of(hashes=hashes_of(folder), augment=VIEWS)

    def test_none_where_there_is_none(self, tmp_path):
        assert read_manifest(tmp_path) is None
        assert read_manifest(tmp_path / "none") is None

    def test_no_nan_is_written(self, tmp_path):
        with pytest.raises(ValueError, match="JSON compliant"):
            write_json(tmp_path / "x.json", {"x": float("nan")})
        assert list(tmp_path.iterdir()) == []


def replace(name, content):
    """A spoiler that writes a file anew."""
    return lambda folder: (folder / name).write_bytes(content)


def shard(tiles):
    """A spoiler that writes the first shard anew."""
    return lambda folder: write_shard(folder / FIRST, list(tiles))


def flip(name, place):
    """A spoiler that turns over one bit of a file."""

    def spoil(folder):
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return spoil


def change(**changes):
    """A spoiler that changes prep.json."""
    return lambda folder: reseal(folder / "prep.json", **changes)


def change_rows(**changes):
    """A spoiler that changes every row of tiles.parquet."""

    def spoil(folder):
        rows = [{**row, **changes} for row in tile_rows()]
        write_table(folder / "tiles.parquet", rows, TILES_SCHEMA)
        seal_tables(folder)

    return spoil


def other_columns(folder):
    write_table(folder / "tiles.parquet", [], schema_of(Prepared))
    seal_tables(folder)


FIRST = "tiles/000000-0000.npy"
WRONG_FOLDERS = {
    "newer": (change(schema_version=6), "newer ulmo .*upgrade"),
    "older": (change(schema_version=4), "older ulmo .*prepare the tiles again"),
    "no version": (change(schema_version=0), "damaged"),
    "a shard is gone": (
        lambda folder: (folder / "tiles" / "000000-0000.npy").unlink(),
        "lacks tiles/000000-0000.npy: run the same ulmo-prep",
    ),
    "unfinished": (change(complete=False), r"unfinished \(0 recordings\): run the same ulmo-prep"),
    "unknown key": (change(colour="red"), "colour"),
    "other count": (change(tiles=4), "disagree"),
    "no settings": (change(settings=None), "settings"),
    "no JSON": (replace("prep.json", b'{"schema_version": 1'), "not JSON"),
    "no text": (replace("prep.json", b"\xff\xfe\0"), "not JSON"),
    "nested": (replace("prep.json", b"[" * 100_000), "not JSON"),
    "a list": (replace("prep.json", b"[1]"), "damaged"),
    "huge": (replace("prep.json", b" " * (1 << 20) + b"{}"), "too large"),
    "no table": (lambda folder: (folder / "tiles.parquet").unlink(), "tiles.parquet"),
    "cut table": (replace("tiles.parquet", b"PAR1"), "tiles.parquet"),
    "other table": (other_columns, "columns"),
}
WRONG_TILES = {
    "empty": (replace(FIRST, b""), "cannot be read"),
    "text": (replace(FIRST, b"a text, no array"), "cannot be read"),
    "zip": (replace(FIRST, b"PK\x03\x04" + bytes(100)), "cannot be read"),
    "pickle": (replace(FIRST, b"\x80\x04N."), "cannot be read"),
    "other shape": (shard(TILES[:, :4]), "not an array of tiles of 8 x 8"),
    "other type": (shard(TILES.astype(np.float64)), "not an array of tiles of 8 x 8"),
    "fewer tiles": (shard(TILES[:1]), "tile 2"),
    "a row behind": (change_rows(row=7), "tile 7"),
    "a bit of tile 2": (flip(FIRST, 128 + 2 * 256 + 77), "tile 2"),
    "cut": (lambda folder: os.truncate(folder / FIRST, 128 + 3 * 256 - 1), "cannot be read"),
}


NO_DECIBELS = dict.fromkeys(("norm_offset_db", "norm_scale_db", "peak_level_db"))


def store_of(folder, mode, constants):
    """The store of a folder, after its mode and constants were changed."""
    settings = SETTINGS.model_copy(update={"normalization": mode})
    changes = {"settings": settings, "normalization": constants, "hashes": hashes_of(folder)}
    write_sealed(folder / "prep.json", manifest_of(**changes, augment=VIEWS))
    return TileStore(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -1e6])
def test_a_tile_with_a_value_that_no_sound_has_is_refused_in_one_line(folder, value):
    """Its checksum fits: a stranger, or another program, wrote it so."""
    spoil(folder, 4, value)
    store = TileStore(folder)
    store.read([0, 1, 2, 3])
    with pytest.raises(
        UserError, match=r"0001\.npy holds values that no sound has in tile 1, of a"
    ):
        store.read([4])


class TestTileStore:
    def test_read(self, folder):
        store = TileStore(folder)
        assert len(store) == 5
        assert store.tile_size == SIZE
        tiles = store.read([4, 0, 3, 0])
        assert tiles.dtype == np.float32
        np.testing.assert_array_equal(tiles, TILES[[4, 0, 3, 0]])
        np.testing.assert_array_equal(store.read(np.array([1])), TILES[1:2])

    def test_columns(self, folder):
        store = TileStore(folder)
        assert store.recordings.tolist() == ["a.wav"] * 5
        assert store.valid_frames.tolist() == [SIZE] * 5
        assert store.views.tolist() == [0, 0, 0, 1, 1]
        assert store.peaks_db.tolist() == [-20] * 5
        assert store.offsets_db.tolist() == [-40, -41, -42, -40, -41]
        assert store.scales_db.tolist() == [2] * 5
        assert store.offsets_db.dtype == store.scales_db.dtype == np.float32
        assert store.normalization(2) == Normalization(offset=-42, scale=2)
        assert store.in_decibels

    def test_the_constants_of_pcen_are_the_manifests(self, folder):
        """The columns in dB are null: nothing in them can be told of PCEN."""
        change_rows(**NO_DECIBELS)(folder)
        made_with = Normalization(offset=0.5, scale=2)
        store = store_of(folder, "pcen", made_with)
        assert not store.in_decibels
        assert store.normalization(2) == made_with
        for column in (store.offsets_db, store.scales_db, store.peaks_db):
            assert np.isnan(column).all()

    @pytest.mark.parametrize("mode", ["recording", "pcen"])
    def test_tiles_can_be_given_as_other_constants_would_have_made_them(self, folder, mode):
        made_with = None
        if mode == "pcen":
            change_rows(**NO_DECIBELS)(folder)
            made_with = Normalization(offset=-40, scale=2)
        store = store_of(folder, mode, made_with)
        store.renormalize(Normalization(offset=-30, scale=8))
        expected = (TILES[3] * 2 - 40 + 30) / 8
        np.testing.assert_allclose(store.read([3])[0], expected, atol=1e-5)
        assert store.normalization(3) == Normalization(offset=-30, scale=8)

    def test_a_missing_folder_is_refused(self, tmp_path):
        for path in (tmp_path, tmp_path / "none"):
            with pytest.raises(UserError, match="ulmo-prep"):
                TileStore(path)

    @pytest.mark.parametrize(("spoil", "match"), WRONG_FOLDERS.values(), ids=WRONG_FOLDERS)
    def test_a_damaged_folder_is_refused(self, folder, spoil, match):
        spoil(folder)
        with pytest.raises(UserError, match=match) as error:
            TileStore(folder)
        assert str(folder) in str(error.value)

    @pytest.mark.parametrize(("spoil", "match"), WRONG_TILES.values(), ids=WRONG_TILES)
    def test_a_damaged_shard_is_refused_when_it_is_read(self, folder, spoil, match):
        spoil(folder)
        store = TileStore(folder)
        with pytest.raises(UserError, match=match) as error:
            store.read([2])
        assert str(folder / FIRST) in str(error.value)

    def test_a_damaged_tile_spoils_no_other(self, folder):
        flip(FIRST, 128 + 2 * 256 + 77)(folder)
        np.testing.assert_array_equal(TileStore(folder).read([0, 1, 3]), TILES[[0, 1, 3]])

    def test_rows_without_tiles_are_not_unpacked(self, folder, monkeypatch):
        """A shard counts by its length, and as one that is full at most."""
        monkeypatch.setattr(store, "MOST_LOST", 1)
        manifest = read_manifest(folder)
        assert (tiles_there(folder, manifest), len(TileStore(folder))) == (5, 5)
        os.truncate(folder / FIRST, 128 + 2 * 4 * SIZE * SIZE)
        assert (tiles_there(folder, manifest), len(TileStore(folder))) == (4, 5)
        os.truncate(folder / FIRST, 128 + 4 * SIZE * SIZE)
        assert tiles_there(folder, manifest) == 3
        with pytest.raises(UserError, match="more than 4 rows, the most there can be") as refused:
            TileStore(folder)
        assert "\n" not in str(refused.value)
        os.truncate(folder / FIRST, 1 << 40)
        assert tiles_there(folder, manifest) == 258
        (folder / "tiles").rename(folder / "away")
        assert tiles_there(folder, manifest) == 0

    def test_a_shards_name_cannot_lead_out_of_the_folder(self, folder):
        write_shard(folder / "outside.npy", list(TILES[:3]))
        change_rows(shard="../outside.npy")(folder)
        with pytest.raises(UserError, match=r"shard = '\.\./outside\.npy'"):
            TileStore(folder).read([0])


@pytest.mark.parametrize(("tile_size", "expected"), [(8, 256), (224, 256), (1024, 16), (2048, 4)])
def test_a_shard_is_bounded_in_tiles_and_in_bytes(tile_size, expected):
    assert tiles_per_shard(tile_size) == expected
