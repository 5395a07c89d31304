"""The header: its clock, what it refuses, its bytes."""

import json
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.formats.streams import GRID, header_of, random_ids, some
from tests.sealed import write_sealed_values
from ulmo.config import UserError
from ulmo.formats import header as header_module
from ulmo.formats.header import (
    CorpusHeader,
    RecordingSpan,
    TokensHeader,
    header_json,
    read_header,
    read_headers,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VALUES = {**GRID, "recording": "x.wav", "columns": 2, "frames": 17, "unknown": 6}
GOLDEN = """\
{
  "schema_version": 2,
  "fingerprint": "FINGERPRINT",
  "sample_rate": 16000,
  "hop": 2560,
  "frame_hop": 160,
  "edges_hz": [
    0.0,
    50.5,
    1000.0,
    8010.25
  ],
  "codebook_size": 16,
  "unk_quantile": 0.99,
  "recording": "x.wav",
  "channel": null,
  "start": 0,
  "start_utc": "2026-03-01T04:30:00.250000Z",
  "columns": 2,
  "frames": 17,
  "unknown": 6,
  "segments": [
    {
      "recording": "y.wav",
      "column": 1,
      "columns": 1,
      "start_utc": null
    }
  ],
  "hashes": {
    ".npy": "HASH"
  },
  "checksum": "615e919886d3b7585faab1e3e4eb6cf88b8b36762a6d1aaa06d2abf03d8da019"
}
""".replace("FINGERPRINT", "ab" * 32).replace("HASH", "cd" * 32)


def golden_header():
    time = datetime(2026, 3, 1, 5, 30, 0, 250_000, timezone(timedelta(hours=1)))
    segments = (RecordingSpan(recording="y.wav", column=1, columns=1),)
    return TokensHeader(**VALUES, unk_quantile=0.99, start_utc=time, segments=segments)


def write(tmp_path, content):
    path = tmp_path / "x.tokens.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_sealed_values(path, content)
    return path


def test_golden_file(tmp_path):
    assert header_json([golden_header()], {".npy": "cd" * 32}).decode() == GOLDEN
    path = write(tmp_path, GOLDEN.encode())
    assert read_header(path) == golden_header()
    assert read_headers(path) == (golden_header(),)


def test_what_is_derived():
    header = golden_header()
    assert (header.bands, header.vocabulary.unk, header.vocabulary.size) == (3, 16, 64)
    assert header.unk_rate == 1.0
    assert header.ended(columns=0, frames=0, unknown=0).unk_rate == 0.0
    assert header.ended(columns=2, frames=32, unknown=0).start_utc == header.start_utc


@given(
    rate=st.sampled_from([100, 16_000, 22_050, 44_100, 384_000, 4_000_000]),
    stride=st.integers(1, 512),
    frame_hop=st.integers(1, 4096),
    start=st.integers(0, 10**9),
    column=st.integers(0, 10**7),
)
def test_the_clock_is_exact(rate, stride, frame_hop, start, column):
    values = {**VALUES, "sample_rate": rate, "frame_hop": frame_hop, "hop": stride * frame_hop}
    values |= {"columns": 0, "frames": 0, "unknown": 0, "start": start, "start_utc": EPOCH}
    header = TokensHeader(**values)
    exact = Fraction(start + column * stride * frame_hop, rate)
    assert header.seconds(column) == float(exact)
    told = Fraction((header.utc(column) - EPOCH) // timedelta(microseconds=1), 10**6)
    assert abs(told - exact) <= Fraction(1, 2 * 10**6)


@pytest.mark.parametrize(("frames", "end"), [(17, 17 * 160), (31, 31 * 160), (32, 32 * 160)])
def test_the_last_column_ends_with_the_sound(frames, end):
    header = TokensHeader(**{**VALUES, "frames": frames, "start": 80})
    assert header.end_seconds(1) == (80 + 2560) / 16_000
    assert header.end_seconds(2) == (80 + end) / 16_000


def test_before_its_length_is_known_a_column_ends_where_the_next_begins():
    header = golden_header().ended(columns=0, frames=0, unknown=0)
    assert header.end_seconds(7) == header.seconds(7)


def test_no_time_is_no_time():
    assert TokensHeader(**VALUES).utc(1) is None


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "AB" * 32},
        {"fingerprint": "ab" * 31},
        {"recording": ""},
        {"recording": "x" * 4097},
        {"recording": "\udcff.wav"},
        {"channel": -1},
        {"sample_rate": 0},
        {"hop": 0},
        {"hop": 2561},
        {"frame_hop": 0},
        {"edges_hz": [1.0]},
        {"edges_hz": [0.0, 0.0]},
        {"edges_hz": [0.0, 2.0, 1.0]},
        {"edges_hz": [-1.0, 2.0]},
        {"edges_hz": [0.0, float("nan")]},
        {"edges_hz": [float(edge) for edge in range(2050)]},
        {"codebook_size": 1},
        {"codebook_size": 65_473},
        {"columns": -1},
        {"columns": 1},
        {"columns": 3},
        {"frames": 16},
        {"frames": 33},
        {"unknown": 7},
        {"start": -1},
        {"start": 1 << 54},
        {"start_utc": "2026-03-01T05:30:00"},
        {"start_utc": "0001-01-01T00:00:00+14:00"},
        {"start_utc": "9999-12-31T23:59:59Z"},
        {"start_utc": "2026-03-01T05:30:00Z", "start": 1 << 53, "sample_rate": 100},
        {"segments": [{"recording": "x"}]},
        {"other": 1},
        {"schema_version": 1},
    ],
)
def test_what_does_not_fit_is_refused(change, tmp_path):
    TokensHeader(**VALUES)
    with pytest.raises(ValidationError):
        TokensHeader(**{**VALUES, **change})
    path = write(tmp_path, {**VALUES, **change})
    with pytest.raises(UserError, match=r"x\.tokens\.json") as caught:
        read_headers(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 10**5, b"3", b"\xff", b'{"recordings": 1}'])
def test_what_is_no_header_is_refused(content, tmp_path):
    with pytest.raises(UserError, match=r"x\.tokens\.json"):
        read_headers(write(tmp_path, content))


def test_a_missing_header_is_told(tmp_path):
    with pytest.raises(UserError, match=r"x\.tokens\.json is missing"):
        read_header(tmp_path / "x.tokens.json")


def test_a_corpus_comes_back(tmp_path):
    headers = tuple(header for header, _ in some())
    path = write(tmp_path, header_json(headers))
    assert read_headers(path) == headers
    assert len(json.loads(path.read_bytes())["recordings"]) == 3
    with pytest.raises(UserError, match="unknown setting 'recordings'"):
        read_header(path)


def test_a_corpus_may_be_larger_than_other_files_of_ours(tmp_path, monkeypatch):
    headers = [header_of(random_ids(3), recording=f"{n:0200}.wav") for n in range(4000)]
    content = header_json(headers)
    assert len(content) > 1 << 20
    path = write(tmp_path, content)
    assert len(read_headers(path)) == 4000
    monkeypatch.setattr(header_module, "MAX_CORPUS_BYTES", len(content) - 1)
    with pytest.raises(UserError, match="too large to be ours"):
        read_headers(path)


def test_a_corpus_with_a_recording_that_does_not_fit_is_refused(tmp_path):
    values = json.loads(header_json([header for header, _ in some()]))
    values["recordings"][2]["frames"] += 16
    with pytest.raises(UserError, match=r"is damaged .*do not make"):
        read_headers(write(tmp_path, values))


def test_headers_pass_a_strict_reader():
    """Of JSON alone, without turning one type into another."""
    headers = [header for header, _ in some()]
    text = golden_header().model_dump_json()
    assert TokensHeader.model_validate_json(text, strict=True) == golden_header()
    text = CorpusHeader.of(headers).model_dump_json()
    assert CorpusHeader.model_validate_json(text, strict=True).headers() == tuple(headers)


def test_a_corpus_has_one_grid():
    corpus = CorpusHeader.of([header for header, _ in some()])
    assert corpus.grid == some()[0][0].grid
    assert corpus.bands == 3
