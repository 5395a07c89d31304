import numpy as np
import pytest

from tests.models.objectives.small import noise
from ulmo.models.objectives.columns import ColumnNetwork, joined, layers_for, reach


def network_of(causal, layers=2):
    return ColumnNetwork(6, reach(layers, causal=causal), causal=causal, width=8, seed=4)


def slow(network, columns):
    """One column, and one layer, at a time."""

    def dense(layer, vector):
        return vector @ layer.kernel.numpy().astype(float) + layer.bias.numpy()

    def normed(vector):
        return (vector - vector.mean()) / np.sqrt(vector.var() + 1e-5)

    features = [dense(network.entry, column.astype(float)) for column in columns]
    for index, mix in enumerate(network.mixes):
        away = [0, -(2**index), -(2 ** (index + 1))]
        if not network.causal:
            away = [2**index, 0, -(2**index)]
        sums = []
        for here in range(len(features)):
            there = [here + step for step in away]
            seen = [
                normed(features[t]) if 0 <= t < len(features) else np.zeros(network.width)
                for t in there
            ]
            sums.append(features[here] + np.maximum(dense(mix, np.concatenate(seen)), 0))
        features = sums
    return np.array([normed(vector) for vector in features])


@pytest.mark.parametrize("causal", [True, False])
def test_is_what_a_slow_loop_says(causal):
    network, columns = network_of(causal), noise(1, 9, 6)
    for mix in network.mixes:
        mix.bias.assign(noise(8))
    np.testing.assert_allclose(network(columns)[0], slow(network, columns[0]), atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("causal", [True, False])
def test_what_a_column_sees(causal, layers):
    network, columns, place = network_of(causal, layers), noise(1, 31, 6), 15
    other = columns.copy()
    other[:, place] += 1
    changed = (np.asarray(network(other)) != np.asarray(network(columns))).any(axis=(0, 2))
    far = reach(layers, causal=causal)
    expected = {place + far, place, *([] if causal else [place - far])}
    assert expected <= set(np.flatnonzero(changed))
    assert np.flatnonzero(changed).min() == (place if causal else place - far)
    assert np.flatnonzero(changed).max() == place + far


@pytest.mark.parametrize(
    ("columns", "causal", "layers"),
    [(0, True, 1), (2, True, 1), (3, True, 2), (13, True, 3), (1, False, 1), (5, False, 3)],
)
def test_the_fewest_layers_that_reach(columns, causal, layers):
    assert layers_for(columns, causal=causal) == layers


def test_bands_are_joined_one_after_another():
    latents = noise(2, 3, 4, 5)
    columns = np.asarray(joined(latents))
    np.testing.assert_array_equal(columns[1, 2], np.concatenate(list(latents[1, 2])))
    assert columns.shape == (2, 3, 20)
