import numpy as np
import pytest
import soundfile

import ulmo
from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing import preprocess
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.normalize import Normalization
from ulmo.preprocessing.reading.audio import RefusedError, resample
from ulmo.preprocessing.spectrogram import levels

RATE = 8000
NOISE = np.random.default_rng(0).normal(0, 0.1, 10_000).clip(-0.9, 0.9).astype(np.float32)
SMALL = PrepSettings(
    tile_size=32, sample_rate=4000, hop_length=64, frontend="stft", normalization="recording"
)


def write(path, samples, rate=RATE):
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def test_by_default_a_tile_is_224_bins_by_2_24_seconds():
    assert ulmo.preprocess is preprocess
    tiles = preprocess(NOISE, sample_rate=16000)
    assert tiles.shape == (1, 224, 224, 1)
    assert tiles.dtype == np.float32
    assert np.isfinite(tiles).all()
    assert preprocess(np.resize(NOISE, 35_841), sample_rate=16000).shape == (2, 224, 224, 1)


def test_file_and_samples_give_the_same(tmp_path):
    path = write(tmp_path / "x.wav", NOISE)
    expected = preprocess(NOISE, sample_rate=RATE, settings=SMALL)
    assert expected.shape == (3, 32, 32, 1)  # 5000 samples at 4 kHz: 79 frames
    for source in (path, str(path)):
        np.testing.assert_array_equal(preprocess(source, settings=SMALL), expected)


@pytest.mark.parametrize("mode", ["corpus", "pcen", "level"])
def test_the_tiles_are_the_normalised_levels(mode):
    constants = Normalization(offset=-40, scale=8)
    settings = SMALL.model_copy(update={"normalization": mode})
    tiles = preprocess(NOISE, sample_rate=RATE, settings=settings, normalization=constants)
    samples = np.concatenate(list(resample([NOISE], RATE, 4000)))
    blocks = levels([samples], build_frontend(settings), settings)
    expected = (np.concatenate(list(blocks), axis=1) + 40) / 8
    joined = np.concatenate(list(tiles[..., 0]), axis=1)
    np.testing.assert_allclose(joined[:, : expected.shape[1]], expected, atol=1e-5)
    with pytest.raises(UserError, match=f"normalization '{mode}' needs its constants"):
        preprocess(NOISE, sample_rate=RATE, settings=settings)


def test_the_mean_of_the_channels_is_taken(tmp_path):
    stereo = write(tmp_path / "x.wav", np.stack([NOISE, NOISE * 0], axis=1))
    mean = preprocess(NOISE / 2, sample_rate=RATE, settings=SMALL)
    np.testing.assert_allclose(preprocess(stereo, settings=SMALL), mean, atol=1e-4)


def test_what_is_no_number_or_huge_counts_as_silence():
    dirty, clean = NOISE.astype(np.float64), NOISE.copy()
    dirty[100:106] = [np.nan, np.inf, -np.inf, 1e30, 1e300, -1e7]
    clean[100:106] = 0
    found = preprocess(dirty, sample_rate=RATE, settings=SMALL)
    np.testing.assert_array_equal(found, preprocess(clean, sample_rate=RATE, settings=SMALL))
    assert np.isnan(dirty[100])


@pytest.mark.parametrize("samples", [[], [0.5]])
def test_hardly_any_samples(samples):
    tiles = preprocess(np.array(samples), sample_rate=4000, settings=SMALL)
    assert tiles.shape == (len(samples), 32, 32, 1)
    assert tiles.dtype == np.float32


@pytest.mark.parametrize(
    ("source", "options", "match"),
    [
        (NOISE, {}, "sample_rate="),
        (NOISE, {"sample_rate": 0}, "sample_rate must be a whole number"),
        (NOISE, {"sample_rate": -8000}, "sample_rate must be a whole number"),
        (NOISE.reshape(2, -1), {"sample_rate": RATE}, r"\(2, 5000\)"),
        (np.float32(1), {"sample_rate": RATE}, r"\(\)"),
        (NOISE, {"sample_rate": RATE, "settings": PrepSettings()}, "normalization="),
        (NOISE, {"sample_rate": RATE, "settings": PrepSettings(fmax=9000)}, "fmax"),
    ],
)
def test_what_cannot_be_done_is_said(source, options, match):
    with pytest.raises(UserError, match=match):
        preprocess(source, **{"settings": SMALL, **options})


def test_a_file_that_is_no_sound_is_refused(tmp_path):
    path = tmp_path / "x.wav"
    path.write_text("a text")
    with pytest.raises(RefusedError, match="not_audio"):
        preprocess(path, settings=SMALL)
