"""`<unk>` of a tokenizer that knows vowels: foreign sound has more of it, by every way the same."""

from datetime import UTC, datetime

import numpy as np
import pytest
import soundfile

from tests.oracles import rate_of_unk
from tests.pipelines.tokenizing import join, tokenize
from tests.test_golden import BUNDLE, SAMPLES
from ulmo.bundle.bundle import build_bundle, read_bundle, write_bundle
from ulmo.bundle.unk import UNK_QUANTILES
from ulmo.config import UserError
from ulmo.evaluation.unk import unk_thresholds
from ulmo.formats import FORMATS
from ulmo.formats.header import read_stored
from ulmo.formats.places import header_path
from ulmo.formats.publish import output_paths
from ulmo.formats.read import read_corpus
from ulmo.pipelines.convert.convert import convert
from ulmo.tokenizer import load_tokenizer

KNOWN = SAMPLES / "speech" / "vowels.wav"
FOREIGN = [SAMPLES / name for name in ("harmonic_calls.wav", "noise_bursts.wav", "whistles.wav")]
READ = [name for name, kind in FORMATS.items() if kind.readable]
LEVEL = 0.95


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The golden tokenizer, its thresholds those of the vowels."""
    plain = load_tokenizer(BUNDLE, threads=1)
    tokens, manifest = plain.encode(KNOWN), plain.manifest
    built = build_bundle(
        prep=manifest.prep,
        normalization=manifest.normalization,
        model=manifest.model,
        weights=read_bundle(BUNDLE).weights(),
        thresholds=unk_thresholds(
            tokens.ids.ravel(),
            tokens.distances.ravel(),
            manifest.model.codebook_size,
            UNK_QUANTILES,
        ),
        card=manifest.card,
    )
    place = tmp_path_factory.mktemp("vowels") / "tokenizer"
    write_bundle(place, built)
    return place


@pytest.fixture(scope="module")
def tokenizer(folder):
    return load_tokenizer(folder, threads=1, unk_quantile=LEVEL)


def rate(tokenizer, path):
    return rate_of_unk(tokenizer.encode(path).ids, tokenizer.manifest.model.codebook_size)


@pytest.mark.parametrize("level", UNK_QUANTILES)
def test_the_rate_is_the_levels_on_what_is_known_and_higher_on_what_is_not(level, folder):
    tokenizer = load_tokenizer(folder, threads=1, unk_quantile=level)
    ids = load_tokenizer(folder, threads=1).encode(KNOWN).ids
    known = rate(tokenizer, KNOWN)
    assert 1 - level - len(np.unique(ids)) / ids.size < known <= 1 - level
    for path in FOREIGN:
        assert rate(tokenizer, path) > known + 0.09, path.name


def test_without_a_level_nothing_is_unknown(folder):
    tokenizer = load_tokenizer(folder, threads=1)
    assert [rate(tokenizer, path) for path in (KNOWN, *FOREIGN)] == [0.0] * 4


def test_blocks_and_batches_and_threads_give_the_same(tokenizer, folder):
    expected = tokenizer.encode(FOREIGN[0])
    assert 0.1 < rate_of_unk(expected.ids, 64) < 0.9
    samples, sample_rate = soundfile.read(FOREIGN[0], dtype="float32")
    parts = tokenizer.stream(np.array_split(samples, 37), sample_rate=sample_rate)
    np.testing.assert_array_equal(np.concatenate([part.ids for part in parts]), expected.ids)
    several = load_tokenizer(folder, threads=2, unk_quantile=LEVEL)
    np.testing.assert_array_equal(several.encode(FOREIGN[0], batch_size=3).ids, expected.ids)


@pytest.mark.parametrize("file_format", READ)
def test_every_format_and_its_header(file_format, tokenizer, tmp_path):
    (result,) = tokenize(tokenizer, FOREIGN[0], out=tmp_path / "out", file_format=file_format)
    (stored,) = read_corpus(output_paths(result.outputs[0], file_format).files[-1])
    expected = tokenizer.encode(FOREIGN[0]).ids
    np.testing.assert_array_equal(stored.ids, expected)
    assert stored.header.unk_quantile == LEVEL
    assert stored.header.unknown == result.outcome.unknown == (expected == 64).sum() > 0


def test_workers_give_the_same(tokenizer, tmp_path):
    results = tokenize(tokenizer, *FOREIGN, out=tmp_path / "out", workers=2)
    for path, result in zip(FOREIGN, results, strict=True):
        np.testing.assert_array_equal(np.load(result.outputs[0]), tokenizer.encode(path).ids)
        assert (
            read_stored(header_path(result.outputs[0].with_suffix(""))).header.unk_quantile == LEVEL
        )


def test_a_timeline_gives_the_same(tokenizer, tmp_path):
    for path, stamp in zip(FOREIGN, ("000000", "000100"), strict=False):
        (tmp_path / f"S_20230501_{stamp}.wav").symlink_to(path.resolve())
    out = tmp_path / "whole.tokens.npy"
    results, _ = join(tokenizer, tmp_path, out=out)
    header = read_stored(out.with_suffix(".json")).header
    assert header.unk_quantile == LEVEL
    assert header.start_utc == datetime(2023, 5, 1, tzinfo=UTC)
    ids = np.load(out)
    for segment, path in zip(header.segments, FOREIGN, strict=False):
        part = ids[segment.column : segment.column + segment.columns]
        np.testing.assert_array_equal(part, tokenizer.encode(path).ids)
    assert header.unknown == (ids == 64).sum() == sum(result.outcome.unknown for result in results)


def test_a_folder_has_one_level(folder, tmp_path):
    def result_of(level, out):
        chosen = load_tokenizer(folder, threads=1, unk_quantile=level)
        (tmp_path / out).mkdir(exist_ok=True)
        (result,) = tokenize(chosen, FOREIGN[0], out=tmp_path / out)
        header = read_stored(header_path(result.outputs[0].with_suffix(""))).header
        return result.reused, header.unk_quantile, result.outcome.unknown

    assert result_of(None, "plain") == (False, None, 0)
    first = result_of(LEVEL, "out")
    assert first[:2] == (False, LEVEL)
    assert result_of(LEVEL, "out") == (True, LEVEL, first[2])
    for level, out in ((0.999, "out"), (None, "out"), (LEVEL, "plain")):
        with pytest.raises(UserError, match=r"unk_quantile there .*, here .*"):
            result_of(level, out)
    assert result_of(LEVEL, "out") == (True, LEVEL, first[2])


def test_tokens_of_two_levels_do_not_go_into_one_corpus(folder, tokenizer, tmp_path):
    tokenize(tokenizer, FOREIGN[0], out=tmp_path / "a.tokens.npy")
    tokenize(load_tokenizer(folder), FOREIGN[1], out=tmp_path / "b.tokens.npy")
    inputs = [tmp_path / "a.tokens.npy", tmp_path / "b.tokens.npy"]
    with pytest.raises(UserError, match="another grid"):
        convert(inputs, tmp_path / "c.tokens.parquet", "parquet", done=print)
