"""Block sizes, threads and batch sizes change no bit of the tokens."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ulmo.encoding
from tests.small_tokenizers import HOP, PLANS, RATE, WINDOW, sound
from ulmo.config import UserError
from ulmo.encoding import Columns, encode_columns, is_any_width, window_columns
from ulmo.preprocessing.frontends import FRONTENDS

pytestmark = pytest.mark.filterwarnings(
    "ignore:over a third of the sound", "ignore:the sound is fainter"
)  # what is lost is not the matter here
LIVE_MODES = ("corpus", "tile", "pcen", "level")
WHEN = datetime(2026, 11, 24, 16, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(ulmo.encoding, "WINDOW_COLUMNS", WINDOW)


def joined(parts, expected):
    """The joined fields of the parts of a stream, each part checked for its place."""
    column = 0
    for part in parts:
        assert len(part.ids)
        assert part.start == column * part.hop
        assert (part.start_utc, part.fingerprint) == (WHEN, expected.fingerprint)
        column += len(part.ids)
    ends = [part.frames for part in parts[:-1]]
    stride = expected.hop // HOP
    assert ends == [len(part.ids) * stride for part in parts[:-1]]
    return (
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.distances for part in parts]),
        np.concatenate([part.seconds for part in parts]),
        sum(part.frames for part in parts),
    )


def check_stream(tokenizer, samples, blocks, rate=RATE):
    expected = tokenizer.encode(samples, sample_rate=rate)
    parts = list(tokenizer.stream(blocks, sample_rate=rate, start_utc=WHEN))
    if not len(expected.ids):  # of a few samples, none may be left at a lower rate
        assert parts == []
        return
    ids, distances, seconds, frames = joined(parts, expected)
    np.testing.assert_array_equal(ids, expected.ids)
    np.testing.assert_array_equal(distances, expected.distances)
    np.testing.assert_array_equal(seconds, expected.seconds)
    assert frames == expected.frames


@pytest.mark.parametrize("mode", LIVE_MODES)
@pytest.mark.parametrize("frontend", FRONTENDS)
def test_a_stream_gives_the_tokens_of_the_whole(frontend, mode, tokenizer_of):
    tokenizer = tokenizer_of(frontend, mode)

    @settings(max_examples=12)
    @given(
        length=st.integers(0, 9000),
        rate=st.sampled_from([RATE, RATE, 1900, 8000]),
        cuts=st.lists(st.floats(0, 1), max_size=9),
    )
    def check(length, rate, cuts):
        samples = sound(length)
        blocks = np.split(samples, sorted(int(cut * length) for cut in cuts))
        check_stream(tokenizer, samples, blocks, rate)

    check()


@pytest.mark.parametrize("size", [1, 7, HOP, 333])
@pytest.mark.parametrize("frontend", ["mel", "wpt"])
def test_blocks_of_any_size(frontend, size, tokenizer_of):
    samples = sound(2500)
    check_stream(tokenizer_of(frontend), samples, np.split(samples, range(size, 2500, size)))


@pytest.mark.parametrize("plan", PLANS)
def test_a_stream_of_any_plan(plan, tokenizer_of):
    samples = sound(7777)
    check_stream(tokenizer_of(plan=plan), samples, np.split(samples, range(500, 7777, 500)))


class Narrow(NamedTuple):
    """A run whose distances depend on the width of the window, as on some machines."""

    run: Callable[[np.ndarray], Columns]
    changed: str

    def __call__(self, tiles):
        columns = self.run(tiles)
        values = getattr(columns, self.changed)
        return columns._replace(**{self.changed: values + (tiles.shape[2] % 3 == 0)})


@pytest.mark.parametrize("plan", PLANS)
def test_windows_of_one_shape_give_the_same_bits(plan, tokenizer_of, monkeypatch):
    """As where the width of a window changes bits; with a stream, it would."""
    tokenizer, samples = tokenizer_of(plan=plan), sound(7777)
    expected = tokenizer.encode(samples, sample_rate=RATE)
    monkeypatch.setitem(vars(tokenizer), "is_any_width", False)
    found = tokenizer.encode(samples, sample_rate=RATE)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-4, atol=1e-6)
    check_stream(tokenizer, samples, np.split(samples, range(500, 7777, 500)))


@pytest.mark.parametrize("any_width", [True, False])
def test_whole_windows_after_a_part_of_one(any_width, tokenizer_of):
    """As a live recording that falls behind; where width changes bits, ids alone are compared."""
    tokenizer = tokenizer_of()
    model = tokenizer.manifest.model
    frames = window_columns(model, any_width=any_width) * model.time_stride
    shape = (model.tile_size, 5 * frames)
    levels = np.random.default_rng(1).standard_normal(shape, np.float32)
    blocks = np.split(levels, [frames // 2], axis=1)

    def encoded(**options):
        own = encode_columns(blocks, tokenizer._run, model, any_width=any_width, **options)
        return Columns.joined(own)

    expected, found = encoded(), encoded(batch_size=2, eager=True)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("changed", ["ids", "distances"])
def test_bits_that_depend_on_the_width_are_found_out(changed, tokenizer_of):
    tokenizer = tokenizer_of(plan="full rate")
    run, model = tokenizer._run, tokenizer.manifest.model
    assert is_any_width(run, model) is tokenizer.is_any_width
    assert not is_any_width(Narrow(run, changed), model)


@pytest.mark.parametrize("plan", PLANS)
@given(length=st.integers(0, 30_000), batch=st.integers(1, 64), threads=st.sampled_from([1, 2]))
@settings(max_examples=10)
def test_batch_and_threads_change_no_bit(tokenizer_of, plan, length, batch, threads):
    samples = sound(length)
    expected = tokenizer_of(plan=plan).encode(samples, sample_rate=RATE)
    found = tokenizer_of(plan=plan, threads=threads).encode(
        samples, sample_rate=RATE, batch_size=batch
    )
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.distances, expected.distances)
    assert found.frames == expected.frames


@pytest.mark.parametrize("frontend", ["stft", "mel", "dwt", "wpt"])
@pytest.mark.parametrize("plan", ["divides", "ragged", "unequal"])
def test_tokens_come_as_soon_as_they_are_certain(frontend, plan, tokenizer_of):
    """A column is emitted with the first block that completes the sound it depends on."""
    tokenizer = tokenizer_of(frontend, plan=plan)
    block, heard, given_at = 10, [0], []

    def blocks():
        for piece in np.split(sound(6000), range(block, 6000, block)):
            heard[0] += len(piece)
            yield piece

    for part in tokenizer.stream(blocks(), sample_rate=RATE):
        given_at += [heard[0]] * len(part.ids)
    hop = tokenizer.manifest.model.time_stride * HOP
    needed = [column * hop + tokenizer.latency_seconds * RATE for column in range(len(given_at))]
    certain = [(at, need) for at, need in zip(given_at, needed, strict=True) if need <= 6000]
    assert len(certain) > 3
    assert all(need <= at < need + block for at, need in certain)


def test_a_recording_without_an_end_cannot_be_normalised_by_it(tokenizer_of):
    with pytest.raises(
        UserError, match="use encode, or a tokenizer trained with normalization corpus"
    ):
        tokenizer_of(mode="recording").stream([], sample_rate=RATE)


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.int16, 2**15), (np.int32, 2**31), (np.float64, 1.0)]
)
def test_integers_have_the_full_scale_of_their_type(dtype, scale, tokenizer_of):
    whole = (sound(3000) * 2**15).round() / 2**15
    expected = tokenizer_of().encode(whole.astype(np.float32), sample_rate=RATE)
    found = tokenizer_of().encode((whole * scale).astype(dtype), sample_rate=RATE)
    np.testing.assert_array_equal(found.distances, expected.distances)


@pytest.mark.parametrize("dtype", [bool, np.complex64, object])
def test_other_types_are_refused(dtype, tokenizer_of):
    with pytest.raises(UserError, match="samples must be integers or floats"):
        tokenizer_of().encode(np.zeros(9, dtype), sample_rate=RATE)


@pytest.mark.parametrize("batch", [0, -1, 1025])
def test_a_batch_out_of_bounds_is_refused(batch, tokenizer_of):
    with pytest.raises(UserError, match="batch_size must be a whole number from 1 to 1024"):
        tokenizer_of().encode(sound(100), sample_rate=RATE, batch_size=batch)
