"""What ids say about a tokenizer."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ulmo.evaluation.verdict import Verdict

CODES = 64


def judged(ids, sound=None, codes=CODES):
    """The verdict on ids (time, band)."""
    sound = np.ones(ids.shape, bool) if sound is None else sound

    def counted(mask):
        bands = zip(ids.T, mask.T, strict=True)
        return np.array([np.bincount(band[kept], minlength=codes) for band, kept in bands])

    return Verdict.of(counted(np.ones(ids.shape, bool)), counted(sound))


def slow_entropy(ids):
    """Token by token, with Python's own numbers."""
    bits = most = 0.0
    for band in ids.T.tolist():
        counts = Counter(band)
        bits += sum(-math.log2(counts[each] / len(band)) for each in band)
        most += len(band) * math.log2(min(len(band), CODES))
    return bits / most if most else 0.0


SHAPES = st.tuples(st.integers(1, 30), st.integers(1, 4))
GRIDS = hnp.arrays(np.int64, SHAPES, elements=st.integers(0, 5))


@given(ids=GRIDS)
def test_its_figures_are_those_of_the_ids(ids):
    verdict = judged(ids)
    assert (verdict.tokens, verdict.codes) == (ids.size, len(set(ids.ravel().tolist())))
    assert verdict.top1 == pytest.approx(max(Counter(ids.ravel().tolist()).values()) / ids.size)
    assert verdict.entropy == pytest.approx(slow_entropy(ids), abs=1e-12)
    assert (verdict.kind == "one_code") is (verdict.codes == 1)
    assert all(math.isfinite(value) for value in verdict[1:])


@given(ids=GRIDS)
def test_silence_says_nothing(ids):
    verdict = judged(ids, np.zeros(ids.shape, bool))
    assert verdict.kind == "silence"
    assert all(math.isfinite(value) for value in verdict[1:])


def test_ids_that_change_with_the_sound_have_not_collapsed():
    rng = np.random.default_rng(0)
    assert judged(rng.integers(0, CODES, (200, 4))).kind == "varied"
    few = rng.integers(0, 8, (200, 4)) + 8 * np.arange(4)  # each band has eight codes of its own
    assert judged(few).kind == "varied"
    assert judged(np.arange(6)[:, None]).kind == "varied"  # six tokens cannot have more bits


def test_bands_with_a_code_of_their_own_have_collapsed():
    """Pooled, fourteen codes in equal use look healthy."""
    ids = np.tile(np.arange(14), (100, 1))
    verdict = judged(ids)
    assert (verdict.kind, verdict.codes, verdict.entropy) == ("collapsed", 14, 0.0)


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_one_code_for_nearly_everything_is_a_collapse(share):
    rng = np.random.default_rng(1)
    ids = np.where(rng.random((500, 3)) < share, rng.integers(0, 3, (500, 3)), 7)
    assert judged(ids).kind == "collapsed"


def test_silent_tokens_do_not_hide_a_collapse():
    """Most of a recording may be silence, whose ids do change between bands and edges."""
    rng = np.random.default_rng(2)
    ids = rng.integers(0, CODES, (400, 2))
    sound = np.zeros(ids.shape, bool)
    sound[:50] = True
    ids[:50] = 3
    assert judged(ids, sound).kind == "one_code"


def test_no_token_at_all():
    verdict = judged(np.zeros((0, 2), np.int64))
    assert verdict == Verdict("silence", 0, 0, CODES, 0.0, 0.0)
