"""Boundaries between codes, moved to where copies agree."""

import numpy as np
import pytest

from ulmo.models.boundaries import _loss, learn_boundaries, nearest_boundaries
from ulmo.models.centroids import kmeans_start
from ulmo.models.quantizers.rim import VectorQuantizerRIM

CODES = 16


@pytest.fixture(scope="module")
def copies():
    """Pairs (2, 6000, 4): a moment's place on two axes, and two axes in which its copies differ."""
    rng = np.random.default_rng(3)
    place = rng.normal(size=(6000, 2))
    pairs = [np.hstack([place, rng.normal(0, 0.5, (6000, 2))]) for _ in range(2)]
    return np.array(pairs, np.float32)


def ids_of(latents, boundaries):
    kernel, bias = boundaries
    return np.argmax(latents @ np.asarray(kernel) + np.asarray(bias), axis=1)


def test_at_first_the_code_is_the_nearest(copies):
    codebook = np.random.default_rng(0).normal(size=(CODES, 4)).astype(np.float32)
    apart = np.linalg.norm(copies[0][:, None] - codebook, axis=2)
    found = ids_of(copies[0], nearest_boundaries(codebook))
    np.testing.assert_array_equal(found, np.argmin(apart, axis=1))


def test_copies_agree_more_often_and_all_codes_stay_in_use(copies):
    codebook, _ = kmeans_start(copies[0], CODES, tokens_per_batch=1)
    before = [ids_of(each, nearest_boundaries(codebook)) for each in copies]
    learned = learn_boundaries(codebook, *copies, seed=0)
    after = [ids_of(each, learned) for each in copies]
    assert np.mean(before[0] == before[1]) < 0.7
    assert np.mean(after[0] == after[1]) > 0.95
    shares = np.bincount(after[0], minlength=CODES) / len(after[0])
    assert shares.min() > 0.2 / CODES


def test_the_loss_is_that_of_the_equation():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 7, 5))
    p, q = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (x, y))
    agreed = [-(a * np.log(b)).sum(axis=1).mean() for a, b in ((p, q), (q, p))]
    mean = (p.mean(axis=0) + q.mean(axis=0)) / 2
    expected = np.mean(agreed) + 2.0 * (mean * np.log(mean)).sum()
    assert float(_loss(x, y)) == pytest.approx(expected, abs=1e-6)


def test_a_code_is_the_mean_of_its_cell(copies):
    layer = VectorQuantizerRIM(codebook_size=CODES, embedding_dim=4, seed=1)
    layer.build((None, None, None, 4))
    layer.begin(copies[0], 1.0, copies)
    ids = layer(copies[0][None, :, None]).ids.numpy().ravel()
    for code in np.unique(ids):
        mean = copies[0][ids == code].mean(axis=0)
        np.testing.assert_allclose(layer.codebook.numpy()[code], mean, atol=1e-4)


def test_what_has_no_copies_is_divided_too(copies):
    layer = VectorQuantizerRIM(codebook_size=CODES, embedding_dim=4)
    layer.build((None, None, None, 4))
    layer.begin(copies[0][:500], 1.0)
    assert len(np.unique(layer(copies[0][None, :500, None]).ids)) == CODES
