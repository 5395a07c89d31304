import io
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.config import ModelSettings
from ulmo.formats.npy import read_npy
from ulmo.tokens import NpyWriter, Tokens, band_edges
from ulmo.vocabulary import Vocabulary

GOLDEN = (
    b"\x93NUMPY\x01\x00v\x00"
    + b"{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3), }".ljust(117)
    + b"\n"
    + bytes.fromhex("00000000 01000000 02000000 03000000 04000000 ff010000")
)
LARGEST = 65_472  # codebook
IDS = np.array([[0, 1, 2], [3, 4, 511]], np.int32)


def saved(values):
    file = io.BytesIO()
    np.save(file, values)
    return file.getvalue()


def written(bands, pieces):
    file = io.BytesIO()
    writer = NpyWriter(file, bands)
    for piece in pieces:
        writer.write(piece)
    assert writer.close() == sum(map(len, pieces))
    assert file.tell() == len(file.getvalue())
    return file.getvalue()


def tokens_of(ids, **options):
    defaults = {"sample_rate": 16000, "hop": 2560, "edges_hz": np.zeros(2), "frames": 0}
    return Tokens(ids=ids, distances=np.zeros(ids.shape, np.float32), **{**defaults, **options})


def npy_v1(header, body=b""):
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + body


def header_of(shape):
    return f"{{'descr': '<i4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()


def v2(values):
    file = io.BytesIO()
    np.lib.format.write_array(file, values, version=(2, 0))
    return file.getvalue()


def test_golden_file():
    assert written(3, [IDS[:1], IDS[1:]]) == GOLDEN


@given(
    columns=st.integers(0, 40),
    bands=st.integers(1, 5),
    cuts=st.lists(st.integers(0, 40), max_size=6),
)
def test_writer_gives_the_bytes_of_np_save(columns, bands, cuts):
    ids = np.arange(columns * bands, dtype=np.int32).reshape(columns, bands)
    assert written(bands, np.split(ids, sorted(cuts))) == saved(ids)


def test_writer_takes_nothing_at_all():
    assert written(7, []) == saved(np.empty((0, 7), np.int32))


def test_writer_takes_other_integers_and_layouts():
    assert written(2, [IDS.astype(np.int64).T]) == saved(np.ascontiguousarray(IDS.T))


@pytest.mark.parametrize("shape", [(0, 5), (1, 1), (3, 1), (1, 4), (1000, 14)])
def test_read_gives_back_what_was_written(shape, tmp_path):
    ids = np.random.default_rng(0).integers(0, 70_000, shape).astype(np.int32)
    path = tmp_path / "x.tokens.npy"
    path.write_bytes(written(shape[1], [ids]))
    read = read_npy(path)
    np.testing.assert_array_equal(read, ids)
    assert (read.shape, read.dtype) == (shape, np.int32)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"RIFF\0\0\0\0WAVE", id="wav"),
        pytest.param(GOLDEN[:7], id="cut in the magic"),
        pytest.param(GOLDEN[:60], id="cut in the header"),
        pytest.param(GOLDEN[:-1], id="cut in the ids"),
        pytest.param(GOLDEN[:128], id="no ids"),
        pytest.param(GOLDEN + b"\0", id="more than promised"),
        pytest.param(v2(IDS), id="version 2"),
        pytest.param(saved(np.array([{}, 1], object)), id="pickle"),
        pytest.param(saved(IDS.astype(object)), id="objects"),
        pytest.param(saved(IDS.astype(np.float32)), id="float"),
        pytest.param(saved(IDS.astype(np.int64)), id="int64"),
        pytest.param(saved(IDS.astype(np.uint32)), id="uint32"),
        pytest.param(saved(IDS.astype(">i4")), id="big-endian"),
        pytest.param(saved(IDS[0]), id="1-D"),
        pytest.param(saved(IDS[None]), id="3-D"),
        pytest.param(saved(np.array(3, np.int32)), id="0-D"),
        pytest.param(saved(np.asfortranarray(IDS)), id="Fortran order"),
        pytest.param(npy_v1(header_of((10**12, 10**12)), bytes(24)), id="huge"),
        pytest.param(npy_v1(header_of((2**32, 2**32)), bytes(24)), id="2**64 ids"),
        pytest.param(npy_v1(header_of((0, 10**30))), id="huge and empty"),
        pytest.param(npy_v1(header_of((-2, -3)), bytes(24)), id="negative"),
        pytest.param(npy_v1(header_of("(True, 3)"), bytes(12)), id="truth"),
        pytest.param(npy_v1(b"(" * 3000), id="brackets"),
        pytest.param(npy_v1(b"-" * 60_000 + b"1"), id="deep"),
        pytest.param(npy_v1(b""), id="no header"),
    ],
)
def test_what_is_no_tokens_file_is_refused(content, tmp_path):
    path = tmp_path / "x.tokens.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.tokens\.npy"):
        read_npy(path)


@given(changes=st.dictionaries(st.integers(0, 127), st.integers(0, 255), max_size=4))
def test_a_damaged_header_is_refused_or_without_effect(changes, tmp_path_factory):
    content = bytearray(GOLDEN)
    for place, value in changes.items():
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.npy"
    path.write_bytes(content)
    try:
        read = read_npy(path)
    except ValueError:
        assert bytes(content) != GOLDEN
    else:
        np.testing.assert_array_equal(read.reshape(-1), IDS.reshape(-1))


@pytest.mark.parametrize(("rate", "hop"), [(16000, 81_920), (22050, 37 * 512), (96000, 262_143)])
def test_seconds_do_not_drift_in_1000_hours(rate, hop):
    columns = 1000 * 3600 * rate // hop + 1
    ids = np.broadcast_to(np.int32(0), (columns, 1))
    seconds = tokens_of(ids, sample_rate=rate, hop=hop).seconds
    assert seconds[-1] > 1000 * 3600 - hop / rate
    for column in (*range(0, columns, columns // 500), columns - 1):
        assert seconds[column] == float(Fraction(column * hop, rate))


@pytest.mark.parametrize(
    ("frequencies", "stride", "edges"),
    [
        ([100, 200, 300, 400], 1, [50, 150, 250, 350, 450]),
        ([100, 200, 300, 400], 2, [50, 250, 450]),
        ([100, 200, 300, 400], 3, [50, 350, 450]),
        ([100, 200, 300, 400], 4, [50, 450]),
        ([100, 200, 300, 400], 9, [50, 450]),
        ([10, 110, 210], 1, [0, 60, 160, 260]),
        ([100, 200, 400], 2, [50, 300, 500]),
    ],
)
def test_band_edges_of_known_bins(frequencies, stride, edges):
    assert band_edges(np.array(frequencies, np.float64), stride).tolist() == edges


def test_hertz_are_each_bands_two_edges():
    tokens = tokens_of(IDS, edges_hz=np.array([0.0, 50.0, 150.0, 400.0]))
    assert tokens.hertz.tolist() == [[0, 50], [50, 150], [150, 400]]


def test_sequence_is_time_major():
    assert tokens_of(IDS).sequence().tolist() == [0, 1, 2, 3, 4, 511]


def test_golden_ids():
    vocabulary = Vocabulary(512)
    names = ["<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "<gap>"]
    assert list(vocabulary.specials().items()) == list(zip(names, range(512, 518), strict=True))
    named = [getattr(vocabulary, name) for name in ("unk", "pad", "bos", "eos", "mask", "gap")]
    assert named == list(range(512, 518))
    assert vocabulary.size == 576


@given(codes=st.integers(2, LARGEST))
def test_size_is_the_least_multiple_of_64_that_holds_every_id(codes):
    vocabulary = Vocabulary(codes)
    assert vocabulary.size % 64 == 0
    assert vocabulary.size - 64 <= max(vocabulary.specials().values()) < vocabulary.size


def test_the_largest_codebook_fits_uint16():
    bounds = ModelSettings.model_fields["codebook_size"].metadata
    assert max(bound.le for bound in bounds if hasattr(bound, "le")) == LARGEST
    assert Vocabulary(LARGEST).size - 1 <= 0xFFFF
