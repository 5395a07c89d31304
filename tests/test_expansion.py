"""Time expansion: the tokens are those of the slow copy, the times and hertz those of the sound."""

import copy
from datetime import UTC, datetime

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import ulmo.encoding
from tests.small_tokenizers import HOP, RATE, WINDOW, sound
from ulmo.config import UserError
from ulmo.preprocessing.frontends import FRONTENDS
from ulmo.tokenizer import load_tokenizer

pytestmark = pytest.mark.filterwarnings(
    "ignore:over a third of the sound", "ignore:the sound is fainter"
)  # what is lost is not the matter here
WHEN = datetime(2026, 11, 24, 16, 15, tzinfo=UTC)
# Rate of the recording and K: rate / K and RATE x K are whole.
RATES = ((RATE * 10, 10), (48_000, 10), (384_000, 16), (4410, 2.1), (1000, 0.5), (100, 0.05))


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(ulmo.encoding, "WINDOW_COLUMNS", WINDOW)


@pytest.fixture(scope="module")
def shipped():
    return load_tokenizer(threads=1)


@pytest.mark.parametrize("frontend", FRONTENDS)
def test_the_tokens_are_those_of_the_slow_copy(frontend, tokenizer_of):
    tokenizer = tokenizer_of(frontend)

    @settings(max_examples=10)
    @given(st.sampled_from(RATES), st.integers(0, 6000))
    def check(rates, length):
        rate, expansion = rates
        samples = sound(length)
        slow = tokenizer.encode(samples, sample_rate=round(rate / expansion))
        true = tokenizer.encode(samples, sample_rate=rate, time_expansion=expansion)
        np.testing.assert_array_equal(true.ids, slow.ids)
        np.testing.assert_array_equal(true.distances, slow.distances)
        np.testing.assert_allclose(true.seconds, slow.seconds / expansion, rtol=1e-12)
        np.testing.assert_allclose(true.hertz, slow.hertz * expansion, rtol=1e-12)
        assert true.sample_rate == round(RATE * expansion)
        assert (true.hop, true.frames, true.start) == (slow.hop, slow.frames, slow.start)

    check()


@pytest.mark.parametrize("mode", ["corpus", "tile", "pcen", "level"])
def test_a_stream_gives_the_tokens_of_the_whole(mode, tokenizer_of):
    tokenizer = tokenizer_of(mode=mode)

    @settings(max_examples=10)
    @given(st.sampled_from(RATES), st.lists(st.integers(0, 5000), max_size=6))
    def check(rates, cuts):
        rate, expansion = rates
        options = {"sample_rate": rate, "time_expansion": expansion}
        samples = sound(5000)
        whole = tokenizer.encode(samples, **options)
        blocks = np.split(samples, sorted(cuts))
        parts = list(tokenizer.stream(blocks, start_utc=WHEN, **options))
        np.testing.assert_array_equal(np.concatenate([part.ids for part in parts]), whole.ids)
        np.testing.assert_array_equal(
            np.concatenate([part.seconds for part in parts]), whole.seconds
        )
        assert {(part.sample_rate, part.start_utc) for part in parts} == {(whole.sample_rate, WHEN)}

    check()


@pytest.mark.parametrize(("rate", "expansion"), [(384_000, 10), (96_000, 4), (1000, 0.05)])
def test_a_click_is_in_the_column_of_its_time(rate, expansion, shipped):
    """What a click changes begins in the columns just before it, as the encoder looks ahead."""
    model = shipped.manifest.model
    quiet = np.random.default_rng(1).normal(0, 1e-4, 30_000).astype(np.float32)
    length = len(quiet) / rate
    for share in (0.3, 0.61):
        clicked = quiet.copy()
        clicked[round(share * len(quiet))] = 0.5
        options = {"sample_rate": rate, "time_expansion": expansion}
        tokens = shipped.encode(clicked, **options)
        changed = (tokens.distances != shipped.encode(quiet, **options).distances).any(axis=1)
        column = tokens.hop / tokens.sample_rate
        first = tokens.seconds[int(changed.argmax())]
        context = -(-max(model.time_context) // model.time_stride) + 1
        assert 0 <= share * length - first <= (context + 1) * column
        assert tokens.seconds[-1] < length <= tokens.seconds[-1] + column


@pytest.mark.parametrize(
    ("rate", "expansion", "hertz"),
    [(384_000, 10, 12_000), (384_000, 10, 45_000), (96_000, 5, 20_000), (500, 0.02, 60)],
)
def test_a_tone_is_in_the_band_of_its_hertz(rate, expansion, hertz, shipped):
    times = np.arange(round(3 * rate / expansion)) / rate
    tone = 0.5 * np.sin(2 * np.pi * hertz * times)
    tone += np.random.default_rng(0).normal(0, 3e-3, len(tone))  # no recording is without noise
    tokens = shipped.encode(tone, sample_rate=rate, time_expansion=expansion)
    (tile, *_) = shipped.decode(tokens)
    loudest = int(tile[:, :50, 0].mean(axis=1).argmax())
    low, high = tokens.hertz[loudest // shipped.manifest.model.frequency_stride]
    assert low <= hertz <= high


def test_a_file_a_stream_and_channels_agree(tokenizer_of, tmp_path):
    both = np.stack([sound(9000), sound(9000)[::-1]], axis=1)
    soundfile.write(tmp_path / "x.wav", both, 48_000, subtype="FLOAT")
    tokenizer = tokenizer_of()
    for channel in (None, 1):
        options = {"channel": channel, "time_expansion": 10}
        expected = tokenizer.encode(tmp_path / "x.wav", **options)
        blocks = np.split(both, [7, 5000])
        (*parts,) = tokenizer.stream(blocks, sample_rate=48_000, **options)
        for found in (
            tokenizer.encode(both, sample_rate=48_000, **options).ids,
            tokenizer.encode((tmp_path / "x.wav").read_bytes(), **options).ids,
            tokenizer.encode({"array": both.T, "sampling_rate": 48_000}, **options).ids,
            np.concatenate([part.ids for part in parts]),
        ):
            np.testing.assert_array_equal(found, expected.ids)


def test_full_scale_divides_files_and_arrays(tokenizer_of, tmp_path):
    tokenizer, samples = tokenizer_of(), sound(3000)
    soundfile.write(tmp_path / "x.wav", 1e9 * samples, RATE, subtype="DOUBLE")
    soundfile.write(tmp_path / "y.wav", samples, RATE, subtype="PCM_16")
    expected = tokenizer.encode(samples, sample_rate=RATE)
    for found in (
        tokenizer.encode(1e9 * samples, sample_rate=RATE, full_scale=1e9),
        tokenizer.encode(tmp_path / "x.wav", full_scale=1e9),
    ):
        np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-3, atol=1e-4)
    plain = tokenizer.encode(tmp_path / "y.wav")
    np.testing.assert_array_equal(
        tokenizer.encode(tmp_path / "y.wav", full_scale=1e9).ids, plain.ids
    )


def test_resynthesis_lasts_as_long_as_the_sound(tokenizer_of):
    tokenizer = tokenizer_of("mel")
    tokens = tokenizer.encode(sound(9600), sample_rate=48_000, time_expansion=10)
    made = tokenizer.resynthesize(tokens, iterations=1)
    assert len(made) / tokens.sample_rate == pytest.approx(0.2, abs=HOP / tokens.sample_rate)


def test_a_tokenizer_of_another_expansion_is_another_view_of_the_same(tokenizer_of):
    tokenizer = tokenizer_of()
    assert tokenizer.with_sound() is tokenizer.with_sound(1, 1) is tokenizer
    bats = tokenizer.with_sound(10)
    assert bats.latency_seconds == pytest.approx(tokenizer.latency_seconds / 10)
    np.testing.assert_allclose(bats.edges_hz, 10 * tokenizer.edges_hz)
    assert bats.manifest is tokenizer.manifest
    options = {"sample_rate": 48_000}
    expected = tokenizer.encode(sound(4800), time_expansion=10, **options)
    for found in (bats, bats.ref.open()):
        np.testing.assert_array_equal(found.encode(sound(4800), **options).ids, expected.ids)
    assert bats.with_sound(1).prep == tokenizer.prep
    assert copy.deepcopy(bats).prep == bats.prep


@pytest.mark.parametrize("expansion", [0, -1, 1001, 0.03331, float("nan")])
def test_an_expansion_that_cannot_be_is_refused(expansion, tokenizer_of):
    with pytest.raises(UserError, match="time_expansion"):
        tokenizer_of().encode(sound(9), sample_rate=RATE, time_expansion=expansion)
