"""Arguments of Python functions: another type, or out of bounds, is refused in one line."""

from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import ulmo
from ulmo.config import UserError
from ulmo.config.arguments import one_of, path_argument, whole_number, whole_number_or_none
from ulmo.tokenizer import load_tokenizer

SOUND = np.random.default_rng(0).normal(0, 0.1, (4000, 2)).astype(np.float32)
FILE = Path(__file__).parents[1] / "data_samples" / "whistles.wav"


@pytest.fixture(scope="module")
def calls(tokenizer_of):
    """Every public function that takes more than settings, by name; each takes one argument."""
    tokenizer = tokenizer_of()
    tokens = tokenizer.encode(SOUND, sample_rate=2000)
    size = tokenizer.manifest.prep.tile_size
    tiles = np.zeros((2, size, size, 1), np.float32)
    return {
        "load_tokenizer": lambda **given: load_tokenizer(tokenizer.bundle.place, **given),
        "path": load_tokenizer,
        "encode": lambda **given: tokenizer.encode(SOUND, **{"sample_rate": 2000, **given}),
        "file": lambda **given: tokenizer.encode(FILE, **given),
        "stream": lambda **given: list(tokenizer.stream([SOUND], **{"sample_rate": 2000, **given})),
        "decode": tokenizer.decode,
        "decode_ids": tokenizer.decode_ids,
        "resynthesize": lambda **given: tokenizer.resynthesize(tokens, **given),
        "encode_tiles": lambda **given: tokenizer.encode_tiles(
            **{"tiles": tiles, "valid_frames": np.array([1, 2]), **given}
        ),
        "preprocess": lambda **given: ulmo.preprocess(SOUND, **{"sample_rate": 2000, **given}),
        "read_tokens": ulmo.read_tokens,
        "read_corpus": lambda path: list(ulmo.read_corpus(path)),
    }


WRONG = [
    ("load_tokenizer", "threads", [-1, 1025, 1.5, "2", True, None]),
    ("load_tokenizer", "device", ["tpu", None, 3]),
    ("load_tokenizer", "unk_quantile", ["0.9", 0.5, float("nan"), True, [0.9]]),
    ("load_tokenizer", "max_gigabytes", [0, -1, "many", float("inf")]),
    ("load_tokenizer", "max_gigaops", [0, float("nan"), [1]]),
    ("path", None, [3, 1.5, True, ["x"], "s3://bucket/bundle"]),
    ("encode", "channel", ["0", -1, 1.0, True, 1024, 2, "mix"]),
    ("encode", "batch_size", [1.5, "2", 0, 1025, True, None]),
    ("encode", "sample_rate", [2000.5, "2000", True, -1, float("inf")]),
    ("encode", "time_expansion", ["x", 0, float("nan"), [1]]),
    ("encode", "full_scale", ["x", 0, -1]),
    ("file", "channel", ["0", -1, 0.0, False, 10**30]),
    ("stream", "channel", ["0", -1, 1.0]),
    ("stream", "start_utc", ["now", 0]),
    ("decode", None, [3, None, SOUND]),
    ("decode_ids", None, [[[[0.5]]], [[1]], np.zeros((1, 2, 99), int), None, "0"]),
    ("resynthesize", "iterations", [-1, 1.5, "8", 10**9]),
    ("resynthesize", "normalization", ["corpus", 1]),
    ("encode_tiles", "tiles", [np.zeros((2, 3, 3, 1)), np.zeros(5)]),
    ("encode_tiles", "valid_frames", [np.array([1]), 3]),
    ("preprocess", "settings", [{}, "mel", 0]),
    ("preprocess", "normalization", [{}, 0]),
    ("preprocess", "max_gigabytes", [0]),
    ("read_tokens", None, [3, None, 1.5, "https://x.org/x.tokens.npy"]),
    ("read_corpus", None, [3, None]),
]


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [(function, name, value) for function, name, values in WRONG for value in values],
)
def test_it_is_refused_in_one_line(function, name, value, calls):
    with pytest.raises(UserError) as refused:
        calls[function](**{name: value}) if name else calls[function](value)
    line = str(refused.value)
    assert line.isprintable()
    assert len(line) < 300


def test_a_masked_array_is_not_read_as_if_it_had_no_mask(tokenizer_of):
    tokenizer = tokenizer_of()
    masked = np.ma.masked_array(SOUND[:, 0], mask=np.arange(4000) < 100)
    with pytest.raises(UserError, match=r"100 samples are masked.*samples\.filled\(0\)"):
        tokenizer.encode(masked, sample_rate=2000)
    with pytest.raises(UserError, match="4000 samples are masked"):
        list(tokenizer.stream([np.ma.masked_all(4000, np.float32)], sample_rate=2000))
    whole = np.ma.masked_array(SOUND[:, 0], mask=False)
    expected = tokenizer.encode(SOUND[:, 0], sample_rate=2000)
    np.testing.assert_array_equal(tokenizer.encode(whole, sample_rate=2000).ids, expected.ids)
    filled = tokenizer.encode(masked.filled(0), sample_rate=2000)
    assert filled.ids.shape == expected.ids.shape


def test_numbers_of_numpy_are_numbers(tokenizer_of):
    tokenizer = tokenizer_of()
    expected = tokenizer.encode(SOUND, sample_rate=2000, channel=1, batch_size=2)
    found = tokenizer.encode(
        SOUND, sample_rate=np.int64(2000), channel=np.uint8(1), batch_size=np.int32(2)
    )
    np.testing.assert_array_equal(found.ids, expected.ids)
    folder = tokenizer.bundle.place
    opened = load_tokenizer(str(folder), threads=np.int64(1), unk_quantile=np.float64(0.95))
    assert opened.unk_quantile == 0.95
    assert list(tokenizer.stream([SOUND], sample_rate=2000, start_utc=datetime(2020, 1, 1)))


def test_what_is_allowed_is_said():
    with pytest.raises(UserError, match=r"^n must be a whole number from 1 to 9, not 1\.0$"):
        whole_number("n", 1.0, least=1, most=9)
    with pytest.raises(UserError, match=r"^n must be a whole number from 1 to 9, or None, not '1'"):
        whole_number_or_none("n", "1", least=1, most=9)
    with pytest.raises(UserError, match=r"^n must be one of a, b, not 'c'$"):
        one_of("n", "c", ("a", "b"))
    with pytest.raises(UserError, match=r"^p must be a path: a text or a pathlib.Path, not 1$"):
        path_argument("p", 1)
    with pytest.raises(UserError, match=r"^s3://… is an address, and ulmo works"):
        path_argument("p", "s3://me:secret@b/x y.wav")
    assert path_argument("p", "./s3://b") == Path("s3:/b")
    assert path_argument("p", b"x\xff").name.encode(errors="surrogateescape") == b"x\xff"
    assert one_of("n", Fraction(1, 2), (0.25, 0.5)) == 0.5
