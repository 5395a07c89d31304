"""Several sound files in one: all their sound is read, or counted."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.preprocessing.sounds import KINDS, MONO, frames_in, read, written


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


@pytest.mark.parametrize("second", CONTAINERS)
@pytest.mark.parametrize("first", KINDS)
def test_a_second_file_of_the_same_shape_is_read_on(first, second, tmp_path):
    one, other = written(first, 3001), written(second, 4003, seed=1)
    alone = [read(tmp_path, content).samples for content in (one, other)]
    both = read(tmp_path, one + other)
    assert both.verdict == ("repaired", "joined")
    assert both.missing == 0
    np.testing.assert_array_equal(both.samples, np.concatenate(alone))
