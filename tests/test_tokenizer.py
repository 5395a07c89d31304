"""A recording in pieces has the ids of the whole recording."""

import io
import subprocess
import sys
import warnings
from itertools import islice, product

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import ulmo.encoding
from tests.bundles import run_graph
from tests.small_tokenizers import HOP, PLANS, RATE, WINDOW, sound
from ulmo.bundle.graph import decoder_graph
from ulmo.config import UserError
from ulmo.encoding import window_columns
from ulmo.preprocessing.frontends import build_frontend
from ulmo.preprocessing.inverse import invert
from ulmo.preprocessing.reading.audio import RefusedError
from ulmo.preprocessing.spectrogram import levels
from ulmo.preprocessing.stretches import whole
from ulmo.tokenizer import load_tokenizer

pytestmark = pytest.mark.filterwarnings(
    "ignore:over a third of the sound", "ignore:the sound is fainter"
)  # what is lost is not the matter here
FRONTENDS = ("stft", "mel", "cqt")
MODES = ("corpus", "recording", "tile")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch):
    monkeypatch.setattr(ulmo.encoding, "WINDOW_COLUMNS", WINDOW)


def normalized(values, mode):
    """A whole spectrogram (M, frames), normalised in the given mode."""
    size = {"tile": len(values), "recording": values.shape[1]}.get(mode)
    if size is None:
        return (values - np.float32(-45.5)) / np.float32(17.25)
    pieces = [values[:, first : first + size] for first in range(0, values.shape[1], size)]
    return np.concatenate(
        [
            (p - np.float32(p.mean(dtype=np.float64)))
            / np.float32(max(p.std(dtype=np.float64), 1.0))
            for p in pieces
        ],
        axis=1,
    )


def at_once(tokenizer, samples):
    """Ids and distances of the encoder for the whole spectrogram, padded with zeros."""
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    blocks = list(levels([samples], build_frontend(prep), prep))
    values = normalized(np.concatenate(blocks, axis=1), prep.normalization)
    columns, stride = -(-values.shape[1] // model.time_stride), model.time_stride
    padded = np.pad(values, ((0, 0), (0, (columns + 40) * stride - values.shape[1])))
    found = run_graph(tokenizer.bundle.encoder, padded[None, :, :, None])
    return [values[0, :columns] for values in found]


def lengths(tokenizer):
    """Lengths in samples near one frame, one column, one window and several windows."""
    stride = tokenizer.manifest.model.time_stride
    column, window = HOP * stride, HOP * stride * WINDOW
    around = (column, window, window + column, 2 * window, 5 * window + 7 * HOP)
    return sorted({1, HOP, HOP + 1, *(length + delta for length in around for delta in (-1, 0, 1))})


@pytest.mark.parametrize(
    "options",
    [*(dict(zip(("frontend", "mode"), each, strict=True)) for each in product(FRONTENDS, MODES))]
    + [{"plan": plan} for plan in PLANS],
    ids=lambda options: "-".join(options.values()),
)
def test_windows_give_the_ids_of_the_whole(options, tokenizer_of):
    tokenizer, seen = tokenizer_of(**options), set()
    for length in lengths(tokenizer):
        samples = sound(length)
        tokens = tokenizer.encode(samples, sample_rate=RATE)
        ids, distances = at_once(tokenizer, samples)
        np.testing.assert_array_equal(tokens.ids, ids, err_msg=f"{length} samples")
        np.testing.assert_allclose(tokens.distances, distances, rtol=1e-4, atol=1e-5)
        assert tokens.ids.dtype == np.int32
        assert tokens.distances.dtype == np.float32
        assert tokens.frames == -(-length // HOP)
        seen |= set(ids.reshape(-1))
    assert len(seen) > 4


def assert_same(tokens, expected):
    for field in ("ids", "distances", "edges_hz", "seconds"):
        np.testing.assert_array_equal(getattr(tokens, field), getattr(expected, field))
    assert (tokens.hop, tokens.frames) == (expected.hop, expected.frames)
    assert tokens.sample_rate == expected.sample_rate


@pytest.mark.parametrize("mode", [*MODES, "pcen", "level"])
def test_how_the_samples_come_is_without_effect(mode, tokenizer_of):
    tokenizer, samples = tokenizer_of(mode=mode), sound(9001)
    expected = tokenizer.encode(samples, sample_rate=RATE)

    @given(cuts=st.lists(st.integers(0, len(samples)), max_size=12))
    def check(cuts):
        blocks = np.split(samples, sorted(cuts))
        (columns,) = map(list, tokenizer.stretches(lambda: whole(blocks)))
        assert np.array_equal(np.concatenate([part.ids for part in columns]), expected.ids)
        found = np.concatenate([part.distances for part in columns])
        assert np.array_equal(found, expected.distances)

    check()


def test_columns_come_before_the_recording_ends(tokenizer_of):
    """A block of the front end has 256 frames, or 64 columns: 8 windows, the last without halo."""
    given_out = []

    def source():
        for block in np.split(sound(400 * HOP), 10):
            yield block
            given_out.append(None)

    tokenizer = tokenizer_of()
    (columns,) = islice(tokenizer.stretches(lambda: whole(source())), 1)
    window = window_columns(tokenizer.manifest.model, any_width=tokenizer.is_any_width)
    assert len(next(iter(columns)).ids) == window
    assert len(given_out) < 10


@pytest.mark.parametrize("window", [1, 3, 56, 1000])
def test_the_window_is_without_effect(window, tokenizer_of, monkeypatch):
    tokenizer, samples = tokenizer_of(), sound(9001)
    before, _ = tokenizer.manifest.model.time_context
    monkeypatch.setattr(ulmo.encoding, "WINDOW_COLUMNS", max(window, -(-before // 4)))
    tokens = tokenizer.encode(samples, sample_rate=RATE)
    np.testing.assert_array_equal(tokens.ids, at_once(tokenizer, samples)[0])


@pytest.fixture
def stereo(tmp_path):
    """A file of two channels at another rate, and its samples (n, 2)."""
    path = tmp_path / "x.wav"
    samples = np.stack([sound(6000), sound(7000)[1000:][::-1]], axis=1)
    soundfile.write(path, samples, 3000, subtype="FLOAT")
    return path, samples


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("channel", [None, 0, 1])
def test_a_file_gives_the_tokens_of_its_samples(channel, mode, stereo, tokenizer_of):
    path, samples = stereo
    mono = samples.mean(axis=1, dtype=np.float32) if channel is None else samples[:, channel]
    tokenizer = tokenizer_of(mode=mode)
    expected = tokenizer.encode(mono, sample_rate=3000)
    others = tokenizer.encode(path, channel=0 if channel else 1).ids
    assert (others != expected.ids).any()
    assert len(expected.ids) == 50  # 6000 samples of 3 kHz: 200 frames in columns of 4
    assert_same(tokenizer.encode(path, channel=channel), expected)
    assert_same(tokenizer.encode(str(path), channel=channel), expected)


def test_an_open_file_gives_the_tokens_of_the_file(stereo, tokenizer_of):
    """From the current position; also a pipe, which cannot seek."""
    path, _ = stereo
    expected = tokenizer_of().encode(path, channel=1)
    with path.open("rb") as file:
        assert_same(tokenizer_of().encode(file, channel=1), expected)
    held = io.BytesIO(b"before" + path.read_bytes())
    held.seek(6)
    assert_same(tokenizer_of().encode(held, channel=1), expected)
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        assert_same(tokenizer_of().encode(cat.stdout, channel=1), expected)


def test_a_device_that_is_not_there_is_one_line(tokenizer_of):
    with pytest.raises(UserError, match="has no cuda here: set device to cpu"):
        load_tokenizer(tokenizer_of().bundle.place, device="cuda")


@pytest.mark.parametrize("frontend", ["stft", "mel"])
def test_resynthesis_is_of_the_decoded_levels(frontend, tokenizer_of):
    tokenizer = tokenizer_of(frontend)
    tokens = tokenizer.encode(sound(4000), sample_rate=RATE)
    found = tokenizer.resynthesize(tokens, iterations=2)
    assert found.shape == (tokens.frames * HOP,)
    assert found.dtype == np.float32
    plane = np.concatenate(list(tokenizer.decode(tokens)[..., 0]), axis=1)[:, : tokens.frames]
    prep = tokenizer.manifest.prep
    expected = invert(plane, prep, tokenizer.manifest.normalization, iterations=2)
    np.testing.assert_array_equal(found, expected)


def test_a_channel_that_is_not_there_is_refused(stereo, tokenizer_of):
    with pytest.raises(RefusedError) as caught:
        tokenizer_of().encode(stereo[0], channel=2)
    assert caught.value.reason == "no_channel"
    with pytest.raises(UserError, match="a whole number from 0 to 1023, or None, not -1"):
        tokenizer_of().encode(stereo[0], channel=-1)


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty_file"), (b"no sound", "not_audio"), (None, "unreadable")]
)
def test_a_file_that_cannot_be_read_is_refused(content, reason, tokenizer_of, tmp_path):
    if content is not None:
        (tmp_path / "x.wav").write_bytes(content)
        with pytest.raises(RefusedError):
            tokenizer_of().encode(io.BytesIO(content))
    with pytest.raises(RefusedError) as caught:
        tokenizer_of().encode(tmp_path / "x.wav")
    assert caught.value.reason == reason


def test_samples_that_are_no_numbers_become_0_as_in_a_file(tokenizer_of, tmp_path):
    clean, dirty = sound(3000), sound(3000)
    clean[[5, 1000, 1001]], dirty[[5, 1000, 1001]] = 0, (np.nan, np.inf, -1e30)
    soundfile.write(tmp_path / "x.wav", dirty, RATE, subtype="FLOAT")
    expected = tokenizer_of().encode(clean, sample_rate=RATE)
    assert_same(tokenizer_of().encode(dirty, sample_rate=RATE), expected)
    assert_same(tokenizer_of().encode(tmp_path / "x.wav"), expected)


@pytest.mark.parametrize("samples", [np.zeros((4, 2, 1)), np.float32(0)])
def test_samples_of_another_shape_are_refused(samples, tokenizer_of):
    with pytest.raises(UserError, match=r"the shape \(n,\) or \(n, channels\), not \("):
        tokenizer_of().encode(samples, sample_rate=RATE)


@pytest.mark.parametrize("rate", [None, 0, -8000, 99, 4_000_001])
def test_samples_without_a_rate_are_refused(rate, tokenizer_of):
    with pytest.raises(
        UserError, match=r"pass sample_rate=|sample_rate must be a whole number of hertz"
    ):
        tokenizer_of().encode(sound(100), sample_rate=rate)


@pytest.mark.parametrize("plan", ["divides", "unequal"])
def test_clock_and_bands(plan, tokenizer_of):
    tokenizer = tokenizer_of(plan=plan)
    model = tokenizer.manifest.model
    tokens = tokenizer.encode(sound(4001), sample_rate=RATE)
    assert tokens.frames == 201
    assert (tokens.sample_rate, tokens.hop) == (RATE, HOP * model.time_stride)
    columns = -(-201 // model.time_stride)
    assert tokens.ids.shape == tokens.distances.shape == (columns, model.bands)
    seconds = [i * HOP * model.time_stride / RATE for i in range(columns)]
    assert tokens.seconds.tolist() == seconds
    width = RATE / (2 * model.tile_size)
    first = np.arange(model.bands) * model.frequency_stride
    last = np.minimum(first + model.frequency_stride, model.tile_size)
    np.testing.assert_allclose(
        tokens.hertz, (np.stack([first, last], axis=1) + 0.5) * width, rtol=1e-12
    )


@pytest.mark.parametrize("mode", MODES)
def test_nothing_gives_no_tokens_and_no_tiles(mode, tokenizer_of):
    tokenizer = tokenizer_of(mode=mode)
    tokens = tokenizer.encode(np.empty(0), sample_rate=RATE)
    assert tokens.ids.shape == tokens.distances.shape == (0, 4)
    assert (tokens.ids.dtype, tokens.frames, len(tokens.seconds)) == (np.int32, 0, 0)
    assert tokenizer.decode(tokens).shape == (0, 32, 32, 1)


@pytest.mark.parametrize("plan", PLANS)
def test_decode_gives_the_tiles_of_the_decoder_at_once(plan, tokenizer_of):
    tokenizer = tokenizer_of(plan=plan)
    model, size = tokenizer.manifest.model, tokenizer.manifest.prep.tile_size
    graph = decoder_graph(model, tokenizer.bundle.weights()).to_bytes()
    for length in lengths(tokenizer):
        tokens = tokenizer.encode(sound(length), sample_rate=RATE)
        ((plane,),) = run_graph(graph, tokens.ids[None])
        tiles = tokenizer.decode(tokens)
        assert tiles.shape == (-(-tokens.frames // size), size, size, 1)
        assert tiles.dtype == np.float32
        joined = np.concatenate(list(tiles[..., 0]), axis=1)
        assert not joined[:, tokens.frames :].any()
        np.testing.assert_allclose(
            joined[:, : tokens.frames], plane[:, : tokens.frames, 0], rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("plan", ["default", "ragged", "unequal"])
def test_tiles_by_themselves_are_encoded_as_recordings_of_their_length(plan, tokenizer_of):
    tokenizer = tokenizer_of(plan=plan)
    model, size = tokenizer.manifest.model, tokenizer.manifest.prep.tile_size
    tiles = np.random.default_rng(1).normal(size=(3, size, size, 1)).astype(np.float32)
    valid = np.array([size, size // 2 + 1, 1], np.int32)
    found = tokenizer.encode_tiles(tiles, valid)
    assert found.ids.shape == found.distances.shape == (3, model.columns, model.bands)
    for tile, frames, ids in zip(tiles, valid, found.ids, strict=True):
        padded = np.zeros((1, size, model.columns * model.time_stride, 1), np.float32)
        padded[0, :, :frames] = tile[:, :frames]
        np.testing.assert_array_equal(ids, run_graph(tokenizer.bundle.encoder, padded)[0][0])


@pytest.mark.parametrize("plan", ["divides", "ragged", "one layer"])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_short_recording_has_the_ids_of_its_tile(plan, share, tokenizer_of):
    tokenizer = tokenizer_of(plan=plan)
    prep, model = tokenizer.manifest.prep, tokenizer.manifest.model
    after = -(-model.time_context[1] // model.time_stride)
    columns = max(1, round(share * (model.columns - after)))
    samples = sound(columns * model.time_stride * HOP - 3)
    found = tokenizer.encode(samples, sample_rate=RATE)
    blocks = list(levels([samples], build_frontend(prep), prep))
    values = normalized(np.concatenate(blocks, axis=1), prep.normalization)
    tile = np.full((1, prep.tile_size, prep.tile_size, 1), 9, np.float32)
    tile[0, :, : found.frames, 0] = values
    alone = tokenizer.encode_tiles(tile, np.array([found.frames], np.int32))
    assert len(found.ids) + after <= model.columns
    np.testing.assert_array_equal(found.ids, alone.ids[0, : len(found.ids)])


@pytest.mark.parametrize("wrong", [-1, 17, 2**31 - 1])
def test_ids_that_are_no_codes_cannot_be_decoded(wrong, tokenizer_of):
    ids = np.zeros((1, 5, 4), np.int32)
    assert tokenizer_of().decode_ids(ids).shape == (1, 32, 20, 1)
    for kind in (np.int64, np.uint16):  # whole numbers of any type
        same = tokenizer_of().decode_ids(ids.astype(kind))
        np.testing.assert_array_equal(same, tokenizer_of().decode_ids(ids))
    assert tokenizer_of().decode_ids(ids[:0]).shape == (0, 32, 20, 1)
    ids[0, 3, 2] = wrong
    with pytest.raises(UserError, match=r"only ids 0 to 15 and <unk> \(16\) can be decoded"):
        tokenizer_of().decode_ids(ids)


def test_a_bundle_that_changes_after_it_was_read_changes_nothing(
    tokenizer_of, make_bundle, tmp_path
):
    prep = tokenizer_of().manifest.prep
    folder = make_bundle(tmp_path / "tokenizer", prep)
    tokenizer, ids = load_tokenizer(folder), np.zeros((1, 2, 2), np.int32)
    expected = load_tokenizer(folder).decode_ids(ids)
    make_bundle(folder, prep, seed=1)
    np.testing.assert_array_equal(tokenizer.decode_ids(ids), expected)
    assert not np.array_equal(load_tokenizer(folder).decode_ids(ids), expected)


SCRIPT = """
import sys
import warnings
import numpy as np
import ulmo
tokenizer = ulmo.load_tokenizer(sys.argv[1])
tokens = tokenizer.encode(np.ones(4000, np.float32), sample_rate=8000)
tokenizer.decode(tokens)
print(sorted({name.split(".")[0] for name in sys.modules} & set(sys.argv[2:])))
"""


def test_no_framework_is_loaded(tokenizer_of):
    heavy = ("tensorflow", "keras", "librosa", "sklearn", "matplotlib", "torch", "jax")
    command = [sys.executable, "-c", SCRIPT, str(tokenizer_of().bundle.place), *heavy]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("faint", [True, False])
def test_sound_that_fades_to_silence_is_warned_of(faint):
    """16-bit values in 32-bit integers have the full scale of 32 bits: they are 96 dB too quiet."""
    values = np.random.default_rng(4).normal(0, 3000, RATE).astype(np.int16)
    samples = values.astype(np.int32) if faint else values
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        load_tokenizer().encode(samples, sample_rate=16000)
        load_tokenizer().encode(np.zeros(16000, np.float32), sample_rate=16000)
    assert ["Pass 16-bit integers as int16" in str(one.message) for one in caught] == [True] * faint
