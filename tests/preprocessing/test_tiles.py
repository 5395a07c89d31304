import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.preprocessing.signals import count_tiles, join_tiles
from ulmo.preprocessing.tiles import cut_tiles, cut_tiles_at

FILL = -100.0


def spectrogram(size, frames):
    """(size, frames): the frame's number, and behind the point its bin's."""
    return (np.arange(frames) + np.arange(size)[:, None] / 1024).astype(np.float32)


def cut(whole, cuts=(), **options):
    blocks = np.split(whole, sorted(cuts), axis=1)
    return list(cut_tiles(blocks, tile_size=len(whole), fill=FILL, **options))


@st.composite
def layouts(draw):
    """A spectrogram, an overlap, and where its blocks are cut."""
    size = draw(st.integers(1, 12))
    frames = draw(st.integers(1, 80))
    overlap = draw(st.integers(0, size - 1))
    cuts = draw(st.lists(st.integers(0, frames), max_size=8))
    return spectrogram(size, frames), overlap, cuts


@given(layouts())
def test_cut_then_join_gives_back_the_spectrogram(layout):
    whole, overlap, cuts = layout
    np.testing.assert_array_equal(
        join_tiles(cut(whole, cuts, overlap=overlap), overlap=overlap), whole
    )


@given(layouts())
def test_tiles_are_the_slices_and_every_frame_is_shown(layout):
    whole, overlap, cuts = layout
    size, frames = whole.shape
    tiles = cut(whole, cuts, overlap=overlap)
    assert len(tiles) == count_tiles(frames, size, overlap)
    shown = np.zeros(frames, int)
    for index, tile in enumerate(tiles):
        start = index * (size - overlap)
        valid = min(size, frames - start)
        assert (tile.start_frame, tile.valid_frames) == (start, valid)
        assert tile.values.shape == (size, size)
        assert tile.values.dtype == np.float32
        assert tile.values.flags.c_contiguous
        np.testing.assert_array_equal(tile.values[:, :valid], whole[:, start : start + valid])
        assert (tile.values[:, valid:] == FILL).all()
        fresh = shown[start : start + valid] == 0
        assert fresh.any()  # no tile is only repetition
        shown[start : start + valid] += 1
    assert (shown > 0).all()


@pytest.mark.parametrize(
    ("frames", "overlap", "tiles"),
    [
        *((-1, 0, 0), (0, 0, 0), (1, 0, 1), (8, 0, 1), (9, 0, 2), (16, 0, 2), (17, 0, 3)),
        *((8, 6, 1), (9, 6, 2), (10, 6, 2), (11, 6, 3), (8, 7, 1), (9, 7, 2)),
    ],
)
def test_count(frames, overlap, tiles):
    assert count_tiles(frames, 8, overlap) == tiles
    if frames >= 0:
        assert len(cut(spectrogram(8, frames), overlap=overlap)) == tiles


def test_no_more_than_a_tile_and_a_block_is_taken_ahead():
    """The first tile is there as soon as its last frame is."""
    given = []

    def blocks():
        for index in range(10):
            given.append(index)
            yield spectrogram(4, 2)

    next(cut_tiles(blocks(), tile_size=4, fill=FILL))
    assert given == [0, 1]


def test_tiles_do_not_change_when_the_block_does():
    block = spectrogram(4, 6)
    first, last = cut_tiles([block], tile_size=4, fill=FILL)
    before = first.values.copy(), last.values.copy()
    block[:] = 0
    np.testing.assert_array_equal((first.values, last.values), before)


@st.composite
def placed(draw):
    """A spectrogram, where its tiles begin, and where its blocks are cut."""
    size, frames = draw(st.integers(1, 9)), draw(st.integers(1, 60))
    whole = np.arange(size * frames, dtype=np.float32).reshape(size, frames)
    starts = sorted(draw(st.lists(st.integers(0, frames + 20), max_size=8)))
    cuts = sorted(draw(st.lists(st.integers(0, frames), max_size=8)))
    return whole, starts, cuts


@given(placed())
def test_tiles_that_begin_anywhere_are_slices(layout):
    whole, starts, cuts = layout
    size, frames = whole.shape
    tiles = list(cut_tiles_at(np.split(whole, cuts, axis=1), starts, tile_size=size, fill=-1))
    assert len(tiles) == len(starts)
    for start, tile in zip(starts, tiles, strict=True):
        begin = min(start, frames - 1)
        expected = np.full((size, size), -1, np.float32)
        part = whole[:, begin : begin + size]
        expected[:, : part.shape[1]] = part
        assert (tile.start_frame, tile.valid_frames) == (begin, part.shape[1])
        assert (tile.values.dtype, tile.values.flags.c_contiguous) == (np.float32, True)
        np.testing.assert_array_equal(tile.values, expected)


def test_of_no_frames_there_are_no_tiles():
    empty = np.empty((4, 0), np.float32)
    for blocks in ([], [empty]):
        assert list(cut_tiles_at(blocks, [0, 3], tile_size=4, fill=0)) == []


def test_no_more_than_a_tile_and_a_block_is_held():
    """The frames between two tiles are let go: the first of them before the last is read."""
    seen = []

    def blocks():
        for index in range(1000):
            seen.append(index)
            yield np.full((4, 2), index, np.float32)

    tiles = cut_tiles_at(blocks(), [0, 1000], tile_size=4, fill=0)
    next(tiles)
    assert seen == [0, 1]
    np.testing.assert_array_equal(next(tiles).values[0], [500, 500, 501, 501])
    assert len(seen) == 502
