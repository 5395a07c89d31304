"""Folders as deep as a file system takes: no recursion, and work that grows with the depth."""

import os
import sys
from collections import Counter

import pytest

from tests.pipelines.faults import PCM, wav
from tests.pipelines.recordings import TINY, by_path, noise, rows_of, write
from tests.pipelines.tokenizing import hidden, join, record, tokenize
from tests.storage.test_removal import dig
from ulmo.formats.places import header_path, tokens_path
from ulmo.formats.publish import output_paths
from ulmo.pipelines.convert.convert import convert
from ulmo.pipelines.prep.prep import prepare
from ulmo.pipelines.tokenize.plan import plan_outputs
from ulmo.pipelines.verify.verify import verify
from ulmo.storage.atomic import make_folders
from ulmo.storage.removal import remove_tree

RECURSION = 600  # less than Python's 1,000: the time that the test takes grows with the depth
DEEP = 650  # levels


@pytest.fixture
def deep(tmp_path):
    """A recording at the top, and one farther below than a function may call itself."""
    folder = tmp_path / "in"
    write(folder / "top.wav", noise(600, 0))
    bottom = folder / ("d/" * DEEP)
    make_folders(bottom)
    (bottom / "x.wav").write_bytes(wav(PCM[:800]))  # libsndfile takes no path as long
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(RECURSION)
    yield folder
    sys.setrecursionlimit(usual)
    remove_tree(tmp_path)


def test_every_command(deep, tokenizer, tmp_path):
    out, name = tmp_path / "out", "d/" * DEEP + "x.wav"
    tokenize(tokenizer, deep, out=out)
    assert {path: row["status"] for path, row in by_path(out).items()} == {
        "top.wav": "ok",
        name: "ok",
    }
    assert verify(out).faults == []
    assert all(result.reused for result in tokenize(tokenizer, deep, out=out))
    done = convert([out], tmp_path / "labels", "audacity", done=lambda _: None)
    assert [result.refusal for result in done] == [None, None]
    assert prepare(deep, tmp_path / "tiles", TINY).statuses == {"ok": 2}
    (deep / "top.wav").unlink()
    (deep / name).rename((deep / name).with_name("20240101_000000.wav"))
    assert join(tokenizer, deep, out=tmp_path / "t.npy")[1].recordings == 1
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())  # as parts


@pytest.mark.parametrize("command", ["prep", "tokenize"])
def test_deeper_than_any_path(command, tokenizer, tmp_path):
    """What cannot be reached is a row, at each run."""
    folder, out = tmp_path / "in", tmp_path / "out"
    write(folder / "a.wav", noise(600, 0))
    dig(folder, 30, "d" * 200)
    for _ in range(2):
        if command == "prep":
            prepare(folder, out, TINY)
        else:
            tokenize(tokenizer, folder, out=out)
        rows = rows_of(out)
        assert [row["reason"] for row in rows] == [None, "unreadable"]
        assert rows[1]["detail"] == "File name too long"
        assert verify(out).faults == []
    remove_tree(folder)


def test_a_place_that_is_too_long(tokenizer, tmp_path):
    """The recording can be read, but what mirrors it has a longer path."""
    folder, out = tmp_path / "in", tmp_path / "a_longer_name_of_an_output"
    write(folder / "a.wav", noise(600, 0))
    room = 4095 - len(os.fsencode(folder)) - len("/x.wav")
    bottom = folder / (f"{'d' * 200}/" * (room // 201)) / ("d" * (room % 201 - 1))
    make_folders(bottom)
    (bottom / "x.wav").write_bytes(wav(PCM[:800]))
    for _ in range(2):
        tokenize(tokenizer, folder, out=out)
        assert [row["reason"] for row in rows_of(out)] == [None, "unwritable"]
        assert verify(out).faults == []
    remove_tree(folder)
    remove_tree(out)


@pytest.fixture
def calls(monkeypatch):
    """Counts calls of the system that look up a path, by their names."""
    calls = Counter()

    def count(name):
        call = getattr(os, name)

        def counted(*arguments, **options):
            calls[name] += 1
            return call(*arguments, **options)

        monkeypatch.setattr(os, name, counted)

    for name in ("stat", "lstat", "scandir", "listdir", "mkdir", "open", "readlink"):
        count(name)
    return calls


def test_work_grows_with_the_depth(tmp_path, calls):
    """A recording in each folder: few calls for each, at any depth."""
    for levels in (50, 200):
        folder, out = tmp_path / f"in{levels}", tmp_path / f"out{levels}"
        here = folder
        for _ in range(levels):
            here.mkdir(parents=True)
            (here / "x.wav").touch()
            here = here / "d"
        calls.clear()
        for planned in plan_outputs([folder], out, "npy"):
            make_folders(planned.target.parent)
            output_paths(planned.target, "npy")
        assert all(count < 8 * levels + 100 for count in calls.values()), calls


@pytest.mark.parametrize("name", ["d", "tokens"])
def test_verifying_grows_with_the_depth(name, tmp_path, calls):
    """A file of tokens in each folder, which may be called as one of an output."""
    looked = []
    for levels in (60, 240):
        here = tmp_path / str(levels)
        for _ in range(levels):
            here /= name
            here.mkdir(parents=True)
            (here / "x.tokens.csv").touch()
        calls.clear()
        assert len(verify(tmp_path / str(levels)).faults) == levels
        looked.append(calls.total())
    assert looked[1] < 6 * looked[0]


@pytest.mark.parametrize(
    "below", ["", "tokens", "tokens/" * 40, "token_headers", "a/token_headers/b"]
)
def test_headers_and_tokens_find_each_other(below, tmp_path):
    (tmp_path / "token_headers").mkdir()
    tokens = tmp_path / "tokens" / below / "x.tokens"
    header = header_path(tokens)
    assert header == tmp_path / "token_headers" / below / "x.tokens.json"
    assert tokens_path(header) == tokens


OWN = ["x.wav", "recordings.parquet/x.wav", "tokens/x.wav", "token_headers/x.wav", "tiles/x.wav"]
OWN += ["a.wav", "a.tokens.npy/b.wav", "tokenize.json/x.wav", "README.md/x.wav"]


def test_names_of_our_own(tokenizer, tmp_path):
    """Those in the way are refused, always the same, and nothing else is."""
    folder, out = tmp_path / "in", tmp_path / "out"
    for seed, name in enumerate(OWN):
        write(folder / name, noise(600, seed))
    for _ in range(2):
        tokenize(tokenizer, folder, out=out)
        refused = {path for path, row in by_path(out).items() if row["reason"] == "unwritable"}
        assert refused == {"a.wav"}
        assert verify(out).faults == []
    assert prepare(folder, tmp_path / "tiles", TINY).statuses == {"ok": len(OWN)}


@pytest.mark.parametrize("name", ["recordings.parquet", ".tokenize.jsonl", "tokenize.json"])
def test_a_folder_in_the_place_of_a_table_is_one_line(name, tokenizer, tmp_path):
    record(tmp_path / "x.wav")
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(Exception, match=name) as raised:
        tokenize(tokenizer, tmp_path / "x.wav", out=tmp_path / "out")
    assert type(raised.value).__name__ == "UserError"
    assert name in [path.name for path in (tmp_path / "out").iterdir()]
    assert not list((tmp_path / "out").rglob("*.npy"))


@pytest.fixture
def without_case(monkeypatch):
    """A disk that does not tell upper from lower case, in what ulmo finds out about it."""
    monkeypatch.setattr("ulmo.formats.clashes._first_name", lambda _, name: name.lower())


@pytest.mark.usefixtures("without_case")
def test_outputs_that_the_file_system_takes_for_one(tokenizer, tmp_path):
    first = "one/X.tokens.npy"
    for seed, name in enumerate(("X.wav", "x.wav", "y.wav")):
        write(tmp_path / "in" / "one" / name, noise(600, seed))
    for _ in range(2):
        tokenize(tokenizer, tmp_path / "in", out=tmp_path / "out")
        rows = by_path(tmp_path / "out")
        assert rows["one/X.wav"]["outputs"] == [f"tokens/{first}"]
        assert "takes it for X.tokens.npy" in rows["one/x.wav"]["detail"]
        assert rows["one/y.wav"]["status"] == "ok"
        assert hidden(tmp_path / "out") == []
    done = convert([tmp_path / "out"], tmp_path / "again", "npy", done=lambda _: None)
    assert [result.refusal for result in done] == [None, None]


@pytest.mark.usefixtures("without_case")
def test_a_recording_that_is_added_takes_the_place_of_another(tokenizer, tmp_path):
    """The other one's tokens were there before, and count no longer."""
    for seed, name in enumerate(("x.wav", "X.wav")):
        write(tmp_path / "in" / name, noise(600, seed))
        tokenize(tokenizer, tmp_path / "in", out=tmp_path / "out")
    rows = by_path(tmp_path / "out")
    assert {path: row["reason"] for path, row in rows.items()} == {
        "X.wav": None,
        "x.wav": "unwritable",
    }
