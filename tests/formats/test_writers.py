"""Every format: bytes that do not depend on how the ids arrive, and golden ones."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.formats.streams import UTC_START, begun, header_of, random_ids, some, written
from ulmo.config import FORMAT_TRAITS, UserError
from ulmo.formats import FORMATS, flat, parquet
from ulmo.formats.base import Labelling

IDS = np.array([[0, 1, 2], [0, 16, 2], [3, 16, 63]], np.int32)
HEADER = header_of(IDS, recording='a "b", c.wav', channel=1, start_utc=UTC_START, filled=4)

STREAM = bytes.fromhex("0000 0100 0200 0000 1000 0200 0300 1000 3f00 1300")
GOLDEN = {
    "jsonl": [
        b'{"recording":"a \\"b\\", c.wav","channel":1,"start_utc":"2026-03-01T23:59:59.999999Z",'
        b'"start_s":0.0,"end_s":0.36,"hop_s":0.16,"bands":3,"edges_hz":[0.0,50.5,1000.0,8010.25],'
        b'"ids":[0,1,2,0,16,2,3,16,63],"unk_rate":0.2222222222222222}\n'
    ],
    "csv": [
        b"recording,channel,start_s,end_s,low_hz,high_hz,start_utc,id\r\n"
        b'"a ""b"", c.wav",1,0.0,0.16,0.0,50.5,2026-03-01T23:59:59.999999Z,0\r\n'
        b'"a ""b"", c.wav",1,0.0,0.16,50.5,1000.0,2026-03-01T23:59:59.999999Z,1\r\n'
        b'"a ""b"", c.wav",1,0.0,0.16,1000.0,8010.25,2026-03-01T23:59:59.999999Z,2\r\n'
        b'"a ""b"", c.wav",1,0.16,0.32,0.0,50.5,2026-03-02T00:00:00.159999Z,0\r\n'
        b'"a ""b"", c.wav",1,0.16,0.32,50.5,1000.0,2026-03-02T00:00:00.159999Z,16\r\n'
        b'"a ""b"", c.wav",1,0.16,0.32,1000.0,8010.25,2026-03-02T00:00:00.159999Z,2\r\n'
        b'"a ""b"", c.wav",1,0.32,0.36,0.0,50.5,2026-03-02T00:00:00.319999Z,3\r\n'
        b'"a ""b"", c.wav",1,0.32,0.36,50.5,1000.0,2026-03-02T00:00:00.319999Z,16\r\n'
        b'"a ""b"", c.wav",1,0.32,0.36,1000.0,8010.25,2026-03-02T00:00:00.319999Z,63\r\n'
    ],
    "bin": [STREAM],
    "megatron": [
        STREAM,
        b"MMIDIDX\0\0"
        + bytes.fromhex("0100000000000000 08 0100000000000000 0200000000000000")
        + bytes.fromhex("0a000000 0000000000000000 0000000000000000 0100000000000000"),
    ],
    "raven": [
        b"Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"
        b"\tToken\tBegin File\tBegin Path\tFile Offset (s)\tBegin UTC\n"
        b"1\tSpectrogram 1\t2\t0.000000000\t0.160000000\t50.500000\t1000.000000\tc1"
        b'\ta "b", c.wav\ta "b", c.wav\t0.000000000'
        b"\t2026-03-01T23:59:59.999999Z\n"
        b"2\tSpectrogram 1\t2\t0.000000000\t0.320000000\t0.000000\t50.500000\tc0"
        b'\ta "b", c.wav\ta "b", c.wav\t0.000000000'
        b"\t2026-03-01T23:59:59.999999Z\n"
        b"3\tSpectrogram 1\t2\t0.000000000\t0.320000000\t1000.000000\t8000.000000\tc2"
        b'\ta "b", c.wav\ta "b", c.wav\t0.000000000'
        b"\t2026-03-01T23:59:59.999999Z\n"
        b"4\tSpectrogram 1\t2\t0.320000000\t0.360000000\t0.000000\t50.500000\tc3"
        b'\ta "b", c.wav\ta "b", c.wav\t0.320000000'
        b"\t2026-03-02T00:00:00.319999Z\n"
        b"5\tSpectrogram 1\t2\t0.160000000\t0.360000000\t50.500000\t1000.000000\t<unk>"
        b'\ta "b", c.wav\ta "b", c.wav\t0.160000000'
        b"\t2026-03-02T00:00:00.159999Z\n"
        b"6\tSpectrogram 1\t2\t0.320000000\t0.360000000\t1000.000000\t8000.000000\t<id63>"
        b'\ta "b", c.wav\ta "b", c.wav\t0.320000000'
        b"\t2026-03-02T00:00:00.319999Z\n"
    ],
    "audacity": [
        b"0.000000\t0.160000\tc1\n\\\t50.500000\t1000.000000\n"
        b"0.000000\t0.320000\tc0\n\\\t0.000000\t50.500000\n"
        b"0.000000\t0.320000\tc2\n\\\t1000.000000\t8000.000000\n"
        b"0.320000\t0.360000\tc3\n\\\t0.000000\t50.500000\n"
        b"0.160000\t0.360000\t<unk>\n\\\t50.500000\t1000.000000\n"
        b"0.320000\t0.360000\t<id63>\n\\\t1000.000000\t8000.000000\n"
    ],
}


def test_each_format_has_words():
    assert list(FORMAT_TRAITS) == list(FORMATS)
    assert all(traits.words for traits in FORMAT_TRAITS.values())


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_bytes(name):
    assert written(name, [(HEADER, IDS)]) == GOLDEN[name]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=10)
@given(
    columns=st.sampled_from([0, 1, 2, 50, 4096, 4097]),
    cuts=st.lists(st.integers(0, 4100), max_size=6),
    near=st.integers(-2, 2),
)
def test_how_the_ids_are_cut_changes_no_byte(name, columns, cuts, near):
    ids = random_ids(columns, 2)
    recordings = [(header_of(ids, start_utc=UTC_START, filled=3), ids)]
    if FORMATS[name].many:
        recordings *= 2
    expected = written(name, recordings)
    for again in ([*cuts, 4096 + near], ()):
        assert written(name, recordings, again) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_one_column_at_a_time_and_other_integers_and_layouts_change_no_byte(name):
    ids = random_ids(60)
    header = header_of(ids)
    expected = written(name, [(header, ids)])
    assert written(name, [(header, ids)], range(60)) == expected
    for dtype in (np.uint16, np.int64):
        assert written(name, [(header, np.asfortranarray(ids.astype(dtype)))]) == expected


@pytest.mark.parametrize("name", FORMATS)
def test_recordings_that_do_not_belong_together_are_refused(name):
    (header, ids), *_ = some()
    other = header_of(ids, fingerprint="cd" * 32)
    text = "of one tokenizer" if FORMATS[name].many else "holds one recording"
    with pytest.raises(ValueError, match=text):
        written(name, [(header, ids), (other, ids)])


@pytest.mark.parametrize("name", FORMATS)
def test_ids_that_do_not_fit_are_refused(name):
    writer = FORMATS[name]([FileThatFails()] * 2, Labelling())
    with pytest.raises(ValueError, match="no recording was begun"):
        writer.write(IDS)
    writer.begin(begun(HEADER))
    for ids, reason in (
        (np.zeros((2, 2), np.int32), "are not"),
        (np.zeros(3, np.int32), "are not"),
        (np.full((1, 3), 64, np.int32), "must be below 64"),
        (np.full((1, 3), -1, np.int32), "must be below 64"),
    ):
        with pytest.raises(ValueError, match=reason):
            writer.write(ids)
    writer.abandon()


class FileThatFails:
    """A file where only the beginning is written."""

    closed = False

    def write(self, data):
        return len(data)

    def flush(self): ...


@pytest.mark.parametrize("name", FORMATS)
def test_a_length_that_is_not_so_is_refused(name):
    with pytest.raises(ValueError, match="no recording"):
        FORMATS[name]([FileThatFails()] * 2).close()
    writer = FORMATS[name]([FileThatFails()] * 2)
    writer.begin(begun(HEADER))
    writer.write(IDS[:2])
    with pytest.raises(ValueError, match="2 columns were written, not 3"):
        writer.end(HEADER)
    with pytest.raises(ValueError, match="to its end"):
        writer.close()
    writer.abandon()


@pytest.mark.parametrize("name", FORMATS)
def test_memory_does_not_grow_with_a_recording(name, monkeypatch, tmp_path):
    """Three times the columns, and the same peak."""
    piece = np.repeat(random_ids(128), 8, axis=0)
    monkeypatch.setattr(parquet, "GROUP_IDS", 3 * 4096)

    def peak(pieces):
        header = header_of(np.tile(piece, (pieces, 1)))
        with (tmp_path / "a").open("wb") as first, (tmp_path / "b").open("wb") as second:
            writer = FORMATS[name]([first, second])
            tracemalloc.start()
            writer.begin(begun(header))
            for _ in range(pieces):
                writer.write(piece)
            writer.end(header)
            writer.close()
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return most

    peak(8)
    assert peak(24) - peak(8) < 16 * piece.size


def test_megatron_counts_in_int32(monkeypatch):
    monkeypatch.setattr(flat, "_MAX_LENGTH", 9)
    with pytest.raises(UserError, match="too long for Megatron"):
        written("megatron", [(HEADER, IDS)])
