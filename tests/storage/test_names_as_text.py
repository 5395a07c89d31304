"""Names of files as text: what is read back must be what ulmo writes."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ulmo.storage.names import checked_name, path_of, portable

ESC, OVERRIDE = "\x1b[31m", "\u202e"


@given(name=st.binary(min_size=1).filter(lambda name: b"\0" not in name))
def test_the_text_of_every_path_is_a_name(name):
    path = Path(os.fsdecode(name))
    text = portable(path)
    assert checked_name(text) == text
    assert path_of(text) == path


@pytest.mark.parametrize(
    "text",
    [
        *("", "a\nb.wav", "a\0", f"{ESC}.wav", f"{OVERRIDE}.wav", "\udce9.wav", "\ud800.wav"),
        *(r"\x00", r"a\x2fb", r"\x61.wav", r"\xe9\.wav", r"\xE9.wav"),
        *("a//b", "a/", "./a", "a/./b"),
    ],
)
def test_no_other_text_is_a_name(text):
    with pytest.raises(ValueError, match=r"no path as ulmo writes it|encode") as caught:
        checked_name(text)
    assert str(caught.value).isprintable()
