"""Whatever a caller passes as sound is read, or refused in one line that says what to pass."""

import array
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import PrepSettings, UserError
from ulmo.preprocessing.arrays import read_blocks, read_source

RATE = 8000
SOUND = np.random.default_rng(8).normal(0, 0.1, 4000).clip(-0.9, 0.9).astype(np.float32)
OTHER = SOUND[::-1].copy()
BOTH = np.stack([SOUND, OTHER], axis=1)
INT16 = np.round(SOUND * 32768).astype(np.int16)


PREP = PrepSettings(sample_rate=RATE)


def read(samples, full_scale=None, **options):
    """The samples (n,) that are read of one block, or of a list of blocks."""
    blocks = samples if isinstance(samples, list) else [samples]
    found = list(read_blocks(blocks, RATE, PREP.with_sound(None, full_scale), **options))
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in found)
    return np.concatenate([np.empty(0, np.float32), *found])


class Tensor:
    """An array of a framework: nothing but `__array__`."""

    def __init__(self, values, error=None):
        self.values, self.error = values, error

    def __array__(self, dtype=None, copy=None):
        if self.error:
            raise self.error
        return np.asarray(self.values)


class Decoded(NamedTuple):
    """Samples as torchcodec gives them, (channels, n)."""

    data: Tensor
    sample_rate: int


class Decoder:
    """As torchcodec's AudioDecoder."""

    def get_all_samples(self):
        return Decoded(Tensor(BOTH.T), RATE)


KEPT = {
    "float32": (SOUND, SOUND),
    "float64": (SOUND.astype(np.float64), SOUND),
    "float16": (SOUND.astype(np.float16), SOUND.astype(np.float16).astype(np.float32)),
    "big-endian": (SOUND.astype(">f4"), SOUND),
    "int16": (INT16, INT16 / 32768),
    "int8": (np.array([-128, 0, 64], np.int8), [-1, 0, 0.5]),
    "int32": (np.array([-(2**31), 0, 2**30], np.int32), [-1, 0, 0.5]),
    "uint8, as in WAV": (np.array([0, 128, 192], np.uint8), [-1, 0, 0.5]),
    "a list": ([SOUND.tolist()], SOUND),
    "one sample": (SOUND[:1], SOUND[:1]),
    "blocks of two channels": ([BOTH[:1000], BOTH[1000:1000], BOTH[1000:]], (SOUND + OTHER) / 2),
    "one channel as a column": (SOUND[:, None], SOUND),
    "the last frame of many channels": ([np.ones((40, 32)), np.ones((1, 32))], np.ones(41)),
    "a few frames of a few channels": (np.ones((2, 8)), [1, 1]),
    "no samples": (np.empty(0), []),
    "no samples of int64": (np.empty((0, 2), np.int64), []),
    "no blocks": ([], []),
    "NaN and damage": (np.array([0.5, np.nan, np.inf, 1e30, 1e300, -0.5]), [0.5, 0, 0, 0, 0, -0.5]),
    "30 dB over full scale": (np.array([31.0, -31.0]), [31, -31]),
}
REFUSED = {
    "int64 of int16 values": (
        INT16.astype(np.int64),
        "int64 has no known full scale.*int16",
    ),
    "a list of integers": (
        [[1, 2, 3]],
        "a list of integers .* pass np.array",
    ),
    "uint16": (INT16.view(np.uint16), "uint16 has no known full scale"),
    "float of int16 values": (INT16.astype(np.float32), r"these reach 1\.\d+e\+04: pass integers"),
    "float of int32 values": (SOUND * np.float32(2**31), "full_scale="),
    "a few of which are damage": (np.append(np.full(9, 1e3), 1e30), "full scale 1"),
    "mostly damage": (np.append(np.full(9, 1e9), 0.1), "full scale 1"),
    "bool": (SOUND > 0, "not bool: pass a path"),
    "complex": (SOUND.astype(complex), "not complex128"),
    "objects": (np.array([None, 1.0]), "not object"),
    "text": (np.array(["a.wav"]), "not <U5"),
    "(channels, n)": (BOTH.T, r"\(2, 4000\) are 4000 channels.*samples\.T"),
    "(1, n)": (SOUND[None], r"samples\.T"),
    "a first block of few samples": (
        [np.ones((4, 32)), np.ones((40, 32))],
        r"samples\.T; if not, begin with at least 32 samples of each channel",
    ),
    "too many channels": (np.zeros((2000, 1025)), "1 to 1024 channels, not 1025"),
    "no channels": (np.zeros((7, 0)), "1 to 1024 channels, not 0"),
    "three axes": (np.zeros((1, 2, 5)), r"\(n,\) or \(n, channels\), not \(1, 2, 5\)"),
    "a number": (np.float32(0), r"not \(\)"),
    "other channels later": ([BOTH, SOUND], "1 channels after blocks of 2"),
    "ragged": ([[[1.0], [1.0, 2.0]]], "list is no array of numbers"),
}


@pytest.mark.parametrize("name", KEPT)
def test_samples_that_are_read(name):
    samples, expected = KEPT[name]
    np.testing.assert_array_equal(read(samples), np.asarray(expected, np.float32))


@pytest.mark.parametrize("name", REFUSED)
def test_samples_that_are_refused(name):
    samples, words = REFUSED[name]
    with pytest.raises(UserError, match=words) as caught:
        read(samples)
    assert "\n" not in str(caught.value)


@given(st.sampled_from([np.int8, np.int16, np.int32, np.float32, np.float64]), st.integers(1, 5))
def test_integers_and_floats_of_one_sound_agree(kind, channels):
    columns = np.stack([np.roll(SOUND[:500], 7 * number) for number in range(channels)], axis=1)
    scale = -float(np.iinfo(kind).min) if np.issubdtype(kind, np.integer) else 1.0
    given_ = np.round(columns * scale).astype(kind) if scale > 1 else columns.astype(kind)
    np.testing.assert_allclose(read(given_), columns.mean(axis=1), atol=1 / scale + 1e-6)


def test_one_channel():
    np.testing.assert_array_equal(read(BOTH, channel=1), OTHER)
    with pytest.raises(UserError, match="no channel 2: 2 channels, counted from 0"):
        read(BOTH, channel=2)
    with pytest.raises(UserError, match="not -1"):
        read(BOTH, channel=-1)


def test_full_scale_divides_floats_alone():
    np.testing.assert_allclose(read(1e8 * SOUND, full_scale=1e8), SOUND, rtol=1e-6)
    np.testing.assert_array_equal(read(INT16, full_scale=1e8), INT16 / np.float32(32768))
    with pytest.raises(UserError, match="reach"):
        read(1e8 * SOUND, full_scale=10)


@pytest.mark.parametrize("blocks", [SOUND, BOTH, "x.wav", b"RIFF", {"array": SOUND}, None, 7])
def test_what_is_no_series_of_blocks(blocks):
    with pytest.raises(UserError, match="encode takes whole arrays and files"):
        read_blocks(blocks, RATE, PREP)


SOURCES = {
    "a list": (SOUND.tolist(), SOUND),
    "a tuple": (tuple(SOUND.tolist()), SOUND),
    "array.array": (array.array("f", SOUND.tolist()), SOUND),
    "a view of numbers": (memoryview(SOUND), SOUND),
    "a tensor": (Tensor(BOTH), BOTH),
    "an array of Hugging Face": ({"array": SOUND, "sampling_rate": RATE, "path": None}, SOUND),
    "its list": ({"array": SOUND.tolist(), "sampling_rate": RATE}, SOUND),
    "its channels": ({"array": BOTH.T, "sampling_rate": RATE}, BOTH),
    "a decoder of torchcodec": (Decoder(), BOTH),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_of_samples(name):
    source, expected = SOURCES[name]
    found = read_source(source, RATE)
    assert found.sample_rate == RATE
    np.testing.assert_array_equal(found.source, np.asarray(expected))


@pytest.mark.parametrize("path", ["x.wav", Path("x.wav"), {"path": "x.wav", "bytes": None}])
def test_paths(path):
    assert read_source(path) == (Path("x.wav"), None)


@pytest.mark.parametrize(
    "source", [b"RIFF", bytearray(b"RIFF"), memoryview(b"RIFF"), {"bytes": b"RIFF", "path": "x"}]
)
def test_bytes_are_those_of_a_file(source):
    assert read_source(source).source.read() == b"RIFF"


def test_an_open_file_is_taken_as_it_is():
    file = io.BytesIO(b"RIFF")
    assert read_source(file).source is file


def sound_file():
    memory = io.BytesIO()
    soundfile.write(memory, SOUND, RATE, format="WAV")
    memory.seek(0)
    return soundfile.SoundFile(memory)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "NoneType is no sound: pass a path, an open binary file"),
        (7, "int is no sound"),
        (object(), "object is no sound"),
        ((block for block in [SOUND]), "generator is no sound"),
        (io.StringIO("x"), 'open it with "rb"'),
        (sound_file(), r"pass its path, sound\.name"),
        ({}, r"this one has \[\]"),
        ({"audio": SOUND}, r"this one has \['audio'\]"),
        ({"array": SOUND, "sampling_rate": 16000}, "at 16000 Hz: leave out sample_rate=8000"),
        (Tensor(SOUND, TypeError("it is on the GPU")), r"on the GPU.*detach\(\)\.cpu\(\)"),
        (Tensor(SOUND, RuntimeError("it requires\ngrad")), r"requires\)"),
    ],
)
def test_what_is_no_source(source, words):
    with pytest.raises(UserError, match=words) as caught:
        read_source(source, RATE)
    assert "\n" not in str(caught.value)
