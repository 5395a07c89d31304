"""Files made of pieces of others."""

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.preprocessing.reading.sounds import knows_holes
from ulmo.preprocessing.reading.pieces import (
    Blocks,
    Hole,
    PieceFile,
    Stretch,
    end_of_data,
    next_data,
    piece_file,
    replaced,
    size_of,
    within,
)
from ulmo.preprocessing.reading.tags import skip_filling

CONTENT = bytes(range(256))
STRETCHES = st.builds(
    lambda start, size: Stretch(start, min(size, len(CONTENT) - start)),
    st.integers(0, len(CONTENT)),
    st.integers(0, 60),
)
PIECES = st.lists(STRETCHES | st.binary(max_size=20), max_size=6)


def joined(pieces, content=CONTENT):
    """The bytes of pieces, put together."""
    return b"".join(
        piece if isinstance(piece, bytes) else content[piece.start :][: piece.size]
        for piece in pieces
    )


@given(pieces=PIECES, places=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 99))))
def test_a_file_of_pieces_is_the_file_of_their_bytes(pieces, places):
    file, oracle = PieceFile(io.BytesIO(CONTENT), pieces), io.BytesIO(joined(pieces))
    assert file.read() == oracle.read()
    for place, size in places:
        assert file.seek(place) == oracle.seek(place)
        assert file.read(size) == oracle.read(size)
        assert file.tell() == min(oracle.tell(), max(place, sum(map(size_of, pieces))))
    assert file.seek(-1, io.SEEK_END) == max(sum(map(size_of, pieces)) - 1, 0)


@given(outer=PIECES, inner=PIECES)
def test_pieces_of_pieces_are_pieces_of_the_original(outer, inner):
    assert joined(within(outer, inner)) == joined(inner, joined(outer))


@given(
    places=st.dictionaries(st.integers(0, 90).map(lambda n: 10 * n), st.binary(max_size=9)),
    size=st.just(1000),
)
def test_bytes_are_replaced_where_they_stand(places, size):
    content = bytearray(bytes(size))
    for place, change in places.items():
        content[place : place + len(change)] = change
    assert joined(replaced(size, places), bytes(size)) == bytes(content)


def test_a_decoder_finds_the_end_of_a_file_in_a_hole():
    file = PieceFile(io.BytesIO(CONTENT), (Stretch(0, 10), Hole(1000), b"end"))
    assert file.read() == CONTENT[:10]
    assert file.seek(0, io.SEEK_END) == 1013
    assert (file.seek(-3, io.SEEK_END), file.read()) == (1010, b"end")


def test_blocks_and_sparse_files(tmp_path):
    blocks = Blocks(io.BytesIO(CONTENT), len(CONTENT))
    for place in (0, 200, 250, 3, 255, 256, 300):
        assert blocks.at(place, 10) == CONTENT[place : place + 10]
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.write(b"x")
        file.seek(1 << 30)
        file.write(b"y")
    with path.open("rb") as file:
        assert next_data(file, 0) == 0
        place = next_data(file, 1 << 20)
        assert 1 << 20 <= place <= 1 << 30
        assert file.read(1) == b"x"
        assert next_data(piece_file(file, (Stretch(0, 9),)), 5) == 5


UNIT = 1 << 16  # bytes of a hole that every file system can leave
STORED = (True, False, False, True, True, False, True, False)  # whether each unit of a file is


@knows_holes
@given(
    pieces=st.lists(
        st.builds(
            lambda start, size: Stretch(start * UNIT, min(size, len(STORED) - start) * UNIT),
            st.integers(0, len(STORED) - 1),
            st.integers(0, 5),
        )
        | st.just(b"x" * UNIT)
        | st.just(Hole(UNIT)),
        max_size=6,
    )
)
def test_holes_of_a_file_are_holes_of_its_pieces(tmp_path_factory, pieces):
    path = tmp_path_factory.getbasetemp() / "holes"
    with path.open("wb") as file:
        for number in np.flatnonzero(STORED):
            file.seek(number * UNIT)
            file.write(b"x" * UNIT)
        file.truncate(len(STORED) * UNIT)
    stored: list[bool] = []  # of each unit of the pieces
    for piece in pieces:
        if isinstance(piece, Stretch):
            begin = piece.start // UNIT
            stored += STORED[begin : begin + piece.size // UNIT]
        else:
            stored.append(isinstance(piece, bytes))
    size = len(stored) * UNIT
    with path.open("rb") as opened:
        file = piece_file(opened, pieces)
        for start in range(len(stored)):
            found = [start + number for number, there in enumerate(stored[start:]) if there]
            data = max(found[0] * UNIT, start * UNIT + 5) if found else size
            assert min(next_data(file, start * UNIT + 5), size) == data
            end = (found[-1] + 1) * UNIT if found else start * UNIT
            assert end_of_data(file, start * UNIT, size) == end


APE_FLAGS = bytes([0, 0, 0, 0xA0])  # a header and a footer, and these are the header
TAGS = [
    bytes(700),
    b"ID3\x04\0\0" + bytes([0, 0, 0, 9]) + b"x" * 9,
    b"ID3\x04\0\x10" + bytes([0, 0, 0, 9]) + b"x" * 19,  # with a footer of 10 bytes
    b"TAG" + b"x" * 125,
    b"TAG+" + b"x" * 223,
    b"APETAGEX" + bytes(4) + bytes([35, 0, 0, 0, 1, 0, 0, 0]) + APE_FLAGS + bytes(8) + b"x" * 35,
]


@given(tags=st.lists(st.sampled_from(TAGS), max_size=5))
def test_tags_are_skipped_by_their_lengths(tags):
    front = b"".join(tags)
    for sound in (b"fLaC", b""):
        assert skip_filling(io.BytesIO(front + sound), 0, len(front + sound)) == len(front)
