"""Rows of tiles.parquet that no tile has, though every hash fits: a stranger wrote them."""

import json

import pytest

from tests.outputs import write_table
from tests.preprocessing.test_store import TILES, VIEW, change_rows, folder, tile_rows
from tests.sealed import reseal, seal_tables
from ulmo.config import WholeFileError
from ulmo.pipelines.verify.verify import verify
from ulmo.preprocessing.store import TileStore
from ulmo.preprocessing.tile_rows import TILES_SCHEMA

__all__ = ["folder"]  # a fixture

NAN = float("nan")
IMPOSSIBLE = {
    "no offset": ({"norm_offset_db": None}, "norm_offset_db is missing in some rows"),
    "an offset that is no number": ({"norm_offset_db": NAN}, "norm_offset_db = nan"),
    "a huge offset": ({"norm_offset_db": 1e300}, "norm_offset_db = 1e"),
    "a scale of 0": ({"norm_scale_db": 0.0}, "norm_scale_db = 0.0: it must be at least 1"),
    "a row before the first": ({"row": -1}, "row = -1"),
    "no peak": ({"peak_level_db": None}, "peak_level_db is missing"),
    "a time that is no number": ({"start_s": NAN}, "start_s = nan"),
    "another time": ({"start_s": 0.5}, "start_s is not the time of start_sample"),
    "a sample before the first": ({"start_sample": -(2**63)}, "start_sample = -922"),
    "a channel before the first": ({"channel": -7}, "channel = -7"),
    "no tile": ({"tile": None}, "tile = None"),
    "valid frames before the first": ({"valid_frames": -5}, "valid_frames = -5"),
    "more valid frames than a tile has": ({"valid_frames": 9}, "valid_frames is over 8"),
    "a view too many": ({"view": 2}, "view = 2: there are 2 views"),
}
BAD_VIEWS = {
    "no view": None,
    "brackets": "[" * 100_000,
    "a few brackets": "[" * 500,
    "a rate of 0": {"hop_length": 1, "sample_rate": 0},
    "another rate": VIEW | {"sample_rate": 20_000},
    "another hop": VIEW | {"hop_length": 1},
    "another window": VIEW | {"win_length": 17},
    "a gain that is no number": VIEW | {"gain_db": NAN},
    "a huge gain": VIEW | {"gain_db": 7.0},
    "much noise": VIEW | {"noise_db": -39.0},
    "a mask that ends before it begins": VIEW | {"time_mask": [1, 0]},
    "a wide mask": VIEW | {"frequency_mask": [0, 8]},
    "a mask beyond the tile": VIEW | {"time_mask": [9, 9]},
    "more than a view has": VIEW | {"more": 1},
}


def assert_refused(folder, words):
    with pytest.raises(WholeFileError, match=words) as error:
        TileStore(folder)
    assert "\n" not in str(error.value)
    assert "tiles.parquet" in {fault.path for fault in verify(folder).faults}


@pytest.mark.parametrize(("changes", "words"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_row_that_no_tile_has_is_refused(folder, changes, words):
    assert TileStore(folder).manifest.augment.views == 2
    change_rows(**changes)(folder)
    assert_refused(folder, words)


@pytest.mark.parametrize("view", BAD_VIEWS.values(), ids=BAD_VIEWS)
def test_a_view_that_the_settings_do_not_give_is_refused(folder, view):
    text = json.dumps(view) if isinstance(view, dict) else view
    rows = [row | ({"augmentation": text} if row["view"] else {}) for row in tile_rows()]
    write_table(folder / "tiles.parquet", rows, TILES_SCHEMA)
    seal_tables(folder)
    assert_refused(folder, "augmentation")


def test_tiles_of_one_normalisation_have_its_constants(folder):
    change_rows(norm_offset_db=-40.0)(folder)
    reseal(folder / "prep.json", normalization={"offset": -40.0, "scale": 2.0})
    assert len(TileStore(folder)) == len(TILES)
    reseal(folder / "prep.json", normalization={"offset": -41.0, "scale": 2.0})
    assert_refused(folder, "norm_offset_db is not -41, as in prep.json")
