import math
from functools import reduce
from itertools import pairwise
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oracles import codebook_figures, reconstruction_figures
from ulmo.config import ModelSettings
from ulmo.evaluation.tally import MeasuredBatch, Tally

CODES = 6
FLOATS = {"rel": 1e-9, "abs": 1e-12, "nan_ok": True}


def model_of(size, strides):
    names = ("tile_size", "frequency_stride", "time_stride", "codebook_size", "embedding_dim")
    return ModelSettings(**dict(zip(names, (size, *strides, CODES, 3), strict=True)))


def batch_of(model, valid_frames, seed=0):
    """Random tiles; what lies behind the valid frames is NaN or no code, so that it may not count.

    Distances stay finite: the model gives some of padding, too.
    """
    rng = np.random.default_rng(seed)
    n, size = len(valid_frames), model.tile_size
    grid = (n, model.columns, model.bands)
    valid = np.array(valid_frames, np.int32)
    tiles, made = rng.normal(size=(2, n, size, size, 1)).astype(np.float32)
    for i, frames in enumerate(valid_frames):
        tiles[i, :, frames:] = made[i, :, frames:] = np.nan
    columns = np.arange(model.columns) * model.time_stride < valid[:, None]
    ids = np.where(columns[..., None], rng.integers(0, CODES, grid), 10**6)
    return MeasuredBatch(
        tiles=tiles,
        reconstructions=made,
        ids=ids.astype(np.int32),
        distances=rng.uniform(0, 4, grid).astype(np.float32),
        valid_frames=valid,
        scales_db=rng.uniform(1, 20, n).astype(np.float32),
        sound=rng.random(grid) < 0.5,
    )


def figures(metrics):
    """Metrics as one flat dictionary."""
    values = metrics._asdict()
    for name in ("codebook", "sound_codebook"):
        health = values.pop(name)._asdict()
        values |= {f"{name}.{key}": value for key, value in health.items()}
    return values


def expected_figures(batch, model):
    strides = (model.frequency_stride, model.time_stride)
    values = reconstruction_figures(
        batch.tiles[..., 0],
        batch.reconstructions[..., 0],
        batch.ids,
        batch.distances,
        valid_frames=batch.valid_frames,
        scales_db=batch.scales_db,
        sound=batch.sound,
        strides=strides,
    )
    values["commitment"] /= model.embedding_dim
    inside = batch.ids < CODES
    for name, mask in (("codebook", inside), ("sound_codebook", inside & batch.sound)):
        health = codebook_figures(batch.ids[mask].tolist(), CODES)
        values |= {f"{name}.{key}": value for key, value in health.items()}
    return values


def mean(values):
    return math.fsum(values) / len(values) if values else math.nan


def expected_errors(batch, model):
    """The fields of Reconstruction, cell by cell and frame by frame."""
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


def test_a_tile_by_hand():
    """8 x 8 cells of 1, 3 frames valid, in tokens of 4 x 2; the bins' errors are 0 to 7."""
    model = model_of(8, (4, 2))
    tiles = np.ones((1, 8, 8, 1), np.float32)
    tiles[0, :, 0] = 3
    made = tiles + np.arange(8, dtype=np.float32)[:, None, None]
    batch = MeasuredBatch(
        tiles=tiles,
        reconstructions=made,
        ids=np.array([[[0, 1], [2, 2], [5, 5], [5, 5]]], np.int32),
        distances=np.array([[[1, 2], [3, 6], [90, 90], [90, 90]]], np.float32),
        valid_frames=np.array([3], np.int32),
        scales_db=np.array([10], np.float32),
        sound=np.array([[[True, False], [False, True], [True, True], [True, True]]]),
    )
    metrics = Tally.of(batch, model).metrics()
    assert (metrics.tiles, metrics.tokens, metrics.sound_tokens) == (1, 4, 2)
    assert metrics.reconstruction == 140 / 8
    assert metrics.reconstruction_db == 100 * 140 / 8
    # 2 frames of the lower half (0 1 4 9), 1 frame of the upper (16 25 36 49)
    assert metrics.sound_reconstruction_db == pytest.approx(100 * (2 * 14 + 126) / 12)
    assert metrics.commitment == 12 / (4 * 3)
    mean = (3 + 1 + 1) / 3
    variance = ((3 - mean) ** 2 + 2 * (1 - mean) ** 2) / 3
    assert metrics.baseline_constant == pytest.approx(variance)
    assert metrics.baseline_bands == pytest.approx(variance)
    assert metrics.baseline_tile == pytest.approx(0, abs=1e-12)
    assert metrics.codebook.usage == 3 / CODES
    assert metrics.codebook.top1 == 0.5
    assert metrics.sound_codebook.usage == 2 / CODES
    assert metrics.sound_codebook.perplexity == pytest.approx(2)


@given(
    size=st.integers(8, 12),
    strides=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    valid=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_every_figure_is_that_of_loops(size, strides, valid, seed):
    model = model_of(size, strides)
    batch = batch_of(model, [min(frames, size) for frames in valid], seed)
    tally = Tally.of(batch, model)
    assert figures(tally.metrics()) == pytest.approx(expected_figures(batch, model), **FLOATS)
    errors = tally.reconstruction()._asdict()
    for name, value in expected_errors(batch, model).items():
        assert errors[name] == pytest.approx(value, rel=1e-9, nan_ok=True), name


@given(cuts=st.lists(st.integers(1, 6), max_size=4), strides=st.sampled_from([(4, 4), (5, 7)]))
def test_any_grouping_into_batches_gives_the_same_figures(cuts, strides):
    model = model_of(8, strides)
    batch = batch_of(model, [8, 8, 3, 8, 1, 5, 8])
    edges = [0, *sorted(set(cuts)), 7]
    parts = [
        Tally.of(MeasuredBatch(*(field[first:last] for field in batch)), model)
        for first, last in pairwise(edges)
    ]
    added, whole = reduce(add, parts), Tally.of(batch, model)
    assert figures(added.metrics()) == pytest.approx(figures(whole.metrics()), **FLOATS)
    assert (added.tiles, added.metrics().tokens) == (7, whole.metrics().tokens)
    for one, other in zip(added.reconstruction(), whole.reconstruction(), strict=True):
        assert one == pytest.approx(other, rel=1e-12)


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


@pytest.mark.parametrize("copies", [3, 5, 6, 7])
@pytest.mark.parametrize("seed", range(4))
def test_baselines_are_in_order_and_never_negative(seed, copies):
    model = model_of(8, (4, 4))
    batch = batch_of(model, [8] * copies, seed)
    same = batch._replace(tiles=batch.tiles[:1].repeat(copies, axis=0))
    assert 0 <= Tally.of(same, model).metrics().baseline_tile < 1e-15
    metrics = Tally.of(batch, model).metrics()
    assert 0 < metrics.baseline_tile < metrics.baseline_bands < metrics.baseline_constant


def test_what_was_not_counted_is_nan():
    model = model_of(8, (4, 4))
    silent = batch_of(model, [8])._replace(sound=np.zeros((1, 2, 2), bool))
    metrics = Tally.of(silent, model).metrics()
    assert metrics.sound_tokens == 0
    assert math.isnan(metrics.sound_reconstruction_db)
    assert all(map(math.isnan, metrics.sound_codebook))
    assert math.isfinite(metrics.reconstruction_db)
    empty = figures(Tally.of(batch_of(model, [0]), model).metrics())
    counts = {name: empty.pop(name) for name in ("tiles", "tokens", "sound_tokens")}
    assert counts == {"tiles": 1, "tokens": 0, "sound_tokens": 0}
    assert all(map(math.isnan, empty.values()))
    without_decibels = batch_of(model, [8])._replace(scales_db=np.array([np.nan], np.float32))
    errors = Tally.of(without_decibels, model).reconstruction()
    assert all(map(math.isnan, [errors.log_spectral_distance, *errors.band_errors_db]))
    assert all(map(math.isfinite, errors.band_errors))
