"""`<unk>`: its levels, which ids become `<unk>`, and what it is decoded as."""

import numpy as np
import pytest

from ulmo.bundle.bundle import read_bundle
from ulmo.bundle.unk import UNK_QUANTILES, check_thresholds, level_of, mark_unknown
from ulmo.config import PrepSettings, UserError
from ulmo.tokenizer import load_tokenizer

PREP = PrepSettings(frontend="stft", tile_size=32, sample_rate=2000, hop_length=20)


def test_levels():
    assert [level_of(quantile) for quantile in UNK_QUANTILES] == [0, 1, 2, 3]


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.98, 1.0, float("nan"), -1.0])
def test_a_level_that_is_not_stored_is_refused(quantile):
    with pytest.raises(UserError, match=r"must be one of 0\.9, 0\.95, 0\.99, 0\.999, not"):
        level_of(quantile)


def test_what_is_beyond_its_own_codes_threshold_is_marked():
    ids = np.array([[0, 1], [1, 0]], np.int32)
    distances = np.array([[1.0, 1.0], [1.5, 0.5]], np.float32)
    marked = mark_unknown(ids, distances, np.array([0.75, 1.0], np.float32), 2)
    assert marked.tolist() == [[2, 1], [2, 0]]
    assert marked.dtype == np.int32
    assert ids.tolist() == [[0, 1], [1, 0]]


def test_thresholds_may_be_zero_and_equal():
    check_thresholds(np.zeros((3, 4), np.float32))
    with pytest.raises(ValueError, match="negative"):
        check_thresholds(np.full((3, 4), -1e-9, np.float32))
    with pytest.raises(ValueError, match="fall"):
        check_thresholds(np.array([[0, 2, 1, 3]], np.float32))


@pytest.fixture(scope="module")
def folder(make_bundle, tmp_path_factory):
    place = tmp_path_factory.mktemp("unk") / "tokenizer"
    thresholds = np.sort(np.random.default_rng(0).uniform(2.6, 3.2, (16, 4)).astype(np.float32))
    return make_bundle(place, PREP, time_stride=4, contents={"thresholds": thresholds})


def test_a_level_that_is_not_stored_is_refused_by_the_tokenizer(folder):
    with pytest.raises(UserError, match="unk_quantile must be one of"):
        load_tokenizer(folder, unk_quantile=0.5)


@pytest.mark.parametrize("level", range(4))
def test_ids_are_those_of_the_nearest_codes_but_for_what_is_beyond(level, folder):
    sound = np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)
    plain = load_tokenizer(folder, threads=1).encode(sound, sample_rate=2000)
    chosen = load_tokenizer(folder, threads=1, unk_quantile=UNK_QUANTILES[level])
    tokens = chosen.encode(sound, sample_rate=2000)
    beyond = plain.distances > read_bundle(folder).thresholds()[plain.ids, level]
    assert 0 < beyond.sum() < beyond.size
    np.testing.assert_array_equal(tokens.ids, np.where(beyond, 16, plain.ids))
    np.testing.assert_array_equal(tokens.distances, plain.distances)
    assert (plain.unk_quantile, tokens.unk_quantile) == (None, UNK_QUANTILES[level])
    assert (tokens.fingerprint, tokens.frames) == (plain.fingerprint, plain.frames)


def test_unk_is_decoded_as_zeros_and_reaches_no_further_than_a_code(folder):
    from ulmo.models import build_vqvae, set_weights_of

    tokenizer, bundle = load_tokenizer(folder), read_bundle(folder)
    ids = np.random.default_rng(1).integers(0, 16, (1, 12, 2)).astype(np.int32)
    known = tokenizer.decode_ids(ids)
    ids[0, 6, 1] = 16
    decoded = tokenizer.decode_ids(ids)
    model = build_vqvae(bundle.manifest.model)
    set_weights_of(model, bundle.weights())
    latents = np.pad(bundle.weights()["codebook"], ((0, 1), (0, 0)))[ids]
    np.testing.assert_allclose(decoded, model.decoder(latents, frames=48), atol=1e-5)
    changed = np.flatnonzero((decoded != known).any(axis=(0, 1, 3)))
    before, after = bundle.manifest.model.decoder_time_context
    assert 4 * (6 - after) <= changed.min() <= changed.max() < 4 * (7 + before)
