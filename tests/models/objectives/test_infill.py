import numpy as np
import pytest
import tensorflow as tf

from tests.models.objectives.small import SMALL, batch_of, begun, encoded_of, learned, noise
from ulmo.models.draws import Draws
from ulmo.models.objectives.infill import naive_guess


def glides(count, seed):
    """Tiles of a tone that glides evenly, up or down."""
    rng = np.random.default_rng(1000 + seed)
    start, slope = rng.uniform(4, 28, (count, 1, 1)), rng.uniform(-0.7, 0.7, (count, 1, 1))
    bins, frames = np.mgrid[:32, :32]
    pitch = start + slope * (frames - 16)
    tiles = 3 * np.exp(-(((bins - pitch) / 2.5) ** 2)) - 0.5
    return tiles[..., None].astype(np.float32)


def hidden_of(objective, tiles, step=0):
    return objective.hide(tf.constant(tiles), Draws(objective.seed, step)).numpy()


def test_hidden_are_whole_frames_and_whole_bins():
    objective, _ = begun("infill")
    hidden = hidden_of(objective, noise(200, 32, 32, 1))[..., 0]
    bins, frames = hidden.all(axis=2), hidden.all(axis=1)
    np.testing.assert_array_equal(hidden, bins[:, :, None] | frames[:, None])
    assert bins.mean() == pytest.approx(0.2, abs=0.05)
    assert frames.mean() == pytest.approx(0.3, abs=0.05)
    assert (hidden != hidden_of(objective, noise(200, 32, 32, 1), 1)[..., 0]).any()


def test_the_head_sees_nothing_of_what_is_hidden_and_the_rest():
    objective, model = begun("infill")
    tiles = noise(3, 32, 32, 1)
    hidden = hidden_of(objective, tiles)

    def guess(tiles):
        return objective.guess(encoded_of(model, batch_of(tiles)), hidden).numpy()

    np.testing.assert_array_equal(guess(np.where(hidden, 100, tiles)), guess(tiles))
    assert (guess(np.where(hidden, tiles, 1 + tiles)) != guess(tiles)).any()


def test_only_hidden_cells_are_asked_for():
    """The heads say 7 whatever they see, so that tiles matter as what is wanted alone."""
    objective, model = begun("infill")
    objective.to_cells.kernel.assign(tf.zeros_like(objective.to_cells.kernel))
    objective.to_cells.bias.assign(7 + tf.zeros_like(objective.to_cells.bias))
    tiles = noise(3, 32, 32, 1)
    hidden = hidden_of(objective, tiles)

    def loss(tiles):
        return float(objective.measure(encoded_of(model, batch_of(tiles))).loss)

    assert loss(np.where(hidden, tiles, tiles + 50)) == loss(tiles)
    assert loss(np.where(hidden, 7, tiles)) == 0
    assert loss(np.where(hidden, tiles + 1, tiles)) != loss(tiles)


def slow(objective, model, batch, step):
    """Loss and score, one cell at a time."""
    tiles, valid = batch.tiles.numpy()[..., 0], batch.valid_frames.numpy()
    hidden = hidden_of(objective, batch.tiles.numpy(), step)
    guess = objective.guess(encoded_of(model, batch, step), hidden).numpy()
    hidden, stride, sums = hidden[..., 0], SMALL.time_stride, np.zeros(3)
    for tile, bin_, frame in np.argwhere(hidden):
        if frame >= valid[tile]:
            continue
        of_bin = [tiles[tile, bin_, t] for t in range(valid[tile]) if not hidden[tile, bin_, t]]
        of_frame = [tiles[tile, b, frame] for b in range(32) if not hidden[tile, b, frame]]
        naive = np.mean(of_bin or of_frame or [0])
        weight = batch.token_weights.numpy()[tile, frame // stride, bin_ // 16]
        wanted = tiles[tile, bin_, frame]
        error = guess[tile, frame // stride, frame % stride, bin_] - wanted
        sums += weight * np.array([error**2, (naive - wanted) ** 2, 1])
    return sums[0] / sums[2], 1 - sums[0] / sums[1]


def test_is_what_a_slow_loop_says():
    objective, model = begun("infill")
    weights = np.random.default_rng(5).choice([0, 0.1, 1], (3, SMALL.columns, SMALL.bands))
    batch = batch_of(noise(3, 32, 32, 1), valid=[32, 13, 0], weights=weights)
    outcome = objective.measure(encoded_of(model, batch, 3))
    np.testing.assert_allclose(
        (outcome.loss, outcome.score), slow(objective, model, batch, 3), rtol=1e-3
    )
    assert float(outcome.chance) == 0


def test_the_naive_guess():
    cells = np.array([[[[1, 5, 9]], [[3, 8, 1]]]], np.float32)  # two frames of three bins
    seen = np.array([[[[1, 0, 0]], [[0, 0, 1]]]], np.float32)
    guess = naive_guess(cells, seen)
    np.testing.assert_array_equal(guess, [[[[1, 1, 1]], [[1, 1, 1]]]])
    hidden_frame = np.array([[[[1, 0, 1]], [[0, 0, 0]]]], np.float32)
    np.testing.assert_array_equal(naive_guess(cells, hidden_frame), [[[[1, 5, 9]], [[1, 0, 9]]]])


def test_glides_are_filled_in():
    _, before, after, _ = learned("infill", glides, batches=60)
    assert after["infill_score"] > 0.4
    assert after["infill_loss"] < 0.5 * before["infill_loss"]
