import numpy as np
import pytest

from tests.models.objectives.small import GRIDS, batch_of, noise
from ulmo.models.objectives.cells import cell_weights, cells_of, valid_cells


@pytest.mark.parametrize("settings", GRIDS.values(), ids=GRIDS)
def test_cells_and_their_weights_are_those_of_their_tokens(settings):
    size, stride = settings.tile_size, settings.time_stride
    tiles, valid = noise(3, size, size, 1), [size, 7, 0]
    tokens = np.random.default_rng(0).uniform(size=(3, settings.columns, settings.bands))
    batch = batch_of(tiles, settings, valid=valid, weights=tokens)
    cells, weights = np.asarray(cells_of(batch.tiles, stride)), cell_weights(batch, settings)
    inside = np.asarray(valid_cells(batch, stride))
    expected, heavy = np.zeros_like(cells), np.zeros_like(cells)
    whole = np.zeros_like(inside)
    for tile, bin_, frame in np.ndindex(3, size, size):
        at = tile, frame // stride, frame % stride
        expected[*at, bin_] = tiles[tile, bin_, frame, 0]
        if frame < valid[tile]:
            whole[at] = 1
            heavy[*at, bin_] = tokens[tile, at[1], bin_ // settings.frequency_stride]
    np.testing.assert_array_equal(cells, expected)
    np.testing.assert_array_equal(inside, whole)
    np.testing.assert_allclose(weights, heavy, rtol=1e-6)
