"""Several sound files in one: all their sound is read, or counted."""

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.preprocessing.reading.edited import with_granules
from tests.preprocessing.reading.sounds import KINDS, MONO, frames_in, read, written
from ulmo.preprocessing.reading import audio
from ulmo.preprocessing.reading.audio import open_recording


@st.composite
def sounds(draw):
    """The bytes of a sound file."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    channels = 1 if kind in MONO else draw(st.sampled_from([1, 1, 2]))
    rate = draw(st.sampled_from([8000, 8000, 16000]))
    return written(kind, draw(st.integers(1, 9000)), rate, channels, draw(st.integers(0, 3)))


FILLING = [b"", b"", b"", bytes(1), bytes(700), b"TAG" + bytes(125)]
FILLING += [b"ID3\x04\0\0" + bytes([0, 0, 2, 1]) + b"x" * 257]


@settings(max_examples=200, deadline=None)
@given(
    files=st.lists(sounds(), min_size=2, max_size=3),
    between=st.sampled_from(FILLING),
    behind=st.sampled_from(FILLING),
)
def test_what_is_read_and_what_is_missing_is_all_the_sound(files, between, behind):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alone = [frames_in(folder, content) for content in files]
        frames, missing, verdict = frames_in(folder, between.join(files) + behind)
    for one in alone:
        assert one[1:] == (0, ("ok", None))
    assert frames + missing == sum(one[0] for one in alone)
    assert verdict == (("partial", "more_data") if missing else ("repaired", "joined"))
    assert frames >= alone[0][0]


CONTAINERS = ("wav", "w64 of bytes", "flac", "ogg, vorbis", "ogg, opus", "mp3", "aiff", "caf", "au")


@pytest.mark.parametrize("first", KINDS)
def test_a_second_file_of_the_same_shape_is_read_on(first, tmp_path):
    one = written(first, 3001)
    before = read(tmp_path, one).samples
    for second in CONTAINERS:
        other = written(second, 4003, seed=1)
        both = read(tmp_path, one + other)
        assert both.verdict == ("repaired", "joined"), second
        assert both.missing == 0
        alone = np.concatenate([before, read(tmp_path, other).samples])
        np.testing.assert_array_equal(both.samples, alone, err_msg=second)


@pytest.fixture(scope="module")
def long_files():
    """A file of each kind, and one of two parts; longer than the blocks of their decoders."""
    files = {kind: written(kind, 30_011, 16000) for kind in KINDS}
    files["joined"] = written("ogg, opus", 20_000, 16000) + written("mp3", 9000, 16000)
    files["cut from a stream"] = with_granules(files["ogg, opus"], 10**9)
    return files


@pytest.fixture(scope="module")
def whole_of(long_files, tmp_path_factory):
    """All samples of a kind of file, in the blocks in which they are usually read."""
    folder, found = tmp_path_factory.mktemp("whole"), {}

    def whole(kind):
        if kind not in found:
            found[kind] = read(folder, long_files[kind]).samples
        return found[kind]

    return whole


@pytest.mark.parametrize("kind", [*KINDS, "joined", "cut from a stream"])
@settings(max_examples=4, deadline=None)
@given(block=st.integers(1, 20_000), start=st.integers(0, 31_000), frames=st.integers(1, 9000))
@example(64, 29_000, 2000)
def test_samples_do_not_depend_on_the_blocks_or_on_where_reading_begins(
    kind, long_files, whole_of, block, start, frames
):
    whole = whole_of(kind)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x"
        path.write_bytes(long_files[kind])
        blocks = mock.patch.object(audio, "BLOCK_FRAMES", max(block, 16))
        with open_recording(path) as recording, blocks:
            pieces = np.concatenate(list(recording.blocks()))
            part = [np.empty((0, 1), np.float32), *recording.blocks(start, frames)]
    np.testing.assert_array_equal(pieces, whole)
    np.testing.assert_array_equal(np.concatenate(part), whole[start : start + frames])
