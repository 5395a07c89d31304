"""Tokens that are drawn: from the distribution that scores them, and the same for the same seed."""

from itertools import islice

import numpy as np
import pytest

from tests.token_models import TINY, parts_of, tokens
from ulmo.config.token_model import CHUNK
from ulmo.preprocessing.threads import one_thread
from ulmo.sequence.sampling import continue_ids
from ulmo.sequence.scoring import Scorer


@pytest.fixture(scope="module")
def parts():
    return parts_of()


def drawn(parts, ids, columns, **options):
    with one_thread():
        return np.array(list(islice(continue_ids(parts, ids, **options), columns)))


def test_a_token_is_drawn_from_what_would_score_it_to_the_last_bit(parts):
    ids = tokens(2 * CHUNK + 3)
    scorer, whole = Scorer(parts, short=False), Scorer(parts, short=False)
    with one_thread():
        bits = np.concatenate([whole.push(ids).bits, whole.finish().bits])
        for column, known in enumerate(ids):
            if column in (0, 1, CHUNK - 1, CHUNK, CHUNK + 9, 2 * CHUNK + 2):
                for band in range(TINY.bands):
                    logs = scorer.following(known[:band])
                    assert np.exp(logs).sum() == pytest.approx(1, abs=1e-4)
                    found = -logs[known[band]] * np.float32(1 / np.log(2))
                    assert found == bits[column, band]
            scorer.push(known[None])


def test_the_same_seed_draws_the_same_tokens_and_another_one_others(parts):
    ids = tokens(70)
    first = drawn(parts, ids, 20, seed=1)
    assert first.shape == (20, TINY.bands)
    assert (drawn(parts, ids, 20, seed=1) == first).all()
    assert (drawn(parts, ids, 20, seed=2) != first).any()
    assert 0 <= first.min() <= first.max() < TINY.codebook_size


def test_what_was_drawn_is_the_past_of_what_follows(parts):
    """Going on from a longer past gives the same: for the likeliest tokens no draw is needed."""
    ids = tokens(CHUNK + 50)
    ahead = drawn(parts, ids, 30, temperature=0)
    assert (drawn(parts, ids, 5, temperature=1e-320) == ahead[:5]).all()
    rest = drawn(parts, np.concatenate([ids, ahead[:20]]), 10, temperature=0)
    assert (rest == ahead[20:]).all()


def test_temperature_sharpens(parts):
    ids = tokens(40)
    with one_thread():
        scorer = Scorer(parts, short=False)
        scorer.push(ids)
        share = np.exp(scorer.following(ids[0, :0]))
    counts = {}
    for temperature in (1.0, 0.25):
        first = [
            drawn(parts, ids, 1, seed=seed, temperature=temperature)[0, 0] for seed in range(80)
        ]
        counts[temperature] = np.bincount(first, minlength=TINY.codebook_size) / len(first)
    np.testing.assert_allclose(counts[1.0], share, atol=0.2)
    sharp = share**4 / (share**4).sum()
    np.testing.assert_allclose(counts[0.25], sharp, atol=0.2)
    assert counts[0.25].max() > counts[1.0].max()
