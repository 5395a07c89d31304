"""Recordings as ids and latents, and how ids change with recordings."""

from math import ceil

import numpy as np
import pytest

from tests.small_tokenizers import HOP, RATE, WINDOW, sound
from ulmo import encoding
from ulmo.evaluation.agreement import Agreement
from ulmo.pipelines.evaluate.audio import _spectrogram
from ulmo.pipelines.evaluate.encoders import _CHANGES, AudioEncoder, _shift_columns, latents_of
from ulmo.preprocessing.frontends import build_frontend

SECONDS = 3


def encoder(encode, **values):
    settings = {"sample_rate": 1000, "hop": 10, "codebook_size": 8, "tile_samples": 200}
    return AudioEncoder(encode, **{**settings, **values})


def loudness(samples):
    """Whether a column is louder than 0.1 (1 or 0)."""
    columns = samples[: len(samples) // 10 * 10].reshape(-1, 10)
    return (np.abs(columns).max(axis=1, keepdims=True) > 0.1).astype(np.int32)


def changed(name, samples, of=None):
    columns = np.arange(len(samples) // 10)
    rng = np.random.default_rng(0)
    return _CHANGES[name](samples, columns, of or encoder(loudness), rng)


def tone(length, hertz=50.0):
    return np.sin(2 * np.pi * hertz * np.arange(length) / 1000).astype(np.float32)


@pytest.mark.parametrize(("name", "factor"), [("gain_up_6db", 1.9953), ("gain_down_6db", 0.50119)])
def test_gain(name, factor):
    samples, columns = changed(name, tone(1000))
    np.testing.assert_allclose(samples, tone(1000) * factor, rtol=1e-4)
    np.testing.assert_array_equal(columns, np.arange(100))


@pytest.mark.parametrize(("name", "ratio"), [("noise_20db", 20), ("noise_10db", 10)])
def test_noise_lies_so_far_under_the_recording(name, ratio):
    samples, columns = changed(name, tone(100_000))
    noise = samples - tone(100_000)
    found = 10 * np.log10(np.mean(tone(100_000) ** 2) / np.mean(noise**2))
    assert found == pytest.approx(ratio, abs=0.1)
    spectrum = np.abs(np.fft.rfft(noise)[1:50_001]).reshape(10, -1) ** 2
    np.testing.assert_allclose(spectrum.mean(axis=1), spectrum.mean(), rtol=0.1)  # white
    np.testing.assert_array_equal(columns, np.arange(10_000))
    assert not changed(name, np.zeros(500, np.float32)).samples.any()


@pytest.mark.parametrize(
    ("tile", "hop", "columns"), [(200, 10, 10), (230, 10, 12), (200, 30, 3), (20, 30, 1)]
)
def test_half_a_tile_is_a_whole_number_of_columns(tile, hop, columns):
    of = encoder(loudness, tile_samples=tile, hop=hop)
    assert _shift_columns(of) == columns
    samples, places = changed("shift_half_tile", tone(500), of)
    assert len(samples) == 500 + columns * hop
    assert not samples[: columns * hop].any()
    np.testing.assert_array_equal(places, np.arange(50) + columns)


@pytest.mark.parametrize(("name", "factor"), [("rate_up_10", 1.1), ("rate_down_10", 0.9)])
def test_a_rate_moves_pitch_and_time(name, factor):
    """A tone of 50 Hz from 0.6 s on: lower by the factor, and later."""
    samples = tone(2000)
    samples[:600] = 0
    found, places = changed(name, samples)
    assert len(found) == pytest.approx(2000 * factor, abs=1)
    assert np.flatnonzero(np.abs(found) > 0.2)[0] == pytest.approx(600 * factor, abs=5)
    spectrum = np.abs(np.fft.rfft(found))
    peak = np.argmax(spectrum) * 1000 / len(found)
    assert peak == pytest.approx(50 / factor, rel=0.02)
    middles = (np.arange(200) + 0.5) * factor
    assert np.abs(places + 0.5 - middles).max() <= 0.5 + 1e-9


def test_what_is_counted():
    """Loudness is not changed by a shift; by the rate only where sound begins."""
    samples = tone(1000, 101)
    samples[:500] = 0
    none = np.zeros(0, np.float32)

    def late(samples, ids):
        return np.arange(len(ids))[:, None] >= 50

    of = encoder(loudness, sound=late)
    told = []
    found = of.robustness([samples, none], progress=told.append)
    assert list(found) == list(_CHANGES)
    assert told == [1, 2]
    assert found["gain_up_6db"] == Agreement(100, 100, 50, 50)
    assert found["shift_half_tile"] == Agreement(100, 100, 50, 50)
    assert found["rate_up_10"].tokens == 100
    assert found["rate_up_10"].equal >= 98


def test_noise_is_ruled_by_the_seed_and_differs_between_recordings():
    heard = []

    def encode(samples):
        heard.append(samples)
        return loudness(samples)

    def noises(seed):
        heard.clear()
        encoder(encode).robustness([tone(300)] * 2, seed=seed)
        at = 1 + list(_CHANGES).index("noise_10db")
        return heard[at], heard[at + 1 + len(_CHANGES)]

    first, second = noises(0)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(noises(0)[0], first)
    assert not np.array_equal(noises(1)[0], first)


@pytest.mark.parametrize("plan", ["divides", "ragged"])
def test_a_tokenizer_as_an_encoder(plan, tokenizer_of):
    tokenizer = tokenizer_of(plan=plan)
    samples = sound(SECONDS * RATE)
    of = AudioEncoder.of(tokenizer)
    ids = of.encode(samples)
    np.testing.assert_array_equal(ids, tokenizer.encode(samples, sample_rate=RATE).ids)
    model, prep = tokenizer.manifest.model, tokenizer.manifest.prep
    assert (of.sample_rate, of.hop) == (RATE, HOP * model.time_stride)
    assert of.tile_samples == HOP * prep.tile_size
    plane = _spectrogram(tokenizer, build_frontend(prep), samples)
    assert plane.shape == (SECONDS * RATE // HOP, prep.tile_size)
    assert of.sound(samples, ids).shape == ids.shape


def test_a_shift_changes_only_what_sees_the_edges(tokenizer_of):
    """The encoder is convolutional: columns further from the ends than it sees are the same."""
    tokenizer = tokenizer_of(plan="divides")
    of = AudioEncoder.of(tokenizer)
    samples = sound(20 * RATE)
    before, after = tokenizer.manifest.model.time_context
    stride = tokenizer.manifest.model.time_stride
    inner = -(-before // stride) + -(-after // stride) + 2
    found = of.robustness([samples])["shift_half_tile"]
    assert (found.tokens - found.equal) <= inner * tokenizer.manifest.model.bands
    assert found.equal > 0.9 * found.tokens


@pytest.mark.parametrize("mode", ["corpus", "recording", "tile", "pcen", "level"])
def test_silence_is_told_by_the_level_under_a_token(mode, tokenizer_of):
    """In dB re full scale, whatever the tokenizer is normalised by."""
    of = AudioEncoder.of(tokenizer_of(mode=mode, plan="divides"))
    samples = sound(4 * RATE)
    samples[2 * RATE :] = 0
    heard = of.sound(samples, of.encode(samples))
    half = len(heard) // 2
    assert heard[: half - 2].mean() > 0.5
    assert not heard[half + 2 :].any()
    reference = AudioEncoder.of(tokenizer_of(plan="divides"))
    np.testing.assert_array_equal(heard, reference.sound(samples, of.encode(samples)))


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


def test_samples_of_files_are_encoded_whatever_their_expansion_and_scale(tokenizer_of):
    """They were read already, and some files are in micropascals."""
    tokenizer = tokenizer_of(mode="level")
    samples = sound(SECONDS * RATE)
    expected = tokenizer.encode(samples, sample_rate=RATE).ids
    for expansion in (1, 10, 0.01):
        made = AudioEncoder.of(tokenizer.with_sound(expansion))
        assert made.sample_rate == round(RATE * expansion)
        np.testing.assert_array_equal(made.encode(samples), expected)
        assert (made.encode(1e5 * samples) == expected).mean() > 0.9
        assert made.encode(samples[:0]).shape == (0, expected.shape[1])
