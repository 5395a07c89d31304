"""The probe: what can be told apart is, what cannot stays at chance."""

import numpy as np
import pytest

from ulmo.evaluation.folds import Fold, Folds, split_folds
from ulmo.evaluation.probe import by_line, histograms, mean_latents, probe

NAMES = ["ape", "bat", "cow"]


def blobs(count, *, distance, seed=0, dimensions=8):
    """Vectors about one centre a label, so far from each other, of four speakers each."""
    rng = np.random.default_rng(seed)
    labels = [NAMES[number % 3] for number in range(count)]
    speakers = [f"S{number // 3 % 4}" for number in range(count)]
    centres = distance * np.eye(dimensions)
    vectors = [centres[NAMES.index(label)] + rng.normal(size=dimensions) for label in labels]
    return np.array(vectors, np.float32), labels, speakers


def folds_of(labels, speakers):
    return split_folds(labels, [str(n) for n in range(len(labels))], speakers)


def test_what_lies_apart_is_told_apart():
    vectors, labels, speakers = blobs(120, distance=20)
    folds = folds_of(labels, speakers)
    found, again = (probe(vectors, labels, folds, by_line) for _ in range(2))
    assert found == again == (1.0, 0.0, pytest.approx(1 / 3), 4, 120)


def test_shuffled_labels_stay_at_chance():
    vectors, labels, speakers = blobs(600, distance=20)
    shuffled = np.random.default_rng(1).permutation(labels).tolist()
    found = probe(vectors, shuffled, folds_of(shuffled, speakers), by_line)
    assert abs(found.accuracy - 1 / 3) < 0.08  # 4 standard errors of 600 draws
    assert found.spread > 0


def test_a_label_that_is_a_small_part_of_the_vectors_is_seen():
    """Dimensions are standardised."""
    vectors, labels, speakers = blobs(120, distance=20)
    loud = np.random.default_rng(2).normal(0, 1e4, (120, 3)).astype(np.float32)
    found = probe(np.hstack([vectors, loud]), labels, folds_of(labels, speakers), by_line)
    assert found.accuracy > 0.95


def test_figures_are_means_over_folds():
    """A classifier that says `ape` is right by the share of apes, which the folds differ in."""
    labels = ["ape", "ape", "bat", "ape", "bat", "bat", "bat", "bat"]
    folds = [Fold(np.arange(4, 8), np.arange(4)), Fold(np.arange(4), np.arange(4, 8))]

    def ape(train, told, test):
        return np.array(["ape"] * len(test))

    found = probe(np.zeros((8, 2), np.float32), labels, Folds(folds, "source", ""), ape)
    spread = (2 * 0.375**2) ** 0.5
    assert found == (0.375, pytest.approx(spread), (0.75 + 1) / 2, 2, 8)


def test_the_answer_is_never_shown():
    """Test vectors leave no trace in what is learned: not in the scale, not in the centre."""
    vectors, labels, _ = blobs(60, distance=3)
    told = np.array(labels)
    alone = by_line(vectors[:40], told[:40], vectors[40:41])
    outlier = np.full((1, 8), 1e6, np.float32)
    with_other = by_line(vectors[:40], told[:40], np.vstack([vectors[40:41], outlier]))
    assert alone[0] == with_other[0]


def test_without_folds_nothing_is_measured():
    found = probe(np.zeros((2, 3), np.float32), ["a", "b"], Folds([], "source", "why"), by_line)
    assert np.isnan([found.accuracy, found.spread, found.chance]).all()
    assert (found.folds, found.items) == (0, 0)


def test_each_vector_has_a_label():
    with pytest.raises(ValueError, match="each vector needs one label"):
        probe(np.zeros((2, 3), np.float32), ["a"], Folds([], "source", ""), by_line)


def test_latents_are_averaged_over_time_band_by_band():
    rng = np.random.default_rng(0)
    latents = [rng.normal(size=(count, 2, 3)).astype(np.float32) for count in (1, 7)]
    found = mean_latents(latents)
    assert found.shape == (2, 6)
    for vector, grid in zip(found, latents, strict=True):
        for band, dimension in np.ndindex(2, 3):
            expected = sum(grid[:, band, dimension]) / len(grid)
            assert abs(vector[3 * band + dimension] - expected) < 1e-6


def test_histograms_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, 6, (count, 3)).astype(np.int32) for count in (4, 9)]  # 5: special
    sound = [rng.random(grid.shape) < 0.7 for grid in ids]
    found = histograms(ids, sound, 5)
    for vector, grid, heard in zip(found, ids, sound, strict=True):
        expected = np.zeros(15)
        for column, band in np.ndindex(grid.shape):
            if heard[column, band] and grid[column, band] < 5:
                expected[5 * band + grid[column, band]] += 1
        np.testing.assert_allclose(vector, expected / expected.sum(), rtol=1e-6)
    assert not histograms(ids[:1], [np.zeros((4, 3), bool)], 5).any()  # silence
