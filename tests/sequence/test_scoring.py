"""Scores of tokens: the same however they come, from the past alone, and probabilities."""

import itertools

import numpy as np
import pytest

from tests.bounded import ALL
from tests.token_models import COLUMNS, TINY, VOCABULARY, parts_of, tokens
from ulmo.config import JobError
from ulmo.config.token_model import CHUNK, GATES, GUESSES
from ulmo.preprocessing.threads import one_thread
from ulmo.sequence.habits import Habits
from ulmo.sequence.mixture import Mixture, soften
from ulmo.sequence.network import Network
from ulmo.sequence.scoring import Scorer, TokenScores

BANDS, CODES = TINY.bands, TINY.codebook_size


@pytest.fixture(scope="module")
def parts():
    return parts_of()


def scored(parts, ids, cuts=(), **options):
    scorer = Scorer(parts, **options)
    with one_thread():
        found = [scorer.push(part) for part in np.split(ids, cuts)]
        return TokenScores.joined([*found, scorer.finish()], BANDS)


def equal(first, second):
    return all(
        np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        for one, other in zip(first, second, strict=True)
    )


@pytest.fixture(scope="module")
def whole(parts):
    return scored(parts, tokens())


@pytest.mark.parametrize("count", [1, 2, 5, 40, COLUMNS])
def test_random_splits_change_no_bit(parts, whole, count):
    """100 splits; 1,000 in `make crash`."""
    rng = np.random.default_rng(count)
    for _ in range(200 if ALL else 20):
        cuts = np.sort(rng.integers(0, COLUMNS + 1, count))
        assert equal(scored(parts, tokens(), cuts), whole)


def test_the_future_cannot_leak(parts, whole):
    ids = tokens()
    rng = np.random.default_rng(1)
    borders = (0, 1, CHUNK - 1, CHUNK, 2 * CHUNK + 5, COLUMNS - 1)
    for column in (*borders, *rng.integers(0, COLUMNS, 6)):
        for band in range(BANDS):
            changed = ids.copy()
            changed[column, band] = (changed[column, band] + 3) % CODES
            other = scored(parts, changed)
            before = slice(column)
            assert equal(other.at(before)[:2], whole.at(before)[:2])
            assert equal([other.bits[column, :band]], [whole.bits[column, :band]])
            assert not equal([other.bits], [whole.bits])


def test_an_end_changes_nothing_before_it(parts, whole):
    for columns in (1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 30):
        cut = scored(parts, tokens()[:columns])
        assert equal(cut, whole.at(slice(columns)))


@pytest.mark.parametrize("column", [0, 5, CHUNK, 2 * CHUNK + 7])
def test_probabilities_of_a_column_sum_to_one(parts, column):
    ids = tokens(column + 1, gaps=False)
    total = 0.0
    for pair in itertools.product(range(CODES), repeat=BANDS):
        ids[column] = pair
        total += 2.0 ** -scored(parts, ids, short=False).bits[column].sum()
    assert total == pytest.approx(1, abs=1e-4)


def test_special_tokens_have_no_bits(whole):
    ids = tokens()
    assert (np.isnan(whole.bits) == (ids >= CODES)).all()
    assert np.isnan(whole.surprise[(ids >= CODES).all(axis=1)]).all()
    assert np.isnan(whole.surprise[:CHUNK]).all()  # nothing was before the first chunk
    usual = np.median(np.nansum(whole.bits, axis=1)[:CHUNK][(ids[:CHUNK] < CODES).any(axis=1)])
    sums = np.nansum(whole.bits[CHUNK : 2 * CHUNK], axis=1)
    np.testing.assert_allclose(whole.surprise[CHUNK : 2 * CHUNK], sums - usual, atol=1e-4)


def test_bos_begins_another_recording(parts, whole):
    bos = np.full((1, BANDS), VOCABULARY.bos, np.int32)
    other = tokens(150, seed=5)
    both = scored(parts, np.concatenate([other, bos, tokens()]), cuts=(3, 149, 152))
    assert equal(both.at(slice(150)), scored(parts, other))
    again = both.at(slice(151, None))
    copied = np.where(again.copied_from >= 0, again.copied_from - 151, -1)
    assert equal(again._replace(copied_from=copied), whole)
    assert np.isnan(both.bits[150]).all()


def test_a_gap_makes_the_network_forget_what_was_before(parts):
    """Also its attention: the network's numbers behind a gap do not depend on what was before."""
    network = parts.network
    guesses = []
    for seed in (0, 1):
        ids = tokens(2 * CHUNK, seed=seed, gaps=False)
        ids[40] = VOCABULARY.gap
        ids[41:] = tokens(2 * CHUNK, seed=9, gaps=False)[41:]
        state, found = network.begin(), []
        for start in (0, CHUNK):
            some, state = network.chunk(ids[start : start + CHUNK], state)
            found.append(some)
        guesses.append(np.concatenate(found, axis=1).transpose(1, 0, 2))
    assert (guesses[0][41:] == guesses[1][41:]).all()
    assert (guesses[0][:40] != guesses[1][:40]).any()


def test_what_is_remembered_makes_repeats_cheap(parts):
    rng = np.random.default_rng(2)
    phrase = rng.integers(0, CODES, (300, BANDS)).astype(np.int32)
    between = rng.integers(0, CODES, (1200, BANDS)).astype(np.int32)
    scores = scored(parts, np.concatenate([phrase, between, phrase]))
    again = slice(1500 + CHUNK, 1800)
    assert scores.bits[again].mean() < 0.7 * scores.bits_short[again].mean()
    copied = scores.copied_from[again]
    right = np.arange(CHUNK, 300)
    assert (copied == right).mean() > 0.8


def test_weights_that_break_the_network_are_told(parts):
    weights = {name: each.copy() for name, each in parts.network._weights.items()}
    weights["embed.kernel"][:] = np.float32(3e38)
    broken = parts._replace(network=Network(TINY, weights))
    with pytest.raises(JobError, match="bits that are not finite"):
        scored(broken, tokens())


def test_the_mixture_sums_to_one_and_finds_the_guess_that_is_right():
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.full(CODES, 0.3), 3)
    wrong = np.full_like(truth, 1 / CODES)
    each = np.stack([wrong, truth], axis=1)[:, :, None]  # (bands, guesses, 1, CODES)
    guesses = soften(np.broadcast_to(each, (3, 2, CHUNK, CODES)).astype(np.float32))
    gates = rng.integers(0, 2, CHUNK)
    mixture = Mixture(np.tile([0.5, 0.1], (2, 3, 1)))
    bits = []
    for _ in range(60):
        ids = np.stack([rng.choice(CODES, CHUNK, p=each) for each in truth], axis=1)
        mixed = mixture.mix(guesses, ids.astype(np.int32), gates)
        bits.append(mixed.nats.mean())
    logs = [mixture.distribution(band, some, gates) for band, some in enumerate(guesses)]
    np.testing.assert_allclose(np.exp(logs).sum(axis=-1), 1, atol=1e-5)
    assert np.mean(bits[10:]) < np.mean(bits[:3])
    assert (mixture.weights[..., 1] > 0.6).all()


def test_the_mixture_learns_nothing_of_special_tokens():
    mixture = Mixture(np.full((GATES, BANDS, GUESSES), 0.2))
    guesses = np.random.default_rng(0).dirichlet(np.ones(CODES), (BANDS, GUESSES, CHUNK))
    ids = np.full((CHUNK, BANDS), VOCABULARY.gap, np.int32)
    logs = soften(guesses.astype(np.float32))
    mixed = mixture.mix(logs, ids, np.zeros(CHUNK, np.int64))
    assert (mixture.weights == 0.2).all()
    assert (mixed.nats == 0).all()


def slow_habits(usual, before, ids, column, band):
    """The three guesses of a token, by counting."""
    known = [[min(int(each), CODES) for each in row] for row in before]
    row = known + [[min(int(each), CODES) for each in row] for row in ids]
    here = len(known) + column

    def neighbours(at):
        last = row[at - 1] if at else [CODES] * BANDS
        return last[band], row[at][band - 1] if band else last[1]

    counts = [np.zeros(CODES) for _ in range(3)]
    for at in range(len(known)):
        if row[at][band] == CODES:
            continue
        counts[0][row[at][band]] += 1
        for number, (one, other) in enumerate(zip(neighbours(at), neighbours(here), strict=True)):
            counts[1 + number][row[at][band]] += one == other
    alone = (counts[0] + 8 * usual[band]) / (counts[0].sum() + 8)
    return [alone, *((each + 4 * alone) / (each.sum() + 4) for each in counts[1:])]


@pytest.mark.parametrize("columns", [None, CHUNK])
def test_habits_are_counts(parts, columns):
    ids = tokens(3 * CHUNK)
    habits = Habits(parts.usual, columns=columns)
    for start in (0, CHUNK):
        habits.add(ids[start : start + CHUNK])
    guess = np.empty((3, CHUNK, BANDS, CODES), np.float32)
    for band, (alone, pairs) in enumerate(habits.guess(ids[2 * CHUNK :])):
        guess[0, :, band], guess[1:, :, band] = alone, pairs
    np.testing.assert_allclose(guess.sum(axis=-1), 1, atol=1e-5)
    if columns is None:
        for column in (0, 1, 30, 63):
            for band in range(BANDS):
                slow = slow_habits(parts.usual, ids[: 2 * CHUNK], ids[2 * CHUNK :], column, band)
                np.testing.assert_allclose(guess[:, column, band], slow, rtol=1e-4)
    else:
        assert habits._alone.sum() == (ids[CHUNK : 2 * CHUNK] < CODES).sum()
