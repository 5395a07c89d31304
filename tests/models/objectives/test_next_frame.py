import math

import numpy as np
import pytest

from tests.models.objectives.small import GRIDS, SMALL, batch_of, begun, encoded_of, learned, noise
from tests.oracles import cosine
from ulmo.config import ModelSettings, UserError
from ulmo.models.draws import Draws
from ulmo.models.objectives.next_frame import choose_tokens

STEPS = {"steps": 2, "horizon": 4}


def melody(count, seed):
    """Tiles of a tone that climbs by one of two intervals each 4 frames, from anywhere."""
    rng = np.random.default_rng(1000 + seed)
    start, interval = rng.integers(0, 32, count), rng.choice([3, 13], count)
    notes = (start[:, None] + interval[:, None] * np.arange(8)) % 32
    tiles = -0.5 + 0.1 * rng.normal(size=(count, 32, 32))
    for tile, frame in np.ndindex(count, 32):
        tiles[tile, notes[tile, frame // 4], frame] += 4
    return tiles[..., None].astype(np.float32)


@pytest.mark.parametrize(
    ("grid", "ahead"), [((56, 4), (5, 6, 7, 8)), ((16, 16), (3,)), ((224, 1), (8, 12, 16, 20))]
)
def test_what_is_predicted_lies_beyond_all_that_the_context_has_seen(grid, ahead):
    settings = ModelSettings(frequency_stride=grid[0], time_stride=grid[1])
    objective, _ = begun("next_frame", settings)
    assert objective.ahead == ahead
    assert min(ahead) * grid[1] >= settings.time_context[1] + grid[1]
    assert (objective.lead - 1) * grid[1] < settings.time_context[1]


def test_no_frame_from_the_first_target_on_can_reach_the_context():
    objective, model = begun("next_frame", **STEPS)
    tiles, stride = noise(1, 32, 32, 1), SMALL.time_stride

    def context(tiles):
        return np.asarray(objective.context(encoded_of(model, batch_of(tiles)).latents))[0]

    whole = context(tiles)
    for column in range(0, SMALL.columns - objective.ahead[0], 3):
        first = (column + objective.ahead[0]) * stride
        last_seen = (column + 1) * stride + SMALL.time_context[1] - 1
        for frames in (slice(first, None), slice(last_seen + 1, None)):
            other = tiles.copy()
            other[:, :, frames] = 100
            np.testing.assert_array_equal(context(other)[: column + 1], whole[: column + 1])
        other = tiles.copy()
        other[:, :, last_seen] = 100
        assert (context(other)[column] != whole[column]).any()


def slow(objective, model, batch, step):
    """(loss, score, chance, tally), one anchor, step, band and cell at a time."""
    encoded = encoded_of(model, batch, step)
    latents, weights = encoded.latents.numpy(), encoded.weights.numpy()
    anchors = objective.draw(encoded.weights, Draws(0, step)).anchors.numpy()
    context = objective.context(encoded.latents).numpy()
    tiles, valid = batch.tiles.numpy()[..., 0], batch.valid_frames.numpy()
    tokens = batch.token_weights.numpy()
    settings, stride = objective.settings, objective.settings.time_stride
    rows = [(tile, column) for tile, row in enumerate(anchors) for column in row]
    shape = (len(objective.ahead), settings.bands, settings.embedding_dim)
    guesses = [objective.to_latents(context[tile][None, column])[0] for tile, column in rows]
    guesses = [np.reshape(guess, shape).astype(float) for guess in guesses]
    frames = [objective.to_frames(context[tile][None, column])[0] for tile, column in rows]
    frames = [np.reshape(guess, (shape[0], stride, settings.tile_size)) for guess in frames]

    def weight(tile, column, band):
        return float(weights[tile, column, band]) if column < settings.columns else 0.0

    sums, total, tally = np.zeros(3), 0.0, np.zeros(3)
    for row, (tile, column) in enumerate(rows):
        heard = (column + 1) * stride + settings.time_context[1] - 1
        for index, ahead in enumerate(objective.ahead):
            for band in range(settings.bands):
                mine = weight(tile, column + ahead, band)
                if mine == 0:
                    continue
                logits = [
                    10 * cosine(guesses[row][index, band], latents[b, c + ahead, band])
                    for b, c in rows
                    if weight(b, c + ahead, band) > 0 and (b, c) != (tile, column)
                ]
                right = 10 * cosine(guesses[row][index, band], latents[tile, column + ahead, band])
                loss = math.log(sum(math.exp(one) for one in [right, *logits])) - right
                if logits:
                    sums += mine * np.array([loss, right > max(logits), 1 / (1 + len(logits))])
                    total += mine
            for offset, bin_ in np.ndindex(stride, settings.tile_size):
                frame = (column + ahead) * stride + offset
                if frame >= valid[tile]:
                    continue
                mine = float(tokens[tile, frame // stride, bin_ // 16])
                wanted = float(tiles[tile, bin_, frame])
                naive = float(tiles[tile, bin_, heard])
                error = abs(wanted - float(frames[row][index, offset, bin_]))
                tally += mine * np.array([error, abs(wanted - naive), 1])
    loss, score, chance = sums / total
    return loss + objective.spectrogram * tally[0] / tally[2], score, chance, tally


def test_is_what_a_slow_loop_says():
    objective, model = begun("next_frame", **STEPS, anchors=9, spectrogram=0.7)
    weights = np.random.default_rng(5).choice([0.1, 1], (3, SMALL.columns, SMALL.bands))
    batch = batch_of(melody(3, 0), valid=[32, 21, 32], weights=weights)
    outcome = objective.measure(encoded_of(model, batch, 2))
    loss, score, chance, tally = slow(objective, model, batch, 2)
    assert float(outcome.loss) == pytest.approx(loss, rel=1e-4)
    assert float(outcome.score) == pytest.approx(score)
    assert float(outcome.chance) == pytest.approx(chance, rel=1e-5)
    np.testing.assert_allclose(outcome.tally, tally, rtol=1e-4)
    report = objective.report(outcome.tally.numpy())
    assert report == pytest.approx({"spectrogram": 1 - tally[0] / tally[1]}, abs=1e-4)


def test_columns_are_drawn_once_by_their_first_targets_weight():
    objective, _ = begun("next_frame", **STEPS, anchors=400)
    weights = np.full((100, 16, 2), 0.1, np.float32)
    weights[:, 8:12, 1], weights[:, 12:] = 1.0, 0.0
    drawn = objective.draw(weights, Draws(0, 0))
    anchors, targets = drawn.anchors.numpy(), drawn.targets.numpy()
    assert anchors.shape == (100, 4)
    assert all(len(set(row)) == 4 for row in anchors)
    np.testing.assert_array_equal(
        targets - anchors[..., None], np.tile(objective.ahead, (100, 4, 1))
    )
    first = targets[..., 0]
    assert first.max() < 12
    assert np.mean((first >= 8) & (first < 12)) > 0.7
    np.testing.assert_array_equal(anchors, objective.draw(weights, Draws(0, 0)).anchors)
    assert (anchors != objective.draw(weights, Draws(0, 1)).anchors.numpy()).any()


def test_targets_beyond_the_grid_count_nothing():
    objective, _ = begun("next_frame", **STEPS, anchors=1000)
    drawn = objective.draw(np.ones((2, 16, 2), np.float32), Draws(0, 0))
    beyond = drawn.anchors[..., None] + np.array(objective.ahead) >= 16
    assert np.any(beyond)
    np.testing.assert_array_equal(drawn.inside, ~beyond)
    assert drawn.targets.numpy().max() == 15


def test_padding_is_no_candidate():
    guess, wanted = noise(2, 3, 1, 1, 4), noise(2, 3, 1, 1, 4, seed=1)
    weights = np.ones((2, 3, 1, 1), np.float32)
    weights[1, 2] = 0
    other = wanted.copy()
    other[1, 2] = 100 * guess[0, 0]
    first, second = (choose_tokens(guess, tokens, weights) for tokens in (wanted, other))
    np.testing.assert_array_equal(first, second)
    assert float(first.chance) == pytest.approx(1 / 5)


def test_a_grid_with_nothing_to_predict_is_refused():
    with pytest.raises(UserError, match=r"next_frame needs 3 columns .*, and a tile has 2"):
        begun("next_frame", GRIDS["two columns"])


def test_a_climbing_tone_is_foretold():
    learner, before, after, tallies = learned(
        "next_frame", melody, batches=100, **STEPS, width=32, spectrogram=1.0
    )
    report = learner.tasks["next_frame"].report(tallies["next_frame"].numpy())
    assert after["next_frame_score"] > 0.06 > 10 * after["next_frame_chance"]
    assert after["next_frame_loss"] < 0.8 * before["next_frame_loss"]
    assert report["spectrogram"] > 0.05
