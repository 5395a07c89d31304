"""Latents out of a bundle: those that its ids were made from, in the tokenizer's own windows."""

from math import ceil

import numpy as np
import pytest

from tests.small_tokenizers import HOP, WINDOW, sound
from ulmo import encoding
from ulmo.pipelines.evaluate.encoders import latents_of


@pytest.mark.parametrize("plan", ["divides", "odd tile", "unequal"])
@pytest.mark.parametrize("length", [1, 700, 20_000])
def test_the_nearest_code_of_each_latent_is_its_token(plan, length, tokenizer_of, monkeypatch):
    monkeypatch.setattr(encoding, "WINDOW_COLUMNS", WINDOW)
    tokenizer = tokenizer_of(plan=plan)
    samples = sound(length)
    tokens = tokenizer.encode(samples, sample_rate=tokenizer.manifest.prep.sample_rate)
    latents = latents_of(tokenizer)(samples)
    model = tokenizer.manifest.model
    assert latents.shape == (*tokens.ids.shape, model.embedding_dim)
    assert len(latents) == ceil(ceil(length / HOP) / model.time_stride)
    codes = tokenizer.codebook.astype(np.float64)
    for latent, token, distance in zip(
        latents.reshape(-1, model.embedding_dim),
        tokens.ids.ravel(),
        tokens.distances.ravel(),
        strict=True,
    ):
        distances = ((codes - latent) ** 2).sum(axis=1)
        assert distances[token] <= distances.min() + 1e-4
        assert abs(distances[token] - distance) < 1e-3


def test_latents_are_normalised_as_codes_are(tokenizer_of):
    latents = latents_of(tokenizer_of())(sound(3000))
    np.testing.assert_allclose(latents.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(latents.std(axis=-1), 1, atol=1e-2)
