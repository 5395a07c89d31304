"""Whatever names of recordings prep and tokenize accept, verify finds no fault in the output."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.pipelines.recordings import TINY, contents
from tests.pipelines.test_odd_names import ODD, fill
from tests.pipelines.tokenizing import join, tokenize
from ulmo.formats.header import read_stored
from ulmo.formats.read import read_corpus
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.verify.token_ledgers import _Found
from ulmo.pipelines.verify.verify import verify

SOME = ODD[3::4]
MORE = [
    *(b"x.ch1.wav", b"x.tokens.wav", b"x.tokens.npy.wav", b"x.vocabulary.wav", b"tokenize.wav"),
    *(b"recordings.parquet.wav", b"x.tokenize.json.wav", b"prep.json.wav"),
    *(b"cr\r.wav", b"\r\n.wav", b"=1+1.wav", b"'.wav", b" .wav", b"[" * 200 + b".wav"),
    *("\u2028.wav".encode(), "\x85.wav".encode(), b"\xed\xa0\x80.wav", b"\xff" * 180 + b".wav"),
    *(b"n" * 251 + b".wav", b"n" * 243 + b".wav"),
    *(b"a.tokens.npy/x.wav", b"x.parts/y.wav", b"tokens/x.wav", b"token_headers/tokens/x.wav"),
    *(
        b"a/tokens/x.wav",
        b"a/token_headers/x.wav",
        b"a/tokens/tokens/\xe9.wav",
        b"checkpoints/x.wav",
    ),
    *(b"tiles/x.wav", b"README.md/x.wav", b"tokenize.json/x.wav", b"caf\xe9/caf\xe9.wav"),
]
HIDDEN = [
    *(b".x.wav", b".lock.wav", b".x.tokens.npy.12.tmp.wav", b"._x.wav", b".tokenize.wav", b"..wav")
]
NAMES = st.lists(st.sampled_from([*b"\\x.4 \r\n\t=-'\"\xe9\xc3\xa9~[t"]), min_size=1, max_size=12)
TREES = st.sets(NAMES.map(lambda name: bytes(name).lstrip(b".") or b"x"), min_size=1, max_size=4)


def assert_well(place, files=None):
    """verify finds nothing, and --repair changes nothing."""
    before = contents(place) if place.is_dir() else place.read_bytes()
    assert verify(place).faults == []
    found = verify(place, repair=True)
    assert (found.faults, found.mended) == ([], [])
    assert (contents(place) if place.is_dir() else place.read_bytes()) == before
    if files is not None:
        assert found.counts["files"] == files


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / os.fsdecode(b"caf\xe9")
    return fill(folder, *map(os.fsdecode, [*SOME, *MORE]))


@pytest.fixture(scope="module")
def made(odd, tokenizer_of, tmp_path_factory):
    """Tokens of all, and their number."""
    out = tmp_path_factory.mktemp("tokens") / os.fsdecode(b"\xe9")
    results = tokenize(tokenizer_of(), odd, out=out)
    return out, sum(len(result.outputs) for result in results)


def test_tiles_of_odd_names(odd, tmp_path):
    prepare(odd, tmp_path / os.fsdecode(b"\xe9"), TINY)
    assert_well(tmp_path / os.fsdecode(b"\xe9"))


def test_tokens_of_odd_names(made):
    out, count = made
    assert count == len(SOME) + len(MORE) - 1  # a name is too long with its ending
    assert_well(out, files=count)


@pytest.mark.parametrize("file_format", ["csv", "parquet", "megatron", "raven"])
def test_tokens_of_odd_names_in_other_formats(file_format, tmp_path, tokenizer):
    names = [b"cr\r.wav", b"=.wav", b"\xe9/\xe9.wav", b"a/tokens/x.wav", b"a/token_headers/x.wav"]
    audio, out = fill(tmp_path / "audio", *map(os.fsdecode, names)), tmp_path / os.fsdecode(b"\xff")
    tokenize(tokenizer, audio, out=out, file_format=file_format)
    assert_well(out, files=len(names) * (2 if file_format == "megatron" else 1))
    again = tokenize(tokenizer, audio, out=out, file_format=file_format)
    assert all(result.reused for result in again)


def test_tokens_of_hidden_files_that_were_given(tmp_path, tokenizer):
    """Beside them, what other programs hide is no output: among tokens it is named."""
    paths = [fill(tmp_path / "audio", os.fsdecode(name)) / os.fsdecode(name) for name in HIDDEN]
    paths.append(fill(tmp_path / "audio", "a.wav") / "a.wav")
    tokenize(tokenizer, *paths, out=tmp_path / "out", channels="each")
    (tmp_path / "out" / "token_headers" / "._a.tokens.json").write_bytes(b"\0\5\x16\7")
    assert_well(tmp_path / "out", files=len(paths))
    (tmp_path / "out" / "tokens" / "._a.tokens.npy").write_bytes(b"\0\5\x16\7 a Mac's")
    assert len(list(read_corpus(tmp_path / "out"))) == len(paths)
    assert [fault.path for fault in verify(tmp_path / "out").faults] == ["tokens/._a.tokens.npy"]
    (tmp_path / "out" / "tokens" / "._a.tokens.npy").unlink()
    (tmp_path / "out" / "tokens" / ".x.tokens.npy").unlink()
    assert [fault.path for fault in verify(tmp_path / "out").faults] == ["tokens/.x.tokens.npy"]


def test_tokens_beside_odd_names_and_each_file_alone(tmp_path, tokenizer):
    audio = fill(tmp_path / "audio", *map(os.fsdecode, [*MORE[:12], *HIDDEN]))
    tokenize(tokenizer, audio)
    assert_well(audio)
    for path in audio.rglob("*.tokens.npy"):
        if path.is_file():
            assert_well(path, files=1)


def test_a_folder_of_headers_among_recordings_takes_no_header(tmp_path, tokenizer):
    """Whichever recording comes first, and in a copy without a manifest, too."""
    audio = fill(tmp_path / "audio", "tokens/x.wav", "token_headers/x.wav")
    out = tmp_path / "tokens" / "out"
    tokenize(tokenizer, audio, out=out)
    tokenize(tokenizer, fill(audio, "token_headers/y.wav"), out=tmp_path / "other")
    assert sorted(path.name for path in out.iterdir()) == [
        *("recordings.parquet", "token_headers", "tokenize.json", "tokens")
    ]
    assert (out / "token_headers" / "tokens" / "x.tokens.json").is_file()
    for name in ("tokenize.json", "recordings.parquet"):
        (out / name).unlink()
    for path in (out / "tokens").rglob("*.npy"):
        assert len(list(read_corpus(path))) == 1


def test_timelines_of_odd_names(tmp_path, tokenizer):
    names = [b"[" * 200 + b"_20230501_000000.wav", b"caf\xe9_20230501_000100.wav"]
    audio = fill(tmp_path / "audio", *map(os.fsdecode, names))
    for name in (b"caf\xe9.npy", b".x.npy", b"cr\r.parquet", b"=.csv"):
        out = tmp_path / "out" / os.fsdecode(name)
        join(tokenizer, audio, out=out, file_format=out.suffix[1:])
        assert len(read_stored(out.with_suffix(".json")).header.segments) == 2
    assert_well(tmp_path / "out", files=4)


def test_corpora_of_odd_names(made, tmp_path):
    out, _ = made
    for name in (b"caf\xe9.csv", b"\xff.parquet"):
        corpus = tmp_path / os.fsdecode(name)
        convert([out], corpus, corpus.suffix[1:], partial=True, done=lambda _: None)
    assert_well(tmp_path, files=2)


PATHS = st.lists(st.sampled_from(["a", "a b", "a.b", "a0", "tokens", "\udcff", "é"]), min_size=1)


@given(names=st.sets(PATHS.map(lambda parts: Path(*parts))), folder=PATHS)
def test_files_below_a_folder(names, folder):
    folder = Path(*folder)
    expected = {name for name in names if folder in name.parents}
    found = _Found.of(names, []).below(folder)
    assert set(found) == expected
    assert len(found) == len(expected)


@settings(max_examples=3)
@given(names=TREES)
@example(names={b"\\x41", b"A", b"\xe9", b"\\xe9"})
def test_any_names(names, tmp_path_factory, tokenizer):
    folder = tmp_path_factory.getbasetemp() / "any"
    shutil.rmtree(folder, ignore_errors=True)
    fill(folder / "audio", *(os.fsdecode(name + b".wav") for name in names))
    prepare(folder / "audio", folder / "tiles", TINY)
    assert_well(folder / "tiles")
    tokenize(tokenizer, folder / "audio", out=folder / "tokens", file_format="csv")
    assert_well(folder / "tokens", files=len(names))
