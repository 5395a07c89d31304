"""Packed sequences beside lists, and an index beside a dict; both take little memory."""

import errno
import pickle
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.storage.trees import failing
from ulmo.storage import packed
from ulmo.storage.address import whole
from ulmo.storage.packed import Anew, Index, Packed, repeated
from ulmo.storage.remote_path import RemotePath, remote_path

NAMES = st.text(st.sampled_from("abc\udce9"), max_size=3)


@pytest.fixture(params=["in memory", "in a file", "no folder for it", "no room"])
def few(request, monkeypatch):
    """Few things are packed already."""
    monkeypatch.setattr(packed, "_PLAIN", 8)
    monkeypatch.setattr(packed, "_BLOCK", 4)
    if request.param != "in memory":
        monkeypatch.setattr(packed, "_IN_MEMORY", 100)
    if request.param == "no folder for it":
        monkeypatch.setattr(packed, "TemporaryFile", failing(errno.ENOENT))
    if request.param == "no room":
        monkeypatch.setattr(packed, "TemporaryFile", lambda **_: Full())


class Full:
    """A file that takes half of what is written."""

    def seek(self, _):
        pass

    def write(self, content):
        return len(content) // 2


def things(count):
    return [(Path(f"a/{number}.wav"), number, "x" * (number % 7)) for number in range(count)]


class TestPacked:
    @pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 11, 12, 13, 100])
    def test_it_is_like_a_list(self, count, few):
        true = things(count)
        made = Packed(true)
        assert len(made) == count
        assert list(made) == true
        assert made == true
        assert true == made
        assert made == Packed(true)
        assert made != [*true, true]
        assert made != [*true[:-1], 0]
        places = [*range(-count, count), count // 2, 0] if count else []
        assert [made[place] for place in places] == [true[place] for place in places]
        assert made[3:-1:2] == true[3:-1:2]
        assert made[::-1] == true[::-1]
        assert pickle.loads(pickle.dumps(made)) == true
        assert repr(made) == f"Packed({true!r})"
        for place in (count, -count - 1):
            with pytest.raises(IndexError):
                made[place]

    def test_what_is_added_meanwhile_comes_too(self, few):
        made = Packed(range(3))
        found = []
        for number in made:
            found.append(number)
            if number < 50:
                made.append(number + 3)
        assert found == list(range(53))

    def test_two_readings_at_once(self, few):
        made = Packed(things(60))
        assert list(zip(made, made, strict=True)) == [(each, each) for each in things(60)]

    def test_is_no_key(self):
        with pytest.raises(TypeError):
            hash(Packed())


@pytest.mark.parametrize("count", [5_000, 20_000])
def test_many_take_few_bytes(count, monkeypatch):
    monkeypatch.setattr(packed, "_PLAIN", 256)
    monkeypatch.setattr(packed, "_IN_MEMORY", 1 << 14)
    tracemalloc.start()
    try:
        made = Packed((f"a/b/{number:09}.wav", number) for number in range(count))
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(made) == count
    assert held < 300_000  # with two blocks as they are


@pytest.mark.parametrize("protocol", ["memory", "s3"])
def test_addresses_come_back_without_their_secrets(protocol, few, monkeypatch):
    top = remote_path(f"{protocol}://me:secret@bucket/birds")
    paths = [top / f"{number}.wav" for number in range(60)]
    made = Packed(paths)
    assert made == paths
    assert {type(path) for path in made} == {RemotePath}
    assert [str(path) for path in made] == [str(path) for path in paths]
    held = b"".join(packed._pickled([path]) for path in paths)
    assert b"secret" not in held
    assert whole(str(made[0])) == whole(str(paths[0]))
    assert "secret" in whole(str(made[0]))


class TestIndex:
    @given(st.lists(st.tuples(NAMES, st.integers(-(1 << 63), (1 << 63) - 1)), max_size=60))
    def test_it_is_like_a_dict(self, pairs):
        made, true = Index(), {}
        for name, number in pairs:
            made[name] = true[name] = number
        assert len(made) == len(true)
        assert list(made.numbers) == list(true.values())
        assert made.has_exactly(true)
        assert not made.has_exactly([*true, "d"])
        assert made.has_exactly(reversed(true)) == (len(true) < 2)
        assert made.has_exactly([*true][1:]) == (not true)
        for name in (*true, "d"):
            assert (name in made) == (name in true)
            assert made.get(name) == true.get(name)
        with pytest.raises(KeyError):
            made["d"]
        assert 7 not in made

    @given(st.lists(NAMES, max_size=60))
    def test_names_that_come_again(self, names):
        found = repeated(names)
        counts = Counter(names)
        assert {name for name in counts if name in found} == {n for n in counts if counts[n] > 1}
        index = Index(names)
        for name in names:
            assert names[index[name]] == name
            assert name not in names[index[name] + 1 :]

    def test_many_names_take_few_bytes(self):
        tracemalloc.start()
        try:
            made = Index(f"{number:064}" for number in range(20_000))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert made[f"{19_999:064}"] == 19_999
        assert peak / 20_000 < 60


def test_a_function_is_asked_at_each_reading():
    asked = []

    def numbers():
        asked.append(1)
        yield from range(3)

    made = Anew(numbers)
    assert [*made] == [*made] == [0, 1, 2]
    assert len(asked) == 2
