"""The header: its clock, what it refuses, its bytes."""

import json
import tracemalloc
from datetime import datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.formats.streams import (
    EPOCH,
    VALUES,
    header_of,
    random_ids,
    save,
    some,
    stream_of,
    streams,
)
from tests.sealed import write_sealed_values
from ulmo.config import UserError
from ulmo.formats import header as header_module
from ulmo.formats.header import (
    Place,
    Segment,
    TokensHeader,
    header_json,
    read_stored,
)
from ulmo.storage.sealed import seal

SEGMENT = {"recording": "x", "column": 0, "columns": 1, "offset": 0, "recording_rate": 8000}
SEGMENT |= {"frames": 1, "file_frames": 1}
GOLDEN = """\
{
  "schema_version": 3,
  "fingerprint": "FINGERPRINT",
  "sample_rate": 16000,
  "time_expansion": 1.0,
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
  "recording_rate": 8000,
  "recording_frames": 2710,
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
      "offset": 2600,
      "start_utc": null,
      "recording_rate": 8000,
      "frame": 80,
      "frames": 80,
      "file_frames": 160
    }
  ],
  "gaps": "one",
  "hashes": {
    ".npy": "HASH"
  },
  "checksum": "f20dedd72ade01897182837868530cec8c10cd2fc649313cc98bf392a45d1eab"
}
""".replace("FINGERPRINT", "ab" * 32).replace("HASH", "cd" * 32)


def golden_header():
    time = datetime(2026, 3, 1, 5, 30, 0, 250_000, timezone(timedelta(hours=1)))
    places = {"frame": 80, "frames": 80, "file_frames": 160, "recording_rate": 8000}
    return TokensHeader(
        **VALUES,
        recording_rate=8000,
        recording_frames=2710,
        unk_quantile=0.99,
        start_utc=time,
        segments=(Segment(recording="y.wav", column=1, columns=1, offset=2600, **places),),
        gaps="one",
    )


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
    assert read_stored(path).headers == (golden_header(),)


def test_what_is_derived():
    header = golden_header()
    assert (header.bands, header.vocabulary.unk, header.vocabulary.size) == (3, 16, 64)
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
    found = Fraction((header.utc(column) - EPOCH) // timedelta(microseconds=1), 10**6)
    assert abs(found - exact) <= Fraction(1, 2 * 10**6)


@pytest.mark.parametrize(("frames", "end"), [(17, 17 * 160), (31, 31 * 160), (32, 32 * 160)])
def test_the_last_column_ends_with_the_sound(frames, end):
    header = TokensHeader(**{**VALUES, "frames": frames, "start": 80})
    assert header.end_seconds(1) == (80 + 2560) / 16_000
    assert header.end_seconds(2) == (80 + end) / 16_000


def test_the_last_column_ends_with_the_recording():
    """A frame may be filled only partly."""
    header = TokensHeader(**VALUES, recording_rate=8000, recording_frames=1300)
    assert header.end_seconds(1) == 2560 / 16_000
    assert header.end_seconds(2) == 1300 / 8000 < 17 * 160 / 16_000


def test_a_column_without_length_or_time():
    """Before the length is known, a column ends where the next begins."""
    header = golden_header().ended(columns=0, frames=0, unknown=0)
    assert header.end_seconds(7) == header.seconds(7)
    assert TokensHeader(**VALUES).utc(1) is None


@given(header=streams())
def test_times_follow_the_segments(header):
    """Whatever the gaps: a column's true time, its end, and its place in its file."""
    rate, before = header.sample_rate, None
    for column in range(header.columns):
        (segment,) = [
            each for each in header.segments if 0 <= column - each.column < each.columns
        ] or [None]
        assert header.segment(column) == segment
        if segment is None:
            assert header.place(column) is None
            if header.gaps == "one":
                following = next(each for each in header.segments if each.column == column + 1)
                assert header.seconds(column) * rate >= before.offset
                assert header.end_seconds(column + 1) == following.offset / rate
            continue
        late = (column - segment.column) * header.hop
        assert header.seconds(column) == (segment.offset + late) / rate
        sound = Fraction(segment.frames * rate, segment.recording_rate)
        end = segment.offset + min(Fraction(late + header.hop), sound)
        assert header.end_seconds(column + 1) == pytest.approx(float(end / rate), abs=1e-9)
        assert header.utc(column) - EPOCH == timedelta(
            microseconds=round(Fraction(segment.offset + late, rate) * 10**6 + Fraction(1, 10**9))
        )
        inside = Fraction(segment.frame, segment.recording_rate) + Fraction(late, rate)
        assert header.place(column) == Place(segment.recording, float(inside), header.utc(column))
        before = segment


def test_a_recording_without_segments_is_its_own_place():
    place = TokensHeader(**VALUES, start=80).place(1)
    assert place == Place("x.wav", (80 + 2560) / 16_000, None)


def test_a_place_has_its_true_time_between_the_columns():
    segment = Segment(**{**SEGMENT, "column": 1, "offset": 2600})
    header = stream_of([segment], 2)
    assert (header.seconds(1), header.utc(1) - EPOCH) == (0.16, timedelta(seconds=0.16))
    assert header.place(1).utc - EPOCH == timedelta(microseconds=162_500)


def test_a_header_of_many_segments_is_read(tmp_path):
    """A year of ten-minute files."""
    places = {"columns": 1, "recording_rate": 8000, "frames": 80, "file_frames": 160}
    segments = [
        Segment(recording=f"{number:050}.wav", column=number, offset=number, **places)
        for number in range(20_000)
    ]
    header = stream_of(segments, 20_000, gaps="omit")
    path = write(tmp_path, header_json([header]))
    assert path.stat().st_size > 1 << 22
    assert read_stored(path).header == header


WRONG = {
    "fingerprint": ["AB" * 32, "ab" * 31],
    "recording": ["", "x" * 16_385, "\udcff.wav"],
    "channel": [-1],
    "sample_rate": [0, 4_000_001],
    "hop": [0, 2561],
    "frame_hop": [0],
    "edges_hz": [[1.0], [0.0, 0.0], [0.0, 2.0, 1.0], [-1.0, 2.0], [0.0, float("nan")]],
    "codebook_size": [1, 65_473],
    "columns": [-1, 1, 3],
    "frames": [16, 33],
    "unknown": [7],
    "start": [-1, 1 << 54],
    "start_utc": ["2026-03-01T05:30:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"],
    "segments": [
        [{"recording": "x"}],
        [{**SEGMENT, "column": 1}, SEGMENT],
        [{**SEGMENT, "columns": 2}, {**SEGMENT, "column": 1}],
        [{**SEGMENT, "offset": 2}, {**SEGMENT, "column": 1, "offset": 1}],
        [{**SEGMENT, "columns": 3}],
        [{**SEGMENT, "recording": "a\nb.wav"}],
        [{**SEGMENT, "recording_rate": 4_000_001}],
    ],
    "gaps": ["none"],
    "time_expansion": [0, -1, float("inf"), float("nan")],
    "recording_rate": [0, 4_000_001, 1 << 40],
    "other": [1],
    "schema_version": [1, 2],
}
CHANGES = [
    *({name: value} for name, values in WRONG.items() for value in values),
    {"edges_hz": [float(edge) for edge in range(2050)]},
    {"start_utc": "2026-03-01T05:30:00Z", "start": 1 << 53, "sample_rate": 1},
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_does_not_fit_is_refused(change, tmp_path):
    TokensHeader(**VALUES)
    with pytest.raises(ValidationError):
        TokensHeader(**{**VALUES, **change})
    path = write(tmp_path, {**VALUES, **change})
    with pytest.raises(UserError, match=r"x\.tokens\.json") as caught:
        read_stored(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 10**5, b"3", b"\xff", b'{"recordings": 1}'])
def test_what_is_no_header_is_refused(content, tmp_path):
    with pytest.raises(UserError, match=r"x\.tokens\.json"):
        read_stored(write(tmp_path, content))


def test_a_missing_header_is_named(tmp_path):
    with pytest.raises(UserError, match=r"x\.tokens\.json is missing"):
        read_stored(tmp_path / "x.tokens.json")


def test_a_corpus_comes_back(tmp_path, monkeypatch):
    """It may be larger than other files of ours."""
    headers = [header_of(random_ids(3), recording=f"{n:0200}.wav") for n in range(4000)]
    content = header_json(headers)
    assert len(content) > 1 << 20
    path = write(tmp_path, content)
    stored = read_stored(path)
    assert stored.headers == tuple(headers)
    with pytest.raises(ValueError, match="of several recordings"):
        assert stored.header
    monkeypatch.setattr(header_module, "MAX_CORPUS_BYTES", len(content) - 1)
    with pytest.raises(UserError, match="too large to be ours"):
        read_stored(path)


@pytest.mark.parametrize(("name", "less"), [("MAX_CORPUS_BYTES", 1), ("_MOST_STREAMS", 0)])
def test_more_than_can_be_read_is_not_written(name, less, tmp_path, monkeypatch):
    """Neither is a file of ids without a header."""
    pairs = some((2, 3, 4))
    most = len(header_json([header for header, _ in pairs])) - less if less else 2
    monkeypatch.setattr(header_module, name, most)
    with pytest.raises(UserError, match=r"3 recordings, or stretches .* are too many for one file"):
        save(tmp_path / "x.tokens.csv", "csv", pairs)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "items",
    [
        [{str(number): 1 for number in range(1 << 13)}],  # an error of a kilobyte for each
        [0] * (1 << 16),
        [{"recording": 1}] * (1 << 13),
    ],
)
def test_of_many_mistakes_the_first_is_enough(items, tmp_path):
    values = json.loads(header_json([header for header, _ in some()]))
    del values["checksum"]
    values["recordings"] = items
    path = write(tmp_path, seal(json.dumps(values, indent=2)))
    with pytest.raises(UserError) as refused:
        read_stored(path)
    assert " more)" not in str(refused.value)


def test_recordings_of_a_corpus_share_their_grid(tmp_path):
    """Each had a copy of all edges of bands: 20 kB for a line of a recording."""
    edges = tuple(float(edge) for edge in range(2049))
    headers = [
        TokensHeader(**{**VALUES, "edges_hz": edges, "recording": f"{number}.wav"})
        for number in range(2000)
    ]
    path = write(tmp_path, header_json(headers))
    tracemalloc.start()
    stored = read_stored(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored.headers == tuple(headers)
    assert peak < 16e6
    assert len({id(header.edges_hz) for header in stored.headers}) == 1


def test_a_corpus_with_a_recording_that_does_not_fit_is_refused(tmp_path):
    values = json.loads(header_json([header for header, _ in some()]))
    values["recordings"][2]["frames"] += 16
    path = write(tmp_path, values)
    with pytest.raises(UserError, match=r"is as it was written, .*do not make"):
        read_stored(path)
