import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import ModelSettings
from ulmo.evaluation.tally import MeasuredBatch, Tally


def model_of(size, strides):
    return ModelSettings(tile_size=size, frequency_stride=strides[0], time_stride=strides[1])


def batch_of(model, valid_frames, seed=0):
    """Random tiles, NaN behind the valid frames."""
    rng = np.random.default_rng(seed)
    n, size = len(valid_frames), model.tile_size
    tiles, made = rng.normal(size=(2, n, size, size, 1)).astype(np.float32)
    for i, frames in enumerate(valid_frames):
        tiles[i, :, frames:] = made[i, :, frames:] = np.nan
    grid = (n, model.columns, model.bands)
    return MeasuredBatch(
        tiles=tiles,
        reconstructions=made,
        ids=np.zeros(grid, np.int32),
        distances=np.zeros(grid, np.float32),
        valid_frames=np.array(valid_frames, np.int32),
        scales_db=rng.uniform(1, 20, n).astype(np.float32),
        sound=rng.random(grid) < 0.3,
    )


def mean(values):
    return math.fsum(values) / len(values) if values else math.nan


def figures(batch, model):
    """Cell by cell and frame by frame."""
    bands = [[] for _ in range(model.bands)]
    bands_db = [[] for _ in range(model.bands)]
    distances, sound_distances = [], []
    for n, frames in enumerate(batch.valid_frames):
        for frame in range(frames):
            errors_db = []
            for bin_ in range(model.tile_size):
                at = (n, bin_, frame, 0)
                error = float(batch.tiles[at]) - float(batch.reconstructions[at])
                bands[bin_ // model.frequency_stride].append(error**2)
                errors_db.append((error * float(batch.scales_db[n])) ** 2)
                bands_db[bin_ // model.frequency_stride].append(errors_db[-1])
            distances.append(math.sqrt(mean(errors_db)))
            if any(batch.sound[n, frame // model.time_stride]):
                sound_distances.append(distances[-1])
    return {
        "band_errors": list(map(mean, bands)),
        "band_errors_db": list(map(mean, bands_db)),
        "log_spectral_distance": mean(distances),
        "sound_log_spectral_distance": mean(sound_distances),
        "frames": len(distances),
        "sound_frames": len(sound_distances),
    }


@given(
    size=st.integers(8, 12),
    strides=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    valid=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_figures_are_those_of_loops(size, strides, valid, seed):
    model = model_of(size, strides)
    batch = batch_of(model, valid, seed)
    found = Tally.of(batch, model).reconstruction()._asdict()
    for name, value in figures(batch, model).items():
        assert found[name] == pytest.approx(value, rel=1e-9, nan_ok=True), name


def test_sums_add_up():
    model = model_of(9, (4, 3))
    batch = batch_of(model, [9, 5, 2])
    parts = [MeasuredBatch(*(field[rows] for field in batch)) for rows in (slice(2), slice(2, 3))]
    first, second = (Tally.of(part, model) for part in parts)
    whole = Tally.of(batch, model).reconstruction()._asdict()
    for name, value in (first + second).reconstruction()._asdict().items():
        assert value == pytest.approx(whole[name], rel=1e-12), name


def test_a_level_that_is_off_by_two_decibels():
    """Every bin 2 dB too loud: 2 dB apart, 4 dB^2 in every band."""
    model = model_of(8, (3, 4))
    batch = batch_of(model, [8])
    tiles = np.zeros((1, 8, 8, 1), np.float32)
    off = batch._replace(
        tiles=tiles, reconstructions=tiles + 0.5, scales_db=np.array([4], np.float32)
    )
    found = Tally.of(off, model).reconstruction()
    assert found.log_spectral_distance == pytest.approx(2)
    assert found.band_errors == pytest.approx([0.25] * 3)
    assert found.band_errors_db == pytest.approx([4] * 3)


def test_without_decibels_there_is_no_distance():
    model = model_of(8, (4, 4))
    batch = batch_of(model, [8])._replace(scales_db=np.array([np.nan], np.float32))
    found = Tally.of(batch, model).reconstruction()
    assert math.isnan(found.log_spectral_distance)
    assert all(map(math.isnan, found.band_errors_db))
    assert all(map(math.isfinite, found.band_errors))
